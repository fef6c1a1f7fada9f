// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	"github.com/rogpeppe/go-internal/testscript"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"sluice.dev/sluice/compliance/ledger"
	"sluice.dev/sluice/distro/cli"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/kubetest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sluice": main})
}

// TestWithoutCluster runs the scripts of commands that need none.
func TestWithoutCluster(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/offline",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			common(env)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"damage": damageLedger, "ledger": writeLedger},
	})
}

// TestOnCluster runs the scripts of commands that talk to an API server, each in a namespace of its own, $NS.
func TestOnCluster(t *testing.T) {
	plane := kubetest.Start(t)
	plane.FluxCRDs(t)
	bed := &bed{admin: plane.Client(t)}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/cluster",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			common(env)
			namespace := plane.Namespace(t)
			env.Setenv("NS", namespace)
			env.Setenv("OTHER", plane.Namespace(t))
			env.Setenv("FLUX_SYSTEM_NAMESPACE", namespace)
			env.Setenv("KUBECONFIG", filepath.Join(env.WorkDir, "kubeconfig"))
			env.Setenv("STRANGER", filepath.Join(env.WorkDir, "stranger"))
			if err := writeKubeconfig(plane.As(t, namespace, "stranger"), namespace, env.Getenv("STRANGER")); err != nil {
				return err
			}
			return writeKubeconfig(plane.Config(), namespace, env.Getenv("KUBECONFIG"))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"apply": bed.apply, "controller": bed.controller, "expand": expand},
	})
}

// TestWatch follows Kustomizations and events until it has seen what it waits for, and interrupts the program.
func TestWatch(t *testing.T) {
	plane := kubetest.Start(t)
	plane.FluxCRDs(t)
	admin, namespace := plane.Client(t), plane.Namespace(t)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := writeKubeconfig(plane.Config(), namespace, kubeconfig); err != nil {
		t.Fatal(err)
	}
	first := kustomization(namespace, "first")
	if err := admin.Create(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	objects := watching(t, "get", "ks", "-w", "--no-header", "-n", namespace, "--kubeconfig", kubeconfig)
	objects.until(t, "first False False waiting to be reconciled")
	if err := admin.Create(t.Context(), kustomization(namespace, "second")); err != nil {
		t.Fatal(err)
	}
	objects.until(t, "second False False waiting to be reconciled")
	if err := admin.Delete(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	objects.until(t, "first False False deleted")

	happened := watching(t, "events", "-w", "--for", "ks/second", "-n", namespace, "--kubeconfig", kubeconfig)
	event := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "second.1"},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: kustomizev1.GroupVersion.String(), Kind: "Kustomization", Namespace: namespace, Name: "second",
		},
		Type: corev1.EventTypeNormal, Reason: "Applied", Message: "applied", EventTime: metav1.NowMicro(),
		ReportingController: "test", ReportingInstance: "test", Action: "none",
	}
	if err := admin.Create(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	happened.until(t, "Normal Applied Kustomization/second applied")
}

// TestWatchSurvivesAnInterruption cuts the connection of a watch and changes objects while the server cannot be reached.
func TestWatchSurvivesAnInterruption(t *testing.T) {
	plane := kubetest.Start(t)
	plane.FluxCRDs(t)
	admin, namespace := plane.Client(t), plane.Namespace(t)
	if err := admin.Create(t.Context(), kustomization(namespace, "first")); err != nil {
		t.Fatal(err)
	}
	config := plane.Config()
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	var down atomic.Bool
	watched, refused := make(chan struct{}, 10), make(chan struct{}, 10)
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			if r.SetURL(target); down.Load() {
				refused <- struct{}{}
				panic(http.ErrAbortHandler)
			}
		},
		ModifyResponse: func(r *http.Response) error {
			if r.Request.URL.Query().Has("watch") {
				watched <- struct{}{}
			}
			return nil
		},
	})
	t.Cleanup(proxy.Close)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := writeKubeconfig(&rest.Config{Host: proxy.URL}, namespace, kubeconfig); err != nil {
		t.Fatal(err)
	}
	objects := watching(t, "get", "ks", "-w", "--no-header", "-n", namespace, "--kubeconfig", kubeconfig)
	objects.until(t, "first False False waiting to be reconciled")
	<-watched
	down.Store(true)
	proxy.CloseClientConnections()
	<-refused
	if err := admin.Delete(t.Context(), kustomization(namespace, "first")); err != nil {
		t.Fatal(err)
	}
	if err := admin.Create(t.Context(), kustomization(namespace, "second")); err != nil {
		t.Fatal(err)
	}
	down.Store(false)
	objects.until(t, "second False False waiting to be reconciled", "first False False deleted")
}

func kustomization(namespace, name string) *kustomizev1.Kustomization {
	return &kustomizev1.Kustomization{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: kustomizev1.KustomizationSpec{
			Interval: metav1.Duration{Duration: time.Minute}, Prune: true,
			SourceRef: kustomizev1.CrossNamespaceSourceReference{Kind: "GitRepository", Name: "podinfo"},
		},
	}
}

// watcher is a program that runs until the test ends.
type watcher struct{ lines *bufio.Scanner }

// watching runs the program. It must end with status 0 when it is interrupted.
func watching(t *testing.T, args ...string) watcher {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	out, in := io.Pipe()
	status := make(chan int, 1)
	go func() { status <- cli.Run(ctx, args, cli.Streams{Out: in, Err: t.Output()}) }()
	t.Cleanup(func() {
		interrupt()
		out.Close() // what nobody reads any more must not hold the program up
		if got := <-status; got != 0 {
			t.Errorf("interrupted, %v ended with status %d", args, got)
		}
	})
	return watcher{lines: bufio.NewScanner(out)}
}

// until reads lines until each wanted text was seen, in any order. How wide the columns are does not matter.
func (w watcher) until(t *testing.T, wanted ...string) {
	t.Helper()
	missing := slices.Clone(wanted)
	for w.lines.Scan() {
		line := strings.Join(strings.Fields(w.lines.Text()), " ")
		t.Logf("printed %q", line)
		missing = slices.DeleteFunc(missing, func(want string) bool { return strings.Contains(line, want) })
		if len(missing) == 0 {
			return
		}
	}
	t.Fatalf("the program ended before it printed %q", missing)
}

// common hands down the FIPS mode that the tests run in.
func common(env *testscript.Env) {
	env.Setenv("GODEBUG", os.Getenv("GODEBUG"))
}

func writeKubeconfig(config *rest.Config, namespace, path string) error {
	file := clientcmdapi.NewConfig()
	file.Clusters["plane"] = &clientcmdapi.Cluster{
		Server: config.Host, CertificateAuthority: config.CAFile, CertificateAuthorityData: config.CAData,
	}
	file.AuthInfos["user"] = &clientcmdapi.AuthInfo{
		Token: config.BearerToken, ClientCertificate: config.CertFile, ClientKey: config.KeyFile,
		ClientCertificateData: config.CertData, ClientKeyData: config.KeyData,
	}
	file.Contexts["plane"] = &clientcmdapi.Context{Cluster: "plane", AuthInfo: "user", Namespace: namespace}
	file.CurrentContext = "plane"
	return clientcmd.WriteToFile(*file, path)
}

// bed is what scripts may do to the cluster beside running the program.
type bed struct {
	admin client.WithWatch
}

// apply writes the objects of a file, status included, as a field manager. Environment variables are expanded.
// "metadata.generation" in a status stands for the generation the object gets.
func (b *bed) apply(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: apply file [manager]")
	}
	manager := client.FieldOwner("test")
	if len(args) == 2 {
		manager = client.FieldOwner(args[1])
	}
	for _, object := range readObjects(ts, args[0]) {
		status, hasStatus := object.Object["status"]
		delete(object.Object, "status")
		ctx := context.Background()
		ts.Check(b.admin.Apply(ctx, client.ApplyConfigurationFromUnstructured(object.DeepCopy()), manager, client.ForceOwnership))
		if !hasStatus {
			continue
		}
		ts.Check(b.admin.Get(ctx, client.ObjectKeyFromObject(object), object))
		ts.Check(b.writeStatus(ctx, object, status))
	}
}

// controller acts as a controller for the object in a file: whenever the object has not been dealt with and is not suspended
// it is given the status in the file, until the script ends.
func (b *bed) controller(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: controller file")
	}
	ctx, cancel := context.WithCancel(context.Background())
	var ended []chan error
	for _, object := range readObjects(ts, args[0]) {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(object.GroupVersionKind())
		w, err := b.admin.Watch(ctx, list, client.InNamespace(object.GetNamespace()), client.MatchingFields{"metadata.name": object.GetName()})
		ts.Check(err)
		end := make(chan error, 1)
		ended = append(ended, end)
		go func() { end <- b.control(ctx, w, object.Object["status"]) }()
	}
	ts.Defer(func() {
		cancel()
		for _, end := range ended {
			if err := <-end; err != nil && ctx.Err() == nil {
				ts.Logf("controller: %v", err)
			}
		}
	})
}

func (b *bed) control(ctx context.Context, w watch.Interface, status any) error {
	defer w.Stop()
	for event := range w.ResultChan() {
		object, ok := event.Object.(*unstructured.Unstructured)
		if !ok || event.Type == watch.Deleted {
			continue
		}
		suspended, _, _ := unstructured.NestedBool(object.Object, "spec", "suspend")
		handled, _, _ := unstructured.NestedString(object.Object, "status", "lastHandledReconcileAt")
		tried, _, _ := unstructured.NestedInt64(object.Object, "status", "observedGeneration")
		asked := object.GetAnnotations()[meta.ReconcileRequestAnnotation]
		if suspended || handled == asked && tried == object.GetGeneration() {
			continue
		}
		if err := b.writeStatus(ctx, object, status); client.IgnoreNotFound(err) != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// writeStatus gives object the status, with its generation and its request filled in.
func (b *bed) writeStatus(ctx context.Context, object *unstructured.Unstructured, status any) error {
	body, err := yaml.Marshal(status)
	if err != nil {
		return err
	}
	text := strings.ReplaceAll(string(body), "metadata.generation", fmt.Sprint(object.GetGeneration()))
	var filled map[string]any
	if err := yaml.Unmarshal([]byte(text), &filled); err != nil {
		return err
	}
	if asked := object.GetAnnotations()[meta.ReconcileRequestAnnotation]; asked != "" {
		filled["lastHandledReconcileAt"] = asked
	}
	changed := object.DeepCopy()
	changed.Object["status"] = filled
	if equality.Semantic.DeepEqual(changed.Object, object.Object) {
		return nil
	}
	return b.admin.Status().Patch(ctx, changed, client.MergeFrom(object))
}

// expand replaces the environment variables in files.
func expand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: expand file...")
	}
	for _, file := range args {
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(os.Expand(ts.ReadFile(file), ts.Getenv)), 0o600))
	}
}

func readObjects(ts *testscript.TestScript, file string) []*unstructured.Unstructured {
	text := os.Expand(ts.ReadFile(file), ts.Getenv)
	var objects []*unstructured.Unstructured
	for document := range strings.SplitSeq(text, "\n---\n") {
		object := &unstructured.Unstructured{}
		ts.Check(yaml.Unmarshal([]byte(document), &object.Object))
		objects = append(objects, object)
	}
	return objects
}

// writeLedger makes a ledger with one finished and one open run, at a fixed time.
func writeLedger(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ledger folder")
	}
	ctx := context.Background()
	digests, err := fips.New()
	ts.Check(err)
	noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	l, err := ledger.Open(ctx, ts.MkAbs(args[0]), ledger.Config{
		Digests: digests, Clock: func() time.Time { return noon }, ClusterUID: "uid", Component: "test",
	})
	ts.Check(err)
	for _, run := range []string{"one", "two"} {
		ref, err := l.Intend(ctx, ledger.Entry{Run: run, Tenant: "team-a"}, ledger.Intent{Identity: "system:serviceaccount:team-a:app"})
		ts.Check(err)
		if run == "one" {
			_, err = l.Conclude(ctx, ledger.Entry{Run: run}, ref, ledger.Outcome{Result: ledger.Succeeded})
			ts.Check(err)
		}
	}
	ts.Check(l.Close())
}

// damageLedger changes one letter of the third entry of a ledger.
func damageLedger(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: damage file")
	}
	lines := strings.SplitAfter(ts.ReadFile(args[0]), "\n")
	lines[2] = strings.Replace(lines[2], "succeeded", "Succeeded", 1)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(lines, "")), 0o600))
}
