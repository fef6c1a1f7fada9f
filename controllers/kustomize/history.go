// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"crypto"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/apply/inventory"
	"sluice.dev/sluice/internal/fips"
)

// originRevisionKey is the OCI annotation that carries the revision of the origin (spec row K-42).
const originRevisionKey = "org.opencontainers.image.revision"

// setInventory puts an inventory into the status. One that says the same in another order stays: upstream writes it in the
// order of application, and taking over from it is to change nothing.
func setInventory(obj *kustomizev1.Kustomization, objects inventory.Inventory) {
	if !inventory.Read(obj.Status.Inventory).Equal(objects) {
		obj.Status.Inventory = objects.Write()
	}
}

// inventoryDigest tells inventories apart. Where the one in the status is not the one that the last run left behind, its status
// was lost, or a run since then was killed, and both leave objects to be dealt with although no input has moved.
func inventoryDigest(digests fips.Digests, obj *kustomizev1.Kustomization) (string, error) {
	data, err := json.Marshal(inventory.Read(obj.Status.Inventory).Write()) // sorted
	if err != nil {
		return "", fmt.Errorf("digest inventory: %w", err)
	}
	sum, err := fips.Sum(digests, crypto.SHA256, data)
	return hex.EncodeToString(sum), err
}

// setDigests remembers the digest of each object's last set, since most sets are the same again in the next revision. The zero
// setDigests works.
type setDigests struct {
	mu   sync.Mutex
	last map[types.NamespacedName]setSum
}

// setSum is a set's digest, and one that is cheap to compute, by which the set is known again.
type setSum struct{ quick, digest string }

// of returns "sha256:<hex>" over the objects of a build, in their order, as one YAML stream: by it upstream knows its own entry in
// a history again, and ours (spec row K-01).
func (d *setDigests) of(digests fips.Digests, key types.NamespacedName, objs []*unstructured.Unstructured) (string, error) {
	quick, err := streamDigest(digests, objs, json.Marshal, "\n")
	if err != nil {
		return "", err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if last := d.last[key]; last.quick == quick {
		return last.digest, nil
	}
	digest, err := streamDigest(digests, objs, yaml.Marshal, "---\n")
	if err != nil {
		return "", err
	}
	if d.last == nil {
		d.last = map[types.NamespacedName]setSum{}
	}
	d.last[key] = setSum{quick: quick, digest: digest}
	return digest, nil
}

func (d *setDigests) forget(key types.NamespacedName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.last, key)
}

// streamDigest returns the digest of the objects with a separator between them.
func streamDigest(digests fips.Digests, objs []*unstructured.Unstructured, marshal func(any) ([]byte, error), separator string) (string, error) {
	state, err := digests.Hash(crypto.SHA256)
	if err != nil {
		return "", err
	}
	for i, obj := range objs {
		text, err := marshal(obj.Object)
		if err != nil {
			return "", fmt.Errorf("digest %s/%s: %w", obj.GetKind(), obj.GetName(), err)
		}
		if i > 0 {
			state.Write([]byte(separator))
		}
		state.Write(text)
	}
	return "sha256:" + hex.EncodeToString(state.Sum(nil)), nil
}

// valuesDigest returns the digest of the substitution variables, so that a change of one is noticed without keeping
// any.
func valuesDigest(digests fips.Digests, vars map[string]string) (string, error) {
	data, err := json.Marshal(vars) // sorts keys
	if err != nil {
		return "", fmt.Errorf("digest variables: %w", err)
	}
	sum, err := fips.Sum(digests, crypto.SHA256, data)
	return hex.EncodeToString(sum), err
}
