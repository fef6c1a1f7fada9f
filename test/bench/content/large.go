// SPDX-License-Identifier: Apache-2.0

package content

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Sizes of the large repository's parts: a commit changes a thousand files of 5 kB (7 kB as text).
const (
	fileBytes   = 5000
	filesChange = 1000
)

// LargeRepository makes a repository of so many files at the tip and about so many megabytes of packed history, or
// returns the one that a former run has made in dir.
func LargeRepository(ctx context.Context, dir string, files, megabytes int) (*Repository, error) {
	whole := filepath.Join(dir, "whole")
	if _, err := os.Stat(whole); err == nil {
		return &Repository{dir}, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	r, err := NewRepository(ctx, dir)
	if err != nil {
		return nil, err
	}
	noise := newNoise(1)
	if _, err := r.Commit(ctx, "all", func(put Put) error {
		for i := range files {
			if err := put(largePath(i), noise.text(fileBytes)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return nil, err
	}
	for have := files * fileBytes; have < megabytes*1_000_000; have += filesChange * fileBytes {
		if _, err := r.Commit(ctx, "some", func(put Put) error {
			for range filesChange {
				if err := put(largePath(noise.IntN(files)), noise.text(fileBytes)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	if _, err := r.git(ctx, nil, "-c", "pack.window=0", "repack", "-adq"); err != nil {
		return nil, err
	}
	return r, os.WriteFile(whole, nil, 0o600)
}

func largePath(i int) string { return fmt.Sprintf("d%02d/s%02d/f%05d.txt", i%20, (i/20)%25, i) }

// LargeArtifact is a gzipped tarball of about so many MiB that do not compress. Equal seeds give equal artifacts.
func LargeArtifact(mebibytes int, seed uint64) ([]byte, error) {
	const size = 256 << 10
	noise := newNoise(seed)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	t := tar.NewWriter(z)
	for i := range mebibytes << 20 / size {
		if err := t.WriteHeader(&tar.Header{Name: fmt.Sprintf("blob/f%05d.bin", i), Mode: 0o644, Size: size, Typeflag: tar.TypeReg}); err != nil {
			return nil, err
		}
		if _, err := t.Write(noise.bytes(size)); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// noise is content that does not compress and is the same in every run.
type noise struct{ *rand.Rand }

func newNoise(seed uint64) noise {
	return noise{rand.New(rand.NewPCG(seed, seed))}
}

func (n noise) bytes(size int) []byte {
	b := make([]byte, 0, size+8)
	for len(b) < size {
		b = binary.LittleEndian.AppendUint64(b, n.Uint64())
	}
	return b[:size]
}

func (n noise) text(size int) []byte {
	return []byte(base64.StdEncoding.EncodeToString(n.bytes(size)))
}
