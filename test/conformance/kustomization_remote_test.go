// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/compliance/ledger"
	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/test/platform"
)

// ksSpoke is a second control plane with a namespace that is called like a tenant's, and an account "hub" there that may edit it
// and impersonate the tenant's deployer.
type ksSpoke struct {
	*kubetest.Private

	t     *testing.T
	ns    string
	admin client.Client
}

// hub is the account of kubeconfigs.
const hub = "hub"

func newKsSpoke(t *testing.T, ns string) *ksSpoke {
	t.Helper()
	s := &ksSpoke{Private: kubetest.StartPrivate(t), t: t, ns: ns}
	s.admin = s.Client(t)
	for _, obj := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: platform.Deployer}},
		boundTo(ns, platform.Deployer, "ClusterRole", "admin"),
		boundTo(ns, hub, "ClusterRole", "edit"),
	} {
		if err := s.admin.Create(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
	allowImpersonation(t, s.admin, ns)
	return s
}

// boundTo gives a ServiceAccount a role in its namespace.
func boundTo(ns, account, kind, role string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: account + "-" + role},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: account}},
	}
}

// allowImpersonation lets the account "hub" act as the deployer of a namespace.
func allowImpersonation(t *testing.T, admin client.Client, ns string) {
	t.Helper()
	for _, obj := range []client.Object{
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "impersonate"}, Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, ResourceNames: []string{platform.Deployer}, Verbs: []string{"impersonate"},
		}}},
		boundTo(ns, hub, "Role", "impersonate"),
	} {
		if err := admin.Create(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
}

// data returns one value of a ConfigMap of the spoke, or "absent".
func (s *ksSpoke) data(name, key string) string {
	s.t.Helper()
	var cm corev1.ConfigMap
	err := s.admin.Get(s.t.Context(), client.ObjectKey{Namespace: s.ns, Name: name}, &cm)
	if apierrors.IsNotFound(err) {
		return absent
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return cm.Data[key]
}

// wrote reports whether a user applied a ConfigMap on the spoke.
func (s *ksSpoke) wrote(user, name string) bool {
	return slices.ContainsFunc(s.Requests(s.t, user), func(r kubetest.Request) bool {
		return r.Resource == "configmaps" && r.Name == name && r.Verb == "patch" && r.Namespace == s.ns
	})
}

// kubeconfigOf writes how a configuration connects, with further fields of the user.
func kubeconfigOf(t *testing.T, config *rest.Config, change func(*api.AuthInfo)) []byte {
	t.Helper()
	user := &api.AuthInfo{Token: config.BearerToken}
	if change != nil {
		change(user)
	}
	data, err := clientcmd.Write(api.Config{
		Clusters:       map[string]*api.Cluster{"spoke": {Server: config.Host, CertificateAuthorityData: config.CAData}},
		AuthInfos:      map[string]*api.AuthInfo{hub: user},
		Contexts:       map[string]*api.Context{"spoke": {Cluster: "spoke", AuthInfo: hub}},
		CurrentContext: "spoke",
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// keep puts a kubeconfig into the space's Secret "spoke".
func (x *ksSpace) keep(kubeconfig []byte) {
	x.t.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "spoke", Labels: map[string]string{"reconcile.fluxcd.io/watch": "Enabled"}},
		Data:       map[string][]byte{"value": kubeconfig},
	}
	err := x.Client.Create(x.t.Context(), secret)
	if apierrors.IsAlreadyExists(err) {
		err = x.Client.Update(x.t.Context(), secret)
	}
	if err != nil {
		x.t.Fatal(err)
	}
}

// onSpoke is the change that acts on the cluster of Secret "spoke".
func onSpoke(s *kustomizev1.KustomizationSpec) {
	s.KubeConfig = &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: "spoke"}}
}

// ksRemote is about rows K-40 and K-33: objects go to the cluster that a kubeconfig names, as the tenant's deployer there; what
// the Kustomization itself refers to stays in its own cluster. Other content of the Secret begins anew on what it names.
func ksRemote(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{
		"app/config.yaml": configMap("hello", `a: "${greeting}"`),
		"app/web.yaml":    strings.Replace(workload("web", ""), "spec:\n", "spec:\n  replicas: 0\n", 1),
	})
	vars := x.configMapOf("vars")
	vars.Data = map[string]string{"greeting": "hi"}
	if err := x.Client.Create(t.Context(), vars); err != nil {
		t.Fatal(err)
	}
	spoke := newKsSpoke(t, x.ns)
	credentials := kubeconfigOf(t, spoke.As(t, x.ns, hub), nil)
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) {
		onSpoke(s)
		s.Wait, s.PostBuild = true, &kustomizev1.PostBuild{SubstituteFrom: []kustomizev1.SubstituteReference{{Kind: "ConfigMap", Name: "vars"}}}
	})
	x.until(app, refused(meta.ReconciliationFailedReason, "Secret/spoke is not in namespace", "create it"))
	x.keep(credentials)
	x.until(app, ready)
	if got := spoke.data("hello", "a"); got != "hi" {
		t.Errorf("the spoke has %q", got)
	}
	x.wantData(map[string]string{"hello/a": absent})
	if !spoke.wrote(x.deployer(), "hello") || spoke.wrote("system:serviceaccount:"+x.ns+":"+hub, "hello") {
		t.Error("the spoke was not written to as the deployer alone")
	}
	x.wantInLedger(x.deployer() + " at " + spoke.Config().Host)

	x.platformIsTheHub(spoke, credentials)
	x.costsOneRead(app, spoke)
	x.driftsBack(spoke)
	x.refusesCredentials(app, spoke, credentials)
	x.moves(app, spoke, credentials)

	x.remove(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "spoke"}})
	x.remove(app)
	x.until(app, refused(meta.PruneFailedReason, "Secret/spoke is not in namespace", "spec.deletionPolicy to Orphan"))
	if got := spoke.data("hello", "a"); got != "hi" {
		t.Errorf("without credentials the spoke has %q", got)
	}
	x.keep(credentials)
	x.eventually(6*soon, "the object is gone", func() bool { return x.gone(app) })
	if got := spoke.data("hello", "a"); got != absent {
		t.Errorf("after the deletion the spoke has %q", got)
	}
	x.wantData(map[string]string{"hello/a": "hi"}) // where it once acted, it takes nothing away
}

// costsOneRead: a run without change reads what it refers to in its own cluster, and asks the spoke nothing.
func (x *ksSpace) costsOneRead(app *kustomizev1.Kustomization, spoke *ksSpoke) {
	x.t.Helper()
	x.handled(app) // by now every object is watched
	reads := func() int {
		return len(slices.DeleteFunc(x.requests(x.deployer()), func(r kubetest.Request) bool { return r.Verb != "get" || r.Resource != "secrets" }))
	}
	before, there := reads(), len(spoke.Requests(x.t, x.deployer()))
	const runs = 3
	for range runs {
		x.handled(app)
	}
	x.eventually(soon, "the audit log has the runs", func() bool { return reads() >= before+runs })
	if got := reads() - before; got != runs {
		x.t.Errorf("%d reads of the Secret in %d runs", got, runs)
	}
	if did := spoke.Requests(x.t, x.deployer())[there:]; len(did) > 0 {
		x.t.Errorf("requests to the spoke: %v", did)
	}
}

func (x *ksSpace) driftsBack(spoke *ksSpoke) {
	x.t.Helper()
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"data":{"a":"edited"}}`))
	if err := spoke.admin.Patch(x.t.Context(), x.configMapOf("hello"), patch); err != nil {
		x.t.Fatal(err)
	}
	x.eventually(soon, "an edit on the spoke is put back", func() bool { return spoke.data("hello", "a") == "hi" })
}

// refusesCredentials is about CVE-2022-24817: a program is refused by the name of its field, and what is applied stays.
func (x *ksSpace) refusesCredentials(app *kustomizev1.Kustomization, spoke *ksSpoke, credentials []byte) {
	x.t.Helper()
	x.keep(kubeconfigOf(x.t, spoke.As(x.t, x.ns, hub), func(u *api.AuthInfo) {
		u.Token, u.Exec = "", &api.ExecConfig{APIVersion: "client.authentication.k8s.io/v1", Command: "touch", InteractiveMode: api.NeverExecInteractiveMode}
	}))
	x.request(app)
	x.until(app, refused("AccessDenied", "Secret/spoke", `"exec" is refused`, "runs no programs"))
	x.wantRefused(ledger.AccessDenied, app, "Secret/spoke", "is refused")
	if got := spoke.data("hello", "a"); got != "hi" {
		x.t.Errorf("after a refusal the spoke has %q", got)
	}
	x.keep(credentials)
	x.request(app)
	x.until(app, ready)
}

// moves has the same Secret name another cluster, the tenant's own one under another name, and then the spoke again.
func (x *ksSpace) moves(app *kustomizev1.Kustomization, spoke *ksSpoke, credentials []byte) {
	x.t.Helper()
	config := x.plane.As(x.t, x.ns, hub)
	config.Host = strings.Replace(config.Host, "127.0.0.1", "localhost", 1)
	allowImpersonation(x.t, x.Client, x.ns)
	x.keep(kubeconfigOf(x.t, config, nil))
	x.handled(app)
	x.wantData(map[string]string{"hello/a": "hi"})
	x.until(app, ready)
	if got := spoke.data("hello", "a"); got != "hi" {
		x.t.Errorf("after the move the spoke has %q", got)
	}
	x.keep(credentials)
	x.handled(app)
	x.until(app, ready)
	x.driftsBack(spoke)
}

// platformIsTheHub: an object of the platform that names no ServiceAccount acts as the user of its kubeconfig.
func (x *ksSpace) platformIsTheHub(spoke *ksSpoke, credentials []byte) {
	x.t.Helper()
	own := x.space(x.t, x.Namespace, x.ns, map[string]string{"app/config.yaml": configMap("ours", "a: b")})
	own.keep(credentials)
	app := own.apply(x.ns, func(s *kustomizev1.KustomizationSpec) {
		onSpoke(s)
		s.ServiceAccountName, s.TargetNamespace = "", x.ns
	})
	own.until(app, ready)
	if user := "system:serviceaccount:" + x.ns + ":" + hub; !spoke.wrote(user, "ours") {
		x.t.Errorf("the spoke was not written to as %s", user)
	}
	own.remove(app)
	own.eventually(soon, "the object is gone", func() bool { return own.gone(app) })
	if got := spoke.data("ours", "a"); got != absent {
		x.t.Errorf("after the deletion the spoke has %q", got)
	}
}
