// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"sync"
	"time"
)

// DefaultMirrorBytes is what the mirrors of a process may take together.
const DefaultMirrorBytes = 4 << 30

// Mirrors keeps what was fetched of repositories in a folder, so that the next commit is fetched as a difference, also after a
// restart. The folder belongs to one process at a time. When the mirrors together take more than their budget, those go first
// that have not been used for longest. Losing one costs a fetch from nothing and no more, so what is damaged is thrown away.
type Mirrors struct {
	root   *os.Root
	budget int64

	mu    sync.Mutex
	turns map[string]*turn // of the mirrors in use, by folder
	known map[string]usage // of all mirrors
}

// turn lets one at a time use a mirror.
type turn struct {
	free  chan struct{} // holds one token
	users int           // who have it or wait for it
}

// usage is what the budget is about.
type usage struct {
	bytes   int64
	used    time.Time
	suspect bool // something in it could not be read
}

// OpenMirrors opens or creates the folder. A budget that is not positive is DefaultMirrorBytes.
func OpenMirrors(dir string, budget int64) (*Mirrors, error) {
	if budget <= 0 {
		budget = DefaultMirrorBytes
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("git mirrors: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("git mirrors: %w", err)
	}
	m := &Mirrors{root: root, budget: budget, turns: map[string]*turn{}, known: map[string]usage{}}
	if err := m.survey(); err != nil {
		return nil, errors.Join(fmt.Errorf("git mirrors: %w", err), root.Close())
	}
	return m, m.trim()
}

// Close releases the folder. What is being read stays readable.
func (m *Mirrors) Close() error { return m.root.Close() }

// survey finds what an earlier process has left, without opening it.
func (m *Mirrors) survey() error {
	folders, err := fs.ReadDir(m.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, folder := range folders {
		info, err := m.root.Stat(path.Join(folder.Name(), stateFile))
		if errors.Is(err, fs.ErrNotExist) {
			err = m.root.RemoveAll(folder.Name())
			if err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		bytes, err := m.weigh(folder.Name())
		if err != nil {
			return err
		}
		m.known[folder.Name()] = usage{bytes: bytes, used: info.ModTime()}
	}
	return nil
}

// weigh sums up the files of a mirror.
func (m *Mirrors) weigh(folder string) (sum int64, err error) {
	files, err := fs.ReadDir(m.root.FS(), folder)
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			return 0, err
		}
		sum += info.Size()
	}
	return sum, nil
}

// mirrorFolder names the mirror of a repository for those who may share it.
func mirrorFolder(owner, url string) string {
	sum := sha256.Sum256([]byte(owner + "\x00" + url))
	return hex.EncodeToString(sum[:])
}

// acquire waits until nobody else uses a mirror. Release it.
func (m *Mirrors) acquire(ctx context.Context, folder string) (*mirror, error) {
	m.mu.Lock()
	t := m.turns[folder]
	if t == nil {
		t = &turn{free: make(chan struct{}, 1)}
		t.free <- struct{}{}
		m.turns[folder] = t
	}
	t.users++
	m.mu.Unlock()
	select {
	case <-t.free:
	case <-ctx.Done():
		m.leave(folder, t)
		return nil, ctx.Err()
	}
	opened := &mirror{set: m, folder: folder, turn: t}
	if err := opened.load(); err != nil {
		opened.release()
		return nil, err
	}
	return opened, nil
}

// leave is called by all who have come for a turn.
func (m *Mirrors) leave(folder string, t *turn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t.users--; t.users == 0 {
		delete(m.turns, folder)
	}
}

// note keeps how large a mirror is, and that it was used now.
func (m *Mirrors) note(folder string, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known[folder] = usage{bytes: bytes, used: time.Now()}
}

// distrust has a mirror thrown away before it is used again.
func (m *Mirrors) distrust(folder string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.known[folder]
	u.suspect = true
	m.known[folder] = u
}

func (m *Mirrors) isSuspect(folder string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known[folder].suspect
}

// trim removes mirrors until the rest are within the budget, those that are in use excepted.
func (m *Mirrors) trim() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var sum int64
	var idle []string
	for folder, u := range m.known {
		sum += u.bytes
		if m.turns[folder] == nil {
			idle = append(idle, folder)
		}
	}
	slices.SortFunc(idle, func(a, b string) int { return m.known[a].used.Compare(m.known[b].used) })
	for _, folder := range idle {
		if sum <= m.budget {
			break
		}
		if err := m.root.RemoveAll(folder); err != nil {
			return fmt.Errorf("git mirrors: %w", err)
		}
		sum -= m.known[folder].bytes
		delete(m.known, folder)
	}
	return nil
}

// bytes is the size of a mirror as last seen.
func (m *Mirrors) bytes(folder string) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known[folder].bytes
}
