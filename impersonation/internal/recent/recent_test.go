// SPDX-License-Identifier: Apache-2.0

package recent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMap(t *testing.T) {
	var dropped []string
	m := &Map[string, string]{Max: 2, Idle: time.Hour, Drop: func(v string) { dropped = append(dropped, v) }}
	start := time.Unix(1000, 0)
	use := func(k string, after time.Duration) string {
		return m.Use(k, start.Add(after), func() string { return "new " + k })
	}

	use("a", 0)
	use("b", time.Second)
	if got := m.Use("a", start.Add(2*time.Second), func() string { return "other" }); got != "new a" {
		t.Errorf("a is %q", got)
	}
	use("c", 3*time.Second) // b was used least recently
	if diff := cmp.Diff([]string{"new b"}, dropped); diff != "" {
		t.Errorf("dropped (-want +got):\n%s", diff)
	}
	if _, ok := m.Get("b"); ok || m.Len() != 2 {
		t.Errorf("b is kept: %v, %d values", ok, m.Len())
	}
	use("c", time.Hour)
	use("c", time.Hour+2*time.Minute) // a was last used more than an hour before
	if diff := cmp.Diff([]string{"new b", "new a"}, dropped); diff != "" {
		t.Errorf("dropped (-want +got):\n%s", diff)
	}
	if v, ok := m.Take("c"); !ok || v != "new c" || m.Len() != 0 || len(dropped) != 2 {
		t.Errorf("took %q, %v; %d values, dropped %v", v, ok, m.Len(), dropped)
	}
}
