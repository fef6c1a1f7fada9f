// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
)

// clock is a clock that a test moves.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(c.at.Load(), 0) }

func TestIndexes(t *testing.T) {
	const document = `{"apiVersion":"v1","entries":{"a":[{"name":"a","version":"1.0.0","urls":["a"]}]}}`
	repository := types.NamespacedName{Namespace: "apps", Name: "charts"}
	named := func(name string) indexUser {
		return indexUser{repository: types.NamespacedName{Namespace: "apps", Name: name}}
	}
	ask := func(t *testing.T, i *Indexes, user indexUser, digest string) {
		t.Helper()
		if _, err := i.get(user, digest, func() ([]byte, error) { return []byte(document), nil }); err != nil {
			t.Fatal(err)
		}
	}
	open := func(t *testing.T, c IndexesConfig) (*Indexes, *clock, *atomic.Int64, func(digest string)) {
		t.Helper()
		var time clock
		var loads atomic.Int64
		c.Metrics, c.Now = prometheus.NewRegistry(), time.now
		i, err := NewIndexes(c)
		if err != nil {
			t.Fatal(err)
		}
		return i, &time, &loads, func(digest string) {
			t.Helper()
			index, err := i.get(named(digest), digest, func() ([]byte, error) { loads.Add(1); return []byte(document), nil })
			if err != nil {
				t.Fatal(err)
			}
			if _, err := index.Find("a", "*"); err != nil {
				t.Error(err)
			}
		}
	}
	t.Run("many ask at once, one parses", func(t *testing.T) {
		_, _, loads, get := open(t, IndexesConfig{})
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { get("one") })
		}
		all.Wait()
		if n := loads.Load(); n != 1 {
			t.Errorf("%d loads", n)
		}
	})
	t.Run("the number is bounded", func(t *testing.T) {
		_, clock, loads, get := open(t, IndexesConfig{Count: 2})
		for _, digest := range []string{"one", "two", "one", "three", "one", "two"} {
			clock.at.Add(1)
			get(digest)
		}
		if n := loads.Load(); n != 4 {
			t.Errorf("%d loads, want one, two, three, and two again", n)
		}
	})
	t.Run("the size is bounded", func(t *testing.T) {
		i, clock, _, get := open(t, IndexesConfig{Bytes: 500})
		for n := range 10 {
			clock.at.Add(1)
			get(fmt.Sprint(n))
		}
		if i.bytes > 500 || len(i.kept) > 2 {
			t.Errorf("%d bytes in %d indexes", i.bytes, len(i.kept))
		}
	})
	t.Run("what nobody asks for goes", func(t *testing.T) {
		i, clock, loads, get := open(t, IndexesConfig{TTL: time.Minute})
		get("one")
		clock.at.Add(61)
		i.purge()
		get("one")
		if n := loads.Load(); n != 2 || len(i.kept) != 1 {
			t.Errorf("%d loads, %d kept", n, len(i.kept))
		}
	})
	t.Run("what is superseded goes, unless somebody else wants it", func(t *testing.T) {
		i, _, _, _ := open(t, IndexesConfig{})
		want := func(digests ...string) {
			t.Helper()
			if diff := cmp.Diff(digests, slices.Sorted(maps.Keys(i.kept))); diff != "" {
				t.Errorf("kept (-want +got):\n%s", diff)
			}
		}
		a, b, dependency := named("a"), named("b"), named("a")
		dependency.url = "https://charts.example"
		for n := range 100 {
			ask(t, i, a, fmt.Sprint(n))
		}
		want("99")
		ask(t, i, b, "99")
		ask(t, i, dependency, "yaml 99")
		ask(t, i, a, "100")
		want("100", "99", "yaml 99")
		ask(t, i, b, "100")
		want("100", "yaml 99")
		ask(t, i, dependency, "yaml 100")
		want("100", "yaml 100")
		i.forget(a.repository)
		want("100")
		i.forget(b.repository)
		want()
		if i.bytes != 0 || len(i.wants) != 0 {
			t.Errorf("%d bytes and %v are left of nothing", i.bytes, i.wants)
		}
	})
	t.Run("who does not ask any more keeps nothing", func(t *testing.T) {
		i, clock, _, _ := open(t, IndexesConfig{TTL: time.Minute})
		ask(t, i, named("a"), "one")
		ask(t, i, named("b"), "one")
		clock.at.Add(61)
		ask(t, i, named("b"), "one")
		i.purge()
		if len(i.kept) != 1 || len(i.wants) != 1 {
			t.Errorf("%d kept for %v", len(i.kept), i.wants)
		}
		ask(t, i, named("b"), "two")
		if _, ok := i.kept["one"]; ok {
			t.Error("kept for somebody who has not asked for long")
		}
	})
	t.Run("a failure is not kept, and looks are counted", func(t *testing.T) {
		i, _, _, _ := open(t, IndexesConfig{})
		for _, load := range []func() ([]byte, error){
			func() ([]byte, error) { return nil, errors.New("no") }, func() ([]byte, error) { return []byte("{"), nil },
		} {
			if _, err := i.get(indexUser{repository: repository}, "one", load); err == nil {
				t.Error("no error")
			}
		}
		ask(t, i, indexUser{repository: repository}, "one")
		ask(t, i, indexUser{repository: repository}, "one")
		families, err := i.config.Metrics.(*prometheus.Registry).Gather()
		if err != nil || len(families) != 1 {
			t.Fatal(families, err)
		}
		if text := families[0].String(); !strings.Contains(text, "cache_hit") || !strings.Contains(text, "cache_miss") {
			t.Error(text)
		}
		i.forget(repository)
		if families, _ = i.config.Metrics.(*prometheus.Registry).Gather(); len(families) != 0 {
			t.Errorf("metrics of a repository that is gone: %v", families)
		}
	})
}
