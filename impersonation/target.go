// SPDX-License-Identifier: Apache-2.0

package impersonation

import (
	"errors"
	"fmt"

	"github.com/fluxcd/pkg/apis/meta"
	"k8s.io/apimachinery/pkg/util/validation"

	"sluice.dev/sluice/internal/fault"
)

// Target names the cluster that is acted on, and as whom there. The zero Target is the cluster the manager runs against, acted
// on as the Identity itself. Only ResolveTarget makes another one. Targets can be compared and used as map keys.
type Target struct {
	secret, key string
	configMap   string
	user        string
}

// ErrNoCredentials is wrapped by the error of a Broker when a Target leads to no credentials: what it names is certainly not
// there, or says what is refused. Clients made of what it said before are over.
var ErrNoCredentials = errors.New("there are no credentials for the remote cluster")

// Remote reports whether the target is another cluster than the manager's.
func (t Target) Remote() bool { return t.secret != "" || t.configMap != "" }

// Secret returns the Secret that holds a kubeconfig, and the key in it, which may be empty. The Secret is in the namespace of
// the Identity. Empty means that the target names none.
func (t Target) Secret() (name, key string) { return t.secret, t.key }

// ConfigMap returns the ConfigMap that describes the cluster, in the namespace of the Identity. Empty means that the target
// names none.
func (t Target) ConfigMap() string { return t.configMap }

// User returns the subject that requests to the remote cluster impersonate. Empty means the user of the credentials.
func (t Target) User() string { return t.user }

// String returns what the target names, as "Secret/<name>" or "ConfigMap/<name>", and "local" for the zero Target.
func (t Target) String() string {
	switch {
	case t.secret != "":
		return "Secret/" + t.secret
	case t.configMap != "":
		return "ConfigMap/" + t.configMap
	default:
		return "local"
	}
}

// ResolveTarget returns on which cluster obj acts, and as whom there (spec row K-40). It is pure. Without a reference that is the
// manager's own cluster.
//
// On a remote cluster an object impersonates the ServiceAccount it names, in the namespace that is called like the object's own;
// so do the objects of tenants that act as the default one. An object in a platform namespace that names none acts as the
// user of its credentials: sluice-platform is an account of this cluster, which no other one knows. A tenant's object never
// acts as that user, which as a rule may impersonate others (DESIGN §6.3: no ambient authority). A name that is a
// controller's here is an ordinary name on another cluster.
//
// A refusal is a fault of kind Denied, or Invalid where the reference is malformed.
func ResolveTarget(obj Tenanted, ref *meta.KubeConfigReference, l Lockdown) (Target, error) {
	if _, err := Resolve(obj, l); err != nil {
		return Target{}, err
	}
	if ref == nil {
		return Target{}, nil
	}
	t, err := named(ref)
	if err != nil {
		return Target{}, fault.New(fault.Invalid, meta.ReconciliationFailedReason, "%w", err)
	}
	name := obj.ServiceAccountName()
	if name == "" && !l.Platform(obj.GetNamespace()) {
		name = l.DefaultServiceAccount
	}
	if name == "" {
		return t, nil
	}
	if err := checkName("spec.serviceAccountName", name); err != nil {
		return Target{}, denied("%w", err)
	}
	t.user = Identity{namespace: obj.GetNamespace(), name: name}.String()
	return t, nil
}

// named returns the target that a reference names. The CRD requires the same; an object may be older than the CRD.
func named(ref *meta.KubeConfigReference) (Target, error) {
	secret, configMap := ref.SecretRef, ref.ConfigMapRef
	if (secret == nil) == (configMap == nil) {
		return Target{}, errors.New("spec.kubeConfig: set exactly one of secretRef and configMapRef")
	}
	if configMap != nil {
		return Target{configMap: configMap.Name}, checkReference("spec.kubeConfig.configMapRef.name", configMap.Name)
	}
	if secret.Key != "" && len(validation.IsConfigMapKey(secret.Key)) > 0 {
		return Target{}, fmt.Errorf("spec.kubeConfig.secretRef.key %q is not a key of a Secret", secret.Key)
	}
	return Target{secret: secret.Name, key: secret.Key}, checkReference("spec.kubeConfig.secretRef.name", secret.Name)
}

func checkReference(field, name string) error {
	if errs := validation.IsDNS1123Subdomain(name); len(errs) > 0 {
		return fmt.Errorf("%s %q is not a valid name", field, name)
	}
	return nil
}
