// SPDX-License-Identifier: Apache-2.0

package apply_test

import (
	"strings"
	"testing"

	"github.com/fluxcd/pkg/apis/meta"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/drift"
	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/clusters"
	"sluice.dev/sluice/impersonation/tokens"
	"sluice.dev/sluice/internal/kubetest"
)

// remote returns clients of the world's identity on the same plane under other addresses: three clusters, for all that anybody
// can tell.
func (w *world) remote(hosts ...string) []impersonation.Client {
	w.t.Helper()
	lockdown := impersonation.Lockdown{
		PlatformNamespaces: []string{"flux-system"}, PlatformServiceAccount: "sluice-platform", ControllerServiceAccounts: []string{"kustomize-controller"},
	}
	local, err := tokens.New(tokens.Config{Manager: w.plane.Config(), Scheme: kubetest.Scheme(w.t)})
	if err != nil {
		w.t.Fatal(err)
	}
	broker, err := clusters.New(clusters.Config{Local: local, Lockdown: lockdown, Scheme: kubetest.Scheme(w.t), Digests: backend(w.t)})
	if err != nil {
		w.t.Fatal(err)
	}
	config := w.plane.As(w.t, w.ns, "hub")
	w.create(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "hub", Namespace: w.ns}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, ResourceNames: []string{"deployer"}, Verbs: []string{"impersonate"},
	}}})
	w.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "hub", Namespace: w.ns},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "hub"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "hub", Namespace: w.ns}},
	})
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "spokes", Namespace: w.ns}, Data: map[string][]byte{}}
	for _, host := range hosts {
		secret.Data[host], err = clientcmd.Write(api.Config{
			Clusters: map[string]*api.Cluster{"a": {
				Server: strings.Replace(config.Host, "127.0.0.1", host, 1), CertificateAuthorityData: config.CAData,
			}},
			AuthInfos:      map[string]*api.AuthInfo{"a": {Token: config.BearerToken}},
			Contexts:       map[string]*api.Context{"a": {Cluster: "a", AuthInfo: "a"}},
			CurrentContext: "a",
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	w.create(secret)
	obj := tenanted{ns: w.ns, account: "deployer"}
	var out []impersonation.Client
	for _, host := range hosts {
		target, err := impersonation.ResolveTarget(obj, &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: "spokes", Key: host}}, lockdown)
		if err != nil {
			w.t.Fatal(err)
		}
		c, err := broker.Client(w.t.Context(), w.client.Identity(), target)
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

// TestClustersShareNoWatch: one identity that acts on two clusters has a watch on each, and what is left behind on one of them
// says nothing of the other.
func TestClustersShareNoWatch(t *testing.T) {
	w := newWorld(t, everything)
	clients := append(w.remote("127.0.0.1", "localhost"), w.client)
	tracker := w.tracker()
	refs := w.mustApply(w.plan(none, apply.Options{}, pod)).Health()
	for i, c := range clients {
		owner := types.NamespacedName{Namespace: w.ns, Name: string(rune('a' + i))}
		tracker.Watch(owner, c, refs, func(types.NamespacedName) {})
		tracker.Watch(owner, c, refs, func(types.NamespacedName) {})
	}
	if got := tracker.Watches(); got != len(clients) {
		t.Errorf("%d watches for %d clusters", got, len(clients))
	}
	eventually(t, func() bool {
		s, _ := tracker.Status(types.NamespacedName{Namespace: w.ns, Name: "b"})
		return len(s.InProgress) == 1 && !strings.Contains(s.Message(), "starting")
	})

	owner := types.NamespacedName{Namespace: w.ns, Name: "mover"}
	ref := drift.Ref{GVK: corev1.SchemeGroupVersion.WithKind("ConfigMap"), Name: types.NamespacedName{Namespace: w.ns, Name: "x"}}
	before := w.drift.Watches()
	for i, c := range clients {
		w.drift.Begin(owner)
		w.drift.Remember(owner, ref, drift.Known{Payload: "p"})
		w.drift.End(owner, c, []drift.Ref{ref})
		if got := w.drift.Watches(); got != before+i+1 {
			t.Errorf("cluster %d: %d watches, %d before", i, got, before)
		}
	}
}
