// SPDX-License-Identifier: Apache-2.0

package apply_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/internal/fault"
)

var owner = apply.Owner{Group: apply.KustomizeGroup, Namespace: "team-a", Name: "app"}

// kinds is what a cluster serves.
func kinds() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	namespaced := []schema.GroupVersionKind{
		{Version: "v1", Kind: "ConfigMap"},
		{Version: "v1", Kind: "Secret"},
		{Version: "v1", Kind: "Service"},
		{Version: "v1", Kind: "ServiceAccount"},
		{Version: "v1", Kind: "Pod"},
		{Group: "apps", Version: "v1", Kind: "Deployment"},
		{Group: "batch", Version: "v1", Kind: "CronJob"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "Role"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "RoleBinding"},
		{Group: "example.com", Version: "v1", Kind: "Widget"},
		{Group: "example.com", Version: "v1", Kind: "Early"},
	}
	for _, gvk := range namespaced {
		m.Add(gvk, meta.RESTScopeNamespace)
	}
	for _, gvk := range []schema.GroupVersionKind{
		{Version: "v1", Kind: "Namespace"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole"},
		{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"},
		{Group: "storage.k8s.io", Version: "v1", Kind: "StorageClass"},
		{Group: "admissionregistration.k8s.io", Version: "v1", Kind: "ValidatingWebhookConfiguration"},
	} {
		m.Add(gvk, meta.RESTScopeRoot)
	}
	return m
}

// objects reads a stream of YAML documents.
func objects(t testing.TB, text string) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	for doc := range strings.SplitSeq(text, "\n---\n") {
		obj := &unstructured.Unstructured{}
		raw, err := yaml.YAMLToJSON([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &obj.Object); err != nil {
			t.Fatal(err)
		}
		out = append(out, obj)
	}
	return out
}

func prepare(t testing.TB, o apply.Owner, mapper meta.RESTMapper, text string) apply.Set {
	t.Helper()
	set, err := apply.Prepare(objects(t, text), apply.PrepareOptions{Owner: o, Mapper: mapper})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestPrepareNormalises(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"stringData becomes data, and wins": {
			in:   "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: a}, data: {k: b2xk, o: b3RoZXI=}, stringData: {k: new}}",
			want: "{apiVersion: v1, kind: Secret, data: {k: bmV3, o: b3RoZXI=}}",
		},
		"ports get their protocol": {
			in:   "{apiVersion: v1, kind: Service, metadata: {name: s, namespace: a}, spec: {ports: [{port: 80}, {port: 53, protocol: UDP}]}}",
			want: "{apiVersion: v1, kind: Service, spec: {ports: [{port: 80, protocol: TCP}, {port: 53, protocol: UDP}]}}",
		},
		"so do those of containers, however deep": {
			in: "{apiVersion: batch/v1, kind: CronJob, metadata: {name: s, namespace: a}, " +
				"spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: c, ports: [{containerPort: 1}]}]}}}}}}",
			want: "{apiVersion: batch/v1, kind: CronJob, " +
				"spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: c, ports: [{containerPort: 1, protocol: TCP}]}]}}}}}}",
		},
		"status and what the server sets are dropped": {
			in: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: s, namespace: a, uid: x, resourceVersion: '1', creationTimestamp: null}, " +
				"spec: {replicas: 1, unknownField: kept}, status: {replicas: 1}}",
			want: "{apiVersion: apps/v1, kind: Deployment, spec: {replicas: 1, unknownField: kept}}",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := prepare(t, owner, kinds(), tc.in).Members()[0].Object.DeepCopy()
			wantLabels := map[string]string{apply.KustomizeGroup + "/name": "app", apply.KustomizeGroup + "/namespace": "team-a"}
			if diff := cmp.Diff(wantLabels, got.GetLabels()); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
			metadata, _ := got.Object["metadata"].(map[string]any)
			if len(metadata) != 3 {
				t.Errorf("metadata = %v, want name, namespace and labels", metadata)
			}
			delete(got.Object, "metadata")
			if diff := cmp.Diff(objects(t, tc.want)[0].Object, got.Object); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPrepareLeavesTheRenderingAlone(t *testing.T) {
	in := objects(t, "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: a}, stringData: {k: v}}")
	want := in[0].DeepCopy()
	if _, err := apply.Prepare(in, apply.PrepareOptions{Owner: owner, Mapper: kinds()}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Object, in[0].Object); diff != "" {
		t.Errorf("the rendered object was changed (-before +after):\n%s", diff)
	}
}

func TestPrepareRefuses(t *testing.T) {
	const secret = "hunter2-do-not-print"
	tests := map[string]struct {
		in   string
		kind fault.Kind
		// says are parts of the message.
		says []string
	}{
		"two of one object, naming both": {
			in: "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: a}}\n---\n" +
				"{apiVersion: v1, kind: Service, metadata: {name: x, namespace: a}}\n---\n" +
				"{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: a}}",
			kind: fault.Invalid, says: []string{"object 1, ConfigMap/a/x", "object 3, ConfigMap/a/x"},
		},
		"names that lead elsewhere in a URL": {
			in: "{apiVersion: v1, kind: ConfigMap, metadata: {name: x/status, namespace: a}}\n---\n" +
				"{apiVersion: v1, kind: Secret, metadata: {name: .., namespace: a}}\n---\n" +
				"{apiVersion: v1, kind: Service, metadata: {name: x, namespace: a/b}}",
			kind: fault.Invalid, says: []string{`no URL can hold: "x/status", "a"`, `no URL can hold: "..", "a"`, `no URL can hold: "x", "a/b"`},
		},
		"two names with one inventory id": {
			in: "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: 'x:y', namespace: a}}\n---\n" +
				"{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: x__y, namespace: a}}",
			kind: fault.Invalid, says: []string{"Role/a/x:y", "Role/a/x__y"},
		},
		"cluster-scoped objects that differ in namespace only": {
			in: "{apiVersion: v1, kind: Namespace, metadata: {name: x, namespace: a}}\n---\n" +
				"{apiVersion: v1, kind: Namespace, metadata: {name: x, namespace: b}}",
			kind: fault.Invalid, says: []string{"Namespace"},
		},
		"no name": {
			in:   "{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a}}",
			kind: fault.Invalid, says: []string{"object 1", "ConfigMap", "metadata.name"},
		},
		"no kind": {
			in:   "{apiVersion: v1, metadata: {name: lost}}",
			kind: fault.Invalid, says: []string{"object 1", "lost", "no kind"},
		},
		"a kind nobody knows": {
			in:   "{apiVersion: example.org/v1, kind: Gadget, metadata: {name: x, namespace: a}}",
			kind: fault.Retry, says: []string{"Gadget", "example.org/v1", "no matches", "dependsOn"},
		},
		"no namespace": {
			in:   "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}",
			kind: fault.Retry, says: []string{"ConfigMap/x", "namespace not specified", "targetNamespace"},
		},
		"a secret that is no string": {
			in:   "{apiVersion: v1, kind: Secret, metadata: {name: x, namespace: a}, stringData: {pin: 123456789}}",
			kind: fault.Invalid, says: []string{"Secret/a/x", `stringData["pin"]`, "quote it"},
		},
		"a secret that is not base64": {
			in:   "{apiVersion: v1, kind: Secret, metadata: {name: x, namespace: a}, data: {pin: " + secret + "}}",
			kind: fault.Invalid, says: []string{"Secret/a/x", `data["pin"]`, "base64"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := apply.Prepare(objects(t, tc.in), apply.PrepareOptions{Owner: owner, Mapper: kinds()})
			if err == nil {
				t.Fatal("no error")
			}
			if got := fault.Of(err).Kind; got != tc.kind {
				t.Errorf("fault kind = %v, want %v", got, tc.kind)
			}
			for _, s := range tc.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("message %q does not say %q", err, s)
				}
			}
			for _, s := range []string{secret, "123456789"} {
				if strings.Contains(err.Error(), s) {
					t.Errorf("message %q holds a value", err)
				}
			}
		})
	}
}

func TestPrepareKnowsTheKindsOfItsOwnDefinitions(t *testing.T) {
	set := prepare(t, owner, kinds(), `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.example.org}
spec: {group: example.org, scope: Cluster, names: {kind: Gadget}, versions: [{name: v1, served: true}]}
---
{apiVersion: example.org/v1, kind: Gadget, metadata: {name: x, namespace: ignored}}`)
	m := set.Members()[1]
	if m.Namespaced || !m.Defined || m.ID.Namespace != "" {
		t.Errorf("member = %+v, want a cluster-scoped one of a kind of the set", m)
	}
	_, err := apply.Prepare(objects(t, `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.example.org}
spec: {group: example.org, scope: Cluster, names: {kind: Gadget}, versions: [{name: v1, served: false}]}
---
{apiVersion: example.org/v1, kind: Gadget, metadata: {name: x}}`), apply.PrepareOptions{Owner: owner, Mapper: kinds()})
	if err == nil {
		t.Error("a version that is not served was accepted")
	}
}

func TestPrepareReportsEverythingBounded(t *testing.T) {
	var docs []string
	for range 40 {
		docs = append(docs, "{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a}}")
	}
	_, err := apply.Prepare(objects(t, strings.Join(docs, "\n---\n")), apply.PrepareOptions{Owner: owner, Mapper: kinds()})
	if err == nil || !strings.Contains(err.Error(), "and 30 more") {
		t.Errorf("err = %v", err)
	}
	if _, ok := errors.AsType[*fault.Fault](err); !ok {
		t.Error("no fault")
	}
}
