// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"sluice.dev/sluice/internal/fips"
)

// Modes of what is extracted and archived (spec row S-13).
const (
	modeDir        = 0o750
	modeFile       = 0o600
	modeExecutable = 0o700
)

// Extract reads a tar archive, compressed with gzip or not, to its end, and keeps what it holds in a file without a name in dir,
// until Close. Content that is not safe or too large wraps ErrUnsafe or ErrTooLarge.
func Extract(ctx context.Context, r io.Reader, dir string, digests fips.Digests, l Limits) (*Content, error) {
	state, err := digests.Hash(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	w, err := newContentWriter(dir, state)
	if err != nil {
		return nil, err
	}
	err = extract(ctx, r, w, l.withDefaults())
	content, flushErr := w.finish()
	if err := errors.Join(err, flushErr); err != nil {
		return nil, errors.Join(err, content.Close())
	}
	return content, nil
}

func extract(ctx context.Context, r io.Reader, w *contentWriter, l Limits) error {
	in := &bounded{ctx: ctx, r: r, limit: l.Compressed}
	plain, err := decompress(in)
	if err != nil {
		return fmt.Errorf("read archive: %w", err)
	}
	x := &extraction{out: w, limits: l, in: in}
	archive := tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return drain(ctx, plain, l)
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if err := x.entry(header, archive); err != nil {
			return err
		}
	}
}

// ReadFile returns one file of an archive as Extract would find it, and fs.ErrNotExist where there is none. Nothing else is kept, and what
// stands behind the file is not read.
func ReadFile(ctx context.Context, r io.Reader, file string, limit int64) ([]byte, error) {
	l := Limits{}.withDefaults()
	plain, err := decompress(&bounded{ctx: ctx, r: r, limit: l.Compressed})
	if err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	archive := tar.NewReader(&bounded{ctx: ctx, r: plain, limit: l.Extracted})
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("archive entry %q: %w", file, fs.ErrNotExist)
		}
		if err != nil {
			return nil, fmt.Errorf("read archive: %w", err)
		}
		name, err := entryName(header.Name, l.Depth)
		switch {
		case err != nil:
			return nil, err
		case name != file || header.Typeflag != tar.TypeReg:
		case header.Size > limit:
			return nil, fmt.Errorf("archive entry %q: more than %d bytes: %w", file, limit, ErrTooLarge)
		default:
			return io.ReadAll(archive)
		}
	}
}

// drain reads what follows the archive's end mark: padding and gzip's checksum. A caller that checks a digest inside r
// needs r read to its end.
func drain(ctx context.Context, r io.Reader, l Limits) error {
	if _, err := io.Copy(io.Discard, &bounded{ctx: ctx, r: r, limit: l.Extracted}); err != nil {
		return fmt.Errorf("read the archive's end: %w", err)
	}
	return nil
}

// decompress looks at the first bytes for gzip's mark.
func decompress(r io.Reader) (io.Reader, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	mark, err := buffered.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(mark) == 2 && mark[0] == 0x1f && mark[1] == 0x8b {
		return gzip.NewReader(buffered)
	}
	return buffered, nil
}

// extraction is one run of Extract.
type extraction struct {
	out    *contentWriter
	limits Limits
	in     *bounded
	files  int
	bytes  int64
}

// entry writes one entry of the archive.
func (x *extraction) entry(header *tar.Header, content io.Reader) error {
	if header.Typeflag == tar.TypeXGlobalHeader {
		return nil // what git archive writes first; it holds no file
	}
	if x.files++; x.files > x.limits.Files {
		return fmt.Errorf("archive has more than %d files: %w", x.limits.Files, ErrTooLarge)
	}
	name, err := entryName(header.Name, x.limits.Depth)
	if err != nil {
		return err
	}
	switch header.Typeflag {
	case tar.TypeDir:
		return x.out.folder(name)
	case tar.TypeReg:
		return x.file(name, header, content)
	default:
		if x.limits.Links == SkipLinks {
			return nil
		}
		return fmt.Errorf("archive entry %q is neither a file nor a directory: %w", header.Name, ErrUnsafe)
	}
}

// entryName returns the clean path of an entry, relative to the root. A name that tries to leave it is refused, whether or not it
// would succeed.
func entryName(name string, depth int) (string, error) {
	if name == "" || strings.HasPrefix(name, "/") || strings.ContainsAny(name, "\x00\\") {
		return "", fmt.Errorf("archive entry %q has no safe name: %w", name, ErrUnsafe)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("archive entry %q leaves the archive: %w", name, ErrUnsafe)
		}
	}
	clean := path.Clean(name)
	if strings.Count(clean, "/") >= depth {
		return "", fmt.Errorf("archive entry has more than %d directories: %w", depth, ErrTooLarge)
	}
	return clean, nil
}

func (x *extraction) file(name string, header *tar.Header, content io.Reader) error {
	if err := x.fits(header.Size); err != nil {
		return fmt.Errorf("archive entry %q: %w", header.Name, err)
	}
	mode := fs.FileMode(modeFile)
	if header.FileInfo().Mode()&0o111 != 0 {
		mode = modeExecutable
	}
	return x.out.file(name, mode, &measured{r: content, x: x})
}

// fits refuses by the size in the header, before a byte is written.
func (x *extraction) fits(size int64) error {
	if size < 0 || size > x.limits.Extracted-x.bytes {
		return fmt.Errorf("more than %d bytes extracted: %w", x.limits.Extracted, ErrTooLarge)
	}
	return nil
}

// measured counts what is extracted and compares it with what was read of the archive until then.
type measured struct {
	r io.Reader
	x *extraction
}

// Read implements io.Reader.
func (m *measured) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.x.bytes += int64(n)
	if done := m.x.bytes; done > ratioFrom && done/m.x.limits.Ratio > m.x.in.n {
		return n, fmt.Errorf("content is more than %d times larger than its archive: %w", m.x.limits.Ratio, ErrTooLarge)
	}
	return n, err
}
