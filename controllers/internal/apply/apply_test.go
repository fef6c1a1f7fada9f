// SPDX-License-Identifier: Apache-2.0

package apply_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/controllers/internal/apply"
	"sluice.dev/sluice/controllers/internal/apply/inventory"
	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/internal/fault"
)

// run runs a service until the test ends.
func run(t testing.TB, serve func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("service ended: %v", err)
		}
	})
}

const (
	configMap = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: NS}, data: {k: v}}"
	two       = configMap + "\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: b, namespace: NS}, data: {k: v}}"
	broken    = "{apiVersion: v1, kind: Service, metadata: {name: s, namespace: NS}, spec: {ports: [{port: 99999}]}}"
)

var none inventory.Inventory

func TestApplyRefusesWithoutCapabilities(t *testing.T) {
	w := newWorld(t, everything)
	p := w.plan(none, apply.Options{}, configMap)
	closed := verified(t, backend(t))
	closed.Close()
	tests := map[string]struct {
		client   impersonation.Client
		artifact artifact.Verified
	}{
		"nobody":                      {artifact: w.artifact},
		"no artifact":                 {client: w.client},
		"an artifact that was let go": {client: w.client, artifact: closed},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := w.engine.Apply(t.Context(), tc.client, tc.artifact, p); err == nil || fault.Of(err).Kind != fault.Denied {
				t.Errorf("err = %v, want a denial", err)
			}
		})
	}
	if w.get("v1", "ConfigMap", "a") != nil {
		t.Error("something was written")
	}
}

func TestApplyCreatesConfiguresAndThenCostsNothing(t *testing.T) {
	w := newWorld(t, everything)
	res := w.mustApply(w.plan(none, apply.Options{}, two))
	want := "ConfigMap/" + w.ns + "/a created\nConfigMap/" + w.ns + "/b created"
	if diff := cmp.Diff(want, res.ChangeLog()); diff != "" {
		t.Errorf("change log (-want +got):\n%s", diff)
	}
	if n := len(w.requests(0)); n != 4 {
		t.Errorf("creating two objects took %d requests, want a dry run and an apply each", n)
	}
	p := w.plan(none, apply.Options{}, two)
	w.calm(p)
	before := len(w.requests(0))
	res = w.mustApply(p)
	if got := w.requests(before); len(got) != 0 {
		t.Errorf("a run in which nothing changed made %d requests: %+v", len(got), got)
	}
	if res.Changed() || strings.Count(res.Log(), "unchanged") != 2 {
		t.Errorf("log = %q", res.Log())
	}

	res = w.mustApply(w.plan(none, apply.Options{}, strings.Replace(two, "k: v", "k: w", 1)))
	if got := res.ChangeLog(); got != "ConfigMap/"+w.ns+"/a configured" {
		t.Errorf("change log = %q", got)
	}
	if got := w.value("a", "k"); got != "w" {
		t.Errorf("value = %q", got)
	}
	if o := res.Outcomes[0]; o.UID == "" || o.Before == o.After || !strings.HasPrefix(o.Digest, "sha256:") {
		t.Errorf("outcome = %+v", o)
	}
}

func TestApplyPutsDriftBack(t *testing.T) {
	w := newWorld(t, everything)
	p := w.plan(none, apply.Options{}, two)
	w.mustApply(p)
	w.calm(p)

	w.edit("a", `{"data":{"k":"edited"}}`, "somebody")
	w.awake()
	if got := w.mustApply(p).ChangeLog(); got != "ConfigMap/"+w.ns+"/a configured" {
		t.Errorf("change log = %q", got)
	}
	if got := w.value("a", "k"); got != "v" {
		t.Errorf("value = %q", got)
	}

	w.calm(p)
	if err := w.admin.Delete(t.Context(), w.get("v1", "ConfigMap", "b")); err != nil {
		t.Fatal(err)
	}
	w.awake()
	if got := w.mustApply(p).ChangeLog(); got != "ConfigMap/"+w.ns+"/b created" {
		t.Errorf("change log = %q", got)
	}

	w.calm(p)
	w.edit("a", `{"metadata":{"annotations":{"not":"ours"}}}`, "somebody")
	w.edit("b", `{"data":{"k":"edited"}}`, "somebody")
	w.awake()
	if got := w.mustApply(p).ChangeLog(); got != "ConfigMap/"+w.ns+"/b configured" {
		t.Errorf("a field that is not ours counts as drift: change log = %q", got)
	}
}

func TestOwnWritesWakeNobody(t *testing.T) {
	w := newWorld(t, everything)
	p := w.plan(none, apply.Options{}, two)
	w.mustApply(p)
	w.calm(p)
	for _, v := range []string{"1", "2", "3"} {
		w.mustApply(w.plan(none, apply.Options{}, strings.ReplaceAll(two, "k: v", "k: x"+v)))
	}
	w.edit("a", `{"data":{"k":"edited"}}`, "somebody")
	w.awake()
	if n := len(w.woken); n != 0 {
		t.Errorf("%d wake-ups beside the one for the edit", n)
	}
}

func TestAHandEditWithKubectlIsTakenOver(t *testing.T) {
	w := newWorld(t, everything)
	p := w.plan(none, apply.Options{}, configMap)
	w.mustApply(p)
	w.calm(p)
	w.edit("a", `{"data":{"extra":"from a person"}}`, "kubectl-edit")
	w.awake()
	w.mustApply(p)
	if got := w.value("a", "extra"); got != "" {
		t.Errorf("what kubectl added is still there: %q", got)
	}
	merge := strings.Replace(configMap, "namespace: NS", "namespace: NS, annotations: {kustomize.toolkit.fluxcd.io/ssa: merge}", 1)
	w.mustApply(w.plan(none, apply.Options{}, merge))
	w.edit("a", `{"data":{"extra":"from a person"}}`, "kubectl-edit")
	w.mustApply(w.plan(none, apply.Options{Audit: true}, merge))
	if got := w.value("a", "extra"); got == "" {
		t.Error("ssa: Merge did not leave kubectl's field")
	}
}

func TestNothingIsWrittenUnlessAllValidates(t *testing.T) {
	tests := map[string]struct {
		rules []rbacv1.PolicyRule
		set   string
		hook  error
		says  string
	}{
		"one object is invalid": {rules: []rbacv1.PolicyRule{everything}, set: two + "\n---\n" + broken, says: "Service/NS/s dry-run failed (Invalid)"},
		"one field is unknown": {
			rules: []rbacv1.PolicyRule{everything}, set: two + "\n---\n" + strings.Replace(broken, "port: 99999", "port: 80, prot: TCP", 1),
			says: "field not declared in schema",
		},
		"one item is there twice": {
			rules: []rbacv1.PolicyRule{everything}, set: two + "\n---\n" + strings.Replace(broken, "port: 99999", "port: 80}, {port: 80", 1),
			says: "duplicate entries for key",
		},
		"one kind is forbidden": {
			rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"*"}}},
			set:   two + "\n---\n{apiVersion: v1, kind: ServiceAccount, metadata: {name: s, namespace: NS}}",
			says:  "ServiceAccount/NS/s dry-run failed (Forbidden)",
		},
		"another tenant's namespace": {
			rules: []rbacv1.PolicyRule{everything},
			set:   two + "\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: kube-system}}",
			says:  "ConfigMap/kube-system/x dry-run failed (Forbidden)",
		},
		"the intent cannot be recorded": {rules: []rbacv1.PolicyRule{everything}, set: two, hook: errors.New("disk full"), says: "disk full"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tc.rules...)
			p := w.plan(none, apply.Options{}, tc.set)
			p.Hooks.BeforeFirstWrite = func(context.Context, inventory.Inventory, apply.Plan) error { return tc.hook }
			res, err := w.apply(p)
			if err == nil {
				t.Fatal("no error")
			}
			if says := strings.ReplaceAll(tc.says, "NS", w.ns); !strings.Contains(err.Error(), says) {
				t.Errorf("error %q does not say %q", err, says)
			}
			if tc.hook == nil && (fault.Of(err).Kind != fault.Retry || fault.Of(err).Reason != "ReconciliationFailed") {
				t.Errorf("fault = %v %q", fault.Of(err).Kind, fault.Of(err).Reason)
			}
			if res.Inventory.Len() != 0 || w.get("v1", "ConfigMap", "a") != nil || w.get("v1", "ConfigMap", "b") != nil {
				t.Error("something was written")
			}
		})
	}
}

// TestAnObjectOfNoInventoryIsCompared: an object that was there before is found by the dry run, and left as it is if it is as it should be.
func TestAnObjectOfNoInventoryIsCompared(t *testing.T) {
	w := newWorld(t, everything)
	w.mustApply(w.plan(none, apply.Options{}, two))
	w.edit("b", `{"data":{"k":"other"}}`, "somebody")
	a, b := w.get("v1", "ConfigMap", "a").GetResourceVersion(), w.get("v1", "ConfigMap", "b").GetResourceVersion()
	w.build() // which remembers nothing
	res := w.mustApply(w.plan(none, apply.Options{}, two))
	if got := res.ChangeLog(); !strings.HasSuffix(got, "/b configured") || strings.Contains(got, "\n") {
		t.Errorf("change log %q", got)
	}
	if res.Outcomes[0].Before != a || res.Outcomes[0].After != a || res.Outcomes[1].Before != b || res.Outcomes[1].After == b {
		t.Errorf("outcomes %+v; a was at %s, b at %s", res.Outcomes, a, b)
	}
	if w.get("v1", "ConfigMap", "a").GetResourceVersion() != a || w.value("b", "k") != "v" {
		t.Error("a was written, or b was not")
	}
}

func TestTheIntentIsRecordedBeforeTheFirstWrite(t *testing.T) {
	w := newWorld(t, everything)
	first := w.mustApply(w.plan(none, apply.Options{}, two))
	calls := 0
	record := func(_ context.Context, union inventory.Inventory, p apply.Plan) error {
		calls++
		if w.get("v1", "ConfigMap", "c") != nil || w.get("v1", "ConfigMap", "b") == nil {
			t.Error("something was written or deleted before the intent was recorded")
		}
		if union.Len() != 3 {
			t.Errorf("union = %v", union.Wires())
		}
		if !strings.Contains(p.String(), "create    ConfigMap/"+w.ns+"/c") {
			t.Errorf("the plan is not decided:\n%s", p)
		}
		return nil
	}
	next := strings.Replace(two, "name: b", "name: c", 1)
	p := w.plan(first.Inventory, apply.Options{Prune: true}, next)
	p.Hooks.BeforeFirstWrite = record
	var stages []string
	p.Hooks.AfterStage = func(_ context.Context, stage string, done []apply.Outcome) { stages = append(stages, stage) }
	second := w.mustApply(p)
	want := "ConfigMap/" + w.ns + "/c created\nConfigMap/" + w.ns + "/b deleted"
	if diff := cmp.Diff(want, second.ChangeLog()); diff != "" {
		t.Errorf("change log (-want +got):\n%s", diff)
	}
	if second.Inventory.Len() != 2 || calls != 1 || len(stages) != 1 {
		t.Errorf("inventory %v, %d calls, stages %v", second.Inventory.Wires(), calls, stages)
	}
	p = w.plan(second.Inventory, apply.Options{Prune: true}, next)
	p.Hooks.BeforeFirstWrite = record
	w.mustApply(p)
	if calls != 1 {
		t.Error("an intent was recorded although there was nothing to do")
	}
}

func TestPoliciesOnObjects(t *testing.T) {
	tests := map[string]struct {
		annotation string // on the desired object
		live       string // on the live one; "absent": there is none
		want       string
		value      string
	}{
		"Override changes what differs":           {annotation: "ssa: Override", want: "configured", value: "v"},
		"IfNotPresent leaves what exists":         {annotation: "ssa: ifnotpresent", want: "skipped", value: "live"},
		"IfNotPresent creates what does not":      {annotation: "ssa: IfNotPresent", live: "absent", want: "created", value: "v"},
		"Ignore skips":                            {annotation: "ssa: Ignore", want: "skipped", value: "live"},
		"Ignore does not even create":             {annotation: "ssa: Ignore", live: "absent", want: "skipped", value: "<none>"},
		"Ignore counts on the live object":        {annotation: "none: none", live: "ssa: IGNORE", want: "skipped", value: "live"},
		"reconcile disabled skips":                {annotation: "reconcile: disabled", want: "skipped", value: "live"},
		"reconcile disabled counts when live":     {annotation: "none: none", live: "reconcile: disabled", want: "skipped", value: "live"},
		"IfNotPresent does not count when live":   {annotation: "none: none", live: "ssa: IfNotPresent", want: "configured", value: "v"},
		"an object nobody prepared is taken over": {annotation: "none: none", want: "configured", value: "v"},
	}
	w := newWorld(t, everything)
	i := 0
	for name, tc := range tests {
		i++
		object := "p" + string(rune('a'+i))
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			manifest := func(annotation, value string) string {
				return "{apiVersion: v1, kind: ConfigMap, metadata: {name: " + object + ", namespace: NS, annotations: {kustomize.toolkit.fluxcd.io/" +
					annotation + "}}, data: {k: " + value + "}}"
			}
			if tc.live != "absent" {
				live := tc.live
				if live == "" {
					live = "none: none"
				}
				w.create(objects(t, strings.ReplaceAll(manifest(live, "live"), "NS", w.ns))[0])
			}
			res := w.mustApply(w.plan(none, apply.Options{}, manifest(tc.annotation, "v")))
			if got, want := res.Log(), "ConfigMap/"+w.ns+"/"+object+" "+tc.want; got != want {
				t.Errorf("log = %q, want %q", got, want)
			}
			if got := w.value(object, "k"); got != tc.value {
				t.Errorf("value = %q, want %q", got, tc.value)
			}
			if res.Inventory.Len() != 1 {
				t.Errorf("inventory = %v, want the object whatever was done to it", res.Inventory.Wires())
			}
		})
	}
}

func TestAnObjectThatIsLeftAloneDoesNotWakeItsOwnerForEver(t *testing.T) {
	w := newWorld(t, everything)
	p := w.plan(none, apply.Options{}, strings.Replace(configMap, "namespace: NS", "namespace: NS, annotations: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}", 1))
	w.mustApply(p)
	w.calm(p)
	w.edit("a", `{"data":{"k":"theirs"}}`, "somebody")
	w.awake()
	if got := w.mustApply(p).Log(); !strings.HasSuffix(got, "skipped") {
		t.Errorf("log = %q", got)
	}
	w.edit("a", `{"data":{"k":"theirs again"}}`, "somebody")
	w.mustApply(p)
	if n := len(w.woken); n != 0 {
		t.Errorf("woken %d more times for an object that is left alone", n)
	}
}

func TestForceReplacesWhatCannotBeChanged(t *testing.T) {
	w := newWorld(t, everything)
	const immutable = "{apiVersion: v1, kind: ConfigMap, metadata: {name: i, namespace: NS}, immutable: true, data: {k: v}}"
	w.mustApply(w.plan(none, apply.Options{}, immutable))
	changed := strings.Replace(immutable, "k: v", "k: w", 1)
	before := w.get("v1", "ConfigMap", "i").GetUID()

	_, err := w.apply(w.plan(none, apply.Options{}, changed))
	if err == nil || !strings.Contains(err.Error(), "spec.force") {
		t.Errorf("without force: %v, want the remedy", err)
	}
	_, err = w.apply(w.plan(none, apply.Options{Force: true}, changed+"\n---\n"+broken))
	if err == nil || w.get("v1", "ConfigMap", "i").GetUID() != before {
		t.Errorf("an object was deleted although another one is invalid (err %v)", err)
	}
	res := w.mustApply(w.plan(none, apply.Options{Force: true}, changed))
	if got := res.ChangeLog(); got != "ConfigMap/"+w.ns+"/i created" {
		t.Errorf("change log = %q", got)
	}
	if w.get("v1", "ConfigMap", "i").GetUID() == before || w.value("i", "k") != "w" {
		t.Error("the object was not replaced")
	}
	annotated := strings.Replace(strings.Replace(immutable, "k: v", "k: x", 1), "namespace: NS",
		"namespace: NS, annotations: {kustomize.toolkit.fluxcd.io/force: Enabled}", 1)
	w.mustApply(w.plan(none, apply.Options{}, annotated))
	if got := w.value("i", "k"); got != "x" {
		t.Errorf("the force annotation did nothing: %q", got)
	}
}

func TestForceDoesNotDeleteForAnInvalidObject(t *testing.T) {
	w := newWorld(t, everything)
	const service = "{apiVersion: v1, kind: Service, metadata: {name: s, namespace: NS}, spec: {ports: [{port: 80}]}}"
	w.mustApply(w.plan(none, apply.Options{}, service))
	before := w.get("v1", "Service", "s").GetUID()
	_, err := w.apply(w.plan(none, apply.Options{Force: true}, broken))
	if err == nil {
		t.Fatal("no error")
	}
	if live := w.get("v1", "Service", "s"); live == nil || live.GetUID() != before {
		t.Error("the object was deleted, and cannot be created again")
	}
}

// TestForceDoesNotDeleteWhatAPolicyRefuses changes an object that cannot be changed in place into one that admission refuses.
func TestForceDoesNotDeleteWhatAPolicyRefuses(t *testing.T) {
	w := newWorld(t, everything)
	text := strings.ReplaceAll(`
{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: NS}, spec: {
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]},
  validations: [{expression: "object.data.k != 'refused'", message: not that value}]}}
---
{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, metadata: {name: NS}, spec: {
  policyName: NS, validationActions: [Deny],
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NS}}}}}`, "NS", w.ns)
	for _, o := range objects(t, text) {
		w.create(o)
		t.Cleanup(func() {
			if err := w.admin.Delete(context.WithoutCancel(t.Context()), o); err != nil {
				t.Error(err)
			}
		})
	}
	probe := objects(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: probe, namespace: "+w.ns+"}, data: {k: refused}}")[0]
	eventually(t, func() bool { return w.admin.Create(t.Context(), probe.DeepCopy(), client.DryRunAll) != nil })

	const immutable = "{apiVersion: v1, kind: ConfigMap, metadata: {name: i, namespace: NS}, immutable: true, data: {k: v}}"
	w.mustApply(w.plan(none, apply.Options{}, immutable))
	before := w.get("v1", "ConfigMap", "i").GetUID()
	_, err := w.apply(w.plan(none, apply.Options{Force: true}, strings.Replace(immutable, "k: v", "k: refused", 1)))
	if err == nil || !strings.Contains(err.Error(), "not that value") {
		t.Errorf("err = %v, want the policy's words", err)
	}
	if live := w.get("v1", "ConfigMap", "i"); live == nil || live.GetUID() != before {
		t.Error("the object was deleted, and may not be created again")
	}
}

func TestDefinitionsAndTheirObjectsInOneSet(t *testing.T) {
	w := newPlatform(t)
	kind := "Gadget" + strings.ToUpper(w.ns[len(w.ns)-1:])
	plural := strings.ToLower(kind) + "s"
	group := w.ns + ".example.org"
	set := `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ` + plural + `.` + group + `}
spec:
  group: ` + group + `
  scope: Namespaced
  names: {kind: ` + kind + `, plural: ` + plural + `}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}}]
---
{apiVersion: ` + group + `/v1, kind: ` + kind + `, metadata: {name: g, namespace: NS-new}, spec: {size: 3}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: NS-new}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: NS-new}, data: {k: v}}`
	res := w.mustApply(w.plan(none, apply.Options{Prune: true}, set))
	t.Cleanup(func() {
		if _, err := w.engine.Finalize(context.WithoutCancel(t.Context()), w.client, apply.Finalization{Owner: w.owner(), Inventory: res.Inventory, Policy: apply.DeleteObjects}); err != nil {
			t.Errorf("finalize: %v", err)
		}
	})
	want := []string{
		"CustomResourceDefinition/" + plural + "." + group + " created", "Namespace/" + w.ns + "-new created",
		"ConfigMap/" + w.ns + "-new/c created", kind + "/" + w.ns + "-new/g created",
	}
	if diff := cmp.Diff(strings.Join(want, "\n"), res.Log()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if again := w.mustApply(w.plan(res.Inventory, apply.Options{Prune: true}, set)); again.Changed() {
		t.Errorf("the second run changed something:\n%s", again.ChangeLog())
	}
}

func TestPreviewWritesNothing(t *testing.T) {
	w := newWorld(t, everything)
	w.mustApply(w.plan(none, apply.Options{}, configMap))
	p, err := w.engine.Preview(t.Context(), w.client, w.plan(none, apply.Options{}, two))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, stage := range p.Stages {
		for _, s := range stage.Steps {
			got = append(got, s.ID.Name+" "+string(s.Action))
		}
	}
	if diff := cmp.Diff([]string{"a unchanged", "b create"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if w.get("v1", "ConfigMap", "b") != nil {
		t.Error("something was written")
	}
}

func TestASecretsValueIsNotInTheError(t *testing.T) {
	w := newWorld(t, everything)
	w.create(objects(t, strings.ReplaceAll("{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: NS}, immutable: true, stringData: {k: before-hunter2}}", "NS", w.ns))[0])
	_, err := w.apply(w.plan(none, apply.Options{},
		"{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: NS}, immutable: true, stringData: {k: after-hunter2}}"))
	if err == nil || !strings.Contains(err.Error(), "Secret/"+w.ns+"/s") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("err = %v", err)
	}
}
