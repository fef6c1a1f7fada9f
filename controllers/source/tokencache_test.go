// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestTokenCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		get := func(c *TokenCache, key string, life time.Duration) string {
			t.Helper()
			value, err := kept(t.Context(), c, key, func() (string, time.Time, error) {
				asked++
				return fmt.Sprint(key, asked), time.Now().Add(life), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
		c := NewTokenCache(2, time.Hour, time.Now)
		first := get(c, "a", 10*time.Minute)
		time.Sleep(8*time.Minute - time.Second)
		if get(c, "a", 10*time.Minute) != first {
			t.Error("asked again within four fifths of its life")
		}
		time.Sleep(2 * time.Second)
		if get(c, "a", 10*time.Minute) == first {
			t.Error("not asked again after four fifths of its life")
		}
		long := get(c, "b", 24*time.Hour)
		time.Sleep(time.Hour + time.Second)
		if get(c, "b", 24*time.Hour) == long {
			t.Error("kept for longer than the cache keeps anything")
		}
		b := get(c, "b", time.Hour)
		get(c, "c", time.Hour) // in place of a, which was used least recently
		if get(c, "b", time.Hour) != b {
			t.Error("what was used last gave way")
		}
		before := asked
		none := NewTokenCache(0, time.Hour, time.Now)
		get(none, "a", time.Hour)
		get(none, "a", time.Hour)
		if asked-before != 2 {
			t.Error("a cache of no size keeps something")
		}
	})
}

// TestTokenCacheAsksOnce: several sources that need the same wait for one answer, and a failure is nobody else's.
func TestTokenCacheAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, asked := NewTokenCache(10, time.Hour, time.Now), 0
		var group sync.WaitGroup
		var failed atomic.Int32
		for range 5 {
			group.Go(func() {
				_, err := kept(t.Context(), c, "a", func() (int, time.Time, error) {
					asked++
					time.Sleep(time.Second)
					if asked == 1 {
						return 0, time.Time{}, errors.New("not now")
					}
					return asked, time.Now().Add(time.Hour), nil
				})
				if err != nil {
					failed.Add(1)
				}
			})
		}
		group.Wait()
		if asked != 2 || failed.Load() != 1 {
			t.Errorf("asked %d times, %d were failed, want the failure of one, and the answer", asked, failed.Load())
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		hold := make(chan struct{})
		go func() {
			_, _ = kept(t.Context(), c, "b", func() (int, time.Time, error) { <-hold; return 1, time.Now().Add(time.Hour), nil })
		}()
		synctest.Wait()
		if _, err := kept(ended, c, "b", func() (int, time.Time, error) { return 2, time.Time{}, nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("a run that has ended waits: %v", err)
		}
		close(hold)
	})
}

// TestTokenCacheForgets: what was refused before its time is asked for again.
func TestTokenCacheForgets(t *testing.T) {
	c, asked := NewTokenCache(10, time.Hour, time.Now), 0
	get := func() int {
		t.Helper()
		value, err := kept(t.Context(), c, "a", func() (int, time.Time, error) {
			asked++
			return asked, time.Now().Add(time.Hour), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	for range 2 {
		if get() != 1 {
			t.Error("asked again for what is good")
		}
	}
	c.forget("a")
	if get() != 2 {
		t.Error("what was refused is kept")
	}
}
