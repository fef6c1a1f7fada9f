// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/compliance/ledger"
	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/kubetest"
	"sluice.dev/sluice/test/charts"
	"sluice.dev/sluice/test/gitserver"
	"sluice.dev/sluice/test/objectstore"
	"sluice.dev/sluice/test/platform"
	"sluice.dev/sluice/test/registry"
	"sluice.dev/sluice/test/scene"
	"sluice.dev/sluice/test/smalldisk"
)

// diskBed is a platform whose controllers have a disk of a few MiB each.
type diskBed struct {
	*sourceBed
	store   *objectstore.Server
	buckets *objectstore.Front
	// source and kustomize are the disks of the controllers.
	source, kustomize *smalldisk.Disk
}

func newDiskBed(t *testing.T) *diskBed {
	t.Helper()
	b := &diskBed{sourceBed: &sourceBed{plane: kubetest.Start(t), root: t.TempDir(), asked: requestLog{seen: map[string][]string{}}}}
	var err error
	if b.gits.open, err = gitserver.NewHTTP(gitserver.HTTPOptions{Root: b.root}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.gits.open.Close() })
	if b.plain, err = registry.Start(registry.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.plain.Close() })
	if b.charts.open, err = charts.Start(charts.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.charts.open.Close() })
	b.store = objectstore.Start(t, objectstore.Options{})
	b.buckets = b.store.Front(t, objectstore.FrontOptions{})
	git := strings.TrimPrefix(b.gits.open.URL, "http://")
	plain := []string{git, b.plain.Host(), b.charts.open.Host(), b.buckets.Address}
	b.Platform = platform.Start(t, b.plane, platform.Options{
		// Nothing that was superseded goes: what a run removes makes room for what it writes.
		Tenants: 1, SourceFlags: []string{"--artifact-retention-ttl=1h", "--artifact-retention-records=1000"},
		Parameters: func(own string, tenants []string) string {
			return fmt.Sprintf("apiVersion: policy.sluice.dev/v1alpha1\nkind: PolicyParameters\nnamespaces:\n"+
				"  %s: {transport: {allowPlainHTTP: [%s]}}\n"+
				"  %s: {sources: [{url: \"http://%s/\"}], serviceAccounts: [deployer], verification: {required: false}, transport: {allowPlainHTTP: [%[4]s]}}\n",
				own, strings.Join(plain, ", "), tenants[0], git)
		},
	})
	b.ns = b.Namespace
	for _, c := range rbac.Controllers() {
		b.Kill(t, c)
	}
	b.source = smalldisk.Mount(t, b.StateDir(rbac.Source), 32<<20, 4000)
	b.kustomize = smalldisk.Mount(t, b.StateDir(rbac.Kustomize), 8<<20, 1000)
	for _, c := range rbac.Controllers() {
		b.Run(t, c)
	}
	return b
}

// growing is a source whose origin has something new whenever it is asked to.
type growing struct {
	obj source
	// grow gives the origin its nth content; that takes several pages where the kind can.
	grow func(t *testing.T, n int)
	// fails are the conditions, with their reasons, that tell of the disk.
	fails map[string]string
}

const storageFailed, archiveFailed = sourcev1.StorageOperationFailedCondition, sourcev1.ArchiveOperationFailedReason

// TestFullDisk runs each kind of source on a file system with room for one page, or one file, more than the last time, until that is
// enough for what is new: pack and mirror of Git, layers that are unpacked and copied, indexes, charts, objects of a bucket, and of each
// the content, its statement and the record (W22, W23). Each time the condition names the disk, the former artifact is served with
// the right bytes, nothing half-written is left, and with room again the source is Ready by itself.
func TestFullDisk(t *testing.T) {
	smalldisk.Run(t, func(t *testing.T) {
		b := newDiskBed(t)
		for name, start := range map[string]func(*testing.T, *diskBed) growing{
			"git": growingGit, "oci": growingOCI, "oci copy": growingOCICopy,
			"helm index": growingIndex, "helm chart": growingChart, "bucket": growingBucket,
		} {
			t.Run(name, func(t *testing.T) { b.fill(t, start(t, b)) })
		}
		t.Run("ledger", func(t *testing.T) { ledgerWithoutRoom(t, b) })
	})
}

// fill goes through all amounts of room that are not enough.
func (b *diskBed) fill(t *testing.T, g growing) {
	t.Cleanup(func() { b.source.Free(t) })
	g.grow(t, 0)
	b.Create(t, g.obj)
	platform.Wait(t, b.Platform, g.obj, scene.Ready[source])
	n := 0
	for name, leave := range smalldisk.Lacks() {
		for room := 0; ; room++ {
			n++
			if b.growWithout(t, g, n, func() { leave(b.source, t, room) }) {
				if room == 0 {
					t.Errorf("no %s are enough, so nothing has failed", name)
				}
				t.Logf("%d %s are enough", room, name)
				break
			}
			if room > 100 {
				t.Fatalf("%d %s are not enough: %s", room, name, readyMessage(g.obj))
			}
		}
	}
}

// growWithout lets an origin have new content while there is little room, and reports whether it was enough.
func (b *diskBed) growWithout(t *testing.T, g growing, n int, leave func()) bool {
	t.Helper()
	former := *g.obj.GetArtifact()
	leave()
	g.grow(t, n)
	token := b.name("full")
	b.annotate(t, g.obj, token)
	done := false
	platform.Wait(t, b.Platform, g.obj, func(obj source) error {
		if done = scene.Ready(obj) == nil && obj.GetArtifact().Digest != former.Digest; done {
			return nil
		}
		return g.failed(obj, token)
	})
	if !done {
		if a := g.obj.GetArtifact(); a == nil || a.Digest != former.Digest || a.URL != former.URL {
			t.Errorf("artifact %+v, was %+v", a, former)
		}
		b.served(t, former)
		if left := b.unfinished(t); len(left) > 0 {
			t.Errorf("%q: left is %q", readyMessage(g.obj), left)
		}
	}
	b.source.Free(t)
	platform.Wait(t, b.Platform, g.obj, func(obj source) error {
		if obj.GetArtifact().Digest == former.Digest {
			return fmt.Errorf("the artifact is the former one: %s", readyMessage(obj))
		}
		return scene.Ready(obj)
	})
	b.served(t, *g.obj.GetArtifact())
	return done
}

// failed returns nil once a run that was asked for has failed for want of room.
func (g growing) failed(obj source, token string) error {
	if got := handled(obj); got != token {
		return fmt.Errorf("handled %q, want %q", got, token)
	}
	ready := apimeta.FindStatusCondition(obj.GetConditions(), meta.ReadyCondition)
	if ready == nil || ready.Status != metav1.ConditionFalse || !strings.Contains(ready.Message, "no space left on device") {
		return fmt.Errorf("%s is %+v", meta.ReadyCondition, ready)
	}
	var said []string
	for kind, reason := range g.fails {
		c := apimeta.FindStatusCondition(obj.GetConditions(), kind)
		if c != nil && c.Status == metav1.ConditionTrue && c.Reason == reason && ready.Reason == reason {
			return nil
		}
		said = append(said, fmt.Sprintf("%s: %+v", kind, c))
	}
	return fmt.Errorf("ready is %s, and none of %q tells why", ready.Reason, said)
}

// served checks that an artifact is what its digest says.
func (b *diskBed) served(t *testing.T, a meta.Artifact) {
	t.Helper()
	code, body := b.get(t, a.URL)
	if got := fmt.Sprintf("sha256:%x", sha256.Sum256(body)); code != http.StatusOK || got != a.Digest {
		t.Errorf("GET %s: %d, %s, want %s", a.URL, code, got, a.Digest)
	}
}

// unfinished are the files that a run writes before it gives them their names.
func (b *diskBed) unfinished(t *testing.T) (left []string) {
	t.Helper()
	err := filepath.WalkDir(b.source.Dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // gone meanwhile
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(b.source.Dir, path)
		if d.Name() == "incoming" || d.Name() == "writing" || filepath.Base(filepath.Dir(path)) == "tmp" || strings.HasPrefix(name, "tmp/") {
			left = append(left, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// bulk is content of several pages that does not compress.
func bulk(n int) string { return smalldisk.Noise(uint64(n), 16<<10) }

func growingGit(t *testing.T, b *diskBed) growing {
	repo := b.repo(t, nil)
	return growing{
		obj: b.git(repo), fails: map[string]string{storageFailed: archiveFailed, sourcev1.FetchFailedCondition: sourcev1.GitOperationFailedReason},
		grow: func(t *testing.T, n int) { commit(t, repo, map[string]string{"file": bulk(n)}) },
	}
}

func growingOCI(t *testing.T, b *diskBed) growing {
	to := b.pusher(t, "unpacked")
	return growing{
		obj:   b.oci("unpacked", func(s *sourcev1.OCIRepositorySpec) { s.Reference = &sourcev1.OCIRepositoryRef{Tag: "v1"} }),
		fails: map[string]string{storageFailed: archiveFailed, sourcev1.FetchFailedCondition: sourcev1.OCILayerOperationFailedReason},
		grow:  func(t *testing.T, n int) { push(t, to, "v1", map[string]string{"file": bulk(n)}) },
	}
}

func growingOCICopy(t *testing.T, b *diskBed) growing {
	to := b.pusher(t, "copied")
	return growing{
		obj: b.oci("copied", func(s *sourcev1.OCIRepositorySpec) {
			s.Reference = &sourcev1.OCIRepositoryRef{Tag: "v1"}
			s.LayerSelector = &sourcev1.OCILayerSelector{Operation: sourcev1.OCILayerCopy}
		}),
		fails: map[string]string{storageFailed: archiveFailed},
		grow:  func(t *testing.T, n int) { push(t, to, "v1", map[string]string{"file": bulk(n)}) },
	}
}

func growingIndex(t *testing.T, b *diskBed) growing {
	repo := b.name("charts")
	return growing{
		obj: b.helm(repo), fails: map[string]string{storageFailed: archiveFailed},
		grow: func(t *testing.T, n int) { packChart(t, b.charts.open, repo, "app", fmt.Sprintf("1.0.%d", n)) },
	}
}

// growingChart has all its versions in the index from the start, and asks for another one.
func growingChart(t *testing.T, b *diskBed) growing {
	repo := b.name("charts")
	for n := range 200 {
		version := fmt.Sprintf("1.0.%d", n)
		files := charts.Files("app", version)
		files["files/bulk"] = bulk(n)
		if _, err := b.charts.open.Add(repo, "app", version, files); err != nil {
			t.Fatal(err)
		}
	}
	from := b.helm(repo)
	b.Create(t, from)
	platform.Wait(t, b.Platform, from, scene.Ready)
	obj := b.chart(from, "app", func(s *sourcev1.HelmChartSpec) { s.Version = "1.0.0" })
	return growing{
		obj: obj, fails: map[string]string{storageFailed: archiveFailed},
		grow: func(t *testing.T, n int) {
			if n > 0 {
				b.change(t, obj, fmt.Sprintf(`{"version":"1.0.%d"}`, n))
			}
		},
	}
}

func growingBucket(t *testing.T, b *diskBed) growing {
	obj := b.bucketAt(t, b.buckets, b.name("growing"))
	b.store.Make(t, obj.Name)
	return growing{
		obj: obj, fails: map[string]string{storageFailed: archiveFailed, sourcev1.FetchFailedCondition: sourcev1.BucketOperationFailedReason},
		grow: func(t *testing.T, n int) { b.store.Put(t, obj.Name, "file", bulk(n)) },
	}
}

// ledgerWithoutRoom: without room for what is intended nothing is written to the cluster, and it goes on where it was with room again.
// So many objects change that the intent takes pages of its own.
func ledgerWithoutRoom(t *testing.T, b *diskBed) {
	ns := b.Tenants[0]
	set := func(value string) map[string]string {
		var all []string
		for i := range 60 {
			all = append(all, scene.ConfigMap(fmt.Sprint("app-", i), "n", value))
		}
		return map[string]string{"app/cm.yaml": strings.Join(all, "---\n")}
	}
	repo := b.repo(t, set("first"))
	src := scene.GitRepository(ns, b.name("app"), b.gits.open.URL+"/"+repo.Name)
	ks := scene.Kustomization(ns, src.Name, sourcev1.GitRepositoryKind, src.Name, "./app")
	b.Create(t, src, ks)
	platform.Wait(t, b.Platform, ks, scene.Ready)
	holds := func(want string) error {
		for i := range 60 {
			cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: fmt.Sprint("app-", i)}}
			if err := b.Client.Get(t.Context(), client.ObjectKeyFromObject(cm), cm); err != nil {
				return err
			}
			if got := cm.Data["n"]; got != want {
				return fmt.Errorf("%s has %q, want %q", cm.Name, got, want)
			}
		}
		return nil
	}
	refused := func(obj *kustomizev1.Kustomization) error {
		if message := readyMessage(obj); strings.Contains(message, "nothing was written: the ledger did not take the intent") {
			return errors.New(message)
		}
		return nil
	}
	t.Cleanup(func() { b.kustomize.Free(t) })
	former, unwritten, done := "first", 0, false
	for room := 0; !done; room++ {
		if room > 50 {
			t.Fatalf("%d pages are not enough: %s", room, readyMessage(ks))
		}
		value := fmt.Sprint("value-", room)
		b.kustomize.LeavePages(t, room)
		id := commit(t, repo, set(value))
		b.annotate(t, src, id)
		platform.Wait(t, b.Platform, ks, func(obj *kustomizev1.Kustomization) error {
			if done = scene.At(id)(obj) == nil; done {
				return nil
			}
			ready := apimeta.FindStatusCondition(obj.GetConditions(), meta.ReadyCondition)
			if ready == nil || ready.Status != metav1.ConditionFalse || !strings.Contains(ready.Message, "no space left on device") {
				return fmt.Errorf("%s is %+v", meta.ReadyCondition, ready)
			}
			return nil
		})
		if refused(ks) != nil {
			unwritten++
			if holds(former) != nil { // then a retry has found room meanwhile, and will say what it wrote
				platform.Wait(t, b.Platform, ks, refused)
			}
		}
		b.kustomize.Free(t)
		platform.Wait(t, b.Platform, ks, scene.At(id))
		if err := holds(value); err != nil {
			t.Error(err)
		}
		former = value
	}
	if unwritten == 0 {
		t.Error("the ledger has never lacked room")
	}
	backend, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	report, err := ledger.VerifyDir(t.Context(), filepath.Join(b.StateDir(rbac.Kustomize), "ledger"), backend)
	if err != nil || report.Err() != nil {
		t.Errorf("the ledger: %+v, %v", report, errors.Join(err, report.Err()))
	}
}
