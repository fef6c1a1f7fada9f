// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"time"
)

// mirror is one repository's folder, in use by one caller. Its packs are files that never change; what counts of them is what
// the state file says, and that is replaced in one step, so an end at any moment leaves the mirror as it was before or after.
type mirror struct {
	set    *Mirrors
	folder string
	turn   *turn
	state  mirrorState
}

// The files of a mirror beside its packs.
const (
	stateFile    = "state"
	incomingFile = "incoming"
	writingFile  = "writing"
)

// mirrorState is the state file.
type mirrorState struct {
	Version int          `json:"version"`
	Serial  int          `json:"serial"` // of the newest pack
	Packs   []packState  `json:"packs"`  // the oldest first
	Heads   []mirrorHead `json:"heads"`  // the oldest first
	// Unfiltered is set when the server did not hand out a part of a commit though it had said so.
	Unfiltered bool `json:"unfiltered,omitempty"`
}

// packState is one pack: a file of some bytes, and beside it the table with some digest.
type packState struct {
	Serial int    `json:"serial"`
	Bytes  int64  `json:"bytes"`
	Table  string `json:"table"`
}

// mirrorHead is a commit of which every directory is held, and every file unless it is partial.
type mirrorHead struct {
	Commit string `json:"commit"`
	// Whole is set when its history is held too, which is only if the server cannot do without.
	Whole bool `json:"whole,omitempty"`
	// Partial is set when files outside the directories of a sparse checkout may be missing.
	Partial bool `json:"partial,omitempty"`
}

const (
	stateVersion = 1
	// maxPacks and the growth below bound how much a mirror gathers before it is fetched anew.
	maxPacks   = 64
	packGrowth = 32 << 20
	// maxHeads bounds what the server is told that we have.
	maxHeads = 32
	maxState = 1 << 20
)

// worn reports whether a mirror has gathered so much that it is better to begin again.
func (s mirrorState) worn() bool {
	if len(s.Packs) == 0 {
		return false
	}
	var sum, largest int64 // a whole commit may have come after a part of one
	for _, p := range s.Packs {
		sum, largest = sum+p.Bytes, max(largest, p.Bytes)
	}
	return len(s.Packs) >= maxPacks || sum > 2*largest+packGrowth
}

// format is how the objects are named that are held. All heads are alike: a mirror is begun anew for a head of another format.
func (s mirrorState) format() objectFormat {
	if len(s.Heads) == 0 {
		return sha1Format
	}
	return formatOf(s.Heads[0].Commit)
}

// lacks reports whether files of a commit may be missing.
func (s mirrorState) lacks(commit string) bool {
	return !slices.ContainsFunc(s.Heads, func(h mirrorHead) bool { return h.Commit == commit && !h.Partial })
}

// holds reports whether a commit is there.
func (s mirrorState) holds(commit string) bool {
	return slices.ContainsFunc(s.Heads, func(h mirrorHead) bool { return h.Commit == commit })
}

// release lets the next one in.
func (m *mirror) release() {
	m.turn.free <- struct{}{}
	m.set.leave(m.folder, m.turn)
}

func (m *mirror) file(name string) string { return path.Join(m.folder, name) }

func packFile(serial int) string  { return strconv.Itoa(serial) + ".pack" }
func tableFile(serial int) string { return strconv.Itoa(serial) + ".table" }

// load reads the state. What cannot be read is as good as nothing.
func (m *mirror) load() error {
	if m.set.isSuspect(m.folder) {
		return m.reset()
	}
	data, err := m.read(stateFile, maxState)
	if err == nil {
		err = json.Unmarshal(data, &m.state)
	}
	if err != nil || m.state.Version != stateVersion {
		return m.reset()
	}
	return nil
}

// read returns the bytes of a small file.
func (m *mirror) read(name string, limit int64) ([]byte, error) {
	f, err := m.set.root.Open(m.file(name))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit))
	return data, errors.Join(err, f.Close())
}

// reset throws away what the mirror has.
func (m *mirror) reset() error {
	m.state = mirrorState{Version: stateVersion}
	err := m.set.root.RemoveAll(m.folder)
	if err == nil {
		err = m.set.root.Mkdir(m.folder, 0o700)
	}
	if err != nil {
		return fmt.Errorf("git mirror: %w", err)
	}
	m.set.note(m.folder, 0)
	return nil
}

// open returns what is held, and an error if that is damaged. The caller closes it.
func (m *mirror) open(ctx context.Context, limits Limits) (*objects, error) {
	held := newObjects(ctx, limits)
	for _, s := range m.state.Packs {
		p, err := m.openPack(s, limits)
		if err != nil {
			return nil, errors.Join(err, held.close())
		}
		held.packs = append(held.packs, p)
	}
	return held, nil
}

func (m *mirror) openPack(s packState, limits Limits) (*pack, error) {
	info, err := m.set.root.Stat(m.file(tableFile(s.Serial)))
	if err != nil {
		return nil, err
	}
	t := table{format: m.state.format()}
	if t.rows, err = m.read(tableFile(s.Serial), info.Size()); err != nil {
		return nil, err
	}
	if t.digest() != s.Table {
		return nil, errTable
	}
	file, err := m.set.root.Open(m.file(packFile(s.Serial)))
	if err != nil {
		return nil, err
	}
	info, err = file.Stat()
	if err == nil && info.Size() != s.Bytes {
		err = errTable
	}
	if err == nil {
		err = t.check(s.Bytes, limits)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &pack{file: file, table: t, size: s.Bytes}, nil
}

// digest is what the state file says of a table.
func (t table) digest() string {
	sum := sha256.Sum256(t.rows)
	return hex.EncodeToString(sum[:])
}

// incoming returns the file for a pack that is about to come.
func (m *mirror) incoming() (*os.File, error) {
	m.drop() // whoever reads a pack that was not kept goes on reading it
	f, err := m.set.root.OpenFile(m.file(incomingFile), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("git mirror: %w", err)
	}
	return f, nil
}

// drop removes a pack that came and is not to be kept.
func (m *mirror) drop() {
	// If it cannot be removed now, it cannot be created anew either, and that is told.
	_ = m.set.root.Remove(m.file(incomingFile))
}

// keep makes the pack that came part of the mirror, or all there is of it if it came from nothing. First the files are made
// durable, then the state that names them.
func (m *mirror) keep(p *pack, head mirrorHead, fromNothing bool) error {
	next := m.state
	next.Serial++
	next.Packs, next.Heads = slices.Clone(next.Packs), slices.Clone(next.Heads)
	if fromNothing {
		next.Packs, next.Heads = nil, nil
	}
	next.Packs = append(next.Packs, packState{Serial: next.Serial, Bytes: p.size, Table: p.table.digest()})
	next.addHead(head)
	err := p.file.Sync()
	if err == nil {
		err = m.write(tableFile(next.Serial), p.table.rows)
	}
	if err == nil {
		err = m.set.root.Rename(m.file(incomingFile), m.file(packFile(next.Serial)))
	}
	if err != nil {
		return fmt.Errorf("git mirror: %w", err)
	}
	return m.replaceState(next)
}

// addHead adds the newest head.
func (s *mirrorState) addHead(head mirrorHead) {
	s.Heads = slices.DeleteFunc(s.Heads, func(h mirrorHead) bool { return h.Commit == head.Commit })
	s.Heads = append(s.Heads, head)
	s.Heads = s.Heads[max(0, len(s.Heads)-maxHeads):]
}

// confirm adds a head that needed no pack, or notes that a known one was of use.
func (m *mirror) confirm(head mirrorHead) error {
	if m.state.holds(head.Commit) && m.state.lacks(head.Commit) == head.Partial {
		m.set.note(m.folder, m.set.bytes(m.folder))
		now := time.Now()
		return m.set.root.Chtimes(m.file(stateFile), now, now)
	}
	next := m.state
	next.Heads = slices.Clone(next.Heads)
	next.addHead(head)
	return m.replaceState(next)
}

// replaceState writes the state, removes the files that it does not name, and keeps the mirrors within their budget.
func (m *mirror) replaceState(next mirrorState) error {
	data, err := json.Marshal(next)
	if err == nil {
		err = m.write(stateFile, data)
	}
	if err == nil {
		err = m.sync()
	}
	if err != nil {
		return fmt.Errorf("git mirror: %w", err)
	}
	m.state = next
	m.sweep()
	size, err := m.set.weigh(m.folder)
	if err != nil {
		return fmt.Errorf("git mirror: %w", err)
	}
	m.set.note(m.folder, size)
	return m.set.trim()
}

// write replaces a file durably.
func (m *mirror) write(name string, data []byte) error {
	f, err := m.set.root.OpenFile(m.file(writingFile), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, bytes.NewReader(data))
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return m.set.root.Rename(m.file(writingFile), m.file(name))
}

// sync makes the renames durable.
func (m *mirror) sync() error {
	d, err := m.set.root.Open(m.folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// sweep removes files that the state does not name. Whoever reads one goes on reading it, and what cannot be removed now is
// removed the next time.
func (m *mirror) sweep() {
	files, err := fs.ReadDir(m.set.root.FS(), m.folder)
	if err != nil {
		return
	}
	for _, f := range files {
		named := f.Name() == stateFile || slices.ContainsFunc(m.state.Packs, func(p packState) bool {
			return f.Name() == packFile(p.Serial) || f.Name() == tableFile(p.Serial)
		})
		if !named {
			_ = m.set.root.Remove(m.file(f.Name()))
		}
	}
}
