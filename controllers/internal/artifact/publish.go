// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"time"

	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/internal/fips"
)

// Publication is what becomes a source's current artifact.
type Publication struct {
	// Blob is the content.
	Blob *Blob
	// File is its name at Flux's path, for example "<commit>.tar.gz".
	File string
	// Latest is a second name for whatever is current, "latest.tar.gz" for OCIRepository. Empty for none.
	Latest string
	// Revision and Metadata are those of status.artifact.
	Revision string
	Metadata map[string]string
	// Statement is the signed statement about the blob, a DSSE envelope. Without it nobody could use the artifact.
	Statement []byte
	// Updated is when it became current elsewhere; the zero time means now.
	Updated time.Time
	// While, where it is set, is asked with the store held: a publication that comes after it has said no is refused with ErrLate.
	While func() bool
}

// ErrLate is returned for a publication whose time is over.
var ErrLate = errors.New("somebody else publishes now")

func (p Publication) validate() error {
	switch {
	case p.Blob == nil || p.Blob.released.Load():
		return errors.New("the content was released")
	case p.Revision == "":
		return errors.New("the revision is empty")
	case len(p.Statement) == 0 || len(p.Statement) > maxStatement:
		return errors.New("the statement is missing or too long")
	case p.Latest != "" && checkFile(p.Latest) != nil:
		return checkFile(p.Latest)
	}
	return checkFile(p.File)
}

// Publish makes p the current artifact of an object: the statement first, then the record that names it, each atomically, so
// that an interruption or a full disk leaves the former artifact current, with its own statement. Publishing what is current
// already renews the statement alone.
func (s *Store) Publish(ctx context.Context, k Key, p Publication) (meta.Artifact, error) {
	k, err := k.checked()
	if err != nil {
		return meta.Artifact{}, fmt.Errorf("publish: %w", err)
	}
	if err := p.validate(); err != nil {
		return meta.Artifact{}, fmt.Errorf("publish artifact of %q: %w", k, err)
	}
	if ctx.Err() != nil {
		return meta.Artifact{}, context.Cause(ctx)
	}
	e := entry{
		File: p.File, Sum: p.Blob.sum, Size: p.Blob.size, Revision: p.Revision, Metadata: maps.Clone(p.Metadata),
		Updated: s.config.Now().UTC().Truncate(time.Second),
	}
	if !p.Updated.IsZero() {
		e.Updated = p.Updated.UTC()
	}
	if e.Statement, err = s.statementName(e.Sum, p.Statement); err != nil {
		return meta.Artifact{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.While != nil && !p.While() {
		return meta.Artifact{}, fmt.Errorf("publish artifact of %q: %w", k, ErrLate)
	}
	old := s.records[k]
	next := old.with(e, s.config.Now())
	if c, ok := old.current(); ok && c.same(e) {
		e.Updated = c.Updated
		next.Entries[len(next.Entries)-1] = e
	}
	next.Latest = p.Latest
	if err := s.publish(k, next, e.Statement, p.Statement); err != nil {
		return meta.Artifact{}, fmt.Errorf("publish artifact of %q: %w", k, err)
	}
	return s.artifact(k, e), nil
}

// statementName is the file of a statement: by content, and by what the statement says.
func (s *Store) statementName(sum string, statement []byte) (string, error) {
	of, _, err := fips.Digest(s.config.Digests, crypto.SHA256, bytes.NewReader(statement))
	if err != nil {
		return "", err
	}
	return sum + "-" + of[:16] + statementSuffix, nil
}

// publish writes a statement and the record that names it. What fails leaves nothing behind. The caller holds s.mu.
func (s *Store) publish(k Key, next record, name string, statement []byte) error {
	old, known := s.records[k]
	err := s.disk.mkdirs(objectPath(k))
	if err == nil && !old.names(name) {
		err = s.disk.replace(statementPath(k, name), statement)
	}
	if err == nil {
		err = s.swap(k, next)
	}
	switch {
	case err == nil:
		return nil
	case !known:
		return errors.Join(err, s.disk.root.RemoveAll(objectPath(k)))
	case !old.names(name):
		return errors.Join(err, s.disk.discard(statementPath(k, name)))
	}
	return err
}

// swap writes a record and makes it the one in use; one without entries is removed with its object. The caller holds s.mu.
func (s *Store) swap(k Key, next record) error {
	old := s.records[k]
	if err := s.write(k, old, next); err != nil {
		return err
	}
	for _, e := range next.Entries {
		s.refs[e.Sum]++
	}
	s.records[k] = next
	if len(next.Entries) == 0 {
		delete(s.records, k)
	}
	for _, e := range old.Entries {
		s.unref(e.Sum)
		if !next.names(e.Statement) {
			_ = s.disk.discard(statementPath(k, e.Statement)) // else it goes at the next start
		}
	}
	return nil
}

// write puts a record on the disk. Where that fails after the file has its name, the former one is put back: what this process
// uses and what the next one finds is the same.
func (s *Store) write(k Key, old, next record) error {
	if len(next.Entries) == 0 {
		return s.disk.root.RemoveAll(objectPath(k))
	}
	data, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err = s.disk.replace(recordPath(k), data); err == nil {
		return nil
	}
	if len(old.Entries) == 0 {
		return errors.Join(err, s.disk.discard(recordPath(k)))
	}
	if data, again := json.Marshal(old); again == nil {
		_ = s.disk.replace(recordPath(k), data) // it is what is there already, unless the failure came late
	}
	return err
}

// Current returns the artifact that was published last, with its URL by today's advertised address.
func (s *Store) Current(k Key) (meta.Artifact, bool) {
	k, err := k.checked()
	if err != nil {
		return meta.Artifact{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.records[k].current()
	if !ok {
		return meta.Artifact{}, false
	}
	return s.artifact(k, e), true
}

// Statement returns the newest statement about one of an object's artifacts, by digest. It wraps ErrMissing when there is none.
func (s *Store) Statement(k Key, digest string) ([]byte, error) {
	k, err := k.checked()
	if err != nil {
		return nil, err
	}
	sum, err := parseDigest(digest)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	e, ok := s.records[k].content(sum, "")
	s.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("statement about %q of %q: %w", digest, k, ErrMissing)
	}
	return s.statement(k, e)
}

// Remove forgets an object and everything kept for it (spec row S-03).
func (s *Store) Remove(k Key) error {
	k, err := k.checked()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.swap(k, record{}); err != nil {
		return fmt.Errorf("remove artifacts of %q: %w", k, err)
	}
	return nil
}

// artifactPath is Flux's path of an entry.
func artifactPath(k Key, e entry) string { return path.Join(k.path(), e.File) }
