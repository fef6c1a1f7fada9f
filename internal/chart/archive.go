// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"sluice.dev/sluice/internal/transport"
)

// Chart is a chart in memory.
type Chart struct {
	Metadata Metadata
	// Files are its files by their slash-separated paths below the chart's folder; Chart.yaml is one of them.
	Files map[string][]byte
}

// Inspect reads an archive to its end and returns the chart's metadata. Whatever is not safe or too large is refused, as by Read,
// and nothing else is kept.
func Inspect(ctx context.Context, archive []byte, l Limits) (Metadata, error) {
	var text []byte
	err := walk(ctx, archive, l.withDefaults(), func(name string, content io.Reader) (err error) {
		if name != MetadataFile {
			_, err = io.Copy(io.Discard, content)
			return err
		}
		text, err = io.ReadAll(content)
		return err
	})
	if err != nil {
		return Metadata{}, err
	}
	if text == nil {
		return Metadata{}, errors.New("the archive has no " + MetadataFile)
	}
	return ParseMetadata(text)
}

// Read returns the chart in an archive.
func Read(ctx context.Context, archive []byte, l Limits) (*Chart, error) {
	c := &Chart{Files: map[string][]byte{}}
	err := walk(ctx, archive, l.withDefaults(), func(name string, content io.Reader) (err error) {
		c.Files[name], err = io.ReadAll(content)
		return err
	})
	if err != nil {
		return nil, err
	}
	text, ok := c.Files[MetadataFile]
	if !ok {
		return nil, errors.New("the archive has no " + MetadataFile)
	}
	c.Metadata, err = ParseMetadata(text)
	return c, err
}

// walk calls visit for every file of an archive, with its path below the chart's folder.
func walk(ctx context.Context, archive []byte, l Limits, visit func(string, io.Reader) error) error {
	if int64(len(archive)) > l.Archive {
		return fmt.Errorf("the archive is larger than %d bytes (--helm-chart-max-size)", l.Archive)
	}
	plain, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return errors.New("the archive is not compressed with gzip")
	}
	seen := map[string]bool{}
	r := tar.NewReader(transport.LimitReader(plain, maxRatio*l.Archive))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return archiveError(err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		name, err := entryName(h, l)
		if err != nil {
			return err
		}
		if name == "" {
			continue
		}
		if seen[name] {
			return fmt.Errorf("the archive has %.200q twice", name)
		}
		if seen[name] = true; len(seen) > maxFiles {
			return fmt.Errorf("the archive has more than %d files", maxFiles)
		}
		if err := visit(name, r); err != nil {
			return archiveError(err)
		}
	}
}

// archiveError names the bound that an archive goes beyond.
func archiveError(err error) error {
	if large, ok := errors.AsType[*transport.TooLargeError](err); ok {
		return fmt.Errorf("the archive holds more than %d bytes", large.Limit)
	}
	return fmt.Errorf("the archive cannot be read: %w", err)
}

// entryName returns where an entry belongs below the chart's folder, and "" for one that is no file. A link could lead out of the
// chart, and no chart that Helm has packed holds one: it packs what a link leads to.
func entryName(h *tar.Header, l Limits) (string, error) {
	switch h.Typeflag {
	case tar.TypeReg:
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return "", nil
	default:
		return "", fmt.Errorf("the archive has %.200q, which is neither a file nor a directory", h.Name)
	}
	if h.Size > l.File {
		return "", fmt.Errorf("file %.200q is larger than %d bytes (--helm-chart-file-max-size)", h.Name, l.File)
	}
	folder, name, _ := strings.Cut(strings.TrimPrefix(h.Name, "./"), "/")
	if !isName(folder) || !isPath(name) {
		return "", fmt.Errorf("the archive has %.200q, which is no path below the chart's folder", h.Name)
	}
	return name, nil
}

// isPath reports whether a path is clean, relative, and leads nowhere out.
func isPath(name string) bool {
	return name != "" && len(name) < 4096 && path.Clean(name) == name && name != "." && name != ".." && !strings.HasPrefix(name, "../") &&
		!strings.HasPrefix(name, "/") && !strings.ContainsAny(name, "\\\x00") && strings.Count(name, "/") < maxDepth
}

// Pack writes a chart as an archive that depends on nothing but its name and its files: sorted, without times and owners.
func (c *Chart) Pack() ([]byte, error) {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	for _, name := range slices.Sorted(maps.Keys(c.Files)) {
		content := c.Files[name]
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: c.Metadata.Name + "/" + name, Mode: 0o644, Size: int64(len(content))})
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			return nil, fmt.Errorf("pack %q: %w", name, err)
		}
	}
	if err := errors.Join(w.Close(), zip.Close()); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	return out.Bytes(), nil
}

// SetVersion gives the chart another version.
func (c *Chart) SetVersion(version string) error {
	if c.Metadata.Version == version {
		return nil
	}
	text, err := withVersion(c.Files[MetadataFile], version)
	if err != nil {
		return err
	}
	c.Files[MetadataFile], c.Metadata.Version = text, version
	return nil
}
