// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/types"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/drift"
	"sluice.dev/sluice/controllers/internal/apply/health"
	"sluice.dev/sluice/controllers/internal/apply/inventory"
)

const (
	// recallFormat is the version of the files; others are ignored.
	recallFormat = 1
	// maxRecall bounds a file: an inventory that fits into an object of the API server, and as much again for each entry.
	maxRecall = 16 << 20
	// maxRecallAge is how long a file may lie unread, which only happens when a finalizer was removed by hand.
	maxRecallAge = 90 * 24 * time.Hour
)

// recall keeps what is remembered of each object in a file below --state-dir, so that a process that starts again compares
// nothing that its watches find unmoved. It is a hint, never an authority: without a file, or with one that is damaged or of
// another revision, the run compares as if nothing was known. Values and digests of Secrets are in no file.
type recall struct {
	root *os.Root // nil keeps nothing
}

// saved is a file's content.
type saved struct {
	Format int
	Inputs inputs
	Set    string
	Began  time.Time
	// AuditAt is when the next audit is due.
	AuditAt time.Time
	// Healthy says that the wait for health had ended well.
	Healthy bool
	Applied []health.Ref
	Objects []savedObject
}

// savedObject is an object as it was left, with what tells whether it has moved.
type savedObject struct {
	ID         inventory.ID
	APIVersion string
	Action     apply.Done
	Digest     string
	Known      drift.Known
}

// newRecall opens the folder dir, and drops files that nobody will ask for any more. An empty dir keeps nothing.
func newRecall(dir string, now time.Time) (recall, error) {
	if dir == "" {
		return recall{}, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return recall{}, fmt.Errorf("kustomize memory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return recall{}, fmt.Errorf("kustomize memory: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return recall{}, errors.Join(fmt.Errorf("kustomize memory: %w", err), root.Close())
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && now.Sub(info.ModTime()) > maxRecallAge {
			_ = root.Remove(entry.Name()) // it stays until the next start
		}
	}
	return recall{root: root}, nil
}

func fileOf(uid types.UID) string { return string(uid) + ".json" }

// save writes what is remembered of an object. An error loses a shortcut and nothing else.
func (k recall) save(obj *kustomizev1.Kustomization, r remembered, known map[drift.Ref]drift.Known) error {
	if k.root == nil {
		return nil
	}
	if guessable(obj) {
		return k.drop(obj.UID)
	}
	s := saved{Format: recallFormat, Inputs: r.inputs, Set: r.set, Began: r.began, AuditAt: r.auditAt, Healthy: r.healthy, Applied: r.applied}
	for _, o := range r.outcomes {
		object := savedObject{ID: o.ID, APIVersion: o.APIVersion, Action: o.Action, Digest: evidenceDigest(o.ID, o.Digest), Known: known[driftRef(o)]}
		object.Known.Payload = evidenceDigest(o.ID, object.Known.Payload)
		s.Objects = append(s.Objects, object)
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	name := fileOf(obj.UID)
	if err := k.root.WriteFile(name+".new", text, 0o600); err != nil {
		return err
	}
	return k.root.Rename(name+".new", name)
}

// guessable reports whether values of Secrets are among the inputs, or decrypted ones in the set: with few possible values,
// their digest tells which. The credentials of a remote cluster are such values; nor is what was left behind there to be looked
// for in another cluster, if the credentials lead to one by the next start.
func guessable(obj *kustomizev1.Kustomization) bool {
	if obj.Spec.Decryption != nil || obj.Spec.KubeConfig != nil {
		return true
	}
	if obj.Spec.PostBuild == nil {
		return false
	}
	for _, ref := range obj.Spec.PostBuild.SubstituteFrom {
		if ref.Kind == "Secret" {
			return true
		}
	}
	return false
}

// load returns what an earlier process remembered of an object, and what drift has to know of its objects.
func (k recall) load(uid types.UID) (remembered, map[drift.Ref]drift.Known, bool) {
	if k.root == nil {
		return remembered{}, nil, false
	}
	f, err := k.root.Open(fileOf(uid))
	if err != nil {
		return remembered{}, nil, false
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxRecall))
	var s saved
	if err != nil || json.Unmarshal(text, &s) != nil || s.Format != recallFormat {
		return remembered{}, nil, false
	}
	r := remembered{inputs: s.Inputs, set: s.Set, began: s.Began, auditAt: s.AuditAt, healthy: s.Healthy, applied: s.Applied, recalled: true}
	known := make(map[drift.Ref]drift.Known, len(s.Objects))
	for _, o := range s.Objects {
		out := apply.Outcome{
			ID: o.ID, APIVersion: o.APIVersion, Action: o.Action, UID: o.Known.UID, Before: o.Known.ResourceVersion, After: o.Known.ResourceVersion, Digest: o.Digest,
		}
		r.outcomes = append(r.outcomes, out)
		if o.Known.UID != "" {
			known[driftRef(out)] = o.Known
		}
	}
	return r, known, true
}

// drop removes an object's file.
func (k recall) drop(uid types.UID) error {
	if k.root == nil {
		return nil
	}
	if err := k.root.Remove(fileOf(uid)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// remember keeps what a run has left behind, for this process and the next.
func (c *Controller) remember(obj *kustomizev1.Kustomization, what remembered) {
	c.memory.set(keyOf(obj), what)
	if err := c.recall.save(obj, what, c.config.Drift.Known(keyOf(obj))); err != nil {
		logf.Log.WithName(Name).Info("not kept for the next process, which will compare every object", "object", keyOf(obj), "error", err.Error())
	}
}

// forgetRun makes the next run compare everything.
func (c *Controller) forgetRun(obj *kustomizev1.Kustomization) {
	c.memory.forget(keyOf(obj))
	_ = c.recall.drop(obj.UID) // a file that stays is about an inventory that no run will find again
}

// lastRun returns what is known of the last successful run. What an earlier process has left is taken over with its watches,
// as the object's own identity: whatever has moved since then, they tell.
func (c *Controller) lastRun(obj *kustomizev1.Kustomization, r *run) (remembered, bool) {
	key := keyOf(obj)
	if last, ok := c.memory.get(key); ok {
		return last, true
	}
	if guessable(obj) { // a file from before it was is about other inputs, and perhaps another cluster
		return remembered{}, false
	}
	last, known, ok := c.recall.load(obj.UID)
	if !ok {
		return remembered{}, false
	}
	refs := make([]drift.Ref, 0, len(known))
	for ref, k := range known {
		c.config.Drift.Remember(key, ref, k)
		refs = append(refs, ref)
	}
	c.config.Drift.End(key, r.client, refs)
	c.memory.set(key, last)
	return last, true
}
