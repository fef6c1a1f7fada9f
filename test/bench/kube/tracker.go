// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Tracker keeps the newest state of the objects of one collection, by a list and a watch.
type Tracker struct {
	client *Client
	path   string

	mu      sync.Mutex
	objects map[string]*State
	waiting []*Wait
	synced  chan struct{}
	once    sync.Once
	err     error
}

// Track follows the collection at path, which may carry a label selector, until the context ends. It returns once the
// first list is in.
func (c *Client) Track(ctx context.Context, path string) (*Tracker, error) {
	t := &Tracker{client: c, path: path, objects: map[string]*State{}, synced: make(chan struct{})}
	go t.run(ctx)
	select {
	case <-t.synced:
		return t, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("track %q: %w", path, context.Cause(ctx))
	}
}

func (t *Tracker) run(ctx context.Context) {
	pause := time.NewTicker(100 * time.Millisecond)
	defer pause.Stop()
	for ctx.Err() == nil {
		err := t.follow(ctx)
		t.mu.Lock()
		t.err = err
		t.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
	}
}

// follow lists and watches until the watch ends.
func (t *Tracker) follow(ctx context.Context) error {
	body, err := t.client.Do(ctx, http.MethodGet, t.path, "", nil)
	if err != nil {
		return err
	}
	var list struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
		Items []*State `json:"items"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return err
	}
	for _, o := range list.Items {
		t.put(o)
	}
	t.once.Do(func() { close(t.synced) })
	separator := "?"
	if strings.Contains(t.path, "?") {
		separator = "&"
	}
	answer, err := t.client.send(ctx, http.MethodGet, t.path+separator+"watch=1&resourceVersion="+list.Metadata.ResourceVersion, "", nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return t.events(json.NewDecoder(answer.Body))
}

func (t *Tracker) events(in *json.Decoder) error {
	for {
		var e struct {
			Type   string `json:"type"`
			Object *State `json:"object"`
		}
		if err := in.Decode(&e); err != nil {
			return err
		}
		switch e.Type {
		case "ADDED", "MODIFIED":
			t.put(e.Object)
		case "DELETED":
			e.Object.Deleted = true
			t.put(e.Object)
		case "ERROR":
			return fmt.Errorf("watch of %q ended", t.path)
		}
	}
}

func (t *Tracker) put(o *State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.objects[o.Key()] = o
	now := time.Now()
	for _, w := range t.waiting {
		w.look(o, now)
	}
}

// Keys returns the objects as "namespace/name", sorted.
func (t *Tracker) Keys() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var keys []string
	for _, o := range t.objects {
		if !o.Deleted {
			keys = append(keys, o.Key())
		}
	}
	return slices.Sorted(slices.Values(keys))
}

// Count returns how many objects meet a condition.
func (t *Tracker) Count(meets func(*State) bool) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, o := range t.objects {
		if !o.Deleted && meets(o) {
			n++
		}
	}
	return n
}

// Wait is what somebody waits for.
type Wait struct {
	tracker *Tracker
	meets   func(*State) bool
	n       int
	done    map[string]time.Time
	over    chan struct{}
}

// Expect starts to wait for n objects that meet a condition, each at any one time from now on.
func (t *Tracker) Expect(n int, meets func(*State) bool) *Wait {
	w := &Wait{tracker: t, meets: meets, n: n, done: map[string]time.Time{}, over: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for _, o := range t.objects {
		w.look(o, now)
	}
	t.waiting = append(t.waiting, w)
	return w
}

func (w *Wait) look(o *State, now time.Time) {
	if _, ok := w.done[o.Key()]; ok || !w.meets(o) {
		return
	}
	w.done[o.Key()] = now
	if len(w.done) == w.n {
		close(w.over)
	}
}

// Until waits for at most so long, and returns when each object met the condition. With an error the rest is missing.
func (w *Wait) Until(ctx context.Context, atMost time.Duration) (map[string]time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	select {
	case <-w.over:
	case <-ctx.Done():
	}
	t := w.tracker
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = slices.DeleteFunc(t.waiting, func(x *Wait) bool { return x == w })
	done := maps.Clone(w.done)
	if len(done) < w.n {
		return done, w.missing()
	}
	return done, nil
}

// missing says what the first objects that are late have to say.
func (w *Wait) missing() error {
	const most = 3
	var says []string
	for _, key := range slices.Sorted(maps.Keys(w.tracker.objects)) {
		if _, ok := w.done[key]; !ok && len(says) < most {
			says = append(says, key+" "+w.tracker.objects[key].Says())
		}
	}
	err := fmt.Errorf("%d of %d in time: %s", len(w.done), w.n, strings.Join(says, "; "))
	if w.tracker.err != nil {
		return fmt.Errorf("%w (the watch: %w)", err, w.tracker.err)
	}
	return err
}
