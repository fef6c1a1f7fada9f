// SPDX-License-Identifier: Apache-2.0

package roles_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/charts"
	"sluice.dev/sluice/test/gitserver"
	"sluice.dev/sluice/test/platform"
	"sluice.dev/sluice/test/registry"
	"sluice.dev/sluice/test/scene"
)

// TestEachControllerUnderItsRole plays everything the controllers do, and judges their requests.
func TestEachControllerUnderItsRole(t *testing.T) {
	plane := kubetest.Start(t)
	s := setUp(t, plane)
	s.reconcile(t)
	s.rotate(t)
	s.prune(t)
	s.repeatEvents(t)
	s.disturb(t)
	s.suspend(t)
	s.restart(t)
	s.remove(t)
	for _, c := range rbac.Controllers() {
		if code := s.platform.Stop(t, c); code != 0 {
			t.Errorf("%s ends with %d", c.Account(), code)
		}
	}
	for _, c := range rbac.Controllers() {
		t.Run(c.Account(), func(t *testing.T) {
			checkRequests(t, s.platform, c, plane.Requests(t, "system:serviceaccount:"+s.platform.Namespace+":"+c.Account()))
			checkMinting(t, s.platform, c)
		})
	}
}

// Secrets of the tenant's sources; its roles name them one by one.
const (
	gitSecret      = "git"
	registrySecret = "registry"
	caSecret       = "registry-ca"
	chartsSecret   = "charts"
)

// play is a platform with one tenant, and what is reconciled there.
type play struct {
	platform *platform.Platform
	tenant   string
	git      *scene.Git
	repo     *gitserver.Repo
	registry *registry.Server
	charts   *charts.Server
	chartsCA []byte

	gits             *sourcev1.GitRepository
	ocis             *sourcev1.OCIRepository
	helms            *sourcev1.HelmRepository
	chart            *sourcev1.HelmChart
	platformGits     *sourcev1.GitRepository
	bucket           *sourcev1.Bucket
	base, app, infra *kustomizev1.Kustomization
	sealed           *kustomizev1.Kustomization
	files            map[string]string
	commits          int
}

func setUp(t *testing.T, plane *kubetest.Plane) *play {
	t.Helper()
	images, err := registry.Start(registry.Options{TLS: true, Username: scene.Username, Password: scene.Password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = images.Close() })
	s := &play{git: scene.NewSecureGit(t), registry: images, files: map[string]string{
		"base/kept.yaml":   scene.ConfigMap("kept", "value", "${from_map} ${from_secret}"),
		"base/pruned.yaml": scene.ConfigMap("pruned", "a", "b"),
		"infra/one.yaml":   scene.ConfigMap("of-the-platform", "a", "b"),
	}}
	s.serveCharts(t)
	s.platform = platform.Start(t, plane, platform.Options{
		Tenants: 1, VaultConfigMap: vaults, Parameters: s.git.Parameters(images.URL()+"/", s.charts.URL+"/"),
		Roles: func(ns string) rbac.Tenant {
			return rbac.Tenant{Namespace: ns, ServiceAccounts: []string{platform.Deployer}, SourceSecrets: []string{gitSecret, registrySecret, caSecret, chartsSecret}}
		},
		Flags: []string{
			"--enable-leader-election", "--leader-election-retry-period=200ms", "--leader-election-renew-deadline=5s", "--leader-election-lease-duration=10s",
		},
	})
	s.tenant = s.platform.Tenants[0]
	return s
}

// serveCharts serves a Helm repository with one chart.
func (s *play) serveCharts(t *testing.T) {
	t.Helper()
	authority, err := gitserver.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := authority.Issue("charts")
	if err != nil {
		t.Fatal(err)
	}
	s.chartsCA = authority.CA
	if s.charts, err = charts.Start(charts.Options{TLS: transport.ServerTLSOptions{Cert: cert, Key: key}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.charts.Close() })
	if _, err := s.charts.Add("stable", "app", "1.0.0", charts.Files("app", "1.0.0")); err != nil {
		t.Fatal(err)
	}
}

// reconcile brings sources of every kind, with Secrets, and Kustomizations of a tenant and of the platform to Ready.
func (s *play) reconcile(t *testing.T) {
	t.Helper()
	s.seal(t)
	var url string
	s.repo, url = s.git.Repository(t, "app", s.files)
	s.push(t, scene.ConfigMap("from-oci", "a", "b"))
	s.secrets(t)

	s.gits = scene.GitRepository(s.tenant, "app", url)
	s.gits.Spec.SecretRef = &meta.LocalObjectReference{Name: gitSecret}
	s.platformGits = scene.GitRepository(s.platform.Namespace, "infra", url)
	s.platformGits.Spec.SecretRef = &meta.LocalObjectReference{Name: gitSecret}
	s.ocis = &sourcev1.OCIRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.tenant, Name: "app"},
		Spec: sourcev1.OCIRepositorySpec{
			URL: s.registry.URL() + "/app", Interval: metav1.Duration{Duration: time.Hour}, Reference: &sourcev1.OCIRepositoryRef{Tag: "v1"},
			SecretRef: &meta.LocalObjectReference{Name: registrySecret}, CertSecretRef: &meta.LocalObjectReference{Name: caSecret},
		},
	}
	s.helms = &sourcev1.HelmRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.tenant, Name: "stable"},
		Spec: sourcev1.HelmRepositorySpec{
			URL: s.charts.URL + "/stable", Interval: metav1.Duration{Duration: time.Hour}, CertSecretRef: &meta.LocalObjectReference{Name: chartsSecret},
		},
	}
	s.bucket = &sourcev1.Bucket{ // that nobody serves: what it asks of the API server is the same
		ObjectMeta: metav1.ObjectMeta{Namespace: s.platform.Namespace, Name: "bucket"},
		Spec:       sourcev1.BucketSpec{BucketName: "bucket", Endpoint: sluggish(t), Interval: metav1.Duration{Duration: time.Hour}},
	}
	s.chart = &sourcev1.HelmChart{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.tenant, Name: "app"},
		Spec: sourcev1.HelmChartSpec{
			Chart: "app", Interval: metav1.Duration{Duration: time.Hour},
			SourceRef: sourcev1.LocalHelmChartSourceReference{Kind: sourcev1.HelmRepositoryKind, Name: "stable"},
		},
	}
	s.base = scene.Kustomization(s.tenant, "base", sourcev1.GitRepositoryKind, s.gits.Name, "./base")
	s.base.Spec.Wait = true
	s.base.Spec.PostBuild = &kustomizev1.PostBuild{SubstituteFrom: []kustomizev1.SubstituteReference{
		{Kind: "ConfigMap", Name: "variables"}, {Kind: "Secret", Name: "variables"},
	}}
	s.app = scene.Kustomization(s.tenant, "app", sourcev1.OCIRepositoryKind, s.ocis.Name, "./")
	s.app.Spec.DependsOn = []kustomizev1.DependencyReference{{Name: s.base.Name}}
	s.infra = scene.Kustomization(s.platform.Namespace, "infra", sourcev1.GitRepositoryKind, s.platformGits.Name, "./infra")
	s.infra.Spec.ServiceAccountName = "" // sluice-platform
	s.platform.Create(t, s.app, s.base, s.infra, s.sealed, s.ocis, s.chart, s.helms, s.bucket, s.gits, s.platformGits)
	for _, k := range []*kustomizev1.Kustomization{s.base, s.app, s.infra, s.sealed} {
		platform.Wait(t, s.platform, k, scene.Ready)
	}
	platform.Wait(t, s.platform, s.helms, scene.Ready)
	platform.Wait(t, s.platform, s.chart, scene.Ready)
	var kept corev1.ConfigMap
	if err := s.platform.Client.Get(t.Context(), client.ObjectKey{Namespace: s.tenant, Name: "kept"}, &kept); err != nil {
		t.Fatal(err)
	}
	if got, want := kept.Data["value"], "of-the-map of-the-secret"; got != want {
		t.Errorf("substituted %q, want %q", got, want)
	}
}

// sluggish is the address of a server that says nothing for a while, and then goes.
func sluggish(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			time.AfterFunc(100*time.Millisecond, func() { _ = conn.Close() })
		}
	}()
	return listener.Addr().String()
}

func (s *play) secrets(t *testing.T) {
	t.Helper()
	secret := func(namespace, name string, kind corev1.SecretType, data map[string]string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Type: kind, StringData: data}
	}
	git := map[string]string{"username": scene.Username, "password": scene.Password, "ca.crt": string(s.git.CA)}
	for _, obj := range []client.Object{
		secret(s.tenant, gitSecret, corev1.SecretTypeOpaque, git),
		secret(s.platform.Namespace, gitSecret, corev1.SecretTypeOpaque, git),
		secret(s.tenant, registrySecret, corev1.SecretTypeDockerConfigJson, map[string]string{corev1.DockerConfigJsonKey: string(s.registry.DockerConfig())}),
		secret(s.tenant, caSecret, corev1.SecretTypeOpaque, map[string]string{"ca.crt": string(s.registry.CA())}),
		secret(s.tenant, chartsSecret, corev1.SecretTypeOpaque, map[string]string{"ca.crt": string(s.chartsCA)}),
		secret(s.tenant, "variables", corev1.SecretTypeOpaque, map[string]string{"from_secret": "of-the-secret"}),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.tenant, Name: "variables"}, Data: map[string]string{"from_map": "of-the-map"}},
	} {
		if err := s.platform.Client.Create(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
}

// push makes a manifest the content of app:v1.
func (s *play) push(t *testing.T, manifest string) {
	t.Helper()
	repository, err := oci.ParseURL(s.registry.URL() + "/app")
	if err != nil {
		t.Fatal(err)
	}
	keychain, err := oci.ParseDockerConfig(s.registry.DockerConfig())
	if err != nil {
		t.Fatal(err)
	}
	c, err := oci.NewPool(oci.PoolConfig{}).Client(oci.Config{Repository: repository, Keychain: keychain, TLS: transport.TLS{CA: s.registry.CA()}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PushArtifact(t.Context(), "v1", tarball(t, "manifest.yaml", manifest), nil); err != nil {
		t.Fatal(err)
	}
}

func tarball(t *testing.T, name, content string) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	archive := tar.NewWriter(zip)
	if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// commit makes a commit that changes something, and waits until the tenant's Kustomization has it.
func (s *play) commit(t *testing.T) {
	t.Helper()
	s.commits++
	s.files["base/counter.yaml"] = scene.ConfigMap("counter", "n", fmt.Sprint("commit-", s.commits))
	id, err := s.repo.Commit(gitserver.CommitOptions{Files: s.files, Message: fmt.Sprint("commit ", s.commits)})
	if err != nil {
		t.Fatal(err)
	}
	s.patch(t, s.gits, scene.Request(id))
	platform.Wait(t, s.platform, s.base, scene.At(id))
}

func (s *play) patch(t *testing.T, obj client.Object, p client.Patch) {
	t.Helper()
	if err := s.platform.Client.Patch(t.Context(), obj.DeepCopyObject().(client.Object), p); err != nil {
		t.Fatal(err)
	}
}

// rotate changes a Secret that a Kustomization watches. No right of a controller's is needed for that: the tenant watches.
func (s *play) rotate(t *testing.T) {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.tenant, Name: "variables"}}
	s.patch(t, secret, client.RawPatch("application/merge-patch+json",
		[]byte(`{"metadata":{"labels":{"reconcile.fluxcd.io/watch":"Enabled"}},"stringData":{"from_secret":"rotated"}}`)))
	kept := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.tenant, Name: "kept"}}
	platform.Wait(t, s.platform, kept, func(cm *corev1.ConfigMap) error {
		if got, want := cm.Data["value"], "of-the-map rotated"; got != want {
			return fmt.Errorf("substituted %q, want %q", got, want)
		}
		return nil
	})
}

// prune takes an object out of the source.
func (s *play) prune(t *testing.T) {
	t.Helper()
	delete(s.files, "base/pruned.yaml")
	s.commit(t)
	s.gone(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.tenant, Name: "pruned"}})
}

// gone waits until an object is.
func (s *play) gone(t *testing.T, obj client.Object) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		if err := s.platform.Client.Get(t.Context(), client.ObjectKeyFromObject(obj), obj); apierrors.IsNotFound(err) {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("%T %s is still there\n%s", obj, client.ObjectKeyFromObject(obj), s.platform.Logs())
}

// repeatEvents makes so many events of one kind that they are counted up in one, which is a patch.
func (s *play) repeatEvents(t *testing.T) {
	t.Helper()
	for range 12 {
		s.commit(t)
	}
}

// disturb writes to the objects while their controllers do, so that these have to look at what is there now.
func (s *play) disturb(t *testing.T) {
	t.Helper()
	for _, obj := range []client.Object{s.gits, s.ocis, s.chart, s.helms, s.bucket, s.base} {
		for i := range 40 {
			s.patch(t, obj, scene.Request(fmt.Sprint("disturbance-", i)))
		}
	}
	for _, k := range []*kustomizev1.Kustomization{s.base, s.app, s.infra} {
		platform.Wait(t, s.platform, k, scene.Ready)
	}
}

func (s *play) suspend(t *testing.T) {
	t.Helper()
	for _, value := range []string{"true", "false"} {
		p := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"suspend":`+value+`}}`))
		for _, obj := range []client.Object{s.gits, s.ocis, s.chart, s.helms, s.bucket, s.base} {
			s.patch(t, obj, p)
		}
	}
	platform.Wait(t, s.platform, s.base, scene.Ready)
}

// restart ends both controllers as Kubernetes does and starts them again, this time as if the API server could not stream the
// initial content of a watch, as servers before 1.34 cannot: then it is listed.
func (s *play) restart(t *testing.T) {
	t.Helper()
	for _, c := range rbac.Controllers() {
		if code := s.platform.Stop(t, c); code != 0 {
			t.Errorf("%s ends with %d\n%s", c.Account(), code, s.platform.Logs())
		}
	}
	t.Setenv("KUBE_FEATURE_WatchListClient", "false")
	for _, c := range rbac.Controllers() {
		s.platform.Run(t, c)
	}
	s.commit(t)
}

// remove deletes everything, and what was applied goes with it.
func (s *play) remove(t *testing.T) {
	t.Helper()
	for _, obj := range []client.Object{s.app, s.base, s.infra, s.sealed, s.gits, s.ocis, s.chart, s.helms, s.bucket, s.platformGits} {
		if err := s.platform.Client.Delete(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
		s.gone(t, obj)
	}
	for name, namespace := range map[string]string{"kept": s.tenant, "counter": s.tenant, "from-oci": s.tenant, "of-the-platform": s.platform.Namespace} {
		s.gone(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}})
	}
	if log := s.platform.Logs(); strings.Contains(log, "forbidden") {
		t.Errorf("a controller was refused something:\n%s", log)
	}
}
