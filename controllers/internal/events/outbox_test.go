// SPDX-License-Identifier: Apache-2.0

package events

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func rec(message string) record { return record{Event: Event{Message: message}} }

func TestOutboxOverflow(t *testing.T) {
	tests := map[string]struct {
		overflow      Overflow
		kept, dropped []string
	}{
		"the oldest gives way":  {DropOldest, []string{"b", "c"}, []string{"a"}},
		"the newest gives way":  {DropNewest, []string{"a", "b"}, []string{"c"}},
		"an unknown rule is ok": {Overflow(7), []string{"b", "c"}, []string{"a"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			o := newOutbox(2, tc.overflow)
			var dropped, kept []string
			for _, m := range []string{"a", "b", "c"} {
				if r, full := o.put(rec(m)); full {
					dropped = append(dropped, r.Message)
				}
			}
			stop := make(chan struct{})
			close(stop)
			for r, ok := o.take(stop); ok; r, ok = o.take(stop) {
				kept = append(kept, r.Message)
			}
			if diff := cmp.Diff(tc.kept, kept); diff != "" {
				t.Errorf("kept (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.dropped, dropped); diff != "" {
				t.Errorf("dropped (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOutboxTakeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(2, DropOldest)
		stop, got := make(chan struct{}), make(chan string)
		go func() {
			for r, ok := o.take(stop); ok; r, ok = o.take(stop) {
				got <- r.Message
			}
			close(got)
		}()
		synctest.Wait()
		o.put(rec("a"))
		if m := <-got; m != "a" {
			t.Errorf("took %q", m)
		}
		close(stop)
		if m, open := <-got; open {
			t.Errorf("took %q after the end", m)
		}
	})
}

func TestPause(t *testing.T) {
	tests := map[string]struct {
		n    int
		want time.Duration
	}{
		"the first repetition comes soon": {1, firstPause},
		"then pauses double":              {3, 4 * firstPause},
		"up to the greatest":              {100, mostPause},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := pause(tc.n, firstPause, mostPause); got != tc.want {
				t.Errorf("pause(%d) = %s, want %s", tc.n, got, tc.want)
			}
		})
	}
}
