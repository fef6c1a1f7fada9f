// SPDX-License-Identifier: Apache-2.0

package rbac

import (
	"errors"
	"fmt"
	"io"
	"slices"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// Names of the rendered roles. They are the same in each namespace, so that a missing one can be named in a message.
const (
	MintRole    = "sluice-mint"
	SecretsRole = "sluice-source-secrets"
	// IdentityRole lets source-controller log in to clouds as the ServiceAccounts that sources name.
	IdentityRole = "sluice-source-identities"
)

// labels mark what was rendered here.
func labels() map[string]string { return map[string]string{"app.kubernetes.io/part-of": "sluice"} }

// Tenant is one namespace in which controllers serve objects.
type Tenant struct {
	// Namespace is the tenant's.
	Namespace string
	// ServiceAccounts are as whom the tenant's objects may act. None renders no grant to mint.
	ServiceAccounts []string
	// SourceSecrets are the Secrets its sources refer to. None renders no grant to read Secrets.
	SourceSecrets []string
	// SourceAccounts are the ServiceAccounts as which its sources log in to clouds. None renders no grant to do so.
	SourceAccounts []string
	// AnySourceSecret lets source-controller read every Secret of this one namespace, for tenants who name their own.
	AnySourceSecret bool
}

// Install says where the controllers run.
type Install struct {
	// Namespace is the controllers' own, flux-system as a rule.
	Namespace string
	// Selector is the controllers' --watch-label-selector: that of their shard, empty where they look at all objects.
	Selector string
	// AgeSecret and VaultConfigMap are the controllers' --sops-age-secret and --sops-vault-configmap. Empty means that the flag is
	// not set.
	AgeSecret, VaultConfigMap string
	// ExternalArtifacts is set where kustomize-controller runs with the feature gate ExternalArtifact.
	ExternalArtifacts bool
}

// validate refuses what would grant something else than it names.
func (in Install) validate() error {
	names := slices.DeleteFunc([]string{in.AgeSecret, in.VaultConfigMap}, func(name string) bool { return name == "" })
	return errors.Join(validNames("namespace", in.Namespace), validNames("object", names...))
}

// Platform is a platform namespace and as whom its objects act.
type Platform struct {
	Tenant
	// ServiceAccount is impersonation.Lockdown.PlatformServiceAccount; it is created, and mounted in no Pod.
	ServiceAccount string
	// ClusterRole is what it may do, an existing role. Empty binds it to none, and the operator does.
	ClusterRole string
}

// RenderController returns the ServiceAccount of a controller and the roles of Rules.
func RenderController(c Controller, in Install) ([]client.Object, error) {
	grants, err := Rules(c, in)
	if err != nil {
		return nil, err
	}
	if err := in.validate(); err != nil {
		return nil, err
	}
	name := "sluice-" + c.Account()
	account := serviceAccount(in.Namespace, c.Account())
	// The controllers do use their token; only the platform's own ServiceAccount must not be mounted.
	account.AutomountServiceAccountToken = nil
	return []client.Object{
		account,
		&rbacv1.ClusterRole{TypeMeta: rbacType("ClusterRole"), ObjectMeta: object("", name), Rules: grants.Cluster},
		&rbacv1.ClusterRoleBinding{
			TypeMeta: rbacType("ClusterRoleBinding"), ObjectMeta: object("", name),
			RoleRef: roleRef("ClusterRole", name), Subjects: subjects(in, c),
		},
		role(in.Namespace, name, grants.Own),
		binding(in.Namespace, name, subjects(in, c)),
	}, nil
}

// RenderTenant returns the roles which let the controllers serve one namespace: to mint tokens for its named
// ServiceAccounts, for those that log in to clouds to read their annotations too, and to read its named Secrets.
func RenderTenant(t Tenant, in Install) ([]client.Object, error) {
	if err := t.validate(in); err != nil {
		return nil, err
	}
	var objs []client.Object
	if names := sorted(t.ServiceAccounts); len(names) > 0 {
		mint := rule("", []string{"serviceaccounts/token"}, "create")
		mint.ResourceNames = names
		objs = append(objs, role(t.Namespace, MintRole, []rbacv1.PolicyRule{mint}), binding(t.Namespace, MintRole, subjects(in, Kustomize)))
	}
	if names := sorted(t.SourceAccounts); len(names) > 0 {
		mint, read := rule("", []string{"serviceaccounts/token"}, "create"), rule("", []string{"serviceaccounts"}, "get")
		mint.ResourceNames, read.ResourceNames = names, names
		objs = append(objs, role(t.Namespace, IdentityRole, []rbacv1.PolicyRule{mint, read}), binding(t.Namespace, IdentityRole, subjects(in, Source)))
	}
	if names := sorted(t.SourceSecrets); len(names) > 0 || t.AnySourceSecret {
		read := rule("", []string{"secrets"}, "get")
		if !t.AnySourceSecret {
			read.ResourceNames = names
		}
		objs = append(objs, role(t.Namespace, SecretsRole, []rbacv1.PolicyRule{read}), binding(t.Namespace, SecretsRole, subjects(in, Source)))
	}
	return objs, nil
}

// RenderPlatform returns the ServiceAccount as which the objects of a platform namespace act, its binding, and the
// roles of RenderTenant. Whoever may mint for this ServiceAccount can become the platform: where tenants are served by
// a Deployment of their own, apply this for the other one alone.
func RenderPlatform(p Platform, in Install) ([]client.Object, error) {
	if err := validNames("ServiceAccount", p.ServiceAccount); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(Controllers(), func(c Controller) bool { return c.Account() == p.ServiceAccount }) {
		return nil, fmt.Errorf("ServiceAccount %q is a controller's; no object may act as it", p.ServiceAccount)
	}
	t := p.Tenant
	t.ServiceAccounts = append(slices.Clone(t.ServiceAccounts), p.ServiceAccount)
	granted, err := RenderTenant(t, in)
	if err != nil {
		return nil, err
	}
	objs := []client.Object{serviceAccount(p.Namespace, p.ServiceAccount)}
	if p.ClusterRole != "" {
		objs = append(objs, &rbacv1.ClusterRoleBinding{
			TypeMeta: rbacType("ClusterRoleBinding"), ObjectMeta: object("", p.ServiceAccount+"-"+p.Namespace),
			RoleRef:  roleRef("ClusterRole", p.ClusterRole),
			Subjects: []rbacv1.Subject{subject(p.Namespace, p.ServiceAccount)},
		})
	}
	return append(objs, granted...), nil
}

// WriteYAML prints objects as one stream of YAML documents.
func WriteYAML(w io.Writer, objs []client.Object) error {
	for _, obj := range objs {
		doc, err := yaml.Marshal(obj)
		if err != nil {
			return fmt.Errorf("print %s %q: %w", obj.GetObjectKind().GroupVersionKind().Kind, obj.GetName(), err)
		}
		if _, err := fmt.Fprintf(w, "---\n%s", doc); err != nil {
			return fmt.Errorf("print roles: %w", err)
		}
	}
	return nil
}

func (t Tenant) validate(in Install) error {
	if err := errors.Join(validNames("namespace", t.Namespace), validNames("namespace", in.Namespace),
		validNames("ServiceAccount", t.ServiceAccounts...), validNames("ServiceAccount", t.SourceAccounts...),
		validNames("Secret", t.SourceSecrets...)); err != nil {
		return err
	}
	if t.Namespace != in.Namespace {
		return nil
	}
	for _, c := range Controllers() {
		if slices.Contains(t.ServiceAccounts, c.Account()) || slices.Contains(t.SourceAccounts, c.Account()) {
			return fmt.Errorf("ServiceAccount %q is a controller's; no object may act as it", c.Account())
		}
	}
	return nil
}

// validNames refuses what is no name, "*" and the empty one above all: an empty list of resourceNames means all.
func validNames(what string, names ...string) error {
	for _, name := range names {
		if errs := validation.IsDNS1123Subdomain(name); len(errs) > 0 {
			return fmt.Errorf("%s %q is not a valid name", what, name)
		}
	}
	return nil
}

func sorted(names []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

func object(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels()}
}

func rbacType(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: kind}
}

func serviceAccount(namespace, name string) *corev1.ServiceAccount {
	mount := false
	return &corev1.ServiceAccount{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}, ObjectMeta: object(namespace, name),
		AutomountServiceAccountToken: &mount,
	}
}

func role(namespace, name string, rules []rbacv1.PolicyRule) *rbacv1.Role {
	return &rbacv1.Role{TypeMeta: rbacType("Role"), ObjectMeta: object(namespace, name), Rules: rules}
}

func binding(namespace, name string, who []rbacv1.Subject) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		TypeMeta: rbacType("RoleBinding"), ObjectMeta: object(namespace, name), RoleRef: roleRef("Role", name), Subjects: who,
	}
}

func roleRef(kind, name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
}

func subjects(in Install, cs ...Controller) []rbacv1.Subject {
	var out []rbacv1.Subject
	for _, c := range cs {
		out = append(out, subject(in.Namespace, c.Account()))
	}
	return out
}

func subject(namespace, name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}
}
