// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"encoding/json"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// operation is one operation of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// leftoverAnnotations and leftoverLabels are what earlier tools noted on objects for their own use: kubectl, the first Flux, and
// the kustomize controller before it applied on the server (spec row K-24).
func leftoverAnnotations() []string {
	return []string{"kubectl.kubernetes.io/last-applied-configuration", "kustomize.toolkit.fluxcd.io/checksum", "fluxcd.io/sync-checksum"}
}

func leftoverLabels() []string { return []string{"fluxcd.io/sync-gc-mark"} }

// takeover returns what has to be changed in the metadata of a live object before desired is applied, since it would outlive that
// otherwise, and says why: fields of managers that must not outlive us, leftovers of earlier tools (spec row K-24), and managed
// fields of another version than the manifest's (K-45). Dry is the object as it would become; what asks there for ssa: Merge
// keeps its managers and leftovers.
func (e *Engine) takeover(owner Owner, live, desired, dry *unstructured.Unstructured) (ops []operation, reason string, err error) {
	entries, taken := live.GetManagedFields(), false
	if e.config.MigrateAPIVersion && e.config.Reader.Moves(entries, desired.GetAPIVersion()) {
		entries, taken = e.config.Reader.Migrate(entries, desired.GetAPIVersion())
		reason = "its managed fields move to " + desired.GetAPIVersion()
	}
	if !owner.merges(dry) {
		var absorbed bool
		if entries, absorbed, err = e.config.Reader.Absorb(entries, desired.GetAPIVersion(), e.config.Now()); err != nil {
			return nil, "", err
		}
		if absorbed {
			taken, reason = true, "fields set with kubectl are taken over"
		}
		ops = append(removals("annotations", live.GetAnnotations(), desired.GetAnnotations(), leftoverAnnotations()),
			removals("labels", live.GetLabels(), desired.GetLabels(), leftoverLabels())...)
		if len(ops) > 0 && !taken {
			reason = "notes of earlier tools are removed"
		}
	}
	if taken {
		ops = append([]operation{{Op: "replace", Path: "/metadata/managedFields", Value: entries}}, ops...)
	}
	return ops, reason, nil
}

// removals removes those of the keys that a live map has and the desired one has not.
func removals(field string, live, desired map[string]string, keys []string) []operation {
	var ops []operation
	for _, key := range keys {
		_, found := live[key]
		if _, wanted := desired[key]; found && !wanted {
			ops = append(ops, operation{Op: "remove", Path: "/metadata/" + field + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)})
		}
	}
	return ops
}

// absorb carries a takeover out. It is conditional on the object not having changed since it was read.
func (r *run) absorb(ctx context.Context, s *Step) error {
	if len(s.found.takes) == 0 {
		return nil
	}
	return r.patch(ctx, s, "take over", s.found.takes)
}

// rememberWritten remembers an object as it was written. Where a manager whose fields are taken over wrote to it after it was read,
// that is remembered instead: their change is drift, and not how we left the object.
func (r *run) rememberWritten(s *Step, obj client.Object, read string) {
	w := r.engine.config.Drift
	if w == nil {
		return
	}
	reader := r.engine.config.Reader
	known := r.known(s, obj, true)
	if _, late, err := reader.Absorb(obj.GetManagedFields(), s.Object.GetAPIVersion(), r.engine.config.Now()); err == nil && late && !r.plan.Owner.merges(obj) {
		known.ResourceVersion, known.Fields = read, ""
	}
	w.Remember(r.plan.Owner.Key(), s.driftRef(), known)
}

// migrate rewrites the managed fields of an object that the API server cannot apply to as long as they name an older version,
// and reports whether it had to.
func (r *run) migrate(ctx context.Context, s *Step) (bool, error) {
	if !s.found.stale {
		return false, nil
	}
	entries, _ := r.engine.config.Reader.Migrate(s.found.live.GetManagedFields(), s.Object.GetAPIVersion())
	err := r.patch(ctx, s, "move its managed fields to "+s.Object.GetAPIVersion(), []operation{{Op: "replace", Path: "/metadata/managedFields", Value: entries}})
	return err == nil, err
}

func (r *run) patch(ctx context.Context, s *Step, doing string, ops []operation) error {
	live := s.found.live
	raw, err := json.Marshal(append([]operation{{Op: "test", Path: "/metadata/resourceVersion", Value: live.GetResourceVersion()}}, ops...))
	if err != nil {
		return s.fail(doing, err)
	}
	patched := live.DeepCopy()
	if err := r.client.Kube().Patch(ctx, patched, client.RawPatch(types.JSONPatchType, raw), client.FieldOwner(r.engine.config.Reader.Manager())); err != nil {
		return s.fail(doing, err)
	}
	live.SetResourceVersion(patched.GetResourceVersion())
	return nil
}

// stale reports whether managed fields of a live object may be what the API server refuses a manifest for: those that name
// another version of the kind, whoever holds them.
func (e *Engine) stale(live, desired *unstructured.Unstructured) bool {
	if !e.config.MigrateAPIVersion {
		return false
	}
	_, moved := e.config.Reader.Migrate(live.GetManagedFields(), desired.GetAPIVersion())
	return moved
}
