// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"context"
	"fmt"
	"time"
)

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
		paths = append(paths, artifactPath(k, e))
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
