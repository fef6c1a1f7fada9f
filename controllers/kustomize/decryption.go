// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/controllers/kustomize/decrypt"
	"sluice.dev/sluice/controllers/kustomize/decrypt/unwrap"
	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/internal/fault"
)

// checkDecryption refuses a spec.decryption that cannot work, before anything is fetched.
func checkDecryption(obj *kustomizev1.Kustomization) error {
	d := obj.Spec.Decryption
	switch {
	case d == nil:
		return nil
	case d.Provider != decrypt.Provider:
		return fault.New(fault.Invalid, meta.BuildFailedReason, "spec.decryption.provider %q: must be %q", d.Provider, decrypt.Provider)
	case d.ServiceAccountName != "":
		return fault.New(fault.Invalid, meta.FeatureGateDisabledReason,
			"spec.decryption.serviceAccountName is not supported by this version: put the credential into the Secret of spec.decryption.secretRef")
	}
	return nil
}

// readCredentials reads the decryption Secret as the object's own identity, as variables are read: what a tenant's
// ServiceAccount may not read decrypts nothing for the tenant (spec row K-17). Without a reference there are no credentials, and
// whatever needs one says so.
func readCredentials(ctx context.Context, c impersonation.Client, obj *kustomizev1.Kustomization) (unwrap.Credentials, error) {
	if obj.Spec.Decryption == nil || obj.Spec.Decryption.SecretRef == nil {
		return unwrap.Credentials{}, nil
	}
	var secret corev1.Secret
	key := client.ObjectKey{Namespace: obj.Namespace, Name: obj.Spec.Decryption.SecretRef.Name}
	err := c.Kube().Get(ctx, key, &secret)
	switch {
	case apierrors.IsNotFound(err):
		return unwrap.Credentials{}, fault.New(fault.Retry, meta.BuildFailedReason,
			"decryption Secret '%s': not found: create it or correct spec.decryption.secretRef", key)
	case apierrors.IsForbidden(err):
		return unwrap.Credentials{}, fault.New(fault.Denied, accessDeniedReason, "decryption Secret '%s': %s may not read it: %w", key, c.Identity(), err)
	case err != nil:
		return unwrap.Credentials{}, fault.New(fault.Retry, meta.BuildFailedReason, "decryption Secret '%s': %w", key, err)
	}
	return unwrap.NewCredentials(secret.Data), nil
}

// decrypter returns what decrypts in one build, or nil where the object asks for none.
func (c *Controller) decrypter(obj *kustomizev1.Kustomization, creds unwrap.Credentials) (*decrypt.Session, error) {
	if obj.Spec.Decryption == nil {
		return nil, nil
	}
	return decrypt.New(c.config.Decryption, creds)
}

// refuseEncrypted refuses a Secret that is still encrypted: applied, it would lose its metadata and keep its ciphertext as the
// secret (spec row K-18). Nothing has been written yet.
func refuseEncrypted(objs []*unstructured.Unstructured) error {
	for _, obj := range objs {
		if decrypt.StillEncrypted(obj) {
			return fault.New(fault.Retry, meta.ReconciliationFailedReason,
				"Secret/%s is encrypted with SOPS: set spec.decryption to have it decrypted", obj.GetName())
		}
	}
	return nil
}
