// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
)

// testSourceAPI: the definitions are Flux's, and the API server holds objects to them (S-01, S-02, S-30).
func testSourceAPI(t *testing.T, b *sourceBed) {
	for plural, want := range map[string]struct {
		short   []string
		columns []string
	}{
		"gitrepositories": {short: []string{"gitrepo"}, columns: []string{"URL", "Age", "Ready", "Status"}},
		"ocirepositories": {short: []string{"ocirepo"}, columns: []string{"URL", "Ready", "Status", "Age"}},
	} {
		t.Run(plural, func(t *testing.T) {
			var crd apiextensionsv1.CustomResourceDefinition
			if err := b.Client.Get(t.Context(), client.ObjectKey{Name: plural + "." + sourcev1.GroupVersion.Group}, &crd); err != nil {
				t.Fatal(err)
			}
			names := crd.Spec.Names
			if diff := cmp.Diff([][]string{{"all", "fluxcd", "fluxcd-sources"}, want.short}, [][]string{names.Categories, names.ShortNames}); diff != "" {
				t.Errorf("categories and short names (-want +got):\n%s", diff)
			}
			if got := crd.Annotations["kustomize.toolkit.fluxcd.io/substitute"]; got != "disabled" {
				t.Errorf("substitute %q", got)
			}
			for _, v := range crd.Spec.Versions {
				if v.Storage != (v.Name == "v1") || v.Subresources == nil || v.Subresources.Status == nil {
					t.Errorf("version %s: stored %t, subresources %+v", v.Name, v.Storage, v.Subresources)
				}
				var columns []string
				for _, c := range v.AdditionalPrinterColumns {
					columns = append(columns, c.Name)
				}
				if diff := cmp.Diff(want.columns, columns); v.Storage && diff != "" {
					t.Errorf("columns (-want +got):\n%s", diff)
				}
			}
		})
	}
	t.Run("definitions are found by their label", func(t *testing.T) { // as "flux check" looks for them
		var list apiextensionsv1.CustomResourceDefinitionList
		if err := b.Client.List(t.Context(), &list, client.MatchingLabels{"app.kubernetes.io/part-of": "flux"}); err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, crd := range list.Items {
			if crd.Spec.Group == sourcev1.GroupVersion.Group && crd.Labels["app.kubernetes.io/version"] != "" {
				kinds = append(kinds, crd.Spec.Names.Kind)
			}
		}
		slices.Sort(kinds)
		want := []string{"Bucket", "ExternalArtifact", "GitRepository", "HelmChart", "HelmRepository", "OCIRepository"}
		if diff := cmp.Diff(want, kinds); diff != "" {
			t.Errorf("kinds (-want +got):\n%s", diff)
		}
	})
	for name, tc := range map[string]struct {
		kind, spec string
		// refused is what the refusal names; empty when the object is accepted.
		refused string
	}{
		"hours and milliseconds between runs":  {"GitRepository", `url: https://a.example/b, interval: 1h30m500ms`, ""},
		"a day is no unit":                     {"GitRepository", `url: https://a.example/b, interval: 1d`, "spec.interval"},
		"an interval is needed":                {"GitRepository", `url: https://a.example/b`, "spec.interval"},
		"a timeout in minutes":                 {"GitRepository", `url: https://a.example/b, interval: 1h, timeout: 1m30s`, ""},
		"a timeout in hours":                   {"GitRepository", `url: https://a.example/b, interval: 1h, timeout: 1h`, "spec.timeout"},
		"an OCI timeout in hours":              {"OCIRepository", `url: oci://a.example/b, interval: 1h, timeout: 1h`, "spec.timeout"},
		"ssh":                                  {"GitRepository", `url: ssh://git@a.example/b, interval: 1h`, ""},
		"an address as scp has it":             {"GitRepository", `url: "git@a.example:b", interval: 1h`, "spec.url"},
		"another scheme":                       {"GitRepository", `url: git://a.example/b, interval: 1h`, "spec.url"},
		"an OCI address with another scheme":   {"OCIRepository", `url: https://a.example/b, interval: 1h`, "spec.url"},
		"a verification mode nobody has":       {"GitRepository", `url: https://a.example/b, interval: 1h, verify: {mode: X, secretRef: {name: a}}`, "spec.verify.mode"},
		"a verification provider nobody has":   {"OCIRepository", `url: oci://a.example/b, interval: 1h, verify: {provider: x}`, "spec.verify.provider"},
		"a layer operation nobody has":         {"OCIRepository", `url: oci://a.example/b, interval: 1h, layerSelector: {operation: x}`, "spec.layerSelector.operation"},
		"the timeout is a minute if not given": {"OCIRepository", `url: oci://a.example/b, interval: 1h`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj := &unstructured.Unstructured{}
			text := fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: x, namespace: %s}\nspec: {%s}\n", sourcev1.GroupVersion, tc.kind, b.ns, tc.spec)
			if err := yaml.Unmarshal([]byte(text), &obj.Object); err != nil {
				t.Fatal(err)
			}
			err := b.Client.Create(t.Context(), obj, client.DryRunAll)
			if tc.refused != "" {
				if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tc.refused) {
					t.Errorf("error %v, want a refusal of %s", err, tc.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			timeout, _, _ := unstructured.NestedString(obj.Object, "spec", "timeout")
			if want := map[bool]string{true: "1m30s", false: "60s"}[strings.Contains(tc.spec, "timeout")]; timeout != want {
				t.Errorf("timeout %q, want %q", timeout, want)
			}
			if observed, _, _ := unstructured.NestedInt64(obj.Object, "status", "observedGeneration"); observed != -1 {
				t.Errorf("observedGeneration %d, want -1", observed)
			}
		})
	}
}
