// SPDX-License-Identifier: Apache-2.0

package events

import (
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestRepeats(t *testing.T) {
	failure := Event{Severity: Error, Reason: "BuildFailed", Message: "m"}
	type said struct {
		about string
		event Event
		after time.Duration // since the one before
		heard bool
	}
	tests := map[string][]said{
		"the same again is heard, until it is old": {
			{"a", failure, 0, false},
			{"a", failure, time.Minute, true},
			{"a", failure, 3 * time.Minute, true},
			{"a", failure, time.Minute, false},
		},
		"another object is another matter": {{"a", failure, 0, false}, {"b", failure, 0, false}},
		"other words are news": {
			{"a", failure, 0, false}, {"a", Event{Severity: Error, Reason: "BuildFailed", Message: "n"}, 0, false}, {"a", failure, 0, true},
		},
		"other metadata is news": {
			{"a", failure, 0, false},
			{"a", Event{Severity: Error, Reason: "BuildFailed", Message: "m", Metadata: map[string]string{"revision": "1"}}, 0, false},
		},
		"a failure after a recovery is news": {
			{"a", failure, 0, false},
			{"b", failure, 0, false},
			{"a", Event{Reason: "Succeeded", Resolves: true}, 0, false},
			{"a", failure, 0, false},
			{"b", failure, 0, true},
		},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			r, now := newRepeats(5*time.Minute), time.Unix(0, 0)
			for i, s := range steps {
				now = now.Add(s.after)
				got := r.heard(record{Event: s.event, object: corev1.ObjectReference{Kind: "K", Name: s.about}}, now)
				if got != s.heard {
					t.Errorf("step %d: heard = %v, want %v", i, got, s.heard)
				}
			}
		})
	}
}

func TestRepeatsAreBounded(t *testing.T) {
	r, now := newRepeats(time.Hour), time.Unix(0, 0)
	for i := range 2 * maxRemembered {
		r.heard(record{Event: Event{Message: strconv.Itoa(i)}, object: corev1.ObjectReference{Name: strconv.Itoa(i % 100)}}, now)
	}
	total := 0
	for _, sums := range r.said {
		total += len(sums)
	}
	if total > maxRemembered || len(r.order) > maxRemembered {
		t.Errorf("%d sums and %d utterances are remembered, want at most %d", total, len(r.order), maxRemembered)
	}
}
