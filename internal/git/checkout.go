// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// checkout writes the files of a commit below root.
type checkout struct {
	pack    *pack
	root    *os.Root
	limits  Limits
	entries int64
	done    Written
}

// entry is one line of a tree object.
type entry struct {
	mode string
	name string
	hash string
}

// The modes of tree entries (gitformat, fsck.c). 100664 is an old spelling of 100644.
const (
	modeTree      = "40000"
	modeFile      = "100644"
	modeFileGroup = "100664"
	modeExec      = "100755"
	modeLink      = "120000"
	modeCommit    = "160000"
)

// tree writes a tree object at dir, which exists. A tree can name one subtree many times, so what is counted is what is
// written, not what was downloaded.
func (c *checkout) tree(ctx context.Context, hash, dir string, depth int64) error {
	if depth > c.limits.Depth {
		return &LimitError{What: "the depth of directories", Limit: c.limits.Depth}
	}
	content, err := c.pack.read(hash, plumbing.TreeObject)
	if err != nil {
		return err
	}
	for len(content) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		var e entry
		if e, content, err = nextEntry(content); err != nil {
			return fmt.Errorf("tree %s: %w", hash, err)
		}
		if err := checkEntryName(e.name); err != nil {
			return fmt.Errorf("tree %s at %q: %w", hash, dir, err)
		}
		if c.entries++; c.entries > c.limits.Files {
			return &LimitError{What: "the number of files and directories", Limit: c.limits.Files}
		}
		if err := c.entry(ctx, e, path.Join(dir, e.name), depth); err != nil {
			return err
		}
	}
	return nil
}

// entry writes one entry.
func (c *checkout) entry(ctx context.Context, e entry, name string, depth int64) error {
	if vcsFile(e.name) {
		return nil
	}
	switch e.mode {
	case modeTree:
		if err := c.root.Mkdir(name, 0o755); err != nil {
			return localError(err)
		}
		return c.tree(ctx, e.hash, name, depth+1)
	case modeFile, modeFileGroup:
		return c.file(e.hash, name, 0o644)
	case modeExec:
		return c.file(e.hash, name, 0o755)
	case modeLink, modeCommit:
		const listed = 100
		if len(c.done.Skipped) < listed {
			c.done.Skipped = append(c.done.Skipped, name)
		}
		return nil
	default:
		return fmt.Errorf("%q has mode %q: %w", name, remoteText(e.mode, nil), errObject)
	}
}

// file writes one blob. A name that exists already was listed twice, and which of the two counts is anybody's guess.
func (c *checkout) file(hash, name string, mode os.FileMode) error {
	content, err := c.pack.read(hash, plumbing.BlobObject)
	if err != nil {
		return fmt.Errorf("file %q: %w", name, err)
	}
	c.done.Files++
	if c.done.Bytes += int64(len(content)); c.done.Bytes > c.limits.TotalBytes {
		return &LimitError{What: "the size of all files in bytes", Limit: c.limits.TotalBytes}
	}
	file, err := c.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return localError(err)
	}
	_, err = file.Write(content)
	return localError(errors.Join(err, file.Close()))
}

// localError drops the path of the checkout's own directory, which says nothing to the object's owner.
func localError(err error) error {
	if at, ok := errors.AsType[*os.PathError](err); ok {
		return fmt.Errorf("write %q: %w", at.Path, at.Err)
	}
	return err
}

// nextEntry reads "<mode> <name>\0<20 bytes>" and returns the rest.
func nextEntry(content []byte) (entry, []byte, error) {
	mode, rest, ok1 := bytes.Cut(content, []byte(" "))
	name, rest, ok2 := bytes.Cut(rest, []byte{0})
	const size = 20
	if !ok1 || !ok2 || len(rest) < size {
		return entry{}, nil, errObject
	}
	return entry{mode: string(mode), name: string(name), hash: hex.EncodeToString(rest[:size])}, rest[size:], nil
}

// checkEntryName refuses the names Git itself refuses to check out (fsck.c): those that leave the directory, and each
// spelling of ".git" that some file system takes for it.
func checkEntryName(name string) error {
	folded := strings.ToLower(strings.TrimRight(name, " ."))
	switch {
	case name == "" || name == "." || name == "..":
	case strings.ContainsAny(name, "/\x00"):
	case strings.Contains(name, `\`):
	case folded == ".git" || folded == "git~1" || strings.HasPrefix(folded, ".git:"):
	case strings.EqualFold(hfsVisible(name), ".git"):
	default:
		return nil
	}
	return fmt.Errorf("unsafe name %q: %w", name, errObject)
}

// hfsVisible drops the code points that HFS+ ignores in names.
func hfsVisible(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 0x200c && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x206a && r <= 0x206f || r == 0xfeff {
			return -1
		}
		return r
	}, name)
}

// vcsFile reports whether a file is Git's own and never part of an artifact (spec row S-18).
func vcsFile(name string) bool {
	return name == ".gitignore" || name == ".gitmodules" || name == ".gitattributes"
}
