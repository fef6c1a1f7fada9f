// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestBackoff(t *testing.T) {
	const ms = time.Millisecond
	tests := map[string]struct {
		limit time.Duration
		want  []time.Duration
	}{
		"waits double up to the greatest":                  {0, []time.Duration{750 * ms, 1500 * ms, 3 * time.Second, 6 * time.Second, 10 * time.Second, 10 * time.Second}},
		"an object's own limit comes first":                {2 * time.Second, []time.Duration{750 * ms, 1500 * ms, 2 * time.Second, 2 * time.Second}},
		"an own limit above the greatest has no effect":    {time.Hour, []time.Duration{750 * ms, 1500 * ms, 3 * time.Second, 6 * time.Second, 10 * time.Second}},
		"an own limit never goes below the least":          {ms, []time.Duration{750 * ms, 750 * ms}},
		"a negative limit, as from bad input, is no limit": {-1, []time.Duration{750 * ms, 1500 * ms}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBackoff(750*ms, 10*time.Second)
			req := reconcile.Request{NamespacedName: types.NamespacedName{Name: "a"}}
			var got []time.Duration
			for range tc.want {
				b.failing(req, "1 ", tc.limit)
				got = append(got, b.When(req))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("When() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBackoffStartsAnew(t *testing.T) {
	b := newBackoff(time.Second, time.Minute)
	a := reconcile.Request{NamespacedName: types.NamespacedName{Name: "a"}}
	other := reconcile.Request{NamespacedName: types.NamespacedName{Name: "b"}}
	b.failing(a, "1 ", 0)
	b.When(a)
	b.When(a)
	if got := b.When(other); got != time.Second {
		t.Errorf("another object waits %s", got)
	}
	b.failing(a, "2 ", 0)
	if got := b.When(a); got != time.Second {
		t.Errorf("a new generation waits %s", got)
	}
	b.When(a)
	if got := b.NumRequeues(a); got != 2 {
		t.Errorf("NumRequeues() = %d, want 2", got)
	}
	b.Forget(a)
	if got := b.When(a); got != time.Second {
		t.Errorf("after a success the wait is %s", got)
	}
}

func TestJitter(t *testing.T) {
	tests := map[string]struct {
		d       time.Duration
		percent int
		r       float64
		want    time.Duration
	}{
		"no jitter":               {time.Minute, 0, 0.9, time.Minute},
		"earliest":                {time.Minute, 5, 0, 57 * time.Second},
		"latest":                  {time.Minute, 5, 1, 63 * time.Second},
		"middle":                  {time.Minute, 5, 0.5, time.Minute},
		"never zero":              {1, 100, 0, 1},
		"an endless interval":     {1<<63 - 1, 100, 1, 1<<63 - 1},
		"full jitter, both sides": {time.Minute, 100, 0.75, 90 * time.Second},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := jitter(tc.d, tc.percent, tc.r); got != tc.want {
				t.Errorf("jitter() = %s, want %s", got, tc.want)
			}
		})
	}
}

func TestVersions(t *testing.T) {
	v := newVersions()
	key := types.NamespacedName{Name: "a"}
	if v.behind(key, "1") {
		t.Error("behind what was never written")
	}
	v.wrote(key, "100")
	if !v.behind(key, "99") {
		t.Error("not behind an own write")
	}
	if v.behind(key, "100") || len(v.written) != 0 {
		t.Error("the cache has caught up, and that is not forgotten")
	}
	v.wrote(key, "100")
	if v.behind(key, "not a number") {
		t.Error("behind, by a version that cannot be compared")
	}
	v.wrote(key, "100")
	v.forget(key)
	if v.behind(key, "1") {
		t.Error("behind the write to an object that is gone")
	}
}
