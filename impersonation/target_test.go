// SPDX-License-Identifier: Apache-2.0

package impersonation_test

import (
	"testing"

	"github.com/fluxcd/pkg/apis/meta"
	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/internal/seal"
	"sluice.dev/sluice/internal/fault"
)

func secretRef(name, key string) *meta.KubeConfigReference {
	return &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: name, Key: key}}
}

func configMapRef(name string) *meta.KubeConfigReference {
	return &meta.KubeConfigReference{ConfigMapRef: &meta.LocalObjectReference{Name: name}}
}

func TestResolveTarget(t *testing.T) {
	withDefault := lockdown()
	withDefault.DefaultServiceAccount = "deployer"
	type target struct{ Text, Key, User string }
	tests := map[string]struct {
		obj  object
		ref  *meta.KubeConfigReference
		l    impersonation.Lockdown
		want target
		kind fault.Kind // of the refusal; Retry means that there is none
	}{
		"no reference is the manager's cluster": {obj: object{"a", "deploy"}, l: lockdown(), want: target{Text: "local"}},
		"a tenant acts as the ServiceAccount it names": {
			obj: object{"a", "deploy"}, ref: secretRef("spoke", ""), l: lockdown(),
			want: target{Text: "Secret/spoke", User: "system:serviceaccount:a:deploy"},
		},
		"a key goes along": {
			obj: object{"a", "deploy"}, ref: secretRef("spoke", "admin.conf"), l: lockdown(),
			want: target{Text: "Secret/spoke", Key: "admin.conf", User: "system:serviceaccount:a:deploy"},
		},
		"a ConfigMap": {
			obj: object{"a", "deploy"}, ref: configMapRef("spoke"), l: lockdown(),
			want: target{Text: "ConfigMap/spoke", User: "system:serviceaccount:a:deploy"},
		},
		"a tenant without ServiceAccount acts as the default there, too": {
			obj: object{"a", ""}, ref: secretRef("spoke", ""), l: withDefault,
			want: target{Text: "Secret/spoke", User: "system:serviceaccount:a:deployer"},
		},
		"the platform acts as the user of its credentials": {
			obj: object{"platform", ""}, ref: secretRef("spoke", ""), l: withDefault, want: target{Text: "Secret/spoke"},
		},
		"the platform acts as the ServiceAccount it names": {
			obj: object{"platform", "narrow"}, ref: secretRef("spoke", ""), l: lockdown(),
			want: target{Text: "Secret/spoke", User: "system:serviceaccount:platform:narrow"},
		},
		"a controller's name is an ordinary one on another cluster": {
			obj: object{"flux-system", "kustomize-controller"}, ref: secretRef("spoke", ""), l: lockdown(),
			want: target{Text: "Secret/spoke", User: "system:serviceaccount:flux-system:kustomize-controller"},
		},
		"a tenant without ServiceAccount never acts as the user of credentials": {
			obj: object{"a", ""}, ref: secretRef("spoke", ""), l: lockdown(), kind: fault.Denied,
		},
		"a ServiceAccount of another namespace is refused": {
			obj: object{"a", "b:deploy"}, ref: secretRef("spoke", ""), l: lockdown(), kind: fault.Denied,
		},
		"the zero Lockdown refuses":       {obj: object{"a", "deploy"}, ref: secretRef("spoke", ""), kind: fault.Denied},
		"a reference to nothing":          {obj: object{"a", "deploy"}, ref: &meta.KubeConfigReference{}, l: lockdown(), kind: fault.Invalid},
		"a Secret without a name":         {obj: object{"a", "deploy"}, ref: secretRef("", ""), l: lockdown(), kind: fault.Invalid},
		"a Secret of another namespace":   {obj: object{"a", "deploy"}, ref: secretRef("b/spoke", ""), l: lockdown(), kind: fault.Invalid},
		"a key that no Secret has":        {obj: object{"a", "deploy"}, ref: secretRef("spoke", "a/b"), l: lockdown(), kind: fault.Invalid},
		"a ConfigMap with a strange name": {obj: object{"a", "deploy"}, ref: configMapRef("Spoke"), l: lockdown(), kind: fault.Invalid},
		"both references": {
			obj: object{"a", "deploy"}, l: lockdown(), kind: fault.Invalid,
			ref: &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: "a"}, ConfigMapRef: &meta.LocalObjectReference{Name: "b"}},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := impersonation.ResolveTarget(tc.obj, tc.ref, tc.l)
			if tc.kind != fault.Retry {
				if f := fault.Of(err); f == nil || f.Kind != tc.kind || got != (impersonation.Target{}) {
					t.Errorf("error %v, target %v, want a fault of kind %v", err, got, tc.kind)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			_, key := got.Secret()
			if diff := cmp.Diff(tc.want, target{got.String(), key, got.User()}); diff != "" {
				t.Error(diff)
			}
			if got.Remote() != (tc.ref != nil) {
				t.Errorf("remote: %v", got.Remote())
			}
		})
	}
}

func TestARemoteClientNeedsACluster(t *testing.T) {
	id, err := impersonation.Resolve(object{"a", "deploy"}, lockdown())
	if err != nil {
		t.Fatal(err)
	}
	kube := impersonation.Client{}.Kube()
	local := impersonation.NewClient(seal.Key{}, id, kube, kube.RESTMapper())
	if !local.Valid() || local.Actor() != id.String() || local.Cluster() != (impersonation.Cluster{}) {
		t.Errorf("local: valid %v, %q", local.Valid(), local.Actor())
	}
	if c := impersonation.NewRemoteClient(seal.Key{}, id, impersonation.Cluster{Server: "https://spoke"}, kube, kube.RESTMapper()); c.Valid() {
		t.Error("a remote client passes for a local one")
	}
	there := impersonation.Cluster{Digest: "d", Server: "https://spoke", User: id.String()}
	c := impersonation.NewRemoteClient(seal.Key{}, id, there, kube, kube.RESTMapper())
	if want := id.String() + " at https://spoke"; c.Actor() != want || c.Cluster() != there {
		t.Errorf("actor %q, want %q", c.Actor(), want)
	}
}
