// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/gitserver"
	"sluice.dev/sluice/test/platform"
	"sluice.dev/sluice/test/registry"
	"sluice.dev/sluice/test/registry/program"
)

// What must never be told by an object, an event or a log.
const (
	sourceUser     = "reader"
	sourcePassword = "pa55-of-the-reader"
	wrongPassword  = "pa55-of-nobody"
	sourceToken    = "t0ken-of-the-reader"
)

// sourceBed is one platform with every kind of server a source may have. All tests of sources share it, each with
// repositories and objects of its own names.
type sourceBed struct {
	*platform.Platform
	plane *kubetest.Plane
	ns    string

	root      string // of all Git servers
	gits      gitServers
	authority *gitserver.Authority
	cert, key []byte // a client certificate of authority
	asked     requestLog
	registries
	charts  chartServers
	tenants tenantKeys
	serial  atomic.Int64
}

type gitServers struct {
	open, basic, bearer, mutual *gitserver.HTTP
	ssh                         *gitserver.SSH
	sshKey                      gitserver.SSHKey
}

// registries are all in memory. A repository below lying/ answers with other bytes than were pushed, one below slow/ never.
type registries struct {
	plain, basic, bearer, mutual *registry.Server
	// programs are registries that others have written, by host, over plain HTTP.
	programs map[program.Program]string
}

// requestLog counts requests by repository: what follows the last slash of it, without ".git".
type requestLog struct {
	mu   sync.Mutex
	seen map[string][]string
}

func (l *requestLog) note(method, path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for part := range strings.SplitSeq(path, "/") {
		if name, isGit := strings.CutSuffix(part, ".git"); isGit {
			l.seen[name] = append(l.seen[name], method+" "+path)
		}
	}
}

// of returns the requests for a Git repository so far.
func (l *requestLog) of(name string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.seen[name]...)
}

func newSourceBed(t *testing.T) *sourceBed {
	t.Helper()
	b := &sourceBed{plane: kubetest.Start(t), root: t.TempDir(), asked: requestLog{seen: map[string][]string{}}, tenants: newTenantKeys(t)}
	b.startGit(t)
	b.startRegistries(t)
	b.startCharts(t)
	b.Platform = platform.Start(t, b.plane, platform.Options{
		Tenants: 2, Flags: []string{"--artifact-retention-ttl=3s", "--concurrent=8"},
		Parameters: func(own string, tenants []string) string {
			return b.grants(own, tenants, b.tenants, b.tenants.swapped())
		},
	})
	b.ns = b.Namespace
	t.Cleanup(func() { b.leave(t) })
	return b
}

// grants writes the policy parameters: where sources may come from, and who is believed in each tenant's namespace.
func (b *sourceBed) grants(own string, tenants []string, trusted ...tenantKeys) string {
	hosts := fmt.Sprintf("[%q, %q, %q, %q, %q]", strings.TrimPrefix(b.gits.open.URL, "http://"), b.plain.Host(), b.charts.open.Host(),
		b.programs[program.Olareg], b.programs[program.Distribution])
	text := "apiVersion: policy.sluice.dev/v1alpha1\nkind: PolicyParameters\nnamespaces:\n"
	text += fmt.Sprintf("  %s: {transport: {allowPlainHTTP: %s}}\n", own, hosts)
	for i, ns := range tenants {
		text += fmt.Sprintf("  %s:\n    sources: [{url: %q}, {url: %q}, {url: %q}]\n    transport: {allowPlainHTTP: %s}\n%s",
			ns, b.gits.open.URL+"/", b.plain.URL(), b.charts.open.URL, hosts, tenantTrust(trusted[i]))
	}
	return text
}

func (b *sourceBed) startGit(t *testing.T) {
	t.Helper()
	var err error
	if b.authority, err = gitserver.NewAuthority(); err != nil {
		t.Fatal(err)
	}
	issue := func(name string) (cert, key []byte) {
		cert, key, err := b.authority.Issue(name)
		if err != nil {
			t.Fatal(err)
		}
		return cert, key
	}
	b.cert, b.key = issue("client")
	start := func(o gitserver.HTTPOptions) *gitserver.HTTP {
		o.Root, o.Wrap = b.root, b.observe
		server, err := gitserver.NewHTTP(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Close() })
		return server
	}
	secure := transport.ServerTLSOptions{}
	secure.Cert, secure.Key = issue("server")
	mutual := secure
	mutual.ClientCA = b.authority.CA
	b.gits.open = start(gitserver.HTTPOptions{})
	b.gits.basic = start(gitserver.HTTPOptions{TLS: secure, Username: sourceUser, Password: sourcePassword})
	b.gits.bearer = start(gitserver.HTTPOptions{TLS: secure, BearerToken: sourceToken})
	b.gits.mutual = start(gitserver.HTTPOptions{TLS: mutual})
	if b.gits.sshKey, err = gitserver.NewSSHKey(); err != nil {
		t.Fatal(err)
	}
	if b.gits.ssh, err = gitserver.NewSSH(gitserver.SSHOptions{Root: b.root, Authorized: b.gits.sshKey.Signer.PublicKey()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.gits.ssh.Close() })
}

// observe notes requests, and lets a repository by the name of slow wait for ever.
func (b *sourceBed) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.asked.note(r.Method, r.URL.Path)
		if strings.HasPrefix(r.URL.Path, "/slow.git/") {
			<-r.Context().Done()
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (b *sourceBed) startRegistries(t *testing.T) {
	t.Helper()
	start := func(o registry.Options) *registry.Server {
		server, err := registry.Start(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Close() })
		return server
	}
	b.plain = start(registry.Options{Wrap: disturb})
	b.basic = start(registry.Options{TLS: true, Username: sourceUser, Password: sourcePassword})
	b.bearer = start(registry.Options{TLS: true, Username: sourceUser, Password: sourcePassword, Bearer: true})
	b.mutual = start(registry.Options{TLS: true, ClientCA: b.authority.CA})
	b.programs = map[program.Program]string{}
	for _, p := range []program.Program{program.Olareg, program.Distribution} {
		b.programs[p] = program.Start(t, p)
	}
}

// disturb makes a hostile registry of some repositories of an honest one.
func disturb(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/v2/slow/"):
			<-r.Context().Done()
		case strings.HasPrefix(r.URL.Path, "/v2/lying/") && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/"):
			next.ServeHTTP(liar{w}, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// liar sends other content of the same length.
type liar struct{ http.ResponseWriter }

// Write implements http.ResponseWriter.
func (l liar) Write(p []byte) (int, error) {
	return l.ResponseWriter.Write(bytes.ReplaceAll(p, []byte("honest"), []byte("forged")))
}

// name returns a name that no other test uses.
func (b *sourceBed) name(prefix string) string { return fmt.Sprintf("%s-%d", prefix, b.serial.Add(1)) }

// repo makes a Git repository that all servers serve, with one commit on main unless there are no files.
func (b *sourceBed) repo(t *testing.T, files map[string]string) *gitserver.Repo {
	t.Helper()
	repo := b.emptyRepo(t, gitserver.InitRepo)
	if len(files) > 0 {
		commit(t, repo, files)
	}
	return repo
}

// emptyRepo makes a Git repository of some object format.
func (b *sourceBed) emptyRepo(t *testing.T, init func(root, name string) (*gitserver.Repo, error)) *gitserver.Repo {
	t.Helper()
	repo, err := init(b.root, b.name("repo")+".git")
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// git returns a GitRepository in the platform's namespace.
func (b *sourceBed) git(repo *gitserver.Repo, change ...func(*sourcev1.GitRepositorySpec)) *sourcev1.GitRepository {
	obj := gitRepository(b.ns, b.name("git"), b.gits.open.URL+"/"+repo.Name)
	for _, f := range change {
		f(&obj.Spec)
	}
	return obj
}

// oci returns an OCIRepository of the plain registry, in the platform's namespace.
func (b *sourceBed) oci(repository string, change ...func(*sourcev1.OCIRepositorySpec)) *sourcev1.OCIRepository {
	obj := &sourcev1.OCIRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: b.name("oci")},
		Spec:       sourcev1.OCIRepositorySpec{URL: b.plain.URL() + "/" + repository, Interval: metav1.Duration{Duration: time.Hour}, Insecure: true},
	}
	for _, f := range change {
		f(&obj.Spec)
	}
	return obj
}

// secret makes a Secret and returns its name.
func (b *sourceBed) secret(t *testing.T, data map[string][]byte) string {
	t.Helper()
	return b.secretIn(t, b.ns, data)
}

func (b *sourceBed) secretIn(t *testing.T, namespace string, data map[string][]byte) string {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: b.name("secret")}, Data: data}
	if err := b.Client.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	return secret.Name
}

// setSecret replaces the data of a Secret.
func (b *sourceBed) setSecret(t *testing.T, name string, data map[string][]byte) {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: name}, Data: data}
	if err := b.Client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
}

func ref(name string) *meta.LocalObjectReference { return &meta.LocalObjectReference{Name: name} }

// pusher is a client of one repository of the plain registry.
func (b *sourceBed) pusher(t *testing.T, repository string) *oci.Client {
	t.Helper()
	return ociClient(t, b.plain.URL()+"/"+repository, oci.Config{Insecure: true})
}

func ociClient(t *testing.T, url string, c oci.Config) *oci.Client {
	t.Helper()
	var err error
	if c.Repository, err = oci.ParseURL(url); err != nil {
		t.Fatal(err)
	}
	pool := oci.NewPool(oci.PoolConfig{})
	t.Cleanup(pool.Close)
	pusher, err := pool.Client(c)
	if err != nil {
		t.Fatal(err)
	}
	return pusher
}

// push pushes files under a tag and returns the digest.
func push(t *testing.T, to *oci.Client, tag string, files map[string]string) string {
	t.Helper()
	digest, err := to.PushArtifact(t.Context(), tag, tarball(t, files), nil)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// tarball packs files.
func tarball(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var headers []tar.Header
	for name := range files {
		headers = append(headers, tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644})
	}
	return pack(t, func(h *tar.Header) io.Reader { return strings.NewReader(files[h.Name]) }, func(h tar.Header) int64 { return int64(len(files[h.Name])) }, headers)
}

// pack writes a gzipped tar of any entries.
func pack(t *testing.T, content func(*tar.Header) io.Reader, size func(tar.Header) int64, headers []tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = size(h)
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size == 0 {
			continue
		}
		if _, err := io.Copy(w, content(&h)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// source is an object of one of the source kinds.
type source interface {
	object
	GetArtifact() *meta.Artifact
}

// handled returns status.lastHandledReconcileAt.
func handled(obj source) string {
	switch obj := obj.(type) {
	case *sourcev1.GitRepository:
		return obj.Status.LastHandledReconcileAt
	case *sourcev1.OCIRepository:
		return obj.Status.LastHandledReconcileAt
	case *sourcev1.HelmRepository:
		return obj.Status.LastHandledReconcileAt
	case *sourcev1.Bucket:
		return obj.Status.LastHandledReconcileAt
	case *sourcev1.HelmChart:
		return obj.Status.LastHandledReconcileAt
	}
	return ""
}

// ask requests a reconciliation and returns when it is over.
func (b *sourceBed) ask(t *testing.T, obj source) {
	t.Helper()
	token := strconv.FormatInt(b.serial.Add(1), 10)
	b.annotate(t, obj, token)
	platform.Wait(t, b.Platform, obj, func(obj source) error {
		if got := handled(obj); got != token {
			return fmt.Errorf("handled %q, want %q", got, token)
		}
		return nil
	})
}

func (b *sourceBed) annotate(t *testing.T, obj source, token string) {
	t.Helper()
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, meta.ReconcileRequestAnnotation, token)
	if err := b.Client.Patch(t.Context(), obj, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		t.Fatal(err)
	}
}

// change patches the spec.
func (b *sourceBed) change(t *testing.T, obj source, spec string) {
	t.Helper()
	if err := b.Client.Patch(t.Context(), obj, client.RawPatch("application/merge-patch+json", []byte(`{"spec":`+spec+`}`))); err != nil {
		t.Fatal(err)
	}
}

// failure is how a source says that it failed.
type failure struct {
	// reason is Ready's.
	reason string
	// condition carries the same reason and message; empty for none.
	condition string
	// stalled is set where only a change of the spec helps.
	stalled bool
	// says is what the message names: the object, and what to do.
	says []string
}

// check returns nil once the source has failed in this way.
func (f failure) check(obj source) error {
	if err := condition(obj, meta.ReadyCondition, metav1.ConditionFalse, f.reason); err != nil {
		return err
	}
	message := readyMessage(obj)
	for _, want := range f.says {
		if !strings.Contains(message, want) {
			return fmt.Errorf("message %q lacks %q", message, want)
		}
	}
	if stalled := apimeta.IsStatusConditionTrue(obj.GetConditions(), meta.StalledCondition); stalled != f.stalled {
		return fmt.Errorf("stalled %t, want %t: %s", stalled, f.stalled, message)
	}
	if f.condition == "" {
		return nil
	}
	want := metav1.ConditionTrue
	if f.condition == sourcev1.SourceVerifiedCondition {
		want = metav1.ConditionFalse
	}
	return condition(obj, f.condition, want, f.reason)
}

// download gets the artifact a status points to, holds it against the status, and returns its files.
func (b *sourceBed) download(t *testing.T, a *meta.Artifact) map[string]string {
	t.Helper()
	if a == nil {
		t.Fatal("there is no artifact")
	}
	code, body := b.get(t, a.URL)
	sum := sha256.Sum256(body)
	if got := "sha256:" + hex.EncodeToString(sum[:]); code != http.StatusOK || got != a.Digest {
		t.Fatalf("GET %s: status %d, digest %s, want %s", a.URL, code, got, a.Digest)
	}
	if a.Size == nil || *a.Size != int64(len(body)) {
		t.Errorf("size %v, want %d", a.Size, len(body))
	}
	return unpack(t, body)
}

func (b *sourceBed) get(t *testing.T, url string) (int, []byte) {
	t.Helper()
	getter, err := transport.NewClient(transport.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := getter.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, body
}

// unpack returns the files of an artifact, and fails on anything that is neither a file nor a directory.
func unpack(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		switch h.Typeflag {
		case tar.TypeDir:
		case tar.TypeReg:
			content, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			files[path.Clean(h.Name)] = string(content)
		default:
			t.Errorf("the artifact has %q of type %q", h.Name, h.Typeflag)
		}
	}
}

// event waits for an event about an object.
func (b *sourceBed) event(t *testing.T, obj client.Object, kind, reason, message string) corev1.Event {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	var all []corev1.Event
	for time.Now().Before(deadline) {
		all = b.events(t, obj)
		for _, e := range all {
			if e.Type == kind && e.Reason == reason && strings.Contains(e.Message, message) {
				return e
			}
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("no event %s %s %q about %s: %s", kind, reason, message, obj.GetName(), tell(all))
	return corev1.Event{}
}

// events lists the events about an object.
func (b *sourceBed) events(t *testing.T, obj client.Object) []corev1.Event {
	t.Helper()
	var list corev1.EventList
	if err := b.Client.List(t.Context(), &list, client.InNamespace(obj.GetNamespace()), client.MatchingFields{"involvedObject.name": obj.GetName()}); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func tell(events []corev1.Event) string {
	var out strings.Builder
	for _, e := range events {
		fmt.Fprintf(&out, "\n  %s %s %d× %s", e.Type, e.Reason, e.Count, e.Message)
	}
	return out.String()
}

// leave deletes what the tests have made, and looks at what is left: no secret in statuses, events and logs, no artifact in
// the store, and no request of the controller that its role does not allow.
func (b *sourceBed) leave(t *testing.T) {
	ctx := context.Background()
	said := b.said(ctx, t)
	for _, secret := range []string{sourcePassword, wrongPassword, sourceToken, "PRIVATE KEY", "an-opaque-token"} {
		for where, text := range said {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s tells %q: …%s", where, secret, text[max(0, i-200):min(len(text), i+100)])
			}
		}
	}
	for _, list := range []client.ObjectList{&sourcev1.GitRepositoryList{}, &sourcev1.OCIRepositoryList{}, &sourcev1.HelmChartList{}, &sourcev1.HelmRepositoryList{}, &sourcev1.BucketList{}} {
		b.deleteAll(ctx, t, list)
	}
	data := filepath.Join(b.StateDir(rbac.Source), "data")
	for _, dir := range []string{"objects", filepath.Join("blobs", "sha256")} {
		err := filepath.WalkDir(filepath.Join(data, dir), func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				t.Errorf("left in the store: %s", p)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	for _, r := range b.plane.Requests(t, "system:serviceaccount:"+b.Namespace+":"+rbac.Source.Account()) {
		if r.Code == http.StatusForbidden {
			t.Errorf("forbidden: %+v", r)
		}
	}
}

// said is everything that people can read: objects, events, logs.
func (b *sourceBed) said(ctx context.Context, t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, ns := range append([]string{b.Namespace}, b.Tenants...) {
		for _, list := range []client.ObjectList{
			&sourcev1.GitRepositoryList{}, &sourcev1.OCIRepositoryList{}, &sourcev1.HelmChartList{}, &sourcev1.HelmRepositoryList{}, &sourcev1.BucketList{}, &corev1.EventList{},
		} {
			if err := b.Client.List(ctx, list, client.InNamespace(ns)); err != nil {
				t.Error(err)
			}
			out[fmt.Sprintf("%T in %s", list, ns)] = withoutSpec(list)
		}
	}
	logs, err := filepath.Glob(filepath.Join(b.Dir, "*.log"))
	if err != nil || len(logs) == 0 {
		t.Errorf("logs %q: %v", logs, err)
	}
	for _, name := range logs {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
		}
		out[name] = string(text)
	}
	return out
}

// withoutSpec renders statuses and events; what an owner writes into a spec is the owner's.
func withoutSpec(list client.ObjectList) string {
	var out strings.Builder
	switch list := list.(type) {
	case *sourcev1.GitRepositoryList:
		for _, item := range list.Items {
			fmt.Fprintf(&out, "%s %+v\n", item.Name, item.Status)
		}
	case *sourcev1.OCIRepositoryList:
		for _, item := range list.Items {
			fmt.Fprintf(&out, "%s %+v\n", item.Name, item.Status)
		}
	case *sourcev1.HelmRepositoryList:
		for _, item := range list.Items {
			fmt.Fprintf(&out, "%s %+v\n", item.Name, item.Status)
		}
	case *sourcev1.BucketList:
		for _, item := range list.Items {
			fmt.Fprintf(&out, "%s %+v\n", item.Name, item.Status)
		}
	case *sourcev1.HelmChartList:
		for _, item := range list.Items {
			fmt.Fprintf(&out, "%s %+v\n", item.Name, item.Status)
		}
	case *corev1.EventList:
		for _, item := range list.Items {
			fmt.Fprintf(&out, "%s %s %v\n", item.InvolvedObject.Name, item.Message, item.Annotations)
		}
	}
	return out.String()
}

// deleteAll deletes the sources of the platform and of its tenants, and waits until they are gone.
func (b *sourceBed) deleteAll(ctx context.Context, t *testing.T, list client.ObjectList) {
	t.Helper()
	mine := client.MatchingLabels{platform.ShardLabel: b.Namespace}
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		if err := b.Client.List(ctx, list, mine); err != nil {
			t.Error(err)
			return
		}
		if apimeta.LenList(list) == 0 {
			return
		}
		items, err := apimeta.ExtractList(list)
		if err != nil {
			t.Error(err)
			return
		}
		for _, item := range items {
			if obj := item.(client.Object); obj.GetDeletionTimestamp().IsZero() {
				if err := b.Client.Delete(ctx, obj); client.IgnoreNotFound(err) != nil {
					t.Error(err)
				}
			}
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Errorf("%d sources stay: %T", apimeta.LenList(list), list)
}
