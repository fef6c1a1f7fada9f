// SPDX-License-Identifier: Apache-2.0

package gitserver

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pjbgf/sha1cd"
)

// Repo is a bare repository. Its methods write objects and references as files, in the formats of gitrepository-layout,
// so that a test can write a broken one as easily as a good one.
type Repo struct {
	// Path is the repository's directory.
	Path string
	// Name is its path below the server's root, "team/app.git".
	Name string

	sha256 bool
}

// InitRepo makes an empty bare repository at root/name with HEAD on branch main.
func InitRepo(root, name string) (*Repo, error) {
	return initRepo(root, name, "[core]\n\trepositoryformatversion = 0\n\tbare = true\n")
}

// InitSHA256Repo is InitRepo for a repository that names its objects by SHA-256.
func InitSHA256Repo(root, name string) (*Repo, error) {
	repo, err := initRepo(root, name, "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectFormat = sha256\n")
	if err != nil {
		return nil, err
	}
	repo.sha256 = true
	return repo, nil
}

func initRepo(root, name, config string) (*Repo, error) {
	repo := &Repo{Path: filepath.Join(root, filepath.FromSlash(name)), Name: name}
	for _, dir := range []string{"objects/info", "objects/pack", "refs/heads", "refs/tags", "info"} {
		if err := os.MkdirAll(filepath.Join(repo.Path, dir), 0o755); err != nil {
			return nil, fmt.Errorf("make repository: %w", err)
		}
	}
	err := errors.Join(
		os.WriteFile(filepath.Join(repo.Path, "HEAD"), []byte("ref: refs/heads/main\n"), 0o644),
		os.WriteFile(filepath.Join(repo.Path, "config"), []byte(config), 0o644),
	)
	if err != nil {
		return nil, fmt.Errorf("make repository: %w", err)
	}
	return repo, nil
}

// Object writes a loose object of any content and returns its id.
func (r *Repo) Object(kind string, content []byte) (string, error) {
	raw := append(fmt.Appendf(nil, "%s %d\x00", kind, len(content)), content...)
	state := sha1cd.New()
	if r.sha256 {
		state = sha256.New()
	}
	state.Write(raw)
	id := hex.EncodeToString(state.Sum(nil))
	path := filepath.Join(r.Path, "objects", id[:2], id[2:])
	if _, err := os.Stat(path); err == nil {
		return id, nil
	}
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	_, err := w.Write(raw)
	if err := errors.Join(err, w.Close()); err != nil {
		return "", fmt.Errorf("compress object: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("write object: %w", err)
	}
	if err := os.WriteFile(path, packed.Bytes(), 0o444); err != nil {
		return "", fmt.Errorf("write object: %w", err)
	}
	return id, nil
}

// Entry is one entry of a tree: a file with Content, or anything else with the Hash of an object.
type Entry struct {
	// Mode is "100644" when empty.
	Mode    string
	Content string
	Hash    string
}

// Tree writes files named by slash-separated paths, and the trees above them. Names go in as they are.
func (r *Repo) Tree(files map[string]Entry) (string, error) {
	here := map[string]Entry{}
	below := map[string]map[string]Entry{}
	for path, e := range files {
		dir, rest, nested := strings.Cut(path, "/")
		if !nested {
			here[path] = e
			continue
		}
		if below[dir] == nil {
			below[dir] = map[string]Entry{}
		}
		below[dir][rest] = e
	}
	for dir, inner := range below {
		id, err := r.Tree(inner)
		if err != nil {
			return "", err
		}
		here[dir] = Entry{Mode: "40000", Hash: id}
	}
	return r.flatTree(here)
}

// flatTree writes one tree object, sorted as Git wants it: a directory as if its name ended with a slash.
func (r *Repo) flatTree(entries map[string]Entry) (string, error) {
	key := func(name string) string {
		if entries[name].Mode == "40000" {
			return name + "/"
		}
		return name
	}
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(key(a), key(b)) })
	var tree bytes.Buffer
	for _, name := range names {
		e := entries[name]
		if e.Hash == "" {
			id, err := r.Object("blob", []byte(e.Content))
			if err != nil {
				return "", err
			}
			e.Hash = id
		}
		raw, err := hex.DecodeString(e.Hash)
		if err != nil {
			return "", fmt.Errorf("entry %q: %w", name, err)
		}
		fmt.Fprintf(&tree, "%s %s\x00%s", cmp.Or(e.Mode, "100644"), name, raw)
	}
	return r.Object("tree", tree.Bytes())
}

// SignFunc returns the armored signature over a commit's or tag's payload.
type SignFunc func(payload []byte) ([]byte, error)

// CommitOptions describes a commit.
type CommitOptions struct {
	// Branch is moved to the commit, whose parent is the branch's old tip. Empty means main.
	Branch string
	// Ref is moved instead of a branch when set, a full name such as "refs/pull/1/head".
	Ref string
	// Files are the files of the commit, all of them: nothing is taken over from the parent.
	Files map[string]string
	// Entries are added to Files where more than plain files is wanted.
	Entries map[string]Entry
	// Message is "change" when empty.
	Message string
	// When is the time of author and committer. Zero means 2026-01-02 03:04:05 UTC.
	When time.Time
	// Sign signs the commit when set.
	Sign SignFunc
}

// Commit writes a commit, moves its reference and returns its id.
func (r *Repo) Commit(o CommitOptions) (string, error) {
	files := map[string]Entry{}
	for name, content := range o.Files {
		files[name] = Entry{Content: content}
	}
	maps.Copy(files, o.Entries)
	tree, err := r.Tree(files)
	if err != nil {
		return "", err
	}
	ref := cmp.Or(o.Ref, "refs/heads/"+cmp.Or(o.Branch, "main"))
	headers := "tree " + tree + "\n"
	if parent, err := os.ReadFile(filepath.Join(r.Path, ref)); err == nil {
		headers += "parent " + strings.TrimSpace(string(parent)) + "\n"
	}
	who := "Test Author <author@example.com> " + stamp(o.When)
	headers += "author " + who + "\ncommitter " + who + "\n"
	message := "\n" + strings.TrimSuffix(cmp.Or(o.Message, "change"), "\n") + "\n"
	signature := ""
	if o.Sign != nil {
		armored, err := o.Sign([]byte(headers + message))
		if err != nil {
			return "", fmt.Errorf("sign commit: %w", err)
		}
		header := "gpgsig "
		if r.sha256 {
			header = "gpgsig-sha256 "
		}
		signature = header + strings.ReplaceAll(strings.TrimSuffix(string(armored), "\n"), "\n", "\n ") + "\n"
	}
	id, err := r.Object("commit", []byte(headers+signature+message))
	if err != nil {
		return "", err
	}
	return id, r.SetRef(ref, id)
}

// TagOptions describes an annotated tag.
type TagOptions struct {
	// Name stands in the object; Ref, when set, is the reference's name where it differs.
	Name string
	Ref  string
	// Target is the object pointed to, a commit unless Type says otherwise.
	Target string
	Type   string
	// Message is "release" when empty.
	Message string
	// When is the time of the tagger. Zero means 2026-01-02 03:04:05 UTC.
	When time.Time
	// Sign signs the tag when set.
	Sign SignFunc
}

// Tag writes an annotated tag and its reference, and returns the tag object's id.
func (r *Repo) Tag(o TagOptions) (string, error) {
	payload := fmt.Sprintf("object %s\ntype %s\ntag %s\ntagger Test Author <author@example.com> %s\n\n%s\n",
		o.Target, cmp.Or(o.Type, "commit"), o.Name, stamp(o.When), cmp.Or(o.Message, "release"))
	content := []byte(payload)
	if o.Sign != nil {
		armored, err := o.Sign(content)
		if err != nil {
			return "", fmt.Errorf("sign tag: %w", err)
		}
		content = append(content, armored...)
	}
	id, err := r.Object("tag", content)
	if err != nil {
		return "", err
	}
	return id, r.SetRef("refs/tags/"+cmp.Or(o.Ref, o.Name), id)
}

// SetRef points a reference, by its full name, at an object.
func (r *Repo) SetRef(name, hash string) error {
	path := filepath.Join(r.Path, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write reference: %w", err)
	}
	// A rename, because a server may be reading.
	if err := os.WriteFile(path+".lock", []byte(hash+"\n"), 0o644); err != nil {
		return fmt.Errorf("write reference: %w", err)
	}
	if err := os.Rename(path+".lock", path); err != nil {
		return fmt.Errorf("write reference: %w", err)
	}
	return nil
}

// stamp is a time as Git writes it.
func stamp(when time.Time) string {
	if when.IsZero() {
		when = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	}
	return fmt.Sprintf("%d +0000", when.Unix())
}
