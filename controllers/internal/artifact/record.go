// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/internal/fips"
)

const (
	recordFile      = "record.json"
	statementSuffix = ".dsse.json"
	// maxRecord bounds a record file when it is read back.
	maxRecord = 4 << 20
)

// record is what the store knows about one source object. Records are replaced, never changed in place.
type record struct {
	// Entries are the artifacts, oldest first. The last one is current.
	Entries []entry `json:"entries"`
	// Latest is a second name of the current artifact, "latest.tar.gz" where Flux has one.
	Latest string `json:"latest,omitempty"`
}

// entry is one artifact of a source object.
type entry struct {
	File     string            `json:"file"`
	Sum      string            `json:"sha256"`
	Size     int64             `json:"size"`
	Revision string            `json:"revision"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Updated  time.Time         `json:"updated"`
	// Superseded is when another artifact became current.
	Superseded time.Time `json:"superseded,omitzero"`
}

// current returns the last entry.
func (r record) current() (entry, bool) {
	if len(r.Entries) == 0 {
		return entry{}, false
	}
	return r.Entries[len(r.Entries)-1], true
}

// file returns the newest entry of a file name.
func (r record) file(name string) (entry, bool) {
	if r.Latest != "" && name == r.Latest {
		return r.current()
	}
	for _, e := range slices.Backward(r.Entries) {
		if e.File == name {
			return e, true
		}
	}
	return entry{}, false
}

// with returns the record after e has become current. An older entry of the same content gives way: there is one
// statement per content, and it is e's.
func (r record) with(e entry, now time.Time) record {
	next := record{Latest: r.Latest}
	for i, old := range r.Entries {
		if old.Sum == e.Sum {
			continue
		}
		if i == len(r.Entries)-1 {
			old.Superseded = now
		}
		next.Entries = append(next.Entries, old)
	}
	next.Entries = append(next.Entries, e)
	return next
}

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
}

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

// Publish makes p the current artifact of an object: the statement first, then the record, each atomically, so that an
// interruption leaves the former artifact current. Publishing what is current already renews the statement alone.
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
	if err := s.root.MkdirAll(objectPath(k), modeDir); err != nil {
		return meta.Artifact{}, fmt.Errorf("publish artifact of %q: %w", k, err)
	}
	if err := s.replace(statementPath(k, p.Blob.sum), p.Statement); err != nil {
		return meta.Artifact{}, fmt.Errorf("publish artifact of %q: %w", k, err)
	}
	e := entry{
		File: p.File, Sum: p.Blob.sum, Size: p.Blob.size, Revision: p.Revision, Metadata: maps.Clone(p.Metadata),
		Updated: s.config.Now().UTC().Truncate(time.Second),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.records[k]
	if c, ok := old.current(); ok && c.Sum == e.Sum && c.File == e.File && c.Revision == e.Revision &&
		maps.Equal(c.Metadata, e.Metadata) && old.Latest == p.Latest {
		return s.artifact(k, c), nil
	}
	next := old.with(e, s.config.Now())
	next.Latest = p.Latest
	if err := s.swap(k, next); err != nil {
		return meta.Artifact{}, fmt.Errorf("publish artifact of %q: %w", k, err)
	}
	return s.artifact(k, e), nil
}

// swap writes a record and makes it the one in use. The caller holds s.mu.
func (s *Store) swap(k Key, next record) error {
	data, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := s.replace(path.Join(objectPath(k), recordFile), data); err != nil {
		return err
	}
	old := s.records[k]
	for _, e := range next.Entries {
		s.refs[e.Sum]++
	}
	s.records[k] = next
	for _, e := range old.Entries {
		s.unref(e.Sum)
		if !slices.ContainsFunc(next.Entries, func(n entry) bool { return n.Sum == e.Sum }) {
			_ = s.discard(statementPath(k, e.Sum)) // else it goes at the next start
		}
	}
	return nil
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

// Statement returns the statement about one of an object's artifacts, by digest. It wraps ErrMissing when there is none.
func (s *Store) Statement(k Key, digest string) ([]byte, error) {
	k, err := k.checked()
	if err != nil {
		return nil, err
	}
	sum, err := parseDigest(digest)
	if err != nil {
		return nil, err
	}
	return s.readSmall(statementPath(k, sum), maxStatement)
}

func (s *Store) readSmall(name string, limit int64) ([]byte, error) {
	f, err := s.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%q: %w", name, ErrMissing)
	}
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%q: %w", name, ErrTooLarge)
	}
	return data, nil
}

// Verify checks the current artifact of an object (spec row S-15). A file that this process has hashed is looked at by
// size and time only. When the file is gone or is not what it was, the artifact is forgotten and the error wraps
// ErrMissing or ErrDigest: the source has to fetch again.
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		if s.refs[e.Sum] > 0 {
			s.sound[e.Sum] = now
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
	info, err := s.root.Lstat(blobPath(e.Sum))
	if errors.Is(err, fs.ErrNotExist) {
		return stamp{}, ErrMissing
	}
	if err != nil {
		return stamp{}, err
	}
	now := stamp{info.Size(), info.ModTime()}
	if !info.Mode().IsRegular() || info.Size() != e.Size {
		return now, ErrDigest
	}
	if hashed && known.size == now.size && known.time.Equal(now.time) {
		return now, nil
	}
	f, err := s.root.Open(blobPath(e.Sum))
	if err != nil {
		return now, err
	}
	sum, _, err := fips.Digest(s.config.Digests, crypto.SHA256, &bounded{ctx: ctx, r: f, limit: e.Size})
	if err := errors.Join(err, f.Close()); err != nil {
		return now, err
	}
	if sum != e.Sum {
		return now, ErrDigest
	}
	return now, nil
}

// forget drops damaged content from an object's record, and the file. The caller holds s.mu.
func (s *Store) forget(k Key, sum string) error {
	delete(s.sound, sum)
	// What is left was superseded and must not become current again, so the whole record goes.
	return errors.Join(s.discard(blobPath(sum)), s.swap(k, record{}))
}

// Remove forgets an object and everything kept for it (spec row S-03).
func (s *Store) Remove(k Key) error {
	k, err := k.checked()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.root.RemoveAll(objectPath(k)); err != nil {
		return fmt.Errorf("remove artifacts of %q: %w", k, err)
	}
	old := s.records[k]
	delete(s.records, k)
	for _, e := range old.Entries {
		s.unref(e.Sum)
	}
	return nil
}

// Collect removes artifacts of an object that are no longer needed and returns their paths. An artifact goes once it
// has been superseded for longer than the TTL. Unlike Flux, a younger one stays even above RetentionRecords, so that a
// burst of revisions does not take away what a consumer is about to fetch (spec row S-16); ten times RetentionRecords
// bounds that. The current artifact always stays, and a download that runs ends well.
func (s *Store) Collect(ctx context.Context, k Key) ([]string, error) {
	k, err := k.checked()
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.records[k]
	kept, removed := retain(old.Entries, s.config.Now(), s.config.RetentionTTL, 10*s.config.RetentionRecords)
	if len(removed) == 0 {
		return nil, nil
	}
	if err := s.swap(k, record{Entries: kept, Latest: old.Latest}); err != nil {
		return nil, fmt.Errorf("collect artifacts of %q: %w", k, err)
	}
	paths := make([]string, 0, len(removed))
	for _, e := range removed {
		paths = append(paths, path.Join(k.path(), e.File))
	}
	return paths, nil
}

// retain decides which entries stay. It is pure.
func retain(entries []entry, now time.Time, ttl time.Duration, limit int) (kept, removed []entry) {
	for i, e := range entries {
		last := i == len(entries)-1
		expired := now.Sub(e.Superseded) > ttl
		if !last && (expired || len(entries)-i > limit) {
			removed = append(removed, e)
			continue
		}
		kept = append(kept, e)
	}
	return kept, removed
}

// recover brings the folder into a state to start from.
func (s *Store) recover() error {
	if err := s.root.RemoveAll(tmpDir); err != nil {
		return err
	}
	for _, dir := range []string{tmpDir, blobDir, objectDir} {
		if err := s.root.MkdirAll(dir, modeDir); err != nil {
			return err
		}
	}
	if err := s.loadRecords(); err != nil {
		return err
	}
	blobs, err := fs.ReadDir(s.root.FS(), blobDir)
	if err != nil {
		return err
	}
	for _, b := range blobs {
		if s.refs[b.Name()] == 0 {
			if err := s.root.RemoveAll(path.Join(blobDir, b.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// loadRecords reads objects/<kind>/<namespace>/<name>/. A folder without a sound record is removed.
func (s *Store) loadRecords() error {
	dirs, err := fs.Glob(s.root.FS(), objectDir+"/*/*/*")
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		parts := strings.Split(dir, "/")
		k := Key{Kind: parts[1], Namespace: parts[2], Name: parts[3]}
		r, ok := s.loadRecord(k)
		if !ok {
			if err := s.root.RemoveAll(dir); err != nil {
				return err
			}
			continue
		}
		s.records[k] = r
		for _, e := range r.Entries {
			s.refs[e.Sum]++
		}
		if err := s.dropStrayStatements(dir, r); err != nil {
			return err
		}
	}
	return nil
}

// loadRecord reads one record back. What does not hold together is as good as absent: the source fetches again.
func (s *Store) loadRecord(k Key) (record, bool) {
	var r record
	data, err := s.readSmall(path.Join(objectPath(k), recordFile), maxRecord)
	if err != nil || json.NewDecoder(bytes.NewReader(data)).Decode(&r) != nil {
		return record{}, false
	}
	if c, err := k.checked(); err != nil || c != k {
		return record{}, false
	}
	for _, e := range r.Entries {
		if !isSum(e.Sum) || checkFile(e.File) != nil {
			return record{}, false
		}
	}
	current, ok := r.current()
	if !ok {
		return record{}, false
	}
	if _, err := s.root.Lstat(blobPath(current.Sum)); err != nil {
		return record{}, false
	}
	return r, true
}

func (s *Store) dropStrayStatements(dir string, r record) error {
	files, err := fs.ReadDir(s.root.FS(), dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		sum, isStatement := strings.CutSuffix(f.Name(), statementSuffix)
		if isStatement && !slices.ContainsFunc(r.Entries, func(e entry) bool { return e.Sum == sum }) {
			if err := s.discard(path.Join(dir, f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func objectPath(k Key) string { return path.Join(objectDir, k.path()) }

func statementPath(k Key, sum string) string { return path.Join(objectPath(k), sum+statementSuffix) }
