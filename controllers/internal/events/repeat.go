// SPDX-License-Identifier: Apache-2.0

package events

import (
	"encoding/json"
	"hash/maphash"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// maxRemembered bounds the memory of what was said; the oldest is forgotten first, which at worst repeats an event.
const maxRemembered = 8192

// repeats remembers what was said lately about which object. It is not safe for concurrent use.
type repeats struct {
	after time.Duration
	seed  maphash.Seed
	said  map[subject]map[uint64]struct{}
	order []utterance // by time, oldest first
}

// subject is the object spoken about: by uid, and by name for an object that has none yet.
type subject struct {
	uid             types.UID
	kind, ns, named string
}

type utterance struct {
	about subject
	sum   uint64
	until time.Time
}

func newRepeats(after time.Duration) *repeats {
	return &repeats{after: after, seed: maphash.MakeSeed(), said: make(map[subject]map[uint64]struct{})}
}

// heard reports whether the record says what was said less than r.after ago, and remembers it if not.
func (r *repeats) heard(rec record, now time.Time) bool {
	r.expire(now)
	about := subject{uid: rec.object.UID, kind: rec.object.Kind, ns: rec.object.Namespace, named: rec.object.Name}
	if rec.Resolves {
		delete(r.said, about)
	}
	sum := r.sum(rec.Event)
	if _, ok := r.said[about][sum]; ok {
		return true
	}
	if r.said[about] == nil {
		r.said[about] = make(map[uint64]struct{})
	}
	r.said[about][sum] = struct{}{}
	r.order = append(r.order, utterance{about: about, sum: sum, until: now.Add(r.after)})
	return false
}

// expire forgets what is too old, or too much.
func (r *repeats) expire(now time.Time) {
	drop := max(len(r.order)-maxRemembered+1, 0)
	for drop < len(r.order) && !now.Before(r.order[drop].until) {
		drop++
	}
	for _, u := range r.order[:drop] {
		delete(r.said[u.about], u.sum)
		if len(r.said[u.about]) == 0 {
			delete(r.said, u.about)
		}
	}
	clear(r.order[:drop]) // let the names go
	r.order = r.order[drop:]
}

// sum tells events apart. It is no security: a seeded 64-bit hash, so that messages need not be kept.
func (r *repeats) sum(e Event) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	// An array of strings and a map with sorted keys always encode, and no two events to the same bytes.
	_ = json.NewEncoder(&h).Encode([]any{e.Severity, e.Reason, e.Message, e.Metadata})
	return h.Sum64()
}
