// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"
)

const (
	// checkFor is how long the answer of a check holds: probes of several askers cost one look.
	checkFor = 2 * time.Second
	// lostFor is how long a source has to fetch again what is gone before the store forgets it. Until then the store is not
	// ready; one source whose origin is gone too must not keep all the others' artifacts off the network.
	lostFor = time.Minute
)

// checked is the last answer of a check.
type checked struct {
	mu   sync.Mutex
	at   time.Time
	last error
}

// Check returns an error while the store cannot do its work: its folder cannot be read or written, or an artifact that it has
// published is not there. Of the latter, the sources are told.
func (s *Store) Check() error {
	s.check.mu.Lock()
	defer s.check.mu.Unlock()
	if now := s.config.Now(); s.check.at.IsZero() || now.Sub(s.check.at) >= checkFor || now.Before(s.check.at) {
		s.check.last, s.check.at = s.examine(), now
	}
	if s.check.last == nil {
		return s.config.Ready()
	}
	return s.check.last
}

func (s *Store) examine() error {
	if err := s.tryWriting(); err != nil {
		return fmt.Errorf("artifact store: %w", err)
	}
	if _, err := fs.Stat(s.disk.root.FS(), blobDir); err != nil {
		return fmt.Errorf("artifact store: %w", err)
	}
	if _, err := fs.Stat(s.disk.root.FS(), objectDir); err != nil {
		return fmt.Errorf("artifact store: %w", err)
	}
	lost, all := s.lost()
	if len(lost) == 0 {
		return nil
	}
	for sum, err := range lost {
		s.doubt(sum, err)
	}
	s.forgetLost()
	for _, err := range lost {
		return fmt.Errorf("artifact store: %d of %d files are missing or damaged, and are fetched again; of one of them: %w", len(lost), all, err)
	}
	return nil
}

// tryWriting writes a byte and removes it.
func (s *Store) tryWriting() error {
	name := s.disk.temporary()
	err := s.disk.create(name, func(w io.Writer) error {
		_, err := w.Write([]byte("x"))
		return err
	})
	return errors.Join(err, s.disk.discard(name))
}

// lost returns the current artifacts whose files are not there, by digest, and how many files there should be.
func (s *Store) lost() (lost map[string]error, all int) {
	s.mu.Lock()
	wanted := map[string]entry{}
	for _, r := range s.records {
		if e, ok := r.current(); ok {
			wanted[e.Sum] = e
		}
	}
	s.mu.Unlock()
	lost = map[string]error{}
	for sum, e := range wanted {
		if _, err := s.look(e); err != nil {
			lost[sum] = err
		}
	}
	return lost, len(wanted)
}

// forgetLost drops the records of what has been doubtful, and is not there, for too long.
func (s *Store) forgetLost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.config.Now()
	for _, k := range s.keys() {
		e, ok := s.records[k].current()
		since, doubtful := s.doubtful[e.Sum]
		if !ok || !doubtful || now.Sub(since) < lostFor {
			continue
		}
		if _, err := s.look(e); err != nil {
			_ = s.forget(k, e.Sum) // the next check tries again
		}
	}
}
