// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/kubetest"
)

// ShardLabel is on every object of a platform; its value is the platform's namespace.
const ShardLabel = "sharding.fluxcd.io/key"

// Deployer is the ServiceAccount that tenants' objects act as.
const Deployer = "deployer"

// Standby is a second source controller, for Run, Kill and their kin. It does not run from the start.
const Standby rbac.Controller = "source-standby"

// roleOf is the controller that a process runs, and acts as.
func roleOf(c rbac.Controller) rbac.Controller {
	if c == Standby {
		return rbac.Source
	}
	return c
}

// Options says how a platform is set up. The zero value has no tenants.
type Options struct {
	// Tenants is how many tenant namespaces there are.
	Tenants int
	// Parameters makes the policy parameters; nil means none. It is given the names of the namespaces.
	Parameters func(platform string, tenants []string) string
	// Roles says what is rendered for a tenant's namespace; nil means that its objects may act as Deployer, and its sources may
	// name any of its Secrets.
	Roles func(namespace string) rbac.Tenant
	// Flags are further flags of both controllers, and SourceFlags of the source controller.
	Flags, SourceFlags []string
	// AgeSecret and VaultConfigMap are --sops-age-secret and --sops-vault-configmap; the roles follow.
	AgeSecret, VaultConfigMap string
	// ExternalArtifacts lets kustomize-controller take them as sources; the role follows.
	ExternalArtifacts bool
	// APIServer is the URL at which the controllers reach the API server, that of a proxy for example; empty means directly.
	APIServer string
	// Environment is added to that of the controllers.
	Environment []string
	// Secure serves artifacts by digest over mutual TLS only, and nothing at Flux's paths.
	Secure bool
	// Service is the host:port of what stands before the source controllers, where consumers find them; empty means the first one
	// itself.
	Service string
	// Probes gives each controller an address for its health endpoints (HealthURL).
	Probes bool
	// Revive lets WaitFor start again what has ended by itself, as a program may that cannot reach the API server at its start.
	Revive bool
}

// Platform is a running installation.
type Platform struct {
	// Namespace is the platform's own, and Tenants those of the tenants.
	Namespace string
	Tenants   []string
	// Client acts as the administrator.
	Client client.WithWatch
	// Dir holds the state of the controllers: Dir/<controller>.
	Dir string
	// Granted is what impersonation/rbac rendered, under the names it has in the cluster.
	Granted []client.Object
	// Extra are further flags of one controller, from its next start on.
	Extra map[rbac.Controller][]string
	// Trust are files of public keys whose statements appliers believe; empty means that of the source controller.
	Trust []string
	// Revived is how often a controller has ended by itself and was started again.
	Revived int

	plane      *kubetest.Plane
	options    Options
	parameters string
	processes  map[rbac.Controller]*process
}

// Start sets a platform up and runs its controllers until the test ends.
func Start(t testing.TB, plane *kubetest.Plane, o Options) *Platform {
	t.Helper()
	plane.FluxCRDs(t)
	p := &Platform{
		Namespace: plane.Namespace(t), Client: plane.Client(t), Dir: t.TempDir(), plane: plane, options: o,
		processes: map[rbac.Controller]*process{}, Extra: map[rbac.Controller][]string{},
	}
	for range o.Tenants {
		p.Tenants = append(p.Tenants, plane.Namespace(t))
	}
	p.grant(t)
	if o.Parameters != nil {
		p.SetParameters(t, o.Parameters(p.Namespace, p.Tenants))
	}
	for _, c := range rbac.Controllers() {
		p.Run(t, c)
	}
	return p
}

// SetParameters writes the policy parameters.
func (p *Platform) SetParameters(t testing.TB, text string) {
	t.Helper()
	p.parameters = filepath.Join(p.Dir, "parameters.yaml")
	if err := os.WriteFile(p.parameters, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// selector is the --watch-label-selector of this platform's shard.
func (p *Platform) selector() string { return ShardLabel + "=" + p.Namespace }

// grant applies what impersonation/rbac renders, and gives the deploying accounts their own rights.
func (p *Platform) grant(t testing.TB) {
	t.Helper()
	in := rbac.Install{
		Namespace: p.Namespace, Selector: p.selector(), AgeSecret: p.options.AgeSecret, VaultConfigMap: p.options.VaultConfigMap,
		ExternalArtifacts: p.options.ExternalArtifacts,
	}
	add := func(more []client.Object, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		p.Granted = append(p.Granted, more...)
	}
	for _, c := range rbac.Controllers() {
		add(rbac.RenderController(c, in))
	}
	platform := rbac.Tenant{Namespace: p.Namespace, AnySourceSecret: true}
	add(rbac.RenderPlatform(rbac.Platform{Tenant: platform, ServiceAccount: impersonation.DefaultPlatformServiceAccount, ClusterRole: "cluster-admin"}, in))
	var own []client.Object
	for _, ns := range p.Tenants {
		add(rbac.RenderTenant(p.rolesOf(ns), in))
		own = append(own,
			&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: Deployer}},
			&rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: Deployer},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
				Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: Deployer}},
			})
	}
	for _, obj := range slices.Concat(p.Granted, own) {
		p.grantOne(t, obj)
	}
}

func (p *Platform) rolesOf(namespace string) rbac.Tenant {
	if p.options.Roles != nil {
		return p.options.Roles(namespace)
	}
	return rbac.Tenant{Namespace: namespace, ServiceAccounts: []string{Deployer}, AnySourceSecret: true}
}

// grantOne creates an object. Cluster-scoped ones get a name of this platform, since others share the cluster.
func (p *Platform) grantOne(t testing.TB, obj client.Object) {
	t.Helper()
	if obj.GetNamespace() == "" {
		obj.SetName(obj.GetName() + "-" + p.Namespace)
		if b, ok := obj.(*rbacv1.ClusterRoleBinding); ok && b.RoleRef.Name != "cluster-admin" {
			b.RoleRef.Name += "-" + p.Namespace
		}
		t.Cleanup(func() { _ = p.Client.Delete(context.Background(), obj) })
	}
	if err := p.Client.Create(t.Context(), obj); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatalf("set up the platform: %T %s: %v", obj, client.ObjectKeyFromObject(obj), err)
	}
}

// Create creates objects of this platform's shard.
func (p *Platform) Create(t testing.TB, objs ...client.Object) {
	t.Helper()
	for _, obj := range objs {
		labels := obj.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[ShardLabel] = p.Namespace
		obj.SetLabels(labels)
		if err := p.Client.Create(t.Context(), obj); err != nil {
			t.Fatalf("create %T %s: %v", obj, client.ObjectKeyFromObject(obj), err)
		}
	}
}

// Wait returns as soon as check is content with an object, and fails the test with check's last word after a minute.
// It looks forty times a second.
func Wait[T client.Object](t testing.TB, p *Platform, obj T, check func(obj T) error) {
	t.Helper()
	WaitFor(t, p, obj, time.Minute, check)
}

// WaitFor is Wait with another limit.
func WaitFor[T client.Object](t testing.TB, p *Platform, obj T, limit time.Duration, check func(obj T) error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	key := client.ObjectKeyFromObject(obj)
	var last error
	for time.Now().Before(deadline) {
		if p.options.Revive {
			p.Revive(t)
		}
		if err := p.Client.Get(t.Context(), key, obj); err != nil {
			last = err
		} else if last = check(obj); last == nil {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("%T %s: %v\nlogs of the controllers:\n%s", obj, key, last, p.Logs())
}

// Logs returns the last lines of the controllers' logs, without what every start says.
func (p *Platform) Logs() string {
	var b strings.Builder
	for _, c := range append(rbac.Controllers(), Standby) {
		text, err := os.ReadFile(p.logFile(c))
		if err != nil {
			continue
		}
		lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(l string) bool { return strings.Contains(l, `"msg":"Starting`) })
		fmt.Fprintf(&b, "== %s\n%s\n", c, strings.Join(lines[max(0, len(lines)-20):], "\n"))
	}
	return b.String()
}

func (p *Platform) logFile(c rbac.Controller) string { return filepath.Join(p.Dir, string(c)+".log") }

// ArtifactServer is the base URL that artifacts are fetched from.
func (p *Platform) ArtifactServer() string {
	if p.options.Service != "" {
		return p.scheme() + p.options.Service
	}
	return p.StorageURL(rbac.Source)
}

// StorageURL is where a source controller itself serves artifacts.
func (p *Platform) StorageURL(c rbac.Controller) string { return p.scheme() + p.processes[c].storage }

func (p *Platform) scheme() string {
	if p.options.Secure {
		return "https://"
	}
	return "http://"
}

// ArtifactClientTLS is the folder with the client certificate that a Secure platform asks for.
func (p *Platform) ArtifactClientTLS() string {
	return filepath.Join(p.StateDir(rbac.Source), "artifact-tls", "client")
}

// StatementKey is the public key of the source controller's statements, in its folder.
func (p *Platform) StatementKey() string { return p.statementKey(rbac.Source) }

func (p *Platform) statementKey(c rbac.Controller) string {
	return filepath.Join(p.StateDir(c), "statement-key.pem.pub")
}

// HealthURL is where a controller answers to probes.
func (p *Platform) HealthURL(c rbac.Controller) string { return "http://" + p.processes[c].health }

// StateDir is the --state-dir of a controller.
func (p *Platform) StateDir(c rbac.Controller) string { return filepath.Join(p.Dir, string(c)) }
