// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Owners maps the beginnings of User-Agents to the processes that send them.
type Owners map[string]string

// Process returns whose User-Agent this is. The longest beginning decides.
func (o Owners) Process(userAgent string) (string, bool) {
	owner, longest := "", -1
	for prefix, process := range o {
		if strings.HasPrefix(userAgent, prefix) && len(prefix) > longest {
			owner, longest = process, len(prefix)
		}
	}
	return owner, longest >= 0
}

// Count is a number of equal requests.
type Count struct {
	Process string `json:"process"`
	Class   Class  `json:"class"`
	Request string `json:"request"`
	// As is the user of a write; reads are not told apart by user.
	As string `json:"as,omitempty"`
	N  int    `json:"n"`
}

// Tally adds up events. The zero Tally is not usable; see NewTally.
type Tally struct {
	owners  Owners
	counts  map[Count]int // by Count with N zero
	last    map[string]time.Time
	unknown map[string]int
}

// NewTally returns an empty tally.
func NewTally(owners Owners) *Tally {
	return &Tally{owners: owners, counts: map[Count]int{}, last: map[string]time.Time{}, unknown: map[string]int{}}
}

// Add counts an event, if it counts.
func (t *Tally) Add(e Event) {
	if !e.Counts() {
		return
	}
	process, ok := t.owners.Process(e.UserAgent)
	if !ok {
		t.unknown[fmt.Sprintf("%q as %q: %s", e.UserAgent, e.Username(), e.Request())]++
		return
	}
	c := Count{Process: process, Class: e.Class(), Request: e.Request()}
	if e.Writes() {
		c.As = e.Username()
	}
	t.counts[c]++
	if c.Class == Work && e.StageTimestamp.After(t.last[process]) {
		t.last[process] = e.StageTimestamp
	}
}

// Counts returns what was counted, sorted.
func (t *Tally) Counts() []Count {
	return sorted(t.counts)
}

// Since returns what was counted after before was taken.
func (t *Tally) Since(before []Count) []Count {
	rest := maps.Clone(t.counts)
	for _, c := range before {
		n := c.N
		c.N = 0
		rest[c] -= n
	}
	return sorted(rest)
}

func sorted(counts map[Count]int) []Count {
	var list []Count
	for c, n := range counts {
		if n == 0 {
			continue
		}
		c.N = n
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Process, b.Process), cmp.Compare(a.Class, b.Class), cmp.Compare(b.N, a.N),
			cmp.Compare(a.Request, b.Request), cmp.Compare(a.As, b.As))
	})
	return list
}

// LastWork returns when one of the processes was last seen at work.
func (t *Tally) LastWork(processes []string) time.Time {
	var last time.Time
	for _, p := range processes {
		if t.last[p].After(last) {
			last = t.last[p]
		}
	}
	return last
}

// Unattributed returns an error when a request was of nobody known.
func (t *Tally) Unattributed() error {
	if len(t.unknown) == 0 {
		return nil
	}
	const most = 5
	var n int
	var examples []string
	for _, what := range slices.Sorted(maps.Keys(t.unknown)) {
		n += t.unknown[what]
		if len(examples) < most {
			examples = append(examples, fmt.Sprintf("%d of %s", t.unknown[what], what))
		}
	}
	return fmt.Errorf("%d requests are of no process of this run, so that the counts are worthless: %s (name their User-Agents in the configuration)",
		n, strings.Join(examples, "; "))
}
