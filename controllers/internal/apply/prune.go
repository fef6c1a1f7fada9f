// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	fluxmeta "github.com/fluxcd/pkg/apis/meta"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/controllers/internal/apply/inventory"
	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/internal/fault"
)

// entry is one inventory entry with the objects it may stand for.
type entry struct {
	wire    string
	version string
	ids     []inventory.ID
}

// delete removes the objects of an inventory that still are the owner's: in reverse order of work, in parallel within a
// class. It returns the entries that could not be dealt with; the error names each of them and hides none.
func (e *Engine) delete(ctx context.Context, c impersonation.Client, owner Owner, what inventory.Inventory) (outcomes []Outcome, refused []string, err error) {
	return e.each(ctx, c, owner, what, e.deleteOne)
}

// pruning is what is done with one object that left the set.
type pruning func(ctx context.Context, c impersonation.Client, owner Owner, id inventory.ID, gvk schema.GroupVersionKind) (Outcome, error)

// each does one thing with every object of an inventory.
func (e *Engine) each(ctx context.Context, c impersonation.Client, owner Owner, what inventory.Inventory, one pruning) (outcomes []Outcome, refused []string, err error) {
	entries, failed, refused := parseAll(what)
	var mu sync.Mutex
	for _, group := range byClass(entries) {
		parallel(e.config.Concurrency, group, func(_ int, en entry) {
			done, err := eachOf(ctx, c, owner, en, one)
			mu.Lock()
			defer mu.Unlock()
			outcomes = append(outcomes, done...)
			if err != nil {
				failed.errs = append(failed.errs, err)
				refused = append(refused, en.wire)
			}
		})
	}
	slices.SortStableFunc(outcomes, func(a, b Outcome) int { return compareIDs(b.ID, a.ID) })
	slices.Sort(refused)
	slices.SortFunc(failed.errs, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return outcomes, refused, failed.err()
}

func parseAll(what inventory.Inventory) (entries []entry, failed problems, refused []string) {
	for _, wire := range what.Wires() {
		ids, err := inventory.Parse(wire)
		if err != nil {
			failed.errs = append(failed.errs, err)
			refused = append(refused, wire)
			continue
		}
		entries = append(entries, entry{wire: wire, version: what.Version(wire), ids: ids})
	}
	return entries, failed, refused
}

// byClass groups entries by class, last class first.
func byClass(entries []entry) [][]entry {
	slices.SortFunc(entries, func(a, b entry) int { return compareIDs(b.ids[0], a.ids[0]) })
	var out [][]entry
	for i, en := range entries {
		if i == 0 || class(en.ids[0].Kind) != class(entries[i-1].ids[0].Kind) {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], en)
	}
	return out
}

// eachOf deals with every object the entry may stand for that is the owner's (weakness W11). A name it does not stand for
// does not exist or is not the owner's.
func eachOf(ctx context.Context, c impersonation.Client, owner Owner, en entry, one pruning) ([]Outcome, error) {
	gvk, served, err := serving(c.Mapper(), en.ids[0].GroupKind(), en.version)
	if err != nil {
		return nil, deleteError(en.ids[0], gvk, err)
	}
	if !served {
		// The kind was uninstalled, and with it every object of it.
		return []Outcome{{ID: en.ids[0], APIVersion: gvk.GroupVersion().String(), Action: alreadyGone}}, nil
	}
	var outcomes []Outcome
	var failed problems
	for _, id := range en.ids {
		o, err := one(ctx, c, owner, id, gvk)
		if err != nil {
			failed.errs = append(failed.errs, deleteError(id, gvk, err))
			continue
		}
		if o.Action != alreadyGone || len(en.ids) == 1 {
			outcomes = append(outcomes, o)
		}
	}
	return outcomes, failed.err()
}

func deleteError(id inventory.ID, gvk schema.GroupVersionKind, err error) error {
	return &ObjectError{ID: id, APIVersion: gvk.GroupVersion().String(), Doing: "delete", Err: err}
}

// serving returns the version at which a kind can be spoken to: the one it was applied with, or else any.
func serving(mapper meta.RESTMapper, gk schema.GroupKind, version string) (schema.GroupVersionKind, bool, error) {
	gvk := gk.WithVersion(version)
	_, err := mapper.RESTMapping(gk, version)
	if err == nil {
		return gvk, true, nil
	}
	if !meta.IsNoMatchError(err) {
		return gvk, false, err
	}
	mapping, err := mapper.RESTMapping(gk)
	switch {
	case err == nil:
		return mapping.GroupVersionKind, true, nil
	case meta.IsNoMatchError(err):
		return gvk, false, nil
	default:
		return gvk, false, err
	}
}

// deleteTries bounds how often a deletion is tried of an object that changes while it is looked at.
const deleteTries = 5

// deleteOne deletes one object if it is the owner's and does not ask to be kept. The deletion is conditional on exactly
// the state that was looked at, so that a label or annotation set meanwhile counts.
func (e *Engine) deleteOne(ctx context.Context, c impersonation.Client, owner Owner, id inventory.ID, gvk schema.GroupVersionKind) (out Outcome, err error) {
	for range deleteTries {
		out, err = tryDelete(ctx, c, owner, id, gvk)
		if !apierrors.IsConflict(err) {
			return out, err
		}
	}
	return out, err
}

func tryDelete(ctx context.Context, c impersonation.Client, owner Owner, id inventory.ID, gvk schema.GroupVersionKind) (Outcome, error) {
	out, live, err := peek(ctx, c, owner, id, gvk)
	if err != nil || out.Action != Deleted || live.DeletionTimestamp != nil {
		return out, err // or on its way already, held by a finalizer
	}
	err = c.Kube().Delete(ctx, live, client.PropagationPolicy(metav1.DeletePropagationBackground),
		client.Preconditions{UID: &live.UID, ResourceVersion: &live.ResourceVersion})
	if err != nil && !apierrors.IsNotFound(err) {
		return out, err
	}
	return out, nil
}

// peek reads an object that left the set and says what pruning makes of it: Deleted if it is the owner's and does not ask
// to be kept, Skipped if it is there, or gone.
func peek(ctx context.Context, c impersonation.Client, owner Owner, id inventory.ID, gvk schema.GroupVersionKind) (Outcome, *metav1.PartialObjectMetadata, error) {
	out := Outcome{ID: id, APIVersion: gvk.GroupVersion().String(), Action: alreadyGone}
	name := types.NamespacedName{Namespace: id.Namespace, Name: id.Name}
	live := head(gvk, name)
	err := c.Kube().Get(ctx, name, live)
	switch {
	case apierrors.IsNotFound(err):
		return out, live, nil
	case err != nil:
		return out, live, err
	}
	out.UID, out.Before = live.UID, live.ResourceVersion
	if !owner.owns(live) || owner.keeps(live) {
		out.Action, out.After = Skipped, live.ResourceVersion
		return out, live, nil
	}
	out.Action = Deleted
	return out, live, nil
}

// DeletionPolicy says what becomes of an owner's objects when the owner is deleted (spec row K-33).
type DeletionPolicy string

// The policies of spec.deletionPolicy. The empty policy is MirrorPrune.
const (
	MirrorPrune        DeletionPolicy = kustomizev1.DeletionPolicyMirrorPrune
	DeleteObjects      DeletionPolicy = kustomizev1.DeletionPolicyDelete
	WaitForTermination DeletionPolicy = kustomizev1.DeletionPolicyWaitForTermination
	Orphan             DeletionPolicy = kustomizev1.DeletionPolicyOrphan
)

// Deletes reports whether objects are deleted with their owner. An unknown policy keeps them.
func (d DeletionPolicy) Deletes(prune bool) bool {
	switch d {
	case MirrorPrune, "":
		return prune
	case DeleteObjects, WaitForTermination:
		return true
	default:
		return false
	}
}

// Finalization says how the objects of a deleted owner are dealt with.
type Finalization struct {
	Owner     Owner
	Inventory inventory.Inventory
	Policy    DeletionPolicy
	// Prune is spec.prune, which MirrorPrune follows.
	Prune bool
	// Timeout bounds the wait of WaitForTermination.
	Timeout time.Duration
}

// ErrStillTerminating is wrapped by the error of Finalize when everything was deleted but is not gone in time. Flux
// reports that and goes on.
var ErrStillTerminating = errors.New("objects are still terminating")

// Finalize deletes the objects of an owner that is being deleted, as its policy says. An error means that an object may
// be left behind, unless it wraps ErrStillTerminating; the finalizer must stay, and Result.Inventory holds what remains
// to be done. It needs no artifact: what was applied once may be taken away by whoever may delete it.
func (e *Engine) Finalize(ctx context.Context, c impersonation.Client, f Finalization) (Result, error) {
	e.Forget(f.Owner.Key())
	if !f.Policy.Deletes(f.Prune) || f.Inventory.Len() == 0 {
		return Result{}, nil
	}
	if !c.Valid() {
		return Result{Inventory: f.Inventory}, fault.New(fault.Denied, accessDenied, "finalize: %w", impersonation.ErrNobody)
	}
	outcomes, refused, err := e.delete(ctx, c, f.Owner, f.Inventory)
	result := Result{Outcomes: outcomes, Inventory: f.Inventory.Pick(refused...)}
	if err != nil {
		if f.Policy == WaitForTermination {
			result.Inventory = f.Inventory // what is on its way is to be waited for, too, once nothing is refused
		}
		return result, fault.New(fault.Retry, fluxmeta.PruneFailedReason, "%w", err)
	}
	if f.Policy == WaitForTermination {
		err = e.awaitTermination(ctx, c, outcomes, f.Timeout)
		if err != nil && !errors.Is(err, ErrStillTerminating) {
			result.Inventory = f.Inventory // nobody knows what is gone: begin again
		}
	}
	return result, err
}

// terminationWatches bounds the objects waited for at once. Each waits for a deletion that is under way.
const terminationWatches = 32

func (e *Engine) awaitTermination(ctx context.Context, c impersonation.Client, outcomes []Outcome, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	errs := make([]error, len(outcomes))
	parallel(terminationWatches, outcomes, func(i int, o Outcome) {
		if o.Action != Deleted {
			return
		}
		gvk := schema.FromAPIVersionAndKind(o.APIVersion, o.ID.Kind)
		if err := awaitGone(ctx, c.Kube(), gvk, types.NamespacedName{Namespace: o.ID.Namespace, Name: o.ID.Name}, o.UID); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				err = fmt.Errorf("%w: %w", ErrStillTerminating, err)
			}
			errs[i] = fmt.Errorf("%s: %w", o.ID, err)
		}
	})
	if err := (&problems{errs: compact(errs)}).err(); err != nil {
		return fault.New(fault.Retry, fluxmeta.PruneFailedReason, "%w", err)
	}
	return nil
}
