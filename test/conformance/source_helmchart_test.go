// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/test/charts"
)

// testHelmChart: S-90 to S-97.
func testHelmChart(t *testing.T, b *sourceBed) {
	t.Run("a chart is pulled as it is", func(t *testing.T) { t.Parallel(); chartPulled(t, b) })
	t.Run("versions", func(t *testing.T) { t.Parallel(); chartVersions(t, b) })
	t.Run("failures", func(t *testing.T) { t.Parallel(); testChartFailures(t, b) })
	t.Run("a source that is missing is waited for", func(t *testing.T) { t.Parallel(); chartWaits(t, b) })
	t.Run("a new index is noticed at once", func(t *testing.T) { t.Parallel(); chartFollows(t, b) })
	t.Run("values files are merged", func(t *testing.T) { t.Parallel(); chartValues(t, b) })
	t.Run("a run without news reads nothing", func(t *testing.T) { t.Parallel(); chartSilence(t, b) })
	t.Run("credentials stay at home", func(t *testing.T) { t.Parallel(); chartCredentials(t, b) })
	t.Run("an index leads a tenant nowhere else", func(t *testing.T) { t.Parallel(); chartElsewhere(t, b) })
}

// chart returns a HelmChart of a source in the platform's namespace.
func (b *sourceBed) chart(from source, name string, change ...func(*sourcev1.HelmChartSpec)) *sourcev1.HelmChart {
	kind := sourcev1.GitRepositoryKind
	switch from.(type) {
	case *sourcev1.HelmRepository:
		kind = sourcev1.HelmRepositoryKind
	case *sourcev1.Bucket:
		kind = sourcev1.BucketKind
	}
	obj := &sourcev1.HelmChart{
		ObjectMeta: metav1.ObjectMeta{Namespace: from.GetNamespace(), Name: b.name("chart")},
		Spec: sourcev1.HelmChartSpec{
			Chart: name, Interval: metav1.Duration{Duration: time.Hour},
			SourceRef: sourcev1.LocalHelmChartSourceReference{Kind: kind, Name: from.GetName()},
		},
	}
	for _, f := range change {
		f(&obj.Spec)
	}
	return obj
}

// chartOf makes a repository with one chart in some versions, and a HelmRepository of it that is ready.
func (b *sourceBed) chartsOf(t *testing.T, versions ...string) (repo string, from *sourcev1.HelmRepository) {
	t.Helper()
	repo = b.name("charts")
	for _, v := range versions {
		packChart(t, b.charts.open, repo, "app", v)
	}
	from = b.helm(repo)
	b.Create(t, from)
	b.await(t, from, ready)
	return repo, from
}

func chartPulled(t *testing.T, b *sourceBed) {
	repo, from := b.chartsOf(t, "1.0.0", "1.1.0")
	obj := b.chart(from, "app")
	b.Create(t, obj)
	b.await(t, obj, ready)
	_, want := b.get(t, b.charts.open.URL+"/"+repo+"/app-1.1.0.tgz")
	s := obj.Status
	for _, url := range []string{s.Artifact.URL, s.URL} {
		if code, body := b.get(t, url); code != http.StatusOK || !bytes.Equal(body, want) {
			t.Errorf("GET %s: %d, %d bytes, want %d", url, code, len(body), len(want))
		}
	}
	path := fmt.Sprintf("helmchart/%s/%s/app-1.1.0.tgz", obj.Namespace, obj.Name)
	if s.Artifact.Path != path || s.Artifact.Revision != "1.1.0" || s.ObservedChartName != "app" || !strings.HasSuffix(s.URL, "/latest.tar.gz") ||
		s.ObservedSourceArtifactRevision != from.Status.Artifact.Revision || len(s.ObservedValuesFiles) > 0 {
		t.Errorf("status %+v", s)
	}
	const says = "pulled 'app' chart with version '1.1.0'"
	for _, c := range []string{meta.ReadyCondition, sourcev1.ArtifactInStorageCondition} {
		if err := condition(obj, c, metav1.ConditionTrue, sourcev1.ChartPullSucceededReason); err != nil {
			t.Error(err)
		}
	}
	e := b.event(t, obj, "Normal", sourcev1.ChartPullSucceededReason, says)
	if e.Annotations["source.toolkit.fluxcd.io/revision"] != "1.1.0" || readyMessage(obj) != says {
		t.Errorf("event %v, ready %q", e.Annotations, readyMessage(obj))
	}
}

func chartVersions(t *testing.T, b *sourceBed) {
	_, from := b.chartsOf(t, "1.0.0", "1.1.0", "2.0.0-rc.1", "1.0.1+build.7")
	for versions, want := range map[string]string{"*": "1.1.0", "<1.1": "1.0.1+build.7", "1.0.0": "1.0.0", ">1.1.0-0": "2.0.0-rc.1"} {
		obj := b.chart(from, "app", func(s *sourcev1.HelmChartSpec) { s.Version = versions })
		b.Create(t, obj)
		b.await(t, obj, ready)
		if a := obj.Status.Artifact; a.Revision != want || !strings.HasSuffix(a.URL, "/app-"+want+".tgz") {
			t.Errorf("%q: %s at %s, want %s", versions, a.Revision, a.URL, want)
		}
	}
}

func testChartFailures(t *testing.T, b *sourceBed) {
	repo, server := b.name("bad"), b.charts.open
	packChart(t, server, repo, "sound", "1.0.0")
	archive := func(name string, entries []tar.Header, content func(tar.Header) []byte) {
		t.Helper()
		data, err := charts.PackEntries(entries, content)
		if err != nil {
			t.Fatal(err)
		}
		server.AddArchive(repo, name, "1.0.0", data)
	}
	add := func(name string, files map[string]string) {
		t.Helper()
		if _, err := server.Add(repo, name, "1.0.0", files); err != nil {
			t.Fatal(err)
		}
	}
	metadata := func(name string) (tar.Header, []byte) {
		text := charts.Files(name, "1.0.0")["Chart.yaml"]
		return tar.Header{Name: name + "/Chart.yaml", Typeflag: tar.TypeReg, Size: int64(len(text))}, []byte(text)
	}
	with := func(name string, more ...tar.Header) {
		first, text := metadata(name)
		archive(name, append([]tar.Header{first}, more...), func(h tar.Header) []byte {
			if h.Name == first.Name {
				return text
			}
			return make([]byte, h.Size)
		})
	}
	with("linked", tar.Header{Name: "linked/values.yaml", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"})
	with("leaving", tar.Header{Name: "leaving/../../values.yaml", Typeflag: tar.TypeReg, Size: 1})
	with("large-file", tar.Header{Name: "large-file/f", Typeflag: tar.TypeReg, Size: 5<<20 + 1})
	var bomb []tar.Header
	for i := range 25 {
		bomb = append(bomb, tar.Header{Name: fmt.Sprint("bomb/", i), Typeflag: tar.TypeReg, Size: 5 << 20})
	}
	with("bomb", bomb...)
	add("other", charts.Files("another", "1.0.0"))
	add("empty", map[string]string{"values.yaml": "a: b"})
	add("no-version", map[string]string{"Chart.yaml": "apiVersion: v2\nname: no-version\nversion: one\n"})
	server.AddArchive(repo, "text", "1.0.0", []byte("hello"))
	server.AddArchive(repo, "huge", "1.0.0", bytes.Repeat([]byte("x"), 10<<20+1))
	server.AddEntry(repo, "forged", "1.0.0", "sound-1.0.0.tgz", strings.Repeat("0", 64))
	server.AddEntry(repo, "nowhere", "1.0.0", "nowhere.tgz", "")
	server.AddEntry(repo, "by-file", "1.0.0", "file:///etc/passwd", "")
	from := b.helm(repo)
	b.Create(t, from)
	b.await(t, from, ready)
	pull := func(says ...string) failure {
		return failure{reason: "ChartPullError", condition: sourcev1.FetchFailedCondition, says: says}
	}
	reference := func(says ...string) failure {
		return failure{reason: "InvalidChartReference", condition: sourcev1.FetchFailedCondition, stalled: true, says: says}
	}
	for name, tc := range map[string]struct {
		chart  string
		change func(*sourcev1.HelmChartSpec)
		want   failure
	}{
		"no such chart":              {chart: "none", want: reference("invalid chart reference", `no chart "none"`)},
		"no such version":            {chart: "sound", change: func(s *sourcev1.HelmChartSpec) { s.Version = ">2" }, want: reference("no 'sound' chart with version matching '>2' found")},
		"no range":                   {chart: "sound", change: func(s *sourcev1.HelmChartSpec) { s.Version = "one" }, want: reference(`"one"`)},
		"no name":                    {chart: "../sound", want: reference("is not the name of a chart")},
		"a link":                     {chart: "linked", want: pull("neither a file nor a directory")},
		"a path that leads out":      {chart: "leaving", want: pull("no path below the chart's folder")},
		"a file that is too large":   {chart: "large-file", want: pull("5242880", "--helm-chart-file-max-size")},
		"a bomb":                     {chart: "bomb", want: pull("more than 104857600 bytes")},
		"another chart":              {chart: "other", want: pull("holds 'another' version '1.0.0'")},
		"no chart":                   {chart: "empty", want: pull("no Chart.yaml")},
		"no version":                 {chart: "no-version", want: pull("no semantic version")},
		"text":                       {chart: "text", want: pull("not compressed with gzip")},
		"an archive too large":       {chart: "huge", want: pull("larger than 10485760 bytes")},
		"other bytes than the index": {chart: "forged", want: pull("digest", "index says")},
		"nothing there":              {chart: "nowhere", want: pull("404")},
		"a file of ours":             {chart: "by-file", want: pull("neither http nor https")},
		"verification": {chart: "sound", change: func(s *sourcev1.HelmChartSpec) {
			s.Verify = &sourcev1.HelmChartVerification{Provider: "cosign"}
		}, want: failure{reason: meta.FeatureGateDisabledReason, stalled: true, says: []string{"spec.verify", "helm-provenance"}}},
		"values files that are missing": {chart: "sound", change: func(s *sourcev1.HelmChartSpec) { s.ValuesFiles = []string{"none.yaml"} }, want: failure{
			reason: "ValuesFilesError", condition: sourcev1.BuildFailedCondition, stalled: true, says: []string{"no values file found at path 'none.yaml'"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj := b.chart(from, tc.chart)
			if tc.change != nil {
				tc.change(&obj.Spec)
			}
			b.Create(t, obj)
			b.await(t, obj, tc.want.check)
			b.event(t, obj, "Warning", tc.want.reason, readyMessage(obj)[:20])
			if obj.Status.Artifact != nil {
				t.Errorf("artifact %+v", obj.Status.Artifact)
			}
		})
	}
}

// chartWaits: S-91. Nobody polls: the interval is an hour.
func chartWaits(t *testing.T, b *sourceBed) {
	repo := b.name("late")
	from := b.helm(repo)
	obj := b.chart(from, "app")
	b.Create(t, obj)
	waits := func(reason string) {
		t.Helper()
		b.await(t, obj, func(obj source) error {
			if err := condition(obj, sourcev1.FetchFailedCondition, metav1.ConditionTrue, reason); err != nil {
				return err
			}
			return condition(obj, meta.ReadyCondition, metav1.ConditionFalse, reason)
		})
	}
	waits("SourceUnavailable")
	b.Create(t, from)
	waits("NoSourceArtifact")
	packChart(t, b.charts.open, repo, "app", "1.0.0")
	b.ask(t, from)
	b.await(t, obj, ready)
}

func chartFollows(t *testing.T, b *sourceBed) {
	repo, from := b.chartsOf(t, "1.0.0")
	obj := b.chart(from, "app")
	b.Create(t, obj)
	b.await(t, obj, ready)
	first := *obj.Status.Artifact
	packChart(t, b.charts.open, repo, "unrelated", "1.0.0")
	b.ask(t, from)
	b.await(t, obj, func(obj source) error {
		if got := obj.(*sourcev1.HelmChart).Status.ObservedSourceArtifactRevision; got != from.Status.Artifact.Revision {
			return fmt.Errorf("observed %s, want %s", got, from.Status.Artifact.Revision)
		}
		return nil
	})
	if diff := cmp.Diff(first, *obj.Status.Artifact); diff != "" {
		t.Errorf("a new artifact of the same version (-want +got):\n%s", diff)
	}
	packChart(t, b.charts.open, repo, "app", "1.2.0")
	b.ask(t, from)
	b.await(t, obj, func(obj source) error {
		if got := obj.GetArtifact().Revision; got != "1.2.0" {
			return fmt.Errorf("revision %s", got)
		}
		return nil
	})
	if n := b.charts.open.Count(repo, "app-1.0.0.tgz", http.StatusOK); n != 1 {
		t.Errorf("version 1.0.0 was downloaded %d times", n)
	}
}

// chartValues: S-93.
func chartValues(t *testing.T, b *sourceBed) {
	repo := b.name("values")
	files := charts.Files("app", "1.0.0")
	maps.Copy(files, map[string]string{
		"values.yaml": "# ours\nreplicas: 1\nimage: {name: app, tag: a}\n", "prod.yaml": "image: {tag: b}\nextra: [1, 2]\n", "big.yaml": "replicas: 3\n",
		"Chart.yaml": "apiVersion: v2\nname: app\n# the version\nversion: 1.0.0 # now\nannotations: {x: y}\n",
	})
	if _, err := b.charts.open.Add(repo, "app", "1.0.0", files); err != nil {
		t.Fatal(err)
	}
	from := b.helm(repo)
	b.Create(t, from)
	obj := b.chart(from, "app", func(s *sourcev1.HelmChartSpec) {
		s.ValuesFiles, s.IgnoreMissingValuesFiles = []string{"values.yaml", "none.yaml", "prod.yaml", "./big.yaml"}, true
	})
	b.Create(t, obj)
	b.await(t, obj, ready)
	got := b.download(t, obj.Status.Artifact)
	if want := "extra:\n- 1\n- 2\nimage:\n  name: app\n  tag: b\nreplicas: 3\n"; got["app/values.yaml"] != want {
		t.Errorf("values %q", got["app/values.yaml"])
	}
	if obj.Status.Artifact.Revision != "1.0.0+1" || !strings.Contains(got["app/Chart.yaml"], "version: 1.0.0+1") || !strings.Contains(got["app/Chart.yaml"], "x: y") {
		t.Errorf("revision %s, %s", obj.Status.Artifact.Revision, got["app/Chart.yaml"])
	}
	if diff := cmp.Diff([]string{"values.yaml", "prod.yaml", "./big.yaml"}, obj.Status.ObservedValuesFiles); diff != "" {
		t.Errorf("observedValuesFiles (-want +got):\n%s", diff)
	}
	if got, want := readyMessage(obj), "packaged 'app' chart with version '1.0.0+1' and merged values files [values.yaml prod.yaml ./big.yaml]"; got != want {
		t.Errorf("ready %q, want %q", got, want)
	}
	if err := condition(obj, meta.ReadyCondition, metav1.ConditionTrue, sourcev1.ChartPackageSucceededReason); err != nil {
		t.Error(err)
	}
	b.change(t, obj, `{"valuesFiles":["values.yaml"]}`)
	b.await(t, obj, ready)
	if got := b.download(t, obj.Status.Artifact); obj.Status.Artifact.Revision != "1.0.0" || got["app/values.yaml"] != files["values.yaml"] {
		t.Errorf("with its own values alone: %s, %q", obj.Status.Artifact.Revision, got["app/values.yaml"])
	}
}

func chartSilence(t *testing.T, b *sourceBed) {
	repo, from := b.chartsOf(t, "1.0.0")
	obj := b.chart(from, "app", func(s *sourcev1.HelmChartSpec) { s.Interval = metav1.Duration{Duration: 100 * time.Millisecond} })
	b.Create(t, obj)
	b.await(t, obj, ready)
	asked := len(b.charts.open.Requests(repo))
	start := time.Now()
	b.quiet(t, obj, func() int { return int(time.Since(start) / (200 * time.Millisecond)) })
	if got := len(b.charts.open.Requests(repo)); got != asked {
		t.Errorf("%d requests, then %d", asked, got)
	}
}

// chartCredentials: S-81.
func chartCredentials(t *testing.T, b *sourceBed) {
	for name, tc := range map[string]struct{ pass, sent bool }{"by default": {}, "passed by wish": {pass: true, sent: true}} {
		t.Run(name, func(t *testing.T) {
			repo, away := b.name("home"), b.name("away")
			digest := packChart(t, b.charts.bare, away, "app", "1.0.0")
			b.charts.basic.AddEntry(repo, "app", "1.0.0", b.charts.bare.URL+"/"+away+"/app-1.0.0.tgz", strings.TrimPrefix(digest, "sha256:"))
			from := b.helm(repo, func(s *sourcev1.HelmRepositorySpec) {
				s.URL, s.PassCredentials = b.charts.basic.URL+"/"+repo, tc.pass
				s.CertSecretRef = ref(b.secret(t, map[string][]byte{"ca.crt": b.authority.CA}))
				s.SecretRef = ref(b.secret(t, map[string][]byte{"username": []byte(sourceUser), "password": []byte(sourcePassword)}))
			})
			obj := b.chart(from, "app")
			b.Create(t, from, obj)
			b.await(t, obj, ready)
			requests := b.charts.bare.Requests(away)
			if len(requests) != 1 || requests[0].Authorization != tc.sent {
				t.Errorf("%+v", requests)
			}
		})
	}
}

func chartElsewhere(t *testing.T, b *sourceBed) {
	repo := b.name("tempting")
	b.signedChart(t, repo, "home", b.tenants.charts)
	b.charts.open.AddEntry(repo, "away", "1.0.0", b.charts.bare.URL+"/x/away-1.0.0.tgz", "")
	b.charts.open.AddEntry(repo, "inside", "1.0.0", "http://169.254.169.254/latest/meta-data", "")
	from := b.helm(repo)
	from.Namespace = b.Tenants[0]
	b.Create(t, from)
	home := b.chart(from, "home", byRing("none"))
	b.Create(t, home)
	b.await(t, home, ready)
	for _, name := range []string{"away", "inside"} {
		obj := b.chart(from, name, byRing("none"))
		b.Create(t, obj)
		b.await(t, obj, failure{reason: "PolicyDenied", says: []string{"sluice-3"}}.check)
	}
}
