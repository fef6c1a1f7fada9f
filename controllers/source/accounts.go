// SPDX-License-Identifier: Apache-2.0

package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/transport"
)

// Accounts lets sources log in to clouds as ServiceAccounts of their namespace (spec rows S-21 and S-22). The controller has no identity
// at a cloud itself, so nobody acts as it. All fields are required but Default.
type Accounts struct {
	// Tokens makes tokens of ServiceAccounts; impersonation/tokens does.
	Tokens Minter
	// Reader reads ServiceAccounts, past any cache: their annotations say as whom they act at a cloud.
	Reader client.Reader
	// Lockdown says as whom no source acts.
	Lockdown impersonation.Lockdown
	// Clouds exchanges tokens for credentials.
	Clouds *cloud.Client
	// Enabled is the feature gate ObjectLevelWorkloadIdentity, and Default the ServiceAccount of sources that name none.
	Enabled bool
	Default string
	// Kept are the credentials for as long as they are good.
	Kept *TokenCache
}

// Minter makes tokens of ServiceAccounts that are good at one service outside the cluster.
type Minter interface {
	AudienceToken(ctx context.Context, id impersonation.Identity, audience, field string) (string, time.Time, error)
}

// accountField is the field that names the ServiceAccount of a source.
const accountField = "spec.serviceAccountName"

// workload is a ServiceAccount as which one source acts at its cloud.
type workload struct {
	accounts    Accounts
	id          impersonation.Identity
	annotations map[string]string
}

// login says who wants to act at a cloud: a source of a namespace, which may name a ServiceAccount, and has its way there.
type login struct {
	namespace, account, provider string
	proxy                        transport.Proxy
}

// workload returns as whom a source acts at a cloud: the ServiceAccount that it names, else the operator's default.
func (c Config) workload(ctx context.Context, l login) (workload, error) {
	a, name := c.Accounts, l.account
	switch {
	case !a.Enabled && name != "":
		return workload{}, fault.New(fault.Invalid, meta.FeatureGateDisabledReason,
			"to use %s, enable the feature gate ObjectLevelWorkloadIdentity in the controller", accountField)
	case !a.Enabled || cmp.Or(name, a.Default) == "":
		return workload{}, fault.New(fault.Invalid, sourcev1.InvalidProviderConfigurationReason,
			"spec.provider %q needs %s: the controller has no identity of its own there, so name a ServiceAccount that has one", l.provider, accountField)
	}
	id, err := impersonation.Resolve(account{l.namespace, cmp.Or(name, a.Default)}, a.Lockdown)
	if err != nil {
		return workload{}, err
	}
	if a.Clouds, err = a.Clouds.Through(l.proxy); err != nil {
		return workload{}, err
	}
	var sa corev1.ServiceAccount
	key := types.NamespacedName{Namespace: id.Namespace(), Name: id.ServiceAccount()}
	switch err := a.Reader.Get(ctx, key, &sa); {
	case apierrors.IsNotFound(err):
		return workload{}, accountFault("ServiceAccount %q not found: create it, or mend %s", key, accountField)
	case apierrors.IsForbidden(err):
		return workload{}, accountFault("ServiceAccount %q: the platform has to list it in Role %q of its namespace and bind the Role to source-controller: %w",
			key, rbac.IdentityRole, err)
	case err != nil:
		return workload{}, accountFault("ServiceAccount %q: %w", key, err)
	}
	return workload{accounts: a, id: id, annotations: sa.Annotations}, nil
}

// account shows a ServiceAccount to impersonation.Resolve.
type account struct{ namespace, name string }

// GetNamespace returns the namespace.
func (a account) GetNamespace() string { return a.namespace }

// GetName returns the name.
func (a account) GetName() string { return a.name }

// ServiceAccountName returns the name.
func (a account) ServiceAccountName() string { return a.name }

// aws returns a credential of the role of the workload.
func (w workload) aws(ctx context.Context, region cloud.Region) (cloud.AWSCredential, error) {
	role, err := cloud.ParseRole(w.annotations)
	if err != nil {
		return cloud.AWSCredential{}, w.annotation(err)
	}
	return kept(ctx, w.accounts.Kept, w.key("aws", cloud.RoleAnnotation, region.Name()), func() (cred cloud.AWSCredential, expires time.Time, err error) {
		err = w.exchange(ctx, "aws", cloud.AWSAudience, func(token cloud.Secret) (err error) {
			cred, err = w.accounts.Clouds.AssumeRole(ctx, region, role, w.id.Namespace(), w.id.ServiceAccount(), token)
			return err
		})
		return cred, cred.Expires, err
	})
}

// azure returns a token for a resource of Azure.
func (w workload) azure(ctx context.Context, resource string) (cloud.Token, error) {
	who, err := cloud.ParseEntraIdentity(w.annotations)
	if err != nil {
		return cloud.Token{}, w.annotation(err)
	}
	key := w.key("azure", cloud.TenantAnnotation, cloud.ClientAnnotation, resource)
	return kept(ctx, w.accounts.Kept, key, func() (t cloud.Token, expires time.Time, err error) {
		err = w.exchange(ctx, "azure", cloud.EntraAudience, func(token cloud.Secret) (err error) {
			t, err = w.accounts.Clouds.EntraToken(ctx, who, resource, token)
			return err
		})
		return t, t.Expires, err
	})
}

// google returns a token for Google Cloud.
func (w workload) google(ctx context.Context) (cloud.Token, error) {
	who, err := cloud.ParseGoogleIdentity(w.annotations)
	if err != nil {
		return cloud.Token{}, w.annotation(err)
	}
	audience, err := w.accounts.Clouds.GoogleAudience(ctx, who)
	if err != nil {
		return cloud.Token{}, w.annotation(err)
	}
	key := w.key("gcp", cloud.PoolAnnotation, cloud.GoogleAccountAnnotation)
	return kept(ctx, w.accounts.Kept, key, func() (t cloud.Token, expires time.Time, err error) {
		err = w.exchange(ctx, "gcp", audience, func(token cloud.Secret) (err error) {
			t, err = w.accounts.Clouds.GoogleToken(ctx, who, token)
			return err
		})
		return t, t.Expires, err
	})
}

// exchange gives a token of the ServiceAccount to a cloud.
func (w workload) exchange(ctx context.Context, provider, audience string, give func(cloud.Secret) error) error {
	token, _, err := w.accounts.Tokens.AudienceToken(ctx, w.id, audience, accountField)
	if err != nil {
		return err
	}
	err = give(cloud.Secret(token))
	if refused, ok := errors.AsType[*cloud.Error](err); ok && refused.Refused() {
		return accountFault("%s does not accept ServiceAccount %q of namespace %q: check its annotations, and whom the identity they name trusts: %w",
			provider, w.id.ServiceAccount(), w.id.Namespace(), err)
	}
	return err
}

// key names a credential by all that it depends on: the ServiceAccount, its annotations of these names, and what it is for.
func (w workload) key(provider string, parts ...string) string {
	out := []string{provider, w.id.Namespace(), w.id.ServiceAccount()}
	for _, part := range parts {
		if value, ok := w.annotations[part]; ok {
			part = value
		}
		out = append(out, part)
	}
	return fmt.Sprintf("%q", out)
}

func (w workload) annotation(err error) error {
	return accountFault("ServiceAccount %q of namespace %q: %w", w.id.ServiceAccount(), w.id.Namespace(), err)
}

// accountFault is retried: nothing watches the ServiceAccount, and its owner may mend it without touching the source.
func accountFault(format string, args ...any) error {
	return fault.New(fault.Retry, sourcev1.AuthenticationFailedReason, format, args...)
}
