// SPDX-License-Identifier: Apache-2.0

package impersonation_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/internal/seal"
	"sluice.dev/sluice/internal/fault"
)

type object struct{ namespace, account string }

func (o object) GetNamespace() string       { return o.namespace }
func (o object) GetName() string            { return "app" }
func (o object) ServiceAccountName() string { return o.account }

func lockdown() impersonation.Lockdown {
	return impersonation.Lockdown{
		PlatformNamespaces:        []string{"flux-system", "platform"},
		PlatformServiceAccount:    "sluice-platform",
		ControllerServiceAccounts: []string{"kustomize-controller", "source-controller"},
	}
}

func TestResolve(t *testing.T) {
	withDefault := lockdown()
	withDefault.DefaultServiceAccount = "deployer"
	selfMade := lockdown()
	selfMade.PlatformServiceAccount = "kustomize-controller"
	noControllers := lockdown()
	noControllers.ControllerServiceAccounts = nil

	tests := map[string]struct {
		obj    object
		l      impersonation.Lockdown
		want   string
		remedy string // part of the denial
	}{
		"a tenant acts as the ServiceAccount it names":                  {obj: object{"a", "deploy"}, l: lockdown(), want: "system:serviceaccount:a:deploy"},
		"a tenant without ServiceAccount is refused":                    {obj: object{"a", ""}, l: lockdown(), remedy: "spec.serviceAccountName"},
		"a tenant without ServiceAccount acts as the default":           {obj: object{"a", ""}, l: withDefault, want: "system:serviceaccount:a:deployer"},
		"the default is not for the platform":                           {obj: object{"platform", ""}, l: withDefault, want: "system:serviceaccount:platform:sluice-platform"},
		"a platform object without ServiceAccount acts as the platform": {obj: object{"flux-system", ""}, l: lockdown(), want: "system:serviceaccount:flux-system:sluice-platform"},
		"a platform object never acts as a controller":                  {obj: object{"flux-system", "kustomize-controller"}, l: lockdown(), want: "system:serviceaccount:flux-system:sluice-platform"},
		"a platform object acts as the ServiceAccount it names":         {obj: object{"platform", "narrow"}, l: lockdown(), want: "system:serviceaccount:platform:narrow"},
		"a tenant's namesake of a controller is the tenant's own":       {obj: object{"a", "kustomize-controller"}, l: lockdown(), want: "system:serviceaccount:a:kustomize-controller"},
		"a colon cannot reach into another namespace":                   {obj: object{"a", "b:deploy"}, l: lockdown(), remedy: "without its namespace"},
		"a slash cannot reach into another namespace":                   {obj: object{"a", "b/deploy"}, l: lockdown(), remedy: "without its namespace"},
		"unicode is refused":                                            {obj: object{"a", "dеploy"}, l: lockdown(), remedy: "valid name"},
		"white space is refused":                                        {obj: object{"a", " "}, l: lockdown(), remedy: "valid name"},
		"an object without namespace is refused":                        {obj: object{"", "deploy"}, l: lockdown(), remedy: "namespace"},
		"a namespace with a colon is refused":                           {obj: object{"a:b", "deploy"}, l: lockdown(), remedy: "namespace"},
		"the zero Lockdown refuses a tenant":                            {obj: object{"a", "deploy"}, remedy: "flags"},
		"the zero Lockdown refuses the platform":                        {obj: object{"flux-system", "kustomize-controller"}, remedy: "flags"},
		"a Lockdown that makes a controller the platform is refused":    {obj: object{"flux-system", ""}, l: selfMade, remedy: "controller's"},
		"a Lockdown that knows no controllers is refused":               {obj: object{"flux-system", "kustomize-controller"}, l: noControllers, remedy: "flags"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := impersonation.Resolve(tc.obj, tc.l)
			if tc.remedy != "" {
				wantDenied(t, err, tc.remedy)
				if got.Valid() {
					t.Errorf("a refusal returned %v", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func wantDenied(t *testing.T, err error, part string) {
	t.Helper()
	if f := fault.Of(err); f == nil || f.Kind != fault.Denied || f.Reason != "AccessDenied" {
		t.Fatalf("error %v is no AccessDenied", err)
	}
	if !strings.Contains(err.Error(), part) {
		t.Errorf("message %q does not name the remedy %q", err, part)
	}
}

func TestZeroIdentityIsNobody(t *testing.T) {
	var id impersonation.Identity
	if id.Valid() || id.String() != "nobody" {
		t.Errorf("zero identity: %v, valid %v", id, id.Valid())
	}
}

func TestZeroClientRefusesEveryCall(t *testing.T) {
	ctx := t.Context()
	pod, pods := &corev1.Pod{}, &corev1.PodList{}
	for name, c := range map[string]impersonation.Client{
		"zero":                {},
		"without an identity": impersonation.NewClient(seal.Key{}, impersonation.Identity{}, nil, nil),
	} {
		if c.Valid() || c.Identity().Valid() {
			t.Errorf("%s: valid", name)
		}
		kube := c.Kube()
		_, watchErr := kube.Watch(ctx, pods)
		_, gvkErr := kube.GroupVersionKindFor(pod)
		_, scopeErr := kube.IsObjectNamespaced(pod)
		errs := map[string]error{
			"get":         kube.Get(ctx, client.ObjectKey{}, pod),
			"list":        kube.List(ctx, pods),
			"watch":       watchErr,
			"create":      kube.Create(ctx, pod),
			"update":      kube.Update(ctx, pod),
			"delete":      kube.Delete(ctx, pod),
			"deleteAll":   kube.DeleteAllOf(ctx, pod),
			"patch":       kube.Patch(ctx, pod, client.MergeFrom(pod)),
			"apply":       kube.Apply(ctx, nil),
			"status":      kube.Status().Update(ctx, pod),
			"subresource": kube.SubResource("token").Create(ctx, pod, pod),
			"kind":        gvkErr,
			"scope":       scopeErr,
		}
		for call, err := range errs {
			if !errors.Is(err, impersonation.ErrNobody) {
				t.Errorf("%s: %s returned %v", name, call, err)
			}
		}
		if _, err := c.Mapper().RESTMapping(schema.GroupKind{Kind: "Pod"}); err == nil {
			t.Errorf("%s: the mapper knows a kind", name)
		}
	}
}
