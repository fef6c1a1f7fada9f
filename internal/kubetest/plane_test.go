// SPDX-License-Identifier: Apache-2.0

package kubetest_test

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/internal/kubetest"
)

// grant lets a ServiceAccount do what the ClusterRole edit allows, within the namespace, and waits until the API server
// knows: its authorizer learns of a new RoleBinding from a watch.
func grant(t *testing.T, admin client.Client, tenant client.Client, namespace, account string) {
	t.Helper()
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: account}},
	}
	if err := admin.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the role takes effect", func() bool {
		return tenant.List(t.Context(), &corev1.ConfigMapList{}, client.InNamespace(namespace)) == nil
	})
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting until %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func configMap(namespace string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "probe"}}
}

func TestNamespacesAreApart(t *testing.T) {
	plane := kubetest.Start(t)
	own, other := plane.Namespace(t), plane.Namespace(t)
	if own == other {
		t.Fatalf("both are %q", own)
	}
	admin, tenant := plane.Client(t), kubetest.NewClient(t, plane.As(t, own, "tenant"))
	if err := tenant.Create(t.Context(), configMap(own)); !apierrors.IsForbidden(err) {
		t.Errorf("without a role: %v, want Forbidden", err)
	}
	grant(t, admin, tenant, own, "tenant")
	if err := tenant.Create(t.Context(), configMap(own)); err != nil {
		t.Errorf("in its own namespace: %v", err)
	}
	if err := tenant.Create(t.Context(), configMap(other)); !apierrors.IsForbidden(err) {
		t.Errorf("in another namespace: %v, want Forbidden", err)
	}
}

func TestANamespaceGoesWithItsTest(t *testing.T) {
	plane := kubetest.Start(t)
	var name string
	t.Run("a test of Its Own", func(t *testing.T) { name = plane.Namespace(t) })
	var namespace corev1.Namespace
	err := plane.Client(t).Get(t.Context(), client.ObjectKey{Name: name}, &namespace)
	if client.IgnoreNotFound(err) != nil || (err == nil && namespace.DeletionTimestamp == nil) {
		t.Errorf("namespace %q stays: %v", name, err)
	}
}

func TestAs(t *testing.T) {
	plane := kubetest.Start(t)
	namespace := plane.Namespace(t)
	want := "system:serviceaccount:" + namespace + ":app"
	for _, account := range []string{"one that is made", "one that exists"} {
		if got := whoAmI(t, kubetest.NewClient(t, plane.As(t, namespace, "app"))); got != want {
			t.Errorf("%s: acts as %q, want %q", account, got, want)
		}
	}
}

func whoAmI(t *testing.T, c client.Client) string {
	t.Helper()
	review := &authenticationv1.SelfSubjectReview{}
	if err := c.Create(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	return review.Status.UserInfo.Username
}

func TestFluxCRDs(t *testing.T) {
	plane := kubetest.Start(t)
	t.Run("at the same time, as several packages of a run do", func(t *testing.T) {
		for i := range 3 {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				plane.FluxCRDs(t)
			})
		}
	})
	admin, namespace := plane.Client(t), plane.Namespace(t)

	repository := &sourcev1.GitRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "podinfo"},
		Spec:       sourcev1.GitRepositorySpec{URL: "https://git.invalid/podinfo", Interval: metav1.Duration{Duration: time.Minute}},
	}
	if err := admin.Create(t.Context(), repository); err != nil {
		t.Fatal(err)
	}
	if got := repository.Spec.Timeout; got == nil || got.Duration != time.Minute {
		t.Errorf("timeout defaults to %v, want 1m", got)
	}
	if got := repository.Status.ObservedGeneration; got != -1 {
		t.Errorf("observedGeneration defaults to %d, want -1", got)
	}
	var definitions apiextensionsv1.CustomResourceDefinitionList
	if err := admin.List(t.Context(), &definitions); err != nil {
		t.Fatal(err)
	}
	flux := 0
	for _, definition := range definitions.Items {
		if !strings.HasSuffix(definition.Spec.Group, ".toolkit.fluxcd.io") {
			continue
		}
		flux++
		if got := definition.Annotations["kustomize.toolkit.fluxcd.io/substitute"]; got != "disabled" {
			t.Errorf("%s has substitute %q, want disabled", definition.Name, got)
		}
	}
	if flux < 7 {
		t.Errorf("%d kinds of Flux are installed, want seven or more", flux)
	}
}

func TestRequests(t *testing.T) {
	plane := kubetest.Start(t)
	namespace := plane.Namespace(t)
	tenant := kubetest.NewClient(t, plane.As(t, namespace, "asker"))
	if err := tenant.Get(t.Context(), client.ObjectKeyFromObject(configMap(namespace)), &corev1.ConfigMap{}); !apierrors.IsForbidden(err) {
		t.Fatalf("get: %v, want Forbidden", err)
	}
	user := "system:serviceaccount:" + namespace + ":asker"
	want := kubetest.Request{
		User: user, Verb: "get", Resource: "configmaps", Namespace: namespace, Name: "probe",
		URI: "/api/v1/namespaces/" + namespace + "/configmaps/probe", Code: 403,
	}
	eventually(t, "the request is recorded", func() bool {
		for _, got := range plane.Requests(t, user) {
			recent := time.Since(got.Received) < time.Hour
			if got.Received = want.Received; recent && got == want {
				return true
			}
		}
		return false
	})
}

func TestAPrivatePlaneMayBeBroughtIntoTrouble(t *testing.T) {
	plane := kubetest.StartPrivate(t)
	namespace, admin := plane.Namespace(t), plane.Client(t)
	if err := admin.Create(t.Context(), configMap(namespace)); err != nil {
		t.Fatal(err)
	}
	plane.StopAPIServer(t)
	if err := admin.Get(t.Context(), client.ObjectKeyFromObject(configMap(namespace)), &corev1.ConfigMap{}); err == nil {
		t.Error("the API server answers after its end")
	}
	plane.Compact(t)
	plane.StartAPIServer(t)
	if err := admin.Get(t.Context(), client.ObjectKeyFromObject(configMap(namespace)), &corev1.ConfigMap{}); err != nil {
		t.Error(err)
	}
	if len(plane.Requests(t, "sluice-testbed:admin")) == 0 {
		t.Error("the audit log lost what was in it")
	}
}

func TestKubectl(t *testing.T) {
	plane := kubetest.Start(t)
	out, err := exec.Command(plane.Kubectl(), "version", "--client").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "v1.") {
		t.Errorf("kubectl version: %v, %s", err, out)
	}
}
