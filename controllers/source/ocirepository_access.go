// SPDX-License-Identifier: Apache-2.0

package source

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/transport"
)

// dockerConfigKey is the entry of a Secret of type kubernetes.io/dockerconfigjson.
const dockerConfigKey = ".dockerconfigjson"

// ociKeychain returns the credentials of a registry (spec row S-54): those of the Secret that the source names, else by its
// provider those of its ServiceAccount's image pull Secrets, or of its identity at a cloud. Nil is anonymous.
func (c Config) ociKeychain(ctx context.Context, obj *sourcev1.OCIRepository, host string, proxy transport.Proxy) (*oci.Keychain, error) {
	var documents [][]byte
	if ref := obj.Spec.SecretRef; ref != nil {
		document, err := c.dockerConfig(ctx, obj.Namespace, ref.Name)
		if err != nil {
			return nil, err
		}
		documents = append(documents, document)
	}
	switch provider := cmp.Or(obj.Spec.Provider, sourcev1.GenericOCIProvider); {
	case provider == sourcev1.GenericOCIProvider && obj.Spec.ServiceAccountName != "":
		more, err := c.pullSecrets(ctx, obj.Namespace, obj.Spec.ServiceAccountName)
		if err != nil {
			return nil, err
		}
		documents = append(documents, more...)
	case provider != sourcev1.GenericOCIProvider && len(documents) == 0:
		document, err := c.cloudLogin(ctx, obj, login{obj.Namespace, obj.Spec.ServiceAccountName, provider, proxy}, host)
		if err != nil {
			return nil, err
		}
		documents = append(documents, document)
	}
	if len(documents) == 0 {
		return nil, nil
	}
	return oci.ParseDockerConfig(documents...)
}

// dockerConfig reads a Secret as `kubectl create secret docker-registry` makes it. It is parsed here too, so that the message
// names the Secret that cannot be read.
func (c Config) dockerConfig(ctx context.Context, namespace, name string) ([]byte, error) {
	data, err := c.secretData(ctx, namespace, &meta.LocalObjectReference{Name: name})
	if err != nil {
		return nil, err
	}
	document, ok := data[dockerConfigKey]
	if !ok {
		return nil, fault.New(fault.Retry, sourcev1.AuthenticationFailedReason,
			"secret '%s/%s' has no entry %q: make it with type kubernetes.io/dockerconfigjson", namespace, name, dockerConfigKey)
	}
	if _, err := oci.ParseDockerConfig(document); err != nil {
		return nil, fault.New(fault.Retry, sourcev1.AuthenticationFailedReason, "secret '%s/%s': %w", namespace, name, err)
	}
	return document, nil
}

// maxPullSecrets bounds the Secrets of one ServiceAccount.
const maxPullSecrets = 32

// pullSecrets reads the image pull Secrets of a ServiceAccount in the source's own namespace, in their order.
func (c Config) pullSecrets(ctx context.Context, namespace, name string) ([][]byte, error) {
	var sa corev1.ServiceAccount
	key := types.NamespacedName{Namespace: namespace, Name: name}
	switch err := c.Accounts.Reader.Get(ctx, key, &sa); {
	case apierrors.IsNotFound(err):
		return nil, accountFault("ServiceAccount %q not found: create it, or mend %s", key, accountField)
	case apierrors.IsForbidden(err):
		return nil, accountFault("ServiceAccount %q: the platform has to list it in Role %q of its namespace and bind the Role to source-controller: %w",
			key, rbac.IdentityRole, err)
	case err != nil:
		return nil, accountFault("ServiceAccount %q: %w", key, err)
	case len(sa.ImagePullSecrets) > maxPullSecrets:
		return nil, accountFault("ServiceAccount %q has more than %d imagePullSecrets", key, maxPullSecrets)
	}
	var documents [][]byte
	for _, ref := range sa.ImagePullSecrets {
		document, err := c.dockerConfig(ctx, namespace, ref.Name)
		if err != nil {
			return nil, err
		}
		documents = append(documents, document)
	}
	return documents, nil
}

// cloudLogin logs in at a cloud's registry as the source's ServiceAccount, and returns that as a document of one credential. It is
// for the host in the URL alone, which has to be the cloud's: whoever could name another would get a login that is good there.
func (c Config) cloudLogin(ctx context.Context, obj *sourcev1.OCIRepository, as login, host string) ([]byte, error) {
	provider := as.provider
	enter, err := c.registryLogin(provider, host)
	if err != nil {
		return nil, fault.New(fault.Invalid, sourcev1.InvalidProviderConfigurationReason, "spec.url: %q is %w", host, err)
	}
	if obj.Spec.Insecure {
		return nil, fault.New(fault.Invalid, sourcev1.InvalidProviderConfigurationReason,
			"spec.insecure: the login of provider %q is not sent without TLS: remove it", provider)
	}
	w, err := c.workload(ctx, as)
	if err != nil {
		return nil, err
	}
	key := w.key(provider, "registry", host, cloud.RoleAnnotation, cloud.TenantAnnotation, cloud.ClientAnnotation, cloud.PoolAnnotation, cloud.GoogleAccountAnnotation)
	good, err := kept(ctx, c.Accounts.Kept, key, func() (cloud.RegistryLogin, time.Time, error) {
		good, err := enter(ctx, w)
		return good, good.Expires, err
	})
	if err != nil {
		if _, typed := err.(*fault.Fault); !typed { //nolint:errorlint // only its own faults are complete
			err = accountFault("log in at %q as ServiceAccount %q: %w", host, w.id.ServiceAccount(), err)
		}
		return nil, err
	}
	return json.Marshal(map[string]any{"auths": map[string]any{host: map[string]string{"username": good.Username, "password": string(good.Password)}}})
}

// registryLogin returns how to log in at a registry of a provider.
func (c Config) registryLogin(provider, host string) (func(context.Context, workload) (cloud.RegistryLogin, error), error) {
	switch provider {
	case sourcev1.AmazonOCIProvider:
		registry, err := cloud.ParseECR(host)
		return func(ctx context.Context, w workload) (cloud.RegistryLogin, error) {
			cred, err := w.aws(ctx, registry.Region())
			if err != nil {
				return cloud.RegistryLogin{}, err
			}
			return w.accounts.Clouds.ECRLogin(ctx, cred, registry)
		}, err
	case sourcev1.AzureOCIProvider:
		registry, err := cloud.ParseACR(host)
		return func(ctx context.Context, w workload) (cloud.RegistryLogin, error) {
			token, err := w.azure(ctx, w.accounts.Clouds.ACRResource())
			if err != nil {
				return cloud.RegistryLogin{}, err
			}
			return w.accounts.Clouds.ACRLogin(ctx, token, registry)
		}, err
	case sourcev1.GoogleOCIProvider:
		return func(ctx context.Context, w workload) (cloud.RegistryLogin, error) {
			token, err := w.google(ctx)
			return cloud.GoogleLogin(token), err
		}, cloud.ParseArtifactRegistry(host)
	default: // which the API server does not let in
		return nil, unsupported("spec.provider: " + provider)
	}
}
