// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/charts"
	"sluice.dev/sluice/test/gitserver"
)

// testTreeChart: charts that lie in a GitRepository (S-90 to S-94).
func testTreeChart(t *testing.T, b *sourceBed) {
	t.Run("a folder is packed", func(t *testing.T) { t.Parallel(); treePacked(t, b) })
	t.Run("strategies", func(t *testing.T) { t.Parallel(); treeStrategies(t, b) })
	t.Run("dependencies", func(t *testing.T) { t.Parallel(); treeDependencies(t, b) })
	t.Run("dependencies in registries", func(t *testing.T) { t.Parallel(); treeRegistries(t, b) })
	t.Run("a chart goes with its repository", func(t *testing.T) { t.Parallel(); treeWithdrawn(t, b) })
	t.Run("failures", func(t *testing.T) { t.Parallel(); treeFailures(t, b) })
}

// below puts files below a folder.
func below(folder string, files map[string]string) map[string]string {
	out := map[string]string{}
	for name, content := range files {
		out[folder+"/"+name] = content
	}
	return out
}

func treePacked(t *testing.T, b *sourceBed) {
	files := below("charts/app", charts.Files("app", "1.0.0"))
	maps.Copy(files, map[string]string{
		"charts/app/.helmignore": "*.md\n/ci/\n", "charts/app/README.md": "no", "charts/app/ci/test.yaml": "no", "charts/app/templates/.hidden": "no",
		"charts/app/templates/NOTES.txt": "yes", "env/prod.yaml": "replicas: 5\n",
	})
	from := b.git(b.repo(t, files))
	b.Create(t, from)
	b.await(t, from, ready)
	obj := b.chart(from, "./charts/app")
	b.Create(t, obj)
	b.await(t, obj, ready)
	got := b.download(t, obj.Status.Artifact)
	want := below("app", charts.Files("app", "1.0.0"))
	want["app/.helmignore"], want["app/templates/NOTES.txt"] = files["charts/app/.helmignore"], "yes"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if got, want := readyMessage(obj), "packaged 'app' chart with version '1.0.0'"; got != want || obj.Status.ObservedSourceArtifactRevision != from.Status.Artifact.Revision {
		t.Errorf("ready %q, want %q; observed %s", got, want, obj.Status.ObservedSourceArtifactRevision)
	}
	b.change(t, obj, `{"valuesFiles":["charts/app/values.yaml","env/prod.yaml","env/none.yaml"],"ignoreMissingValuesFiles":true}`)
	b.await(t, obj, ready)
	if got := b.download(t, obj.Status.Artifact)["app/values.yaml"]; got != "name: app\nreplicas: 5\n" || obj.Status.Artifact.Revision != "1.0.0+2" {
		t.Errorf("values %q of %s", got, obj.Status.Artifact.Revision)
	}
	if diff := cmp.Diff([]string{"charts/app/values.yaml", "env/prod.yaml"}, obj.Status.ObservedValuesFiles); diff != "" {
		t.Errorf("observedValuesFiles (-want +got):\n%s", diff)
	}
}

// treeStrategies: S-92.
func treeStrategies(t *testing.T, b *sourceBed) {
	files := below("app", charts.Files("app", "1.0.0"))
	repo := b.repo(t, files)
	from := b.git(repo)
	b.Create(t, from)
	b.await(t, from, ready)
	byVersion := b.chart(from, "app")
	byRevision := b.chart(from, "app", func(s *sourcev1.HelmChartSpec) { s.ReconcileStrategy = sourcev1.ReconcileStrategyRevision })
	b.Create(t, byVersion, byRevision)
	b.await(t, byVersion, ready)
	b.await(t, byRevision, ready)
	first := *byVersion.Status.Artifact
	revision := func() string {
		hash := from.Status.Artifact.Revision
		return "1.0.0+" + hash[strings.LastIndex(hash, ":")+1:][:12]
	}
	if got := byRevision.Status.Artifact.Revision; got != revision() {
		t.Errorf("revision %s, want %s", got, revision())
	}
	files["app/templates/configmap.yaml"] += "# changed\n"
	commit(t, repo, files)
	b.ask(t, from)
	b.await(t, byRevision, func(obj source) error {
		if got := obj.GetArtifact().Revision; got != revision() {
			return fmt.Errorf("revision %s, want %s", got, revision())
		}
		return nil
	})
	b.await(t, byVersion, func(obj source) error {
		if got := obj.(*sourcev1.HelmChart).Status.ObservedSourceArtifactRevision; got != from.Status.Artifact.Revision {
			return fmt.Errorf("observed %s, want %s", got, from.Status.Artifact.Revision)
		}
		return nil
	})
	if diff := cmp.Diff(first, *byVersion.Status.Artifact); diff != "" {
		t.Errorf("the same version in another artifact (-want +got):\n%s", diff)
	}
}

// treeDependencies: S-94.
func treeDependencies(t *testing.T, b *sourceBed) {
	repo, open := b.name("secret"), b.name("open")
	packChart(t, b.charts.basic, repo, "redis", "7.1.0")
	packChart(t, b.charts.basic, repo, "redis", "7.2.0")
	packChart(t, b.charts.open, open, "nginx", "1.0.0")
	packChart(t, b.charts.open, open, "nginx", "1.5.0")
	helm := b.helm(repo, func(s *sourcev1.HelmRepositorySpec) {
		s.URL = b.charts.basic.URL + "/" + repo + "/"
		s.CertSecretRef = ref(b.secret(t, map[string][]byte{"ca.crt": b.authority.CA}))
		s.SecretRef = ref(b.secret(t, map[string][]byte{"username": []byte(sourceUser), "password": []byte(sourcePassword)}))
	})
	b.Create(t, helm)
	b.await(t, helm, ready)
	files := below("charts/lib", charts.Files("lib", "0.1.0"))
	maps.Copy(files, below("charts/app", charts.Files("app", "1.0.0")))
	maps.Copy(files, below("charts/app/charts/there", charts.Files("there", "1.0.0")))
	files["charts/app/Chart.yaml"] += fmt.Sprintf(`dependencies:
- {name: lib, version: 0.x, repository: file://../lib}
- {name: redis, version: ">=7", repository: %s/%s}
- {name: nginx, version: 1.x, repository: %s/%s}
- {name: there, version: 1.0.0, repository: "https://nowhere.example"}
`, b.charts.basic.URL, repo, b.charts.open.URL, open)
	files["charts/app/Chart.lock"] = fmt.Sprintf(`dependencies:
- {name: lib, version: 0.1.0, repository: file://../lib}
- {name: redis, version: 7.1.0, repository: %s/%s}
- {name: nginx, version: 1.0.0, repository: %s/%s}
- {name: there, version: 1.0.0, repository: "https://nowhere.example"}
`, b.charts.basic.URL, repo, b.charts.open.URL, open)
	from := b.git(b.repo(t, files))
	obj := b.chart(from, "charts/app")
	b.Create(t, from, obj)
	b.await(t, obj, ready)
	got := b.download(t, obj.Status.Artifact)
	for name, want := range below("app/charts/lib", charts.Files("lib", "0.1.0")) {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
	for file, server := range map[string]string{"redis-7.1.0.tgz": "", "nginx-1.0.0.tgz": b.charts.open.URL + "/" + open + "/nginx-1.0.0.tgz"} {
		archive, ok := got["app/charts/"+file]
		if !ok {
			t.Errorf("no %s, the lock file's version", file)
		}
		if server != "" {
			if code, body := b.get(t, server); code != http.StatusOK || !bytes.Equal(body, []byte(archive)) {
				t.Errorf("%s differs", file)
			}
		}
	}
}

// treeRegistries: dependencies from registries, one without credentials and one with those of a HelmRepository (S-94).
func treeRegistries(t *testing.T, b *sourceBed) {
	folder := b.name("registry")
	for _, v := range []string{"2.1.0", "3.0.0"} {
		pushChart(t, b.pusher(t, folder+"/mongo"), "mongo", v)
	}
	keychain, err := oci.ParseDockerConfig(b.basic.DockerConfig())
	if err != nil {
		t.Fatal(err)
	}
	closed := oci.Config{TLS: transport.TLS{CA: b.basic.CA()}, Keychain: keychain}
	pushChart(t, ociClient(t, b.basic.URL()+"/"+folder+"/kafka", closed), "kafka", "1.0.0+5")
	plain := b.helm("", func(s *sourcev1.HelmRepositorySpec) {
		s.Type, s.URL, s.Insecure = sourcev1.HelmRepositoryTypeOCI, b.plain.URL()+"/"+folder, true
	})
	private := b.helm("", func(s *sourcev1.HelmRepositorySpec) {
		s.Type, s.URL = sourcev1.HelmRepositoryTypeOCI, b.basic.URL()+"/"+folder+"/"
		s.SecretRef, s.CertSecretRef = ref(b.dockerSecret(t, b.basic.DockerConfig())), ref(b.secret(t, map[string][]byte{"ca.crt": b.basic.CA()}))
	})
	files := below("app", charts.Files("app", "1.0.0"))
	files["app/Chart.yaml"] += fmt.Sprintf("dependencies:\n- {name: mongo, version: 2.x, repository: %q}\n- {name: kafka, version: \"1.0.0+5\", repository: %q}\n",
		b.plain.URL()+"/"+folder, b.basic.URL()+"/"+folder)
	maps.Copy(files, below("lost", charts.Files("lost", "1.0.0")))
	files["lost/Chart.yaml"] += fmt.Sprintf("dependencies:\n- {name: mongo, version: \">9\", repository: %q}\n", b.plain.URL()+"/"+folder)
	maps.Copy(files, below("unnamed", charts.Files("unnamed", "1.0.0")))
	files["unnamed/Chart.yaml"] += fmt.Sprintf("dependencies:\n- {name: mongo, version: 2.x, repository: %q}\n", b.plain.URL()+"/"+b.name("elsewhere"))
	from := b.git(b.repo(t, files))
	obj, lost, unnamed := b.chart(from, "app"), b.chart(from, "lost"), b.chart(from, "unnamed")
	b.Create(t, plain, private, from, obj, lost, unnamed)
	b.await(t, obj, ready)
	got := b.download(t, obj.Status.Artifact)
	for name, want := range map[string][]byte{"mongo-2.1.0.tgz": packed(t, "mongo", "2.1.0"), "kafka-1.0.0+5.tgz": packed(t, "kafka", "1.0.0+5")} {
		if got["app/charts/"+name] != string(want) {
			t.Errorf("charts/%s: %d bytes, want the %d that were pushed", name, len(got["app/charts/"+name]), len(want))
		}
	}
	dependency := func(says ...string) failure {
		return failure{reason: "DependencyBuildError", condition: sourcev1.BuildFailedCondition, says: append(says, "dependency 'mongo'")}
	}
	b.await(t, lost, dependency(">9").check)
	b.await(t, unnamed, dependency().check) // nobody says that plain HTTP is meant
}

// treeWithdrawn: what is made of a repository that verifies no longer is served no longer, and comes back with it (W32).
func treeWithdrawn(t *testing.T, b *sourceBed) {
	keys := newSigners(t)
	trust, stranger := map[string][]byte{sshEntry: keys.ssh.Authorized}, map[string][]byte{sshEntry: keys.stranger.Authorized}
	repo := b.repo(t, nil)
	if _, err := repo.Commit(gitserver.CommitOptions{Files: below("app", charts.Files("app", "1.0.0")), Sign: gitserver.SSHSign(keys.ssh.Signer)}); err != nil {
		t.Fatal(err)
	}
	secret := b.secret(t, trust)
	from := b.git(repo, func(s *sourcev1.GitRepositorySpec) {
		s.Verification = &sourcev1.GitRepositoryVerification{Mode: "HEAD", SecretRef: *ref(secret)}
	})
	obj := b.chart(from, "app")
	b.Create(t, from, obj)
	b.await(t, obj, ready)
	before := *obj.Status.Artifact
	b.setSecret(t, secret, stranger)
	b.ask(t, from)
	b.await(t, obj, failure{reason: "NoSourceArtifact", condition: sourcev1.FetchFailedCondition}.check)
	b.await(t, obj, func(obj source) error {
		if obj.GetArtifact() != nil {
			return fmt.Errorf("still there: %+v", obj.GetArtifact())
		}
		return nil
	})
	b.withdrawn(t, obj, before)
	b.setSecret(t, secret, trust)
	b.ask(t, from)
	b.await(t, obj, ready)
	b.serves(t, obj, before)
}

func treeFailures(t *testing.T, b *sourceBed) {
	files := below("app", charts.Files("app", "1.0.0"))
	depends := func(folder, dependencies string) {
		maps.Copy(files, below(folder, charts.Files(folder, "1.0.0")))
		files[folder+"/Chart.yaml"] += "dependencies:\n" + dependencies
	}
	depends("lost", "- {name: x, version: 1.0.0, repository: file://../none}\n")
	depends("out", "- {name: x, version: 1.0.0, repository: file://../../../etc}\n")
	depends("old", "- {name: app, version: 2.x, repository: file://../app}\n")
	depends("self", "- {name: self, version: 1.x, repository: file://../self}\n")
	depends("alias", `- {name: x, version: 1.0.0, repository: "@stable"}`+"\n")
	depends("locked", "- {name: app, version: 1.x, repository: file://../app}\n")
	files["locked/Chart.lock"] = "dependencies: []\n"
	files["broken/Chart.yaml"] = "apiVersion: v2\nname: [\n"
	files["just/values.yaml"] = "a: b\n"
	from := b.git(b.repo(t, files))
	b.Create(t, from)
	b.await(t, from, ready)
	reference := func(says ...string) failure {
		return failure{reason: "InvalidChartReference", condition: sourcev1.FetchFailedCondition, stalled: true, says: says}
	}
	dependency := func(says ...string) failure {
		return failure{reason: "DependencyBuildError", condition: sourcev1.BuildFailedCondition, says: says}
	}
	for path, want := range map[string]failure{
		"none": reference("nothing at chart path"), "../app": reference("no path below the source"), "just": reference("has no Chart.yaml"),
		"broken": reference("Chart.yaml"), "lost": dependency("dependency 'x'", "nothing at chart path"), "out": dependency("no path below the source"),
		"old": dependency("which is not '2.x'"), "self": dependency("levels deep"), "alias": dependency("dependencies come from"),
		"locked": dependency("out of date"),
	} {
		t.Run(strings.ReplaceAll(path, "/", " "), func(t *testing.T) {
			t.Parallel()
			obj := b.chart(from, path)
			b.Create(t, obj)
			b.await(t, obj, want.check)
			if err := condition(obj, meta.ReadyCondition, metav1.ConditionFalse, want.reason); err != nil || obj.Status.Artifact != nil {
				t.Errorf("%v, artifact %+v", err, obj.Status.Artifact)
			}
		})
	}
}
