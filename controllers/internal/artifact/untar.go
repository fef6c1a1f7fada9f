// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// Modes of what is extracted and archived (spec row S-13).
const (
	modeDir        = 0o750
	modeFile       = 0o600
	modeExecutable = 0o700
)

// Extracted says what an archive held.
type Extracted struct {
	// Bytes is the sum of the sizes of its files.
	Bytes int64
	// Files counts files and directories.
	Files int
}

// Untar extracts a tar archive, compressed with gzip or not, below dst, which should be empty, and reads r to its end. Content that is not safe
// or too large wraps ErrUnsafe or ErrTooLarge, and what was written until then stays: the caller drops dst.
func Untar(ctx context.Context, r io.Reader, dst *os.Root, l Limits) (Extracted, error) {
	return untar(ctx, r, dst, l, nil)
}

// untar is Untar, and takes what it extracts into a catalog.
func untar(ctx context.Context, r io.Reader, dst *os.Root, l Limits, into *cataloguer) (Extracted, error) {
	l = l.withDefaults()
	in := &bounded{ctx: ctx, r: r, limit: l.Compressed}
	plain, err := decompress(in)
	if err != nil {
		return Extracted{}, fmt.Errorf("read archive: %w", err)
	}
	x := &extraction{dst: dst, limits: l, in: in, dirs: map[string]bool{".": true}, catalog: into}
	archive := tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return x.done, drain(ctx, plain, l)
		}
		if err != nil {
			return x.done, fmt.Errorf("read archive: %w", err)
		}
		if err := x.entry(header, archive); err != nil {
			return x.done, err
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

// extraction is one run of Untar.
type extraction struct {
	dst     *os.Root
	limits  Limits
	in      *bounded
	dirs    map[string]bool
	catalog *cataloguer
	done    Extracted
}

// entry writes one entry of the archive.
func (x *extraction) entry(header *tar.Header, content io.Reader) error {
	if header.Typeflag == tar.TypeXGlobalHeader {
		return nil // what git archive writes first; it holds no file
	}
	if x.done.Files++; x.done.Files > x.limits.Files {
		return fmt.Errorf("archive has more than %d files: %w", x.limits.Files, ErrTooLarge)
	}
	name, err := entryName(header.Name, x.limits.Depth)
	if err != nil {
		return err
	}
	switch header.Typeflag {
	case tar.TypeDir:
		return x.dir(name)
	case tar.TypeReg:
		return x.file(name, header, content)
	default:
		if x.limits.Links == SkipLinks {
			return nil
		}
		return fmt.Errorf("archive entry %q is neither a file nor a directory: %w", header.Name, ErrUnsafe)
	}
}

// entryName returns the clean path of an entry, relative to the root. os.Root would refuse to leave the root as well;
// a name that tries is refused by its looks, whether or not it would succeed.
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

func (x *extraction) dir(name string) error {
	if x.dirs[name] {
		return nil
	}
	if err := x.dst.MkdirAll(name, modeDir); err != nil {
		return unsafeIfExists(name, err)
	}
	var made []string
	for d := name; !x.dirs[d]; d = path.Dir(d) {
		x.dirs[d] = true
		made = append(made, d)
	}
	for _, d := range slices.Backward(made) { // parents first
		x.catalog.folder(d)
	}
	return nil
}

func (x *extraction) file(name string, header *tar.Header, content io.Reader) error {
	if err := x.fits(header.Size); err != nil {
		return fmt.Errorf("archive entry %q: %w", header.Name, err)
	}
	if err := x.dir(path.Dir(name)); err != nil {
		return err
	}
	mode := fs.FileMode(modeFile)
	if header.FileInfo().Mode()&0o111 != 0 {
		mode = modeExecutable
	}
	// O_EXCL: the second of two entries of one name would be seen by some readers and the first by others.
	f, err := x.dst.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return unsafeIfExists(name, err)
	}
	_, err = io.Copy(x.catalog.begin(f), &measured{r: content, x: x})
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("extract %q: %w", header.Name, err)
	}
	x.catalog.end(name)
	return nil
}

// fits refuses by the size in the header, before a byte is written.
func (x *extraction) fits(size int64) error {
	if size < 0 || size > x.limits.Extracted-x.done.Bytes {
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
	m.x.done.Bytes += int64(n)
	if done := m.x.done.Bytes; done > ratioFrom && done/m.x.limits.Ratio > m.x.in.n {
		return n, fmt.Errorf("content is more than %d times larger than its archive: %w", m.x.limits.Ratio, ErrTooLarge)
	}
	return n, err
}

// unsafeIfExists tells an archive that contradicts itself from a disk that fails.
func unsafeIfExists(name string, err error) error {
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("archive entry %q is there twice: %w", name, ErrUnsafe)
	}
	return fmt.Errorf("extract %q: %w", name, err)
}
