// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// pageSize bounds what one list request makes the API server and us hold: some megabytes of metadata. Reflectors of client-go
	// list without a bound; with 500, a start over 20,000 objects took forty requests.
	pageSize = 2000
	// minWatchSeconds and as much again at random is how long one watch request lasts, as for client-go's reflectors.
	minWatchSeconds = 300
)

// cycle lists if need be, then watches until the watch ends. Nil means that it ended as agreed.
func (s *stream[V]) cycle(ctx context.Context) error {
	if s.version() == "" {
		if err := s.list(ctx); err != nil {
			return err
		}
	}
	return s.follow(ctx)
}

func (s *stream[V]) newList() client.ObjectList {
	gvk := s.query.GVK.GroupVersion().WithKind(s.query.GVK.Kind + "List")
	if s.config.Metadata(s.query.GVK) {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(gvk)
		return list
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(gvk)
	return list
}

func (s *stream[V]) options(raw *metav1.ListOptions) (*client.ListOptions, error) {
	opts := &client.ListOptions{Namespace: s.query.Namespace, Raw: raw}
	if s.query.Name != "" {
		opts.FieldSelector = fields.OneTermEqualSelector("metadata.name", s.query.Name)
	}
	if s.query.Selector != "" {
		selector, err := labels.Parse(s.query.Selector)
		if err != nil {
			return nil, fmt.Errorf("watch selector %q: %w", s.query.Selector, err)
		}
		opts.LabelSelector = selector
	}
	return opts, nil
}

// list reads everything and replaces the records.
func (s *stream[V]) list(ctx context.Context) error {
	records := map[types.NamespacedName]V{}
	var next, rv string
	for {
		opts, err := s.options(nil)
		if err != nil {
			return err
		}
		opts.Limit, opts.Continue = pageSize, next
		list := s.newList()
		if err := s.client().List(ctx, list, opts); err != nil {
			return err
		}
		if err := meta.EachListItem(list, func(item runtime.Object) error {
			if obj, ok := item.(client.Object); ok {
				records[client.ObjectKeyFromObject(obj)] = s.config.Record(obj)
			}
			return nil
		}); err != nil {
			return fmt.Errorf("read list: %w", err)
		}
		rv, next = list.GetResourceVersion(), list.GetContinue()
		if next == "" {
			break
		}
	}
	s.tell(s.replace(records, rv))
	return nil
}

// replace swaps the records and returns what changed; the first list is a change of state too. What was refused stays refused until
// it is watched: listing may be allowed where watching is not.
func (s *stream[V]) replace(records map[types.NamespacedName]V, rv string) []Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	var changes []Change
	for name, v := range records {
		if old, found := s.records[name]; !found || old != v {
			changes = append(changes, Change{Object: name, Listed: true})
		}
	}
	for name := range s.records {
		if _, found := records[name]; !found {
			changes = append(changes, Change{Object: name, Deleted: true, Listed: true})
		}
	}
	if !s.listed && !s.denied {
		changes = append(changes, Change{Listed: true})
	}
	s.records, s.rv, s.listed = records, rv, true
	return changes
}

// follow watches from the last resource version until the watch ends.
func (s *stream[V]) follow(ctx context.Context) error {
	timeout := int64(minWatchSeconds + rand.IntN(minWatchSeconds)) //nolint:gosec // spreads load, guards nothing
	opts, err := s.options(&metav1.ListOptions{ResourceVersion: s.version(), AllowWatchBookmarks: true, TimeoutSeconds: &timeout})
	if err != nil {
		return err
	}
	w, err := s.client().Watch(ctx, s.newList(), opts)
	if err != nil {
		return err
	}
	defer w.Stop()
	s.setUp()
	received := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case event, open := <-w.ResultChan():
			if !open {
				if !received {
					return errors.New("the watch was closed before it delivered anything")
				}
				return nil
			}
			received = true
			if err := s.take(event); err != nil {
				return err
			}
		}
	}
}

// take applies one event to the records.
func (s *stream[V]) take(event apiwatch.Event) error {
	if event.Type == apiwatch.Error {
		return apierrors.FromObject(event.Object)
	}
	obj, ok := event.Object.(client.Object)
	if !ok {
		return fmt.Errorf("watch delivered a %T", event.Object)
	}
	name := client.ObjectKeyFromObject(obj)
	var changes []Change
	switch event.Type {
	case apiwatch.Added, apiwatch.Modified:
		if s.put(name, s.config.Record(obj), obj.GetResourceVersion()) {
			changes = append(changes, Change{Object: name})
		}
	case apiwatch.Deleted:
		s.drop(name, obj.GetResourceVersion())
		changes = append(changes, Change{Object: name, Deleted: true})
	default: // a bookmark
		s.mark(obj.GetResourceVersion())
	}
	s.tell(changes)
	return nil
}

func (s *stream[V]) put(name types.NamespacedName, v V, rv string) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, found := s.records[name]
	s.records[name], s.rv = v, rv
	return !found || old != v
}

func (s *stream[V]) drop(name types.NamespacedName, rv string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, name)
	s.rv = rv
}

func (s *stream[V]) mark(rv string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rv = rv
}
