// SPDX-License-Identifier: Apache-2.0

package render

import (
	"crypto"
	"encoding/binary"
	"encoding/hex"
	"io/fs"

	"sluice.dev/sluice/internal/fips"
)

// Content answers what a build asks of its tree. An *artifact.Catalog is one.
type Content interface {
	// File returns the digest of a file, and false where there is no file.
	File(name string) (sha256 [32]byte, ok bool)
	// Folder returns the sorted names in a folder, those of folders with a slash at the end, and false where there is no folder.
	Folder(name string) ([]string, bool)
}

// Reads are the questions that a build asked of its tree: which file has what content, what is in a folder, what is at a path. A
// build sees nothing else of the tree, so that one with the same answers builds the same. The zero Reads is ready to be noted
// in by one build, and may be asked by several goroutines at once afterwards.
type Reads struct {
	asked map[question]bool
	order []question
}

// question is about one path.
type question struct {
	what ask
	name string
}

type ask int

const (
	askKind ask = iota
	askContent
	askNames
)

func (r *Reads) note(what ask, name string) {
	if r == nil {
		return
	}
	q := question{what, name}
	if r.asked == nil {
		r.asked = map[question]bool{}
	}
	if !r.asked[q] {
		r.asked[q] = true
		r.order = append(r.order, q)
	}
}

// close is called when the build is done.
func (r *Reads) close() {
	if r != nil {
		r.asked = nil
	}
}

// Digest returns the digest of the answers that content gives to all questions.
func (r *Reads) Digest(digests fips.Digests, content Content) (string, error) {
	state, err := digests.Hash(crypto.SHA256)
	if err != nil {
		return "", err
	}
	var text, length []byte
	for _, q := range r.order {
		text = answer(text[:0], q, content)
		length = binary.BigEndian.AppendUint64(length[:0], uint64(len(text)))
		state.Write(length)
		state.Write(text)
	}
	return hex.EncodeToString(state.Sum(nil)), nil
}

// answer appends what content says.
func answer(text []byte, q question, content Content) []byte {
	if digest, ok := content.File(q.name); ok {
		if text = append(text, 'f'); q.what == askContent {
			text = append(text, digest[:]...)
		}
		return text
	}
	names, ok := content.Folder(q.name)
	if !ok {
		return append(text, '-')
	}
	if text = append(text, 'd'); q.what == askNames {
		for _, name := range names {
			text = append(append(text, name...), 0) // no name has a zero in it
		}
	}
	return text
}

// noted is a tree that notes what it is asked.
type noted struct {
	fs.FS
	reads *Reads
}

var (
	_ fs.StatFS    = noted{}
	_ fs.ReadDirFS = noted{}
)

// Open implements fs.FS. What is opened is read.
func (n noted) Open(name string) (fs.File, error) {
	n.reads.note(askContent, name)
	return n.FS.Open(name)
}

// Stat implements fs.StatFS.
func (n noted) Stat(name string) (fs.FileInfo, error) {
	n.reads.note(askKind, name)
	return fs.Stat(n.FS, name)
}

// ReadDir implements fs.ReadDirFS.
func (n noted) ReadDir(name string) ([]fs.DirEntry, error) {
	n.reads.note(askNames, name)
	return fs.ReadDir(n.FS, name)
}
