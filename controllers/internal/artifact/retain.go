// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"context"
	"fmt"
)

// patience is how many times the TTL a superseded artifact stays that consumers go on asking for.
const patience = 10

// Collect removes artifacts of an object that are no longer needed and returns their paths. An artifact is needed while it is
// current; while it is young, which is until the TTL has passed since it was superseded or somebody asked for it last, but
// ten times the TTL at most; and while it is being downloaded. Unlike Flux, a young one stays even above RetentionRecords,
// so that a burst of revisions does not take away what a consumer is about to fetch (spec row S-16); ten times
// RetentionRecords bounds that. The file goes with the last artifact of any object that has this content.
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
	now, ttl := s.config.Now(), s.config.RetentionTTL
	kept, removed := retain(old.Entries, 10*s.config.RetentionRecords, func(e entry) bool {
		asked := s.asked[e.Sum]
		return now.Sub(e.Superseded) <= ttl || now.Sub(asked) <= ttl && now.Sub(e.Superseded) <= patience*ttl
	})
	if len(removed) == 0 {
		return nil, nil
	}
	if err := s.swap(k, record{Entries: kept, Latest: old.Latest}); err != nil {
		return nil, fmt.Errorf("collect artifacts of %q: %w", k, err)
	}
	paths := make([]string, 0, len(removed))
	for _, e := range removed {
		paths = append(paths, artifactPath(k, e))
	}
	return paths, nil
}

// retain decides which entries stay: the last one, and of the limit newest those that are young. It is pure.
func retain(entries []entry, limit int, young func(entry) bool) (kept, removed []entry) {
	for i, e := range entries {
		last := i == len(entries)-1
		if !last && (!young(e) || len(entries)-i > limit) {
			removed = append(removed, e)
			continue
		}
		kept = append(kept, e)
	}
	return kept, removed
}

// Usage is what is in the store.
type Usage struct {
	// Objects have an artifact, and Files hold the content of all of them.
	Objects, Files int
	// Current and Superseded are the bytes of content that is some object's current artifact, and of all other.
	Current, Superseded int64
	// Doubtful of the files are not served.
	Doubtful int
}

// Usage adds up what is in the store. Content of several objects counts once.
func (s *Store) Usage() Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := Usage{Objects: len(s.records), Doubtful: len(s.doubtful)}
	current, superseded := map[string]int64{}, map[string]int64{}
	for _, r := range s.records {
		for i, e := range r.Entries {
			if i == len(r.Entries)-1 {
				current[e.Sum] = e.Size
			} else {
				superseded[e.Sum] = e.Size
			}
		}
	}
	for sum, size := range current {
		delete(superseded, sum)
		u.Current += size
	}
	for _, size := range superseded {
		u.Superseded += size
	}
	u.Files = len(current) + len(superseded)
	return u
}
