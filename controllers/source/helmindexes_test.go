// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
)

// clock is a clock that a test moves.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(c.at.Load(), 0) }

func TestIndexes(t *testing.T) {
	const document = `{"apiVersion":"v1","entries":{"a":[{"name":"a","version":"1.0.0","urls":["a"]}]}}`
	repository := types.NamespacedName{Namespace: "apps", Name: "charts"}
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
			index, err := i.get(repository, digest, func() ([]byte, error) { loads.Add(1); return []byte(document), nil })
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
	t.Run("a failure is not kept, and looks are counted", func(t *testing.T) {
		i, _, _, get := open(t, IndexesConfig{})
		for _, load := range []func() ([]byte, error){
			func() ([]byte, error) { return nil, errors.New("no") }, func() ([]byte, error) { return []byte("{"), nil },
		} {
			if _, err := i.get(repository, "one", load); err == nil {
				t.Error("no error")
			}
		}
		get("one")
		get("one")
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
