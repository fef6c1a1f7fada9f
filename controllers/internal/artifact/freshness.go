// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"sluice.dev/sluice/internal/verify"
)

// ErrReplayed is wrapped when a statement is older than one that was believed about the same source before.
var ErrReplayed = errors.New("an older statement than was believed before")

// maxSources bounds the files of a freshness. Sources come and go, and nobody tells it.
const maxSources = 50_000

// freshness remembers for each source when the newest content that was believed about it was fetched, in this process and in a
// folder across restarts. Whoever may write a source's status, or serve in the platform's place, could otherwise bring back
// any content that was ever signed for that source, with the statement that was signed for it.
type freshness struct {
	root *os.Root // nil keeps nothing across restarts

	mu     sync.Mutex
	newest map[string]time.Time // by UID
}

// mark is what is kept of a source. All but FetchedAt is for people.
type mark struct {
	Source    string    `json:"source"`
	Revision  string    `json:"revision"`
	FetchedAt time.Time `json:"fetchedAt"`
}

func newFreshness(dir string) (*freshness, error) {
	f := &freshness{newest: map[string]time.Time{}}
	if dir == "" {
		return f, nil
	}
	if err := os.MkdirAll(dir, modeDir); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	f.root = root
	files, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	for _, file := range files[min(maxSources, len(files)):] {
		_ = root.Remove(file.Name()) // one that stays takes a little room
	}
	return f, nil
}

func (f *freshness) close() error {
	if f.root == nil {
		return nil
	}
	return f.root.Close()
}

// of returns when the newest content of a source was fetched, the zero time where none was believed yet.
func (f *freshness) of(o verify.Origin) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.load(o.UID)
}

// load returns what is known of a source. A file that cannot be read counts as none: it is a second line. The caller holds f.mu.
func (f *freshness) load(uid string) time.Time {
	if at, known := f.newest[uid]; known || f.root == nil || checkFile(uid) != nil {
		return at
	}
	var m mark
	text, err := f.root.ReadFile(uid)
	if err != nil || json.Unmarshal(text, &m) != nil {
		return time.Time{}
	}
	f.newest[uid] = m.FetchedAt
	return m.FetchedAt
}

// believe notes a claim that was proven, unless a newer one was.
func (f *freshness) believe(c verify.Claim) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	uid := c.Origin.UID
	if !c.FetchedAt.After(f.load(uid)) {
		return nil
	}
	f.newest[uid] = c.FetchedAt
	if f.root == nil || checkFile(uid) != nil {
		return nil
	}
	text, err := json.Marshal(mark{Source: KeyOf(c.Origin).String(), Revision: c.Revision, FetchedAt: c.FetchedAt})
	if err != nil {
		return err
	}
	if err := f.root.WriteFile("."+uid, text, modeFile); err != nil {
		return err
	}
	return f.root.Rename("."+uid, uid)
}

// judge refuses a claim that is older than what had been believed when it was asked for.
func judge(c verify.Claim, since time.Time) error {
	if !c.FetchedAt.Before(since) {
		return nil
	}
	return fmt.Errorf("revision %q was fetched at %s, and content fetched at %s was applied already: %w: %w",
		c.Revision, c.FetchedAt.Format(time.RFC3339Nano), since.Format(time.RFC3339Nano), ErrReplayed, verify.ErrNotVerified)
}
