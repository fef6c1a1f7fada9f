// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/test/platform"
)

// still is how long a test waits for something that must not happen.
const still = 1500 * time.Millisecond

// watched is the label of a Secret or ConfigMap whose changes start those who name it.
func watched() map[string]string {
	return map[string]string{meta.LabelKeyWatch: meta.LabelValueWatchEnabled}
}

// variables creates a ConfigMap and a Secret of variables, with labels, and returns the references to them.
func (x *ksSpace) variables(labels map[string]string) []kustomizev1.SubstituteReference {
	x.t.Helper()
	plain := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "vars", Labels: labels}, Data: map[string]string{"plain": "one"}}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "vars", Labels: labels}, StringData: map[string]string{"secret": "one"}}
	for _, obj := range []client.Object{plain, secret} {
		if err := x.Client.Create(x.t.Context(), obj); err != nil {
			x.t.Fatal(err)
		}
	}
	return []kustomizev1.SubstituteReference{{Kind: "ConfigMap", Name: plain.Name}, {Kind: "Secret", Name: secret.Name}}
}

// ksConfigWatch is about row K-21: at an interval of an hour, a change of what the object names reaches its objects at once, by a
// watch of the tenant's, and only where the label asks for it.
func ksConfigWatch(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("hello", `a: "${plain} ${secret}"`)})
	from := x.variables(watched())
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) { s.PostBuild = &kustomizev1.PostBuild{SubstituteFrom: from} })
	x.until(app, ready)
	x.wantData(map[string]string{"hello/a": "one one"})

	plain, secret := x.configMapOf("vars"), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "vars"}}
	x.follows(plain, `{"data":{"plain":"two"}}`, "two one")
	x.follows(secret, `{"stringData":{"secret":"two"}}`, "two two")

	x.merge(plain, fmt.Sprintf(`{"metadata":{"labels":{%q:null}}}`, meta.LabelKeyWatch))
	time.Sleep(still) // that it went is a change, too: the last one
	x.merge(plain, `{"data":{"plain":"three"}}`)
	time.Sleep(still)
	x.wantData(map[string]string{"hello/a": "two two"})
	x.follows(plain, fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, meta.LabelKeyWatch, meta.LabelValueWatchEnabled), "three two")

	keys := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "keys", Labels: watched()}}
	if err := x.Client.Create(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
	keyed := x.apply("keyed", func(s *kustomizev1.KustomizationSpec) {
		s.NamePrefix, s.PostBuild = "keyed-", &kustomizev1.PostBuild{SubstituteFrom: from}
		s.Decryption = &kustomizev1.Decryption{Provider: "sops", SecretRef: &meta.LocalObjectReference{Name: keys.Name}}
	})
	x.until(keyed, ready)
	x.handled(keyed)
	reads := func() int {
		return len(slices.DeleteFunc(x.requests(x.deployer()), func(q kubetest.Request) bool { return q.Name != keys.Name || q.Verb != "get" }))
	}
	before := reads()
	x.merge(keys, `{"stringData":{"other":"key"}}`)
	x.eventually(soon, "a change of keys is looked at", func() bool { return reads() > before })

	for _, q := range x.requests("system:serviceaccount:" + x.Namespace + ":" + rbac.Kustomize.Account()) {
		if q.Resource == "configmaps" || q.Resource == "secrets" {
			t.Errorf("%s %s in the controller's own name", q.Verb, q.URI)
		}
	}
}

// follows changes an object and waits until ConfigMap hello says so.
func (x *ksSpace) follows(obj client.Object, patch, want string) {
	x.t.Helper()
	x.merge(obj, patch)
	took := x.eventually(soon, "hello says "+want, func() bool { return x.data("hello", "a") == want })
	x.t.Logf("%s followed after %s", want, took)
}

// ksConfigWatchByName is about row K-21 with a role that names what may be read: it is enough to be watched by name.
func ksConfigWatchByName(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("hello", `a: "${plain} ${secret}"`)})
	from := x.variables(watched())
	x.remove(x.bindingOf())
	for _, obj := range []client.Object{
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "narrow"}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"create"}},
			{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"hello"}, Verbs: []string{"get", "patch", "delete"}},
			{APIGroups: []string{""}, Resources: []string{"configmaps", "secrets"}, ResourceNames: []string{"vars"}, Verbs: []string{"get", "list", "watch"}},
		}},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "narrow"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "narrow"},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: x.ns, Name: platform.Deployer}},
		},
	} {
		if err := x.Client.Create(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) { s.PostBuild = &kustomizev1.PostBuild{SubstituteFrom: from} })
	x.until(app, ready)
	x.follows(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "vars"}}, `{"stringData":{"secret":"two"}}`, "one two")
	x.follows(x.configMapOf("vars"), `{"data":{"plain":"two"}}`, "two two")
}

// ksTakeover is about row K-24: what kubectl has left on an object goes, its fields as well as its notes, unless ssa: Merge asks
// for it to stay.
func ksTakeover(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{
		"app/taken.yaml": configMap("taken", "a: ours"), "app/server.yaml": configMap("server", "a: ours"), "app/merged.yaml": labelled("merged", "ssa: Merge", "a: ours"),
	})
	legacy := "labels: {fluxcd.io/sync-gc-mark: x, theirs: goes}, annotations: {fluxcd.io/sync-checksum: x, kustomize.toolkit.fluxcd.io/checksum: x}"
	old := func(name, more string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", " + more + "}\ndata: {a: theirs, extra: theirs}\n"
	}
	x.kubectl(old("taken", legacy)+"---\n"+old("merged", "labels: {theirs: stays}"), "apply", "-f", "-")
	x.kubectl(old("server", "labels: {theirs: goes}"), "apply", "--server-side", "-f", "-")
	// Notes that nobody of kubectl's holds.
	x.merge(x.configMapOf("server"), `{"metadata":{"annotations":{"fluxcd.io/sync-checksum":"x"},"labels":{"by":"somebody"}}}`)

	app := x.apply("app", nil)
	x.until(app, ready)
	const ours = "kustomize-controller Apply"
	for name, want := range map[string]taken{
		"taken":  {data: map[string]string{"a": "ours"}, managers: []string{ours}},
		"server": {data: map[string]string{"a": "ours"}, labels: []string{"by"}, managers: []string{ours, "somebody Update"}},
		"merged": {
			data: map[string]string{"a": "ours", "extra": "theirs"}, labels: []string{"theirs"},
			notes:    []string{"kubectl.kubernetes.io/last-applied-configuration"},
			managers: []string{"kubectl-client-side-apply Update", ours},
		},
	} {
		if diff := cmp.Diff(want, x.takenOf(name), cmp.AllowUnexported(taken{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}

	x.handled(app) // by now everything is watched
	x.kubectl("", "annotate", "configmap", "taken", "by-hand=yes")
	x.kubectl("", "patch", "configmap", "taken", "--type=merge", "-p", `{"data":{"extra":"again"}}`)
	x.eventually(soon, "what a person adds with kubectl goes", func() bool { return x.takenOf("taken").data["extra"] == "" })
}

// taken is what a takeover leaves of a ConfigMap.
type taken struct {
	data     map[string]string
	labels   []string // without ours
	notes    []string // annotations, without ours
	managers []string
}

func (x *ksSpace) takenOf(name string) taken {
	x.t.Helper()
	cm := x.configMapOf(name)
	x.get(cm)
	foreign := func(from map[string]string) (out []string) {
		for _, key := range slices.Sorted(maps.Keys(from)) {
			if key == "kustomize.toolkit.fluxcd.io/checksum" || !strings.HasPrefix(key, "kustomize.toolkit.fluxcd.io/") {
				out = append(out, key)
			}
		}
		return out
	}
	got := taken{data: cm.Data, labels: foreign(cm.Labels), notes: foreign(cm.Annotations)}
	for _, e := range cm.ManagedFields {
		got.managers = append(got.managers, e.Manager+" "+string(e.Operation))
	}
	slices.Sort(got.managers)
	return got
}

// kubectl runs kubectl in the space as the administrator.
func (x *ksSpace) kubectl(stdin string, args ...string) {
	x.t.Helper()
	admin := x.plane.Config()
	file := filepath.Join(x.t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"bed": {Server: admin.Host, CertificateAuthorityData: admin.CAData, CertificateAuthority: admin.CAFile}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"admin": {
			Token: admin.BearerToken, ClientCertificateData: admin.CertData, ClientKeyData: admin.KeyData, ClientCertificate: admin.CertFile, ClientKey: admin.KeyFile,
		}},
		Contexts:       map[string]*clientcmdapi.Context{"bed": {Cluster: "bed", AuthInfo: "admin", Namespace: x.ns}},
		CurrentContext: "bed",
	}, file); err != nil {
		x.t.Fatal(err)
	}
	cmd := exec.CommandContext(x.t.Context(), x.plane.Kubectl(), append([]string{"--kubeconfig", file}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		x.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// ksOtherFlags is about flags and gates that are not Flux's defaults, on an installation of its own.
func ksOtherFlags(t *testing.T, shared *ksBed) {
	b := &ksBed{plane: shared.plane, git: shared.git, registry: shared.registry, posted: shared.posted, free: make(chan string, 8)}
	t.Cleanup(func() { b.releaseAll(t) })
	b.Platform = platform.Start(t, b.plane, platform.Options{
		Tenants: cap(b.free), Parameters: b.parameters, Flags: []string{
			"--events-addr=" + b.posted.url, "--audit-period=4s", "--override-manager=legacy", "--custom-apply-stage-kinds=coordination.k8s.io/Lease,apps/Deployment",
			"--feature-gates=DisableConfigWatchers=true,GroupChangeLog=true,DirectSourceFetch=true,StrictPostBuildSubstitutions=false",
			"--feature-gates=CancelHealthCheckOnNewRevision=true,DisableFailFastBehavior=true,MigrateAPIVersion=true,CacheSecretsAndConfigMaps=true",
		},
	})
	for _, ns := range b.Tenants {
		b.free <- ns
	}
	for name, run := range map[string]func(*testing.T, *ksBed){
		"no config is watched":                           ksConfigGateOff,
		"a variable without value is nothing":            ksLenientVariables,
		"the custom stage comes first":                   ksCustomStage,
		"fields of an overridden manager are taken over": ksOverrideManager,
		"a new revision ends a wait and says so":         ksHealthCanceled,
		"a failed job is waited for":                     ksPatientHealth,
		"an audit finds what no watch tells":             ksAudit,
	} {
		t.Run(name, func(t *testing.T) { run(t, b) })
	}
	log := b.log(t, rbac.Kustomize)
	for _, want := range []string{
		"accepted without effect: --feature-gates=CacheSecretsAndConfigMaps=true (", `"msg":"server-side apply completed"`, `"output":{"created":["`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s", want)
		}
	}
	if n := strings.Count(log, "without effect"); n != 1 {
		t.Errorf("%d warnings about what is without effect, want one", n)
	}
}

// log returns the whole log of a controller.
func (b *ksBed) log(t *testing.T, c rbac.Controller) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(b.Dir, string(c)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSpace(text))
}

// ksConfigGateOff is about row K-21 with DisableConfigWatchers, and about K-44: sources are listed by name, with the right to list
// alone.
func ksConfigGateOff(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("hello", `a: "${plain} ${secret}"`)})
	from := x.variables(watched())
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) { s.PostBuild = &kustomizev1.PostBuild{SubstituteFrom: from} })
	x.until(app, ready)
	x.merge(x.configMapOf("vars"), `{"data":{"plain":"two"}}`)
	time.Sleep(still)
	x.wantData(map[string]string{"hello/a": "one one"})
	x.handled(app)
	x.wantData(map[string]string{"hello/a": "two one"})
	for _, q := range x.requests(x.deployer()) {
		if q.Resource == "secrets" && q.Verb != "get" || q.Resource == "configmaps" && strings.Contains(q.URI, "watch%3DEnabled") {
			t.Errorf("%s %s, though nothing is to be watched", q.Verb, q.URI)
		}
	}
	direct := slices.ContainsFunc(x.requests("system:serviceaccount:"+b.Namespace+":"+rbac.Kustomize.Account()), func(q kubetest.Request) bool {
		return q.Resource == "gitrepositories" && q.Verb == "list" && strings.Contains(q.URI, "metadata.name%3D"+x.source.Name)
	})
	if !direct {
		t.Error("the source was not read from the API server")
	}
}

// ksLenientVariables is about row K-19 with StrictPostBuildSubstitutions=false.
func ksLenientVariables(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("hello", `a: "<${nothing}${known}>"`)})
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) {
		s.PostBuild = &kustomizev1.PostBuild{Substitute: map[string]string{"known": "x"}}
	})
	x.until(app, ready)
	x.wantData(map[string]string{"hello/a": "<x>"})
}

// ksCustomStage is about row K-22: kinds of the custom stage come before those that would go first otherwise.
func ksCustomStage(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{
		"app/account.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n",
		"app/config.yaml":  configMap("c", "a: b"), "app/web.yaml": workload("d", ""),
	})
	app := x.apply("app", nil)
	x.until(app, ready)
	want := fmt.Sprintf("Deployment/%[1]s/d created\nServiceAccount/%[1]s/a created\nConfigMap/%[1]s/c created", x.ns)
	if event := x.told(app, "info", "Deployment/"); event.Message != want {
		t.Errorf("event %q, want %q", event.Message, want)
	}
}

// ksOverrideManager is about row K-24 and --override-manager.
func ksOverrideManager(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/config.yaml": configMap("hello", "a: ours")})
	old := x.configMapOf("hello")
	old.Data = map[string]string{"a": "theirs", "extra": "theirs"}
	if err := x.Client.Create(t.Context(), old, client.FieldOwner("legacy-tool")); err != nil {
		t.Fatal(err)
	}
	x.merge(old, `{"data":{"other":"stays"}}`)
	app := x.apply("app", nil)
	x.until(app, ready)
	want := taken{data: map[string]string{"a": "ours", "other": "stays"}, managers: []string{"kustomize-controller Apply", "somebody Update"}}
	if diff := cmp.Diff(want, x.takenOf("hello"), cmp.AllowUnexported(taken{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	x.handled(app)
	if err := x.Client.Patch(t.Context(), x.configMapOf("hello"), client.RawPatch("application/merge-patch+json", []byte(`{"data":{"extra":"again"}}`)),
		client.FieldOwner("legacy")); err != nil {
		t.Fatal(err)
	}
	x.eventually(soon, "what the overridden manager adds goes", func() bool { return x.data("hello", "extra") == "" })
}

// ksHealthCanceled is about row K-38.
func ksHealthCanceled(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"app/web.yaml": workload("web", nowhere)})
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) { s.Wait = true })
	x.until(app, waiting("Running health checks"))
	second := x.commit(map[string]string{"app/config.yaml": configMap("hello", "a: b")})
	x.until(app, applied(second))
	event := x.told(app, "info", "Health checks canceled due to new reconciliation triggered by GitRepository/"+x.ns+"/"+x.source.Name)
	if event.Reason != meta.HealthCheckCanceledReason {
		t.Errorf("reason %s", event.Reason)
	}
}

// ksPatientHealth is about row K-37 with DisableFailFastBehavior: what has failed is waited for like anything else.
func ksPatientHealth(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{
		"app/job.yaml": "apiVersion: batch/v1\nkind: Job\nmetadata: {name: work}\nspec: {activeDeadlineSeconds: 1, backoffLimit: 0, template: {spec: " +
			podSpec(nowhere+", restartPolicy: Never") + "}}\n",
	})
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) { s.Wait = true })
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: "work"}}
	x.until(app, waiting("Running health checks"))
	x.eventually(time.Minute, "the job has failed", func() bool {
		x.get(job)
		return slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool { return c.Type == batchv1.JobFailed })
	})
	time.Sleep(still)
	x.until(app, waiting("Running health checks"))
}
