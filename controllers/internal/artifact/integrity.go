// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"time"

	"sluice.dev/sluice/internal/fips"
)

// Verify checks the current artifact of an object and its statement (spec row S-15). A file that this process has hashed is looked at
// by size and time only, unless somebody doubts it. When the file is gone or is not what it was, the artifact is forgotten
// and the error wraps ErrMissing or ErrDigest: the source has to fetch again.
func (s *Store) Verify(ctx context.Context, k Key) error {
	k, err := k.checked()
	if err != nil {
		return err
	}
	s.mu.Lock()
	e, ok := s.records[k].current()
	known, hashed := s.sound[e.Sum]
	s.mu.Unlock()
	if !ok {
		return fmt.Errorf("artifact of %q: %w", k, ErrMissing)
	}
	now, err := s.inspect(ctx, e, known, hashed)
	if err == nil {
		_, err = s.statement(k, e)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		if s.refs[e.Sum] > 0 {
			s.sound[e.Sum] = now
			delete(s.doubtful, e.Sum)
		}
		return nil
	}
	if errors.Is(err, ErrMissing) || errors.Is(err, ErrDigest) {
		err = errors.Join(err, s.forget(k, e.Sum))
	}
	return fmt.Errorf("artifact of %q: %w", k, err)
}

// inspect compares a blob with its entry, by looks if it was hashed before and looks the same, else by its digest.
func (s *Store) inspect(ctx context.Context, e entry, known stamp, hashed bool) (stamp, error) {
	now, err := s.look(e)
	if err != nil {
		return now, err
	}
	if hashed && known.size == now.size && known.time.Equal(now.time) {
		return now, nil
	}
	f, err := s.disk.root.Open(blobPath(e.Sum))
	if err != nil {
		return now, err
	}
	return now, errors.Join(s.compare(&bounded{ctx: ctx, r: f, limit: e.Size}, e), f.Close())
}

// statement reads the statement of an entry. Its name says what is in it, so that damage is found wherever it is read.
func (s *Store) statement(k Key, e entry) ([]byte, error) {
	data, err := s.disk.readSmall(statementPath(k, e.Statement), maxStatement)
	if err != nil {
		return nil, err
	}
	name, err := s.statementName(e.Sum, data)
	if err != nil {
		return nil, err
	}
	if name != e.Statement {
		return nil, fmt.Errorf("its statement: %w", ErrDigest)
	}
	return data, nil
}

// look compares a file with its entry without reading it.
func (s *Store) look(e entry) (stamp, error) {
	info, err := s.disk.root.Lstat(blobPath(e.Sum))
	if errors.Is(err, fs.ErrNotExist) {
		return stamp{}, fmt.Errorf("its file is gone: %w", ErrMissing)
	}
	if err != nil {
		return stamp{}, err
	}
	now := stamp{info.Size(), info.ModTime()}
	if !info.Mode().IsRegular() || info.Size() != e.Size {
		return now, fmt.Errorf("its file has %d bytes of %d: %w", info.Size(), e.Size, ErrDigest)
	}
	return now, nil
}

// compare reads content to its end.
func (s *Store) compare(content io.Reader, e entry) error {
	sum, _, err := fips.Digest(s.config.Digests, crypto.SHA256, content)
	if err != nil {
		return err
	}
	if sum != e.Sum {
		return ErrDigest
	}
	return nil
}

// forget drops damaged content from an object's record, and the file. The caller holds s.mu.
func (s *Store) forget(k Key, sum string) error {
	delete(s.sound, sum)
	// What is left was superseded and must not become current again, so the whole record goes.
	return errors.Join(s.disk.discard(blobPath(sum)), s.swap(k, record{}))
}

// doubt takes content out of service until it is hashed or written again, and tells the sources whose current artifact it is, once. A
// superseded artifact of that content is dropped: nobody would mend it.
func (s *Store) doubt(sum string, why error) {
	for _, k := range s.suspend(sum) {
		s.config.Damaged(k, fmt.Errorf("artifact of %q: %w", k, why))
	}
}

// suspend does what doubt says, and returns whom to tell.
func (s *Store) suspend(sum string) (tell []Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refs[sum] == 0 {
		return nil
	}
	if _, known := s.doubtful[sum]; known {
		return nil
	}
	s.doubtful[sum] = s.config.Now()
	delete(s.sound, sum)
	for _, k := range s.keys() {
		r := s.records[k]
		if next := r.without(func(e entry) bool { return e.Sum == sum }); len(next.Entries) < len(r.Entries) {
			_ = s.swap(k, next) // what stays is not served
		}
		if c, ok := r.current(); ok && c.Sum == sum {
			tell = append(tell, k)
		}
	}
	return tell
}

// keys are the objects with a record, sorted. The caller holds s.mu.
func (s *Store) keys() []Key {
	return slices.SortedFunc(maps.Keys(s.records), func(a, b Key) int {
		if a.path() < b.path() {
			return -1
		}
		return 1
	})
}

// Scrubbed is what a scrub has seen.
type Scrubbed struct {
	// Files and Bytes were read, and Damaged of the files are not what they were.
	Files, Damaged int
	Bytes          int64
}

// Scrub reads everything in the store again, at no more than so many bytes a second, and doubts what is damaged or gone. It
// ends with ctx.
func (s *Store) Scrub(ctx context.Context, bytesPerSecond int64) (done Scrubbed, err error) {
	done.Damaged = s.scrubStatements()
	for _, e := range s.entries() {
		if ctx.Err() != nil {
			return done, context.Cause(ctx)
		}
		release, ok := s.hold(e.Sum)
		if !ok {
			continue // gone meanwhile, or doubtful already
		}
		err := s.scrub(ctx, e, bytesPerSecond)
		release()
		if ctx.Err() != nil {
			return done, context.Cause(ctx)
		}
		done.Files++
		done.Bytes += e.Size
		if err != nil {
			done.Damaged++
			s.doubt(e.Sum, err)
		}
	}
	return done, nil
}

// scrubStatements reads all statements, tells of those that are damaged or gone, and counts them.
func (s *Store) scrubStatements() (damaged int) {
	for _, k := range s.Keys() {
		s.mu.Lock()
		e, ok := s.records[k].current()
		s.mu.Unlock()
		if !ok {
			continue
		}
		if _, err := s.statement(k, e); err != nil && s.is(k, e) {
			damaged++
			s.config.Damaged(k, fmt.Errorf("artifact of %q: %w", k, err))
		}
	}
	return damaged
}

// is reports whether an entry is still the current one of an object.
func (s *Store) is(k Key, e entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.records[k].current()
	return ok && c.Sum == e.Sum && c.Statement == e.Statement
}

func (s *Store) scrub(ctx context.Context, e entry, bytesPerSecond int64) error {
	if _, err := s.look(e); err != nil {
		return err
	}
	f, err := s.disk.root.Open(blobPath(e.Sum))
	if err != nil {
		return err
	}
	return errors.Join(s.compare(&paced{r: &bounded{ctx: ctx, r: f, limit: e.Size}, ctx: ctx, perSecond: bytesPerSecond}, e), f.Close())
}

// entries are all entries, one for each content.
func (s *Store) entries() []entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[string]bool{}
	var out []entry
	for _, k := range s.keys() {
		for _, e := range s.records[k].Entries {
			if !seen[e.Sum] {
				seen[e.Sum] = true
				out = append(out, e)
			}
		}
	}
	return out
}

// paced reads no faster than it may.
type paced struct {
	ctx       context.Context //nolint:containedctx // a reader has no other way to learn that its caller gave up
	r         io.Reader
	perSecond int64
	// owed is how long the bytes read should have taken beyond the pauses so far.
	owed time.Duration
}

// pause is the shortest pause worth making.
const pause = 10 * time.Millisecond

// Read implements io.Reader.
func (p *paced) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if p.perSecond <= 0 {
		return n, err
	}
	if p.owed += time.Duration(int64(n) * int64(time.Second) / p.perSecond); p.owed >= pause {
		select {
		case <-time.After(p.owed):
			p.owed = 0
		case <-p.ctx.Done():
			return n, context.Cause(p.ctx)
		}
	}
	return n, err
}
