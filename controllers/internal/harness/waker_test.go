// SPDX-License-Identifier: Apache-2.0

package harness_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"sluice.dev/sluice/controllers/internal/harness"
)

func TestWakerKeepsWhatCameEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w harness.Waker
		queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
		defer queue.ShutDown()
		early := types.NamespacedName{Namespace: "a", Name: "early"}
		late := types.NamespacedName{Namespace: "a", Name: "late"}
		w.Wake(early, time.Second)
		if err := w.Start(t.Context(), queue); err != nil {
			t.Fatal(err)
		}
		w.Wake(late, 2*time.Second)
		begin := time.Now()
		for _, want := range []struct {
			key   types.NamespacedName
			after time.Duration
		}{{early, time.Second}, {late, 2 * time.Second}} {
			got, _ := queue.Get()
			queue.Done(got)
			if got.NamespacedName != want.key || time.Since(begin).Round(100*time.Millisecond) != want.after {
				t.Errorf("got %s after %s, want %s after %s", got, time.Since(begin), want.key, want.after)
			}
		}
	})
}

func TestHastenedObjectsGoFirst(t *testing.T) {
	var w harness.Waker
	queue := priorityqueue.New[reconcile.Request]("test")
	defer queue.ShutDown()
	w.Hasten(types.NamespacedName{Name: "before the start"})
	if err := w.Start(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		queue.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: name}})
	}
	w.Hasten(types.NamespacedName{Name: "c"})
	w.Hasten(types.NamespacedName{Name: "d"})
	var got []string
	for range 5 {
		item, _ := queue.Get()
		got = append(got, item.Name)
		queue.Done(item)
	}
	if want := []string{"c", "d", "before the start", "a", "b"}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}
