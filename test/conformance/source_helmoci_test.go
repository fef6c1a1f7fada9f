// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/test/charts"
	"sluice.dev/sluice/test/notary"
	"sluice.dev/sluice/test/registry/program"
)

// pushChart pushes a chart as Helm does, and returns the digest of its manifest.
func pushChart(t *testing.T, to *oci.Client, name, version string) string {
	t.Helper()
	archive, err := charts.Pack(name, charts.Files(name, version))
	if err != nil {
		t.Fatal(err)
	}
	digest, err := to.Push(t.Context(), strings.ReplaceAll(version, "+", "_"), oci.Artifact{Layers: []oci.Blob{
		{MediaType: "application/vnd.cncf.helm.chart.content.v1.tar+gzip", Data: archive},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// testRegistryChart: charts of a registry (S-82, S-90, S-95, S-51).
func testRegistryChart(t *testing.T, b *sourceBed) {
	folder := b.name("registry")
	to := b.pusher(t, folder+"/app")
	for _, v := range []string{"1.0.0", "1.1.0+build.5", "2.0.0-rc.1"} {
		pushChart(t, to, "app", v)
	}
	pushChart(t, b.pusher(t, folder+"/lying"), "another", "1.0.0")
	from := b.helm("", func(s *sourcev1.HelmRepositorySpec) {
		s.Type, s.URL, s.Insecure = sourcev1.HelmRepositoryTypeOCI, b.plain.URL()+"/"+folder, true
	})
	b.Create(t, from)
	for versions, want := range map[string]string{"*": "1.1.0+build.5", "1.0.0": "1.0.0", "1.1.0+build.5": "1.1.0+build.5", ">1.9-0": "2.0.0-rc.1"} {
		t.Run("version "+want+" for "+versions, func(t *testing.T) {
			t.Parallel()
			obj := b.chart(from, "app", func(s *sourcev1.HelmChartSpec) { s.Version = versions })
			b.Create(t, obj)
			b.await(t, obj, ready)
			a := obj.Status.Artifact
			if a.Revision != want || !strings.HasSuffix(a.Path, "/app-"+want+".tgz") || readyMessage(obj) != "pulled 'app' chart with version '"+want+"'" {
				t.Errorf("%s at %s: %s", a.Revision, a.Path, readyMessage(obj))
			}
			if got := b.download(t, a)["app/Chart.yaml"]; got != charts.Files("app", want)["Chart.yaml"] {
				t.Errorf("content %q", got)
			}
		})
	}
	key, other := newCosignKey(t), newCosignKey(t)
	keys := b.secret(t, map[string][]byte{cosignEntry: key.PublicPEM()})
	verify := func(s *sourcev1.HelmChartSpec) {
		s.Verify = &sourcev1.HelmChartVerification{Provider: "cosign", SecretRef: ref(keys)}
	}
	cosignBy(t, b.pusher(t, folder+"/signed"), pushChart(t, b.pusher(t, folder+"/signed"), "signed", "1.0.0"), key, sign.TagScheme)
	cosignBy(t, b.pusher(t, folder+"/foreign"), pushChart(t, b.pusher(t, folder+"/foreign"), "foreign", "1.0.0"), other, sign.TagScheme)
	t.Run("a signed chart", func(t *testing.T) {
		t.Parallel()
		obj := b.chart(from, "signed", verify)
		b.Create(t, obj)
		b.await(t, obj, verified("cosign-key", cosignEntry))
		url := obj.Status.Artifact.URL
		b.setSecret(t, keys, map[string][]byte{cosignEntry: other.PublicPEM()}) // a rotated key
		b.ask(t, obj)
		if err := condition(obj, sourcev1.SourceVerifiedCondition, metav1.ConditionFalse, sourcev1.VerificationError); err != nil && obj.Status.Artifact != nil {
			t.Error(err)
		}
		if code, _ := b.get(t, url); code != http.StatusNotFound || obj.Status.Artifact != nil {
			t.Errorf("what nobody vouches for is served: %d, %+v", code, obj.Status.Artifact)
		}
	})
	for _, p := range []program.Program{program.Olareg, program.Distribution} {
		t.Run("signed with Notation, at "+string(p), func(t *testing.T) { t.Parallel(); chartByNotation(t, b, "oci://"+b.programs[p]) })
	}
	for name, tc := range map[string]struct {
		chart  string
		change func(*sourcev1.HelmChartSpec)
		want   failure
	}{
		"unsigned": {"app", verify, failure{reason: "ChartVerificationError", condition: sourcev1.SourceVerifiedCondition}},
		"a signature by somebody": {"foreign", func(s *sourcev1.HelmChartSpec) {
			s.Verify = &sourcev1.HelmChartVerification{Provider: "cosign", SecretRef: ref(b.secret(t, map[string][]byte{cosignEntry: b.tenants.cosign.PublicPEM()}))}
		}, failure{reason: "ChartVerificationError", condition: sourcev1.SourceVerifiedCondition}},
		"no such version": {"app", func(s *sourcev1.HelmChartSpec) { s.Version = ">9" }, failure{reason: "ChartPullError", condition: sourcev1.FetchFailedCondition, says: []string{">9"}}},
		"no such chart":   {"none", nil, failure{reason: "ChartPullError", condition: sourcev1.FetchFailedCondition, says: []string{"/none"}}},
		"another chart":   {"lying", nil, failure{reason: "ChartPullError", condition: sourcev1.FetchFailedCondition, says: []string{"holds 'another'"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj := b.chart(from, tc.chart)
			if tc.change != nil {
				tc.change(&obj.Spec)
			}
			b.Create(t, obj)
			b.await(t, obj, tc.want.check)
			if err := condition(obj, meta.ReadyCondition, metav1.ConditionFalse, tc.want.reason); err != nil || obj.Status.Artifact != nil {
				t.Errorf("%v, artifact %+v", err, obj.Status.Artifact)
			}
		})
	}
}

// chartByNotation: a chart in a registry that others have written is verified by a trust policy of the Notary Project, before it is pulled, and
// withdrawn with the authority that vouched for it (S-58, S-95, W32).
func chartByNotation(t *testing.T, b *sourceBed, url string) {
	authority, err := notary.NewAuthority(notaryOrganization)
	if err != nil {
		t.Fatal(err)
	}
	other, err := notary.NewAuthority(notaryOrganization)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := authority.Issue(notaryOrganization, "release")
	if err != nil {
		t.Fatal(err)
	}
	trusting := func(of *notary.Authority) map[string][]byte {
		return map[string][]byte{"trustpolicy.json": notary.Policy("strict", notaryOrganization), "ca.crt": of.PEM()}
	}
	folder := b.name("team/charts")
	to := ociClient(t, url+"/"+folder+"/app", oci.Config{Insecure: true})
	digest := pushChart(t, to, "app", "1.0.0+7")
	from := b.helm("", func(s *sourcev1.HelmRepositorySpec) {
		s.Type, s.URL, s.Insecure = sourcev1.HelmRepositoryTypeOCI, url+"/"+folder, true
	})
	secret := b.secret(t, trusting(authority))
	obj := b.chart(from, "app", func(s *sourcev1.HelmChartSpec) {
		s.Verify = &sourcev1.HelmChartVerification{Provider: "notation", SecretRef: ref(secret)}
	})
	b.Create(t, from, obj)
	b.await(t, obj, refusedChart("no signature found").check)
	if err := signer.Sign(t.Context(), to, notary.COSE, digest); err != nil {
		t.Fatal(err)
	}
	b.ask(t, obj)
	b.await(t, obj, verified("notation by CN=release,O="+notaryOrganization))
	before := *obj.Status.Artifact
	if got := b.download(t, &before)["app/Chart.yaml"]; got != charts.Files("app", "1.0.0+7")["Chart.yaml"] || before.Revision != "1.0.0+7" {
		t.Errorf("%s: %q", before.Revision, got)
	}
	if got := b.claim(t, obj).Statement; got.Method != "notation" || got.Subject.Digest != digest {
		t.Errorf("statement %+v", got)
	}
	b.setSecret(t, secret, trusting(other))
	b.ask(t, obj)
	b.await(t, obj, refusedChart("no trusted authority").check)
	b.withdrawn(t, obj, before)
}
