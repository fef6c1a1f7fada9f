// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"crypto"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/chart"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/test/charts"
)

// ringEntry is the entry of a Secret with a key ring.
const ringEntry = "release.asc"

// releaser signs charts.
type releaser struct {
	key  *openpgp.Entity
	ring []byte
}

func newReleaser(t *testing.T, o packet.Config) releaser {
	t.Helper()
	var r releaser
	var err error
	fips.Exempt(fips.OpenPGPFingerprint, func() {
		if r.key, err = openpgp.NewEntity("Release", "", "release@example.com", &o); err == nil {
			r.ring, err = charts.Armor(r.key)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r releaser) sign(t *testing.T, text string) (file []byte) {
	t.Helper()
	var err error
	fips.Exempt(fips.OpenPGPFingerprint, func() {
		file, err = charts.ClearSign(text, charts.Signing{Key: r.key, Hash: crypto.SHA512, At: time.Now()})
	})
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// provenance is the file that Helm would write of an archive.
func (r releaser) provenance(t *testing.T, name, version string, archive []byte) []byte {
	t.Helper()
	return r.sign(t, charts.Provenance(charts.Files(name, version)["Chart.yaml"], map[string][]byte{name + "-" + version + ".tgz": archive}))
}

func packed(t *testing.T, name, version string) []byte {
	t.Helper()
	archive, err := charts.Pack(name, charts.Files(name, version))
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

// signedChart puts version 1.0.0 of a chart and its provenance file into a repository of the open server.
func (b *sourceBed) signedChart(t *testing.T, repo, name string, by releaser) {
	t.Helper()
	archive := packed(t, name, "1.0.0")
	b.charts.open.AddArchive(repo, name, "1.0.0", archive)
	b.charts.open.SetFile(repo, name+"-1.0.0.tgz.prov", by.provenance(t, name, "1.0.0", archive))
}

// byRing asks for a provenance file by a key of a Secret.
func byRing(secret string) func(*sourcev1.HelmChartSpec) {
	return func(s *sourcev1.HelmChartSpec) {
		s.Verify = &sourcev1.HelmChartVerification{Provider: "helm-provenance", SecretRef: ref(secret)}
	}
}

// testProvenance verifies charts by their provenance files (S-95).
func testProvenance(t *testing.T, b *sourceBed) {
	by, other := newReleaser(t, packet.Config{RSABits: 2048}), newReleaser(t, packet.Config{RSABits: 2048})
	t.Run("of an index", func(t *testing.T) { t.Parallel(); indexProvenance(t, b, by, other) })
	t.Run("of a registry", func(t *testing.T) { t.Parallel(); registryProvenance(t, b, by, other) })
	t.Run("keys that change are noticed", func(t *testing.T) { t.Parallel(); provenanceKeys(t, b, by, other) })
	t.Run("verification that is asked for later", func(t *testing.T) { t.Parallel(); provenanceLater(t, b, by) })
	t.Run("where the chart comes from, as whom it is fetched", func(t *testing.T) { t.Parallel(); provenanceAccess(t, b, by) })
	t.Run("the example of the documentation", func(t *testing.T) { t.Parallel(); provenanceExample(t, b, by) })
}

// refusedChart is a chart whose verification fails.
func refusedChart(says ...string) *failure {
	return &failure{reason: "ChartVerificationError", condition: sourcev1.SourceVerifiedCondition, says: says}
}

// judged creates a chart and checks what comes of it: verified where nothing else is wanted.
func (b *sourceBed) judged(t *testing.T, obj *sourcev1.HelmChart, want *failure) {
	t.Helper()
	b.Create(t, obj)
	if want == nil {
		b.await(t, obj, verified("helm-provenance", ringEntry))
		return
	}
	b.await(t, obj, want.check)
	if err := condition(obj, meta.ReadyCondition, "False", want.reason); err != nil || obj.Status.Artifact != nil {
		t.Errorf("%v, artifact %+v", err, obj.Status.Artifact)
	}
}

func indexProvenance(t *testing.T, b *sourceBed, by, other releaser) {
	expired := newReleaser(t, packet.Config{RSABits: 2048, KeyLifetimeSecs: 60, Time: func() time.Time { return time.Now().Add(-time.Hour) }})
	server, repo := b.charts.open, b.name("signed")
	add := func(name string, archive, provenance []byte) {
		server.AddArchive(repo, name, "1.0.0", archive)
		if provenance != nil {
			server.SetFile(repo, name+"-1.0.0.tgz.prov", provenance)
		}
	}
	changed := charts.Files("tampered", "1.0.0")
	changed["values.yaml"] = "replicas: 99\n"
	tampered, err := charts.Pack("tampered", changed)
	if err != nil {
		t.Fatal(err)
	}
	several := packed(t, "several", "1.0.0")
	add("good", packed(t, "good", "1.0.0"), by.provenance(t, "good", "1.0.0", packed(t, "good", "1.0.0")))
	add("unsigned", packed(t, "unsigned", "1.0.0"), nil)
	add("tampered", tampered, by.provenance(t, "tampered", "1.0.0", packed(t, "tampered", "1.0.0")))
	add("former", packed(t, "former", "1.0.0"), by.provenance(t, "former", "0.9.0", packed(t, "former", "0.9.0")))
	add("foreign", packed(t, "foreign", "1.0.0"), other.provenance(t, "foreign", "1.0.0", packed(t, "foreign", "1.0.0")))
	add("late", packed(t, "late", "1.0.0"), expired.provenance(t, "late", "1.0.0", packed(t, "late", "1.0.0")))
	add("several", several, by.sign(t, charts.Provenance(charts.Files("several", "1.0.0")["Chart.yaml"], map[string][]byte{"several-1.0.0.tgz": several, "b.tgz": nil})))
	add("huge", packed(t, "huge", "1.0.0"), make([]byte, chart.MaxProvenance+1))
	from := b.helm(repo)
	b.Create(t, from)
	b.await(t, from, ready)
	ring, text, ssh := b.secret(t, map[string][]byte{ringEntry: by.ring, "expired.asc": expired.ring}), b.secret(t, map[string][]byte{ringEntry: []byte("no ring")}),
		b.secret(t, map[string][]byte{sshEntry: b.tenants.ssh.Authorized})
	for name, tc := range map[string]struct {
		chart, secret string
		want          *failure
	}{
		"good":                     {"good", ring, nil},
		"no provenance file":       {"unsigned", ring, refusedChart("unsigned-1.0.0.tgz.prov", "404")},
		"a chart that was changed": {"tampered", ring, refusedChart("about an archive with digest")},
		"another version's file":   {"former", ring, refusedChart("version '0.9.0'")},
		"a key not in the ring":    {"foreign", ring, refusedChart("whom no trusted key names")},
		"a key that is expired":    {"late", ring, refusedChart("not valid now")},
		"several files":            {"several", ring, refusedChart("b.tgz")},
		"a file that is too large": {"huge", ring, refusedChart("262144")},
		"a ring that is none":      {"good", text, refusedChart(ringEntry, "no OpenPGP public key")},
		"a Secret without rings":   {"good", ssh, &failure{reason: sourcev1.VerificationError, condition: sourcev1.SourceVerifiedCondition, says: []string{"gpg --armor --export"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b.judged(t, b.chart(from, tc.chart, byRing(tc.secret)), tc.want)
		})
	}
	t.Run("identities say nothing about it", func(t *testing.T) {
		t.Parallel()
		obj := b.chart(from, "good", byRing(ring))
		obj.Spec.Verify.MatchOIDCIdentity = []sourcev1.OIDCIdentityMatch{{Issuer: "a", Subject: "b"}}
		b.judged(t, obj, &failure{reason: "ChartVerificationError", stalled: true, says: []string{"spec.verify.matchOIDCIdentity"}})
	})
	t.Run("the statement tells it", func(t *testing.T) {
		t.Parallel()
		obj := b.chart(from, "good", byRing(ring))
		b.judged(t, obj, nil)
		_, file := b.get(t, server.URL+"/"+repo+"/good-1.0.0.tgz.prov")
		got := b.claim(t, obj).Statement
		want := verify.Statement{
			Subject: verify.Subject{Reference: server.URL + "/" + repo + "/good-1.0.0.tgz", Digest: obj.Status.Artifact.Digest},
			Method:  verify.HelmProvenance, Signer: ringEntry, Fingerprint: fmt.Sprintf("%X", by.key.PrimaryKey.Fingerprint),
			Evidence: fmt.Sprintf("sha256:%x", sha256.Sum256(file)), Trust: got.Trust, VerifiedAt: got.VerifiedAt,
		}
		if diff := cmp.Diff(want, got); diff != "" || got.Trust == "" || got.VerifiedAt.IsZero() {
			t.Errorf("statement (-want +got):\n%s", diff)
		}
	})
}

// pushSigned pushes a chart with layers for provenance files, as Helm does.
func pushSigned(t *testing.T, to *oci.Client, name, version string, files ...[]byte) {
	t.Helper()
	layers := []oci.Blob{{MediaType: chart.ArchiveLayer, Data: packed(t, name, version)}}
	for _, file := range files {
		layers = append(layers, oci.Blob{MediaType: chart.ProvenanceLayer, Data: file})
	}
	if _, err := to.Push(t.Context(), strings.ReplaceAll(version, "+", "_"), oci.Artifact{Layers: layers}); err != nil {
		t.Fatal(err)
	}
}

func registryProvenance(t *testing.T, b *sourceBed, by, other releaser) {
	folder := b.name("signed")
	from := b.helm("", func(s *sourcev1.HelmRepositorySpec) {
		s.Type, s.URL, s.Insecure = sourcev1.HelmRepositoryTypeOCI, b.plain.URL()+"/"+folder, true
	})
	b.Create(t, from)
	ring := b.secret(t, map[string][]byte{ringEntry: by.ring})
	of := func(r releaser, name, version string) []byte {
		return r.provenance(t, name, version, packed(t, name, version))
	}
	for name, tc := range map[string]struct {
		version string
		files   [][]byte
		want    *failure
	}{
		"good":      {"1.0.0", [][]byte{of(by, "good", "1.0.0")}, nil},
		"build":     {"1.0.0+7", [][]byte{of(by, "build", "1.0.0+7")}, nil},
		"unsigned":  {"1.0.0", nil, refusedChart("has 0 provenance files")},
		"twice":     {"1.0.0", [][]byte{of(by, "twice", "1.0.0"), of(by, "twice", "0.9.0")}, refusedChart("has 2 provenance files")},
		"former":    {"1.0.0", [][]byte{of(by, "former", "0.9.0")}, refusedChart("version '0.9.0'")},
		"different": {"1.0.0", [][]byte{by.provenance(t, "different", "1.0.0", []byte("x"))}, refusedChart("about an archive with digest")},
		"foreign":   {"1.0.0", [][]byte{of(other, "foreign", "1.0.0")}, refusedChart("whom no trusted key names")},
		"huge":      {"1.0.0", [][]byte{make([]byte, chart.MaxProvenance+1)}, refusedChart("provenance file")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := b.pusher(t, folder+"/"+name)
			pushSigned(t, to, name, tc.version, tc.files...)
			obj := b.chart(from, name, byRing(ring))
			b.judged(t, obj, tc.want)
			if tc.want != nil {
				return
			}
			if a := obj.Status.Artifact; a.Revision != tc.version || b.download(t, a)[name+"/Chart.yaml"] != charts.Files(name, tc.version)["Chart.yaml"] {
				t.Errorf("artifact %+v", a)
			}
			if got := b.claim(t, obj).Statement.Evidence; got != fmt.Sprintf("sha256:%x", sha256.Sum256(tc.files[0])) {
				t.Errorf("evidence %q", got)
			}
		})
	}
}

// provenanceKeys: another key is noticed without a new index, and what nobody vouches for is withdrawn (W32, S-59).
func provenanceKeys(t *testing.T, b *sourceBed, by, other releaser) {
	server, repo := b.charts.open, b.name("rotated")
	b.signedChart(t, repo, "app", by)
	from := b.helm(repo)
	b.Create(t, from)
	b.await(t, from, ready)
	secret := b.secret(t, map[string][]byte{ringEntry: by.ring})
	obj := b.chart(from, "app", byRing(secret))
	b.judged(t, obj, nil)
	before := *obj.Status.Artifact
	b.ask(t, obj) // a run without news asks nobody
	if n := server.Count(repo, "app-1.0.0.tgz.prov", http.StatusOK); n != 1 {
		t.Errorf("%d requests for the provenance file, want 1", n)
	}
	b.setSecret(t, secret, map[string][]byte{ringEntry: other.ring})
	b.ask(t, obj)
	b.await(t, obj, refusedChart("whom no trusted key names").check)
	b.withdrawn(t, obj, before)
	b.setSecret(t, secret, map[string][]byte{ringEntry: other.ring, "second.asc": by.ring})
	b.ask(t, obj)
	b.await(t, obj, verified("helm-provenance", "second.asc"))
	b.serves(t, obj, before)
	b.signedChart(t, repo, "app", other)
	b.setSecret(t, secret, map[string][]byte{ringEntry: other.ring})
	b.ask(t, obj)
	b.await(t, obj, verified("helm-provenance", ringEntry, fmt.Sprintf("%X", other.key.PrimaryKey.Fingerprint)))
}

// provenanceLater: a chart that was fetched without being verified does not stay when verification is asked for and fails.
func provenanceLater(t *testing.T, b *sourceBed, by releaser) {
	_, from := b.chartsOf(t, "1.0.0")
	obj := b.chart(from, "app")
	b.Create(t, obj)
	b.await(t, obj, ready)
	before := *obj.Status.Artifact
	b.change(t, obj, fmt.Sprintf(`{"verify":{"provider":"helm-provenance","secretRef":{"name":%q}}}`, b.secret(t, map[string][]byte{ringEntry: by.ring})))
	b.await(t, obj, refusedChart("404").check)
	b.withdrawn(t, obj, before)
}

// provenanceAccess: the provenance file is fetched as the chart is, with the repository's credentials and authority, and values files
// make another archive of a chart that stays verified.
func provenanceAccess(t *testing.T, b *sourceBed, by releaser) {
	server, repo := b.charts.basic, b.name("private")
	archive := packed(t, "app", "1.0.0")
	server.AddArchive(repo, "app", "1.0.0", archive)
	server.SetFile(repo, "app-1.0.0.tgz.prov", by.provenance(t, "app", "1.0.0", archive))
	from := b.helm(repo, func(s *sourcev1.HelmRepositorySpec) {
		s.URL = server.URL + "/" + repo
		s.CertSecretRef = ref(b.secret(t, map[string][]byte{"ca.crt": b.authority.CA}))
		s.SecretRef = ref(b.secret(t, map[string][]byte{"username": []byte(sourceUser), "password": []byte(sourcePassword)}))
	})
	b.Create(t, from)
	b.await(t, from, ready)
	obj := b.chart(from, "app", byRing(b.secret(t, map[string][]byte{ringEntry: by.ring})), func(s *sourcev1.HelmChartSpec) {
		s.ValuesFiles, s.IgnoreMissingValuesFiles = []string{"values.yaml", "more.yaml"}, true
	})
	b.judged(t, obj, nil)
	if got := obj.Status.Artifact.Revision; got != "1.0.0+1" {
		t.Errorf("revision %s", got)
	}
}

// provenanceExample applies what docs/charts.md shows, with the address of a real repository and the key of this test.
func provenanceExample(t *testing.T, b *sourceBed, by releaser) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "charts.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(text), "```yaml\n")
	example, _, closed := strings.Cut(after, "```")
	if !ok || !closed {
		t.Fatal("docs/charts.md has no example")
	}
	repo := b.name("example")
	archive := packed(t, "app", "1.4.2")
	b.charts.open.AddArchive(repo, "app", "1.4.2", archive)
	b.charts.open.SetFile(repo, "app-1.4.2.tgz.prov", by.provenance(t, "app", "1.4.2", archive))
	documents := strings.Split(strings.ReplaceAll(example, "https://charts.example.com/stable", b.charts.open.URL+"/"+repo), "\n---\n")
	if len(documents) != 3 {
		t.Fatalf("%d documents, want a Secret, a HelmRepository and a HelmChart", len(documents))
	}
	secret, from, obj := &corev1.Secret{}, &sourcev1.HelmRepository{}, &sourcev1.HelmChart{}
	for i, into := range []client.Object{secret, from, obj} {
		if err := yaml.UnmarshalStrict([]byte(documents[i]), into); err != nil {
			t.Fatalf("document %d: %v", i, err)
		}
		into.SetNamespace(b.ns)
	}
	for name := range secret.StringData {
		secret.StringData[name] = string(by.ring)
	}
	if err := b.Client.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	b.Create(t, from, obj)
	b.await(t, obj, verified("helm-provenance", "release.asc"))
}
