// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"crypto"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"sluice.dev/sluice/internal/fips"
)

// originRevisionKey is the OCI annotation that carries the revision of the origin (spec row K-42).
const originRevisionKey = "org.opencontainers.image.revision"

// setDigest returns "sha256:<hex>" over the objects of a build, in their order, as JSON with sorted keys.
func setDigest(digests fips.Digests, objs []*unstructured.Unstructured) (string, error) {
	state, err := digests.Hash(crypto.SHA256)
	if err != nil {
		return "", err
	}
	enc := json.NewEncoder(state)
	for _, obj := range objs {
		if err := enc.Encode(obj.Object); err != nil {
			return "", fmt.Errorf("digest %s/%s: %w", obj.GetKind(), obj.GetName(), err)
		}
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
