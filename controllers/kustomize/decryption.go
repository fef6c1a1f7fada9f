// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"cmp"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/controllers/kustomize/decrypt"
	"sluice.dev/sluice/controllers/kustomize/decrypt/unwrap"
	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/internal/fault"
)

// PlatformKeys is what the platform adds to the decryption of all objects (spec row K-17). The zero value adds nothing.
type PlatformKeys struct {
	// AgeSecret has age identities for objects without a decryption Secret. Without a name there are none. Reader reads it, as the
	// manager.
	AgeSecret client.ObjectKey
	Reader    client.Reader
	// Vaults are where ServiceAccounts may log in to Vault. Nil is nowhere.
	Vaults *unwrap.Logins
	// Accounts says that spec.decryption.serviceAccountName may be set, and that clouds may be logged in to
	// (ObjectLevelWorkloadIdentity). DefaultAccount stands in where it is not set.
	Accounts       bool
	DefaultAccount string
	// Tokens makes tokens of ServiceAccounts for key services. Nil lets nobody log in.
	Tokens AudienceTokens
}

// AudienceTokens makes tokens of ServiceAccounts that are good at one service outside the cluster; impersonation/tokens does.
type AudienceTokens interface {
	AudienceToken(ctx context.Context, id impersonation.Identity, audience, field string) (string, time.Time, error)
	AudienceTokenRefused(id impersonation.Identity, audience string)
}

// decryptionAccountField is the field that names who logs in at key services.
const decryptionAccountField = "spec.decryption.serviceAccountName"

// checkDecryption refuses a spec.decryption that cannot work, before anything is fetched.
func (c *Controller) checkDecryption(obj *kustomizev1.Kustomization) error {
	d := obj.Spec.Decryption
	switch {
	case d == nil:
		return nil
	case d.Provider != decrypt.Provider:
		return fault.New(fault.Invalid, meta.BuildFailedReason, "spec.decryption.provider %q: must be %q", d.Provider, decrypt.Provider)
	case d.ServiceAccountName != "" && !c.config.Keys.Accounts:
		return fault.New(fault.Invalid, meta.FeatureGateDisabledReason,
			"to use %s, enable the feature gate ObjectLevelWorkloadIdentity in the controller", decryptionAccountField)
	case d.ServiceAccountName != "" && len(validation.IsDNS1123Subdomain(d.ServiceAccountName)) > 0:
		return fault.New(fault.Invalid, accessDeniedReason, "%s %q is not a valid name of a ServiceAccount", decryptionAccountField, d.ServiceAccountName)
	}
	return nil
}

// readCredentials reads the decryption Secret as the object's own identity, as variables are read: what a tenant's
// ServiceAccount may not read decrypts nothing for the tenant (spec row K-17). Without a reference there are the platform's age
// identities, if it has any. Whatever else is needed, the object's ServiceAccount logs in for, or it is said to be missing.
func (c *Controller) readCredentials(ctx context.Context, local impersonation.Client, obj *kustomizev1.Kustomization) (unwrap.Credentials, error) {
	d := obj.Spec.Decryption
	if d == nil {
		return unwrap.Credentials{}, nil
	}
	var creds unwrap.Credentials
	var err error
	if d.SecretRef != nil {
		creds, err = readSecret(ctx, local, client.ObjectKey{Namespace: obj.Namespace, Name: d.SecretRef.Name})
	} else {
		creds, err = c.config.Keys.age(ctx)
	}
	if err != nil {
		return unwrap.Credentials{}, err
	}
	login, err := c.login(local, obj)
	return creds.With(login), err
}

func readSecret(ctx context.Context, c impersonation.Client, key client.ObjectKey) (unwrap.Credentials, error) {
	var secret corev1.Secret
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

// age reads the platform's age identities. Nothing else in that Secret is for the objects of tenants.
func (k PlatformKeys) age(ctx context.Context) (unwrap.Credentials, error) {
	if k.AgeSecret.Name == "" {
		return unwrap.Credentials{}, nil
	}
	var secret corev1.Secret
	if err := k.Reader.Get(ctx, k.AgeSecret, &secret); err != nil {
		return unwrap.Credentials{}, fault.New(fault.Retry, meta.BuildFailedReason, "the platform's age Secret '%s' (--sops-age-secret): %w", k.AgeSecret, err)
	}
	return unwrap.NewAgeCredentials(secret.Data), nil
}

// VaultsIn returns what reads, as the manager, the ConfigMap with the instances at which ServiceAccounts may log in.
func VaultsIn(reader client.Reader, key client.ObjectKey) func(context.Context) (unwrap.Vaults, error) {
	return func(ctx context.Context) (v unwrap.Vaults, err error) {
		var cm corev1.ConfigMap
		if err = reader.Get(ctx, key, &cm); err == nil {
			v, err = unwrap.ParseVaults(cm.Data)
		}
		if err != nil {
			return unwrap.Vaults{}, fmt.Errorf("ConfigMap '%s' (--sops-vault-configmap): %w", key, err)
		}
		return v, nil
	}
}

// login says as whom an object logs in at key services: the ServiceAccount that it names for that, else the operator's default,
// else as whom it acts anyway. It is one of the object's namespace, and never the controller's.
func (c *Controller) login(local impersonation.Client, obj *kustomizev1.Kustomization) (unwrap.Login, error) {
	k := c.config.Keys
	if k.Tokens == nil {
		return unwrap.Login{}, nil
	}
	a := account{Identity: local.Identity(), field: "spec.serviceAccountName", local: local, tokens: k.Tokens}
	if name := cmp.Or(obj.Spec.Decryption.ServiceAccountName, k.DefaultAccount); name != "" {
		id, err := impersonation.Resolve(decrypting{tenanted{obj}, name}, c.config.Lockdown)
		if err != nil {
			return unwrap.Login{}, err
		}
		a.Identity, a.field = id, decryptionAccountField
	}
	return unwrap.Login{Account: a, Clouds: k.Accounts, Vaults: k.Vaults}, nil
}

// decrypting shows impersonation.Resolve the ServiceAccount that an object logs in as at key services.
type decrypting struct {
	tenanted

	name string
}

// ServiceAccountName returns the name.
func (d decrypting) ServiceAccountName() string { return d.name }

// account is a ServiceAccount that shows key services who it is.
type account struct {
	impersonation.Identity

	field  string
	local  impersonation.Client
	tokens AudienceTokens
}

// Token implements unwrap.Account.
func (a account) Token(ctx context.Context, audience string) (string, time.Time, error) {
	return a.tokens.AudienceToken(ctx, a.Identity, audience, a.field)
}

// Refused implements unwrap.Account.
func (a account) Refused(audience string) { a.tokens.AudienceTokenRefused(a.Identity, audience) }

// Annotations implements unwrap.Account. They are read as the object, which may need a right for it: the controller has none on
// ServiceAccounts.
func (a account) Annotations(ctx context.Context) (map[string]string, error) {
	var sa corev1.ServiceAccount
	key := client.ObjectKey{Namespace: a.Namespace(), Name: a.ServiceAccount()}
	if err := a.local.Kube().Get(ctx, key, &sa); err != nil {
		return nil, fmt.Errorf("ServiceAccount '%s' of %s, read as %s: %w", key, a.field, a.local.Identity(), err)
	}
	return sa.Annotations, nil
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
