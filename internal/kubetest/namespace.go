// SPDX-License-Identifier: Apache-2.0

package kubetest

import (
	"context"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// tokenLifetime outlasts any test. An hour is also what a projected volume asks for.
const tokenLifetime = int64(3600)

// Namespace makes a namespace that no other test uses, named after this one. It is deleted when the test ends, without
// waiting until it is gone.
func (p *Plane) Namespace(t testing.TB) string {
	t.Helper()
	admin := p.Client(t)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: namePrefix(t.Name())}}
	if err := admin.Create(t.Context(), namespace); err != nil {
		t.Fatalf("make a namespace: %v", err)
	}
	t.Cleanup(func() {
		// The test's own context is over by now.
		if err := admin.Delete(context.Background(), namespace); client.IgnoreNotFound(err) != nil {
			t.Errorf("delete namespace %q: %v", namespace.Name, err)
		}
	})
	return namespace.Name
}

// namePrefix makes what is left of a test's name in the alphabet of Kubernetes names, short enough for a suffix.
func namePrefix(test string) string {
	const longest = 40
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		default:
			return '-'
		}
	}, test)
	return "t-" + strings.Trim(name[:min(len(name), longest)], "-") + "-"
}

// As is how a ServiceAccount connects: with a token of its own and nothing else. The account is made when absent, and
// may do what its RoleBindings say, which at first is nothing.
func (p *Plane) As(t testing.TB, namespace, serviceAccount string) *rest.Config {
	t.Helper()
	admin := p.Client(t)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: serviceAccount}}
	if err := admin.Create(t.Context(), account); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatalf("make ServiceAccount %s/%s: %v", namespace, serviceAccount, err)
	}
	seconds := tokenLifetime
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	if err := admin.SubResource("token").Create(t.Context(), account, request); err != nil {
		t.Fatalf("request a token for %s/%s: %v", namespace, serviceAccount, err)
	}
	config := rest.AnonymousClientConfig(p.config)
	config.BearerToken = request.Status.Token
	return config
}
