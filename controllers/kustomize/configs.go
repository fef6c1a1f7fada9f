// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"
	"errors"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/apply/watch"
	"sluice.dev/sluice/impersonation"
)

// Configs makes Kustomizations run when a Secret or ConfigMap that they name changes (spec row K-21). It watches the metadata of
// those that carry the label, as the Kustomization's own identity: the API server's authorizer knows neither labels nor
// metadata, so the same watch in the manager's name would take the right to read every Secret of the cluster. Where the
// identity may not watch a namespace's Secrets, they are watched by name; where it may not do that either, the interval finds
// what has changed. The nil *Configs watches nothing. A Configs may be used by several goroutines at once.
type Configs struct {
	hub      *watch.Hub[string]
	selector string
	notify   func(types.NamespacedName)

	mu     sync.Mutex
	owners map[types.NamespacedName]*configured
}

// configured is what one Kustomization names.
type configured struct {
	group *watch.Group[string]
	refs  []configRef
	// named holds the kinds that the identity may watch by name only.
	named map[schema.GroupVersionKind]bool
}

// configRef is one Secret or ConfigMap.
type configRef struct {
	gvk  schema.GroupVersionKind
	name types.NamespacedName
}

// NewConfigs returns a Configs for the objects that a label selector chooses; an empty one chooses all. Notify must not block.
func NewConfigs(selector string, notify func(owner types.NamespacedName)) (*Configs, error) {
	if notify == nil {
		return nil, errors.New("config watches: nobody to notify")
	}
	hub, err := watch.NewHub(watch.Config[string]{Metadata: watch.Always, Record: client.Object.GetResourceVersion})
	if err != nil {
		return nil, err
	}
	return &Configs{hub: hub, selector: selector, notify: notify, owners: map[types.NamespacedName]*configured{}}, nil
}

// Run serves the watches until ctx ends.
func (w *Configs) Run(ctx context.Context) error { return w.hub.Run(ctx) }

// watch follows exactly what obj names, as the identity of c in the cluster that obj is in. Call it before these are read: then no
// change can fall between the reading and the watch.
func (w *Configs) watch(obj *kustomizev1.Kustomization, c impersonation.Client) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	owner, refs := keyOf(obj), configRefs(obj)
	o := w.owners[owner]
	if o != nil && (len(refs) == 0 || o.group.Identity() != c.Identity()) {
		w.drop(owner)
		o = nil
	}
	if len(refs) == 0 {
		return
	}
	if o == nil {
		o = &configured{named: map[schema.GroupVersionKind]bool{}}
		o.group = w.hub.Group(c, false, func(gvk schema.GroupVersionKind, change watch.Change) { w.changed(owner, gvk, change) })
		w.owners[owner] = o
	}
	o.refs = refs
	o.group.Refresh(c)
	o.group.Set(w.wants(o))
	for _, ref := range refs {
		w.narrow(o, ref.gvk) // who joins a watch that was refused before is not told of it
	}
}

// forget ends the watches of a Kustomization that is gone.
func (w *Configs) forget(owner types.NamespacedName) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(owner)
}

func (w *Configs) drop(owner types.NamespacedName) {
	if o := w.owners[owner]; o != nil {
		o.group.Close()
		delete(w.owners, owner)
	}
}

func (w *Configs) wants(o *configured) watch.Wants {
	wants := watch.Wants{}
	for _, ref := range o.refs {
		wants.Add(w.query(o, ref), ref.name)
	}
	return wants
}

func (w *Configs) query(o *configured, ref configRef) watch.Query {
	q := watch.Query{GVK: ref.gvk, Namespace: ref.name.Namespace, Selector: w.selector}
	if o.named[ref.gvk] {
		q.Name = ref.name.Name
	}
	return q
}

// changed is called by the watches.
func (w *Configs) changed(owner types.NamespacedName, gvk schema.GroupVersionKind, change watch.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.owners[owner]
	switch {
	case o == nil:
	case change.Object == (types.NamespacedName{}):
		w.narrow(o, gvk)
	case slices.Contains(o.refs, configRef{gvk: gvk, name: change.Object}):
		w.notify(owner)
	}
}

// narrow watches by name what may not be watched otherwise: a role can grant that with resourceNames.
func (w *Configs) narrow(o *configured, gvk schema.GroupVersionKind) {
	i := slices.IndexFunc(o.refs, func(ref configRef) bool { return ref.gvk == gvk })
	if i < 0 || o.named[gvk] || o.group.Look(w.query(o, o.refs[i]), o.refs[i].name).State != watch.Denied {
		return
	}
	o.named[gvk] = true
	o.group.Set(w.wants(o))
}

// configRefs are the Secrets and ConfigMaps that a Kustomization names, all of them in its own namespace.
func configRefs(obj *kustomizev1.Kustomization) []configRef {
	var refs []configRef
	add := func(kind, name string) {
		ref := configRef{
			gvk:  schema.GroupVersionKind{Version: "v1", Kind: kind},
			name: types.NamespacedName{Namespace: obj.Namespace, Name: name},
		}
		if name != "" && !slices.Contains(refs, ref) {
			refs = append(refs, ref)
		}
	}
	if d := obj.Spec.Decryption; d != nil && d.SecretRef != nil {
		add("Secret", d.SecretRef.Name)
	}
	if k := obj.Spec.KubeConfig; k != nil && k.SecretRef != nil {
		add("Secret", k.SecretRef.Name)
	}
	if k := obj.Spec.KubeConfig; k != nil && k.ConfigMapRef != nil {
		add("ConfigMap", k.ConfigMapRef.Name)
	}
	if p := obj.Spec.PostBuild; p != nil {
		for _, ref := range p.SubstituteFrom {
			add(ref.Kind, ref.Name)
		}
	}
	return refs
}
