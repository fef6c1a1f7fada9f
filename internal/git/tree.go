// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// walker makes a commit's directories from its tree objects.
type walker struct {
	objects *objects
	limits  Limits
	entries int64
	content *Content
	selection
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

// tree returns the entries of a tree object, sorted by name. A tree can name one subtree many times, so what is counted is
// what a reader will see, not what was downloaded.
func (w *walker) tree(ctx context.Context, hash, dir string, depth int64) ([]*node, error) {
	if depth > w.limits.Depth {
		return nil, &LimitError{What: "the depth of directories", Limit: w.limits.Depth}
	}
	content, err := w.objects.read(hash, plumbing.TreeObject)
	if err != nil {
		return nil, err
	}
	var nodes []*node
	for len(content) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var e entry
		if e, content, err = nextEntry(content, formatOf(hash)); err != nil {
			return nil, fmt.Errorf("tree %s: %w", hash, err)
		}
		if err := checkEntryName(e.name); err != nil {
			return nil, fmt.Errorf("tree %s at %q: %w", hash, dir, err)
		}
		if dir == "." && e.name == modulesFile && (e.mode == modeFile || e.mode == modeFileGroup) {
			w.content.modules = e.hash
		}
		if !w.wants(path.Join(dir, e.name)) {
			continue
		}
		if w.entries++; w.entries > w.limits.Files {
			return nil, &LimitError{What: "the number of files and directories", Limit: w.limits.Files}
		}
		n, err := w.entry(ctx, e, path.Join(dir, e.name), depth)
		if err != nil {
			return nil, err
		}
		if n != nil {
			nodes = append(nodes, n)
		}
	}
	return sorted(nodes, dir)
}

// sorted orders by name: Git orders directories as if their names ended in a slash. Which of two entries of one name counts
// is anybody's guess.
func sorted(nodes []*node, dir string) ([]*node, error) {
	slices.SortFunc(nodes, func(a, b *node) int { return strings.Compare(a.name, b.name) })
	for i := 1; i < len(nodes); i++ {
		if nodes[i].name == nodes[i-1].name {
			return nil, fmt.Errorf("%q is there twice: %w", path.Join(dir, nodes[i].name), errObject)
		}
	}
	return nodes, nil
}

// entry returns the node of one entry, nil for what is left out.
func (w *walker) entry(ctx context.Context, e entry, name string, depth int64) (*node, error) {
	if vcsFile(e.name) {
		return nil, nil
	}
	switch e.mode {
	case modeTree:
		entries, err := w.tree(ctx, e.hash, name, depth+1)
		return &node{name: e.name, mode: fs.ModeDir | 0o755, entries: entries}, err
	case modeFile, modeFileGroup:
		return w.file(e, name, 0o644)
	case modeExec:
		return w.file(e, name, 0o755)
	case modeCommit:
		if w.submodules {
			n := &node{name: e.name, mode: fs.ModeDir | 0o755}
			w.content.links = append(w.content.links, link{path: name, hash: e.hash, node: n})
			return n, nil
		}
		w.content.skip(name)
		return nil, nil
	case modeLink:
		w.content.skip(name)
		return nil, nil
	default:
		return nil, fmt.Errorf("%q has mode %q: %w", name, remoteText(e.mode, nil), errObject)
	}
}

// skip notes what is left out.
func (c *Content) skip(name string) {
	const listed = 100
	if len(c.Skipped) < listed {
		c.Skipped = append(c.Skipped, name)
	}
}

// file counts one blob, which is there and is one; its content is read when the file is opened.
func (w *walker) file(e entry, name string, mode fs.FileMode) (*node, error) {
	size, err := w.objects.size(e.hash, plumbing.BlobObject)
	if err != nil {
		return nil, fmt.Errorf("file %q: %w", name, err)
	}
	w.content.Files++
	if w.content.Bytes += size; w.content.Bytes > w.limits.TotalBytes {
		return nil, &LimitError{What: "the size of all files in bytes", Limit: w.limits.TotalBytes}
	}
	return &node{name: e.name, mode: mode, size: size, id: parseID(e.hash), from: w.content.from}, nil
}

// nextEntry reads "<mode> <name>\0<id>" and returns the rest. The id is of the format of the tree's own.
func nextEntry(content []byte, format objectFormat) (entry, []byte, error) {
	mode, rest, ok1 := bytes.Cut(content, []byte(" "))
	name, rest, ok2 := bytes.Cut(rest, []byte{0})
	size := format.size()
	if !ok1 || !ok2 || len(rest) < size {
		return entry{}, nil, errObject
	}
	return entry{mode: string(mode), name: string(name), hash: hex.EncodeToString(rest[:size])}, rest[size:], nil
}

// checkEntryName refuses the names Git itself refuses to check out (fsck.c): those that leave the directory, and each
// spelling of ".git" that some file system takes for it; and names that no file system can hold.
func checkEntryName(name string) error {
	const longest = 255
	if len(name) > longest {
		return fmt.Errorf("name %q... has more than %d bytes: %w", name[:32], longest, errObject)
	}
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
	return name == ".gitignore" || name == modulesFile || name == ".gitattributes"
}
