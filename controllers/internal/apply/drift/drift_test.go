// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/controllers/internal/apply/watch"
)

func TestJudge(t *testing.T) {
	known := Known{UID: "u", ResourceVersion: "100", Fields: "f"}
	live := func(r Record) watch.Seen[Record] {
		return watch.Seen[Record]{Record: r, Found: true, State: watch.Live, Version: "200"}
	}
	tests := map[string]struct {
		known Known
		seen  watch.Seen[Record]
		want  opinion
	}{
		"exactly as we left it":             {known: known, seen: live(Record{UID: "u", ResourceVersion: "100", Fields: "f"}), want: same},
		"status moved, our fields did not":  {known: known, seen: live(Record{UID: "u", ResourceVersion: "150", Fields: "f"}), want: same},
		"a field of ours was taken":         {known: known, seen: live(Record{UID: "u", ResourceVersion: "150", Fields: "g"}), want: moved},
		"another object of the same name":   {known: known, seen: live(Record{UID: "v", ResourceVersion: "150", Fields: "f"}), want: moved},
		"our own write is not yet seen":     {known: known, seen: live(Record{UID: "u", ResourceVersion: "99", Fields: "e"}), want: silent},
		"longer versions are newer":         {known: known, seen: live(Record{UID: "u", ResourceVersion: "1000", Fields: "g"}), want: moved},
		"without a fingerprint all counts":  {known: Known{UID: "u", ResourceVersion: "100"}, seen: live(Record{UID: "u", ResourceVersion: "101"}), want: moved},
		"deleted":                           {known: known, seen: watch.Seen[Record]{State: watch.Live, Version: "101"}, want: moved},
		"our creation is not yet seen":      {known: known, seen: watch.Seen[Record]{State: watch.Live, Version: "99"}, want: silent},
		"the watch is starting":             {known: known, seen: watch.Seen[Record]{}, want: silent},
		"the watch is refused":              {known: known, seen: watch.Seen[Record]{State: watch.Denied, Err: errors.New("no")}, want: silent},
		"versions that cannot be compared":  {known: Known{UID: "u", ResourceVersion: "x", Fields: "f"}, seen: live(Record{UID: "u", ResourceVersion: "y", Fields: "g"}), want: moved},
		"incomparable, but the fields hold": {known: Known{UID: "u", ResourceVersion: "x", Fields: "f"}, seen: live(Record{UID: "u", ResourceVersion: "y", Fields: "f"}), want: same},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := judge(tc.known, tc.seen); got != tc.want {
				t.Errorf("judge() = %v, want %v", got, tc.want)
			}
		})
	}
}

func TestDamperSpacesOutAFight(t *testing.T) {
	var d damper
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var delays []time.Duration
	for i := range 8 {
		after, tell := d.next(now, 2*time.Second, fmt.Sprint(i))
		if !tell {
			t.Fatal("a wake-up was withheld although none is on its way")
		}
		delays = append(delays, after)
		if after > 0 {
			if _, twice := d.next(now, 2*time.Second, fmt.Sprint(i, "again")); twice {
				t.Error("woken twice for the same drift")
			}
		}
		now = now.Add(after) // put back, and changed again at once
	}
	ms := time.Millisecond
	want := []time.Duration{0, 100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 2000 * ms, 2000 * ms}
	if diff := cmp.Diff(want, delays); diff != "" {
		t.Errorf("delays (-want +got):\n%s", diff)
	}
	if after, _ := d.next(now.Add(time.Minute), 2*time.Second, "late"); after != 0 {
		t.Errorf("after a quiet minute the wake-up waits %v", after)
	}
	if _, twice := d.next(now.Add(time.Hour), 2*time.Second, "late"); twice {
		t.Error("woken twice for one state")
	}
}
