// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/controllers/internal/apply/health"
)

// readEvery is how often an object is read that the identity may not watch, and how often a kind that was just
// established is asked for until the API server serves it.
const readEvery = 250 * time.Millisecond

// settle waits until what a stage changed can be built upon: definitions established, namespaces active. What was left
// unchanged is not waited for (weakness W9).
func (r *run) settle(ctx context.Context, stage *Stage) error {
	ctx, cancel := context.WithTimeout(ctx, r.engine.config.StageTimeout)
	defer cancel()
	var waits []*Step
	defines := false
	for i := range stage.Steps {
		s := &stage.Steps[i]
		if s.written == nil || current(s.written) {
			continue
		}
		waits = append(waits, s)
		defines = defines || isCRD(s.written)
	}
	errs := make([]error, len(waits))
	parallel(r.engine.config.Concurrency, waits, func(i int, s *Step) {
		if err := awaitCurrent(ctx, r.client.Kube(), s.written); err != nil {
			errs[i] = &ObjectError{ID: s.ID, APIVersion: s.Object.GetAPIVersion(), Doing: "wait for stage " + stage.Name, Err: err}
		}
	})
	if defines {
		// New kinds: whoever cached what the API server serves has to look again.
		meta.MaybeResetRESTMapper(r.client.Mapper())
	}
	return (&problems{errs: compact(errs)}).err()
}

func current(obj *unstructured.Unstructured) bool {
	s, _ := health.Of(obj)
	return s == status.CurrentStatus && (!isCRD(obj) || established(obj))
}

// established is stricter than kstatus, which takes a CustomResourceDefinition without conditions for current.
func established(obj *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(obj.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == "Established" && m["status"] == "True" {
			return true
		}
	}
	return false
}

// decideLate decides a step whose prerequisites have been created by now. The API server may need a moment to serve a
// kind it has just established.
func (r *run) decideLate(ctx context.Context, s *Step) error {
	ctx, cancel := context.WithTimeout(ctx, r.engine.config.StageTimeout)
	defer cancel()
	moved, err := r.migrate(ctx, s)
	if err != nil {
		return err
	}
	for {
		err := r.engine.decide(ctx, r.client, r.plan, s)
		if moved && err == nil && s.Action == Unchanged {
			s.Action = Configure // its metadata has changed
		}
		object, ok := errors.AsType[*ObjectError](err)
		if err == nil || !ok || !s.Defined || (!meta.IsNoMatchError(object.Err) && !apierrors.IsNotFound(object.Err)) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(readEvery):
			meta.MaybeResetRESTMapper(r.client.Mapper())
		}
	}
}

func awaitCurrent(ctx context.Context, kube client.WithWatch, obj *unstructured.Unstructured) error {
	last := "nothing was heard of it"
	err := await(ctx, kube, obj.GroupVersionKind(), client.ObjectKeyFromObject(obj), obj.GetResourceVersion(),
		func(now *unstructured.Unstructured) (bool, error) {
			if now == nil {
				return false, errors.New("it was deleted meanwhile")
			}
			s, message := health.Of(now)
			last = message
			if s == status.FailedStatus {
				return false, errors.New(message)
			}
			return current(now), nil
		})
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", last, err)
	}
	return err
}

// awaitGone waits until the object with the given UID no longer exists.
func awaitGone(ctx context.Context, kube client.WithWatch, gvk schema.GroupVersionKind, name types.NamespacedName, uid types.UID) error {
	return await(ctx, kube, gvk, name, "", func(now *unstructured.Unstructured) (bool, error) {
		return now == nil || now.GetUID() != uid, nil
	})
}

// await reads one object, then watches it, until ok says so or ctx ends. Without the right to watch it reads on.
func await(ctx context.Context, kube client.WithWatch, gvk schema.GroupVersionKind, name types.NamespacedName, since string, ok func(*unstructured.Unstructured) (bool, error)) error {
	for {
		if since == "" {
			now, err := read(ctx, kube, gvk, name)
			if err != nil {
				return err
			}
			if done, err := ok(now); done || err != nil {
				return err
			}
			if now != nil {
				since = now.GetResourceVersion()
			}
		}
		done, err := watchOne(ctx, kube, gvk, name, since, ok)
		if done || err != nil {
			return err
		}
		since = ""
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(readEvery):
		}
	}
}

// blank returns an object by name, to be filled by the API server.
func blank(gvk schema.GroupVersionKind, name types.NamespacedName) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(gvk)
	obj.SetNamespace(name.Namespace)
	obj.SetName(name.Name)
	return obj
}

// head returns the metadata of an object by name, to be filled by the API server.
func head(gvk schema.GroupVersionKind, name types.NamespacedName) *metav1.PartialObjectMetadata {
	obj := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
	obj.SetGroupVersionKind(gvk)
	return obj
}

// read returns the object, nil if there is none.
func read(ctx context.Context, kube client.WithWatch, gvk schema.GroupVersionKind, name types.NamespacedName) (*unstructured.Unstructured, error) {
	obj := blank(gvk, name)
	switch err := kube.Get(ctx, name, obj); {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, err
	default:
		return obj, nil
	}
}

// watchOne watches until ok says so. A watch that cannot be had or breaks is no error; the caller reads again.
func watchOne(ctx context.Context, kube client.WithWatch, gvk schema.GroupVersionKind, name types.NamespacedName, since string, ok func(*unstructured.Unstructured) (bool, error)) (bool, error) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
	w, err := kube.Watch(ctx, list, &client.ListOptions{
		Namespace: name.Namespace, FieldSelector: fields.OneTermEqualSelector("metadata.name", name.Name),
		Raw: &metav1.ListOptions{ResourceVersion: since},
	})
	if err != nil {
		return false, ctx.Err()
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case event, open := <-w.ResultChan():
			if !open || event.Type == apiwatch.Error {
				return false, nil
			}
			now, isObject := event.Object.(*unstructured.Unstructured)
			if !isObject {
				continue
			}
			if event.Type == apiwatch.Deleted {
				now = nil
			}
			if done, err := ok(now); done || err != nil {
				return done, err
			}
		}
	}
}
