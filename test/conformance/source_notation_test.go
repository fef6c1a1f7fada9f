// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"crypto/elliptic"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/test/notary"
)

const notaryOrganization = "Example"

// testNotation verifies by trust policies of the Notary Project (S-58, S-59).
func testNotation(t *testing.T, b *sourceBed) {
	authority, err := notary.NewAuthority(notaryOrganization)
	if err != nil {
		t.Fatal(err)
	}
	other, err := notary.NewAuthority(notaryOrganization)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(t *testing.T, from *notary.Authority, changes ...func(*x509.Certificate)) *notary.Signer {
		t.Helper()
		signer, err := from.Issue(notaryOrganization, "release", changes...)
		if err != nil {
			t.Fatal(err)
		}
		return signer
	}
	signed := func(t *testing.T, signer *notary.Signer, kind string, changes ...notary.Change) string {
		t.Helper()
		repository := b.name("notation")
		to := b.pusher(t, repository)
		digest := push(t, to, "latest", map[string]string{"a.yaml": "a"})
		if signer == nil {
			return repository
		}
		if err := signer.Sign(t.Context(), to, kind, digest, changes...); err != nil {
			t.Fatal(err)
		}
		return repository
	}
	trusting := func(level string, of *notary.Authority) map[string][]byte {
		return map[string][]byte{"trustpolicy.json": notary.Policy(level, notaryOrganization), "ca.crt": of.PEM()}
	}
	verifying := func(t *testing.T, repository, secret string) *sourcev1.OCIRepository {
		t.Helper()
		obj := b.oci(repository, func(s *sourcev1.OCIRepositorySpec) {
			s.Verify = &sourcev1.OCIRepositoryVerification{Provider: "notation", SecretRef: ref(secret)}
		})
		b.Create(t, obj)
		return obj
	}
	refused := func(says ...string) failure {
		return failure{reason: sourcev1.VerificationError, condition: sourcev1.SourceVerifiedCondition, says: says}
	}
	expired := issue(t, authority, func(c *x509.Certificate) { c.OCSPServer = []string{"http://ocsp.example"} })
	for name, tc := range map[string]struct {
		signer *notary.Signer
		kind   string
		secret map[string][]byte
		want   *failure
	}{
		"strict, in JWS":      {signer: issue(t, authority), kind: notary.JWS, secret: trusting("strict", authority)},
		"strict, in COSE":     {signer: issue(t, authority), kind: notary.COSE, secret: trusting("strict", authority)},
		"permissive":          {signer: expired, kind: notary.JWS, secret: trusting("permissive", authority)},
		"unknown status":      {expired, notary.JWS, trusting("strict", authority), new(refused("*.crl"))},
		"nobody has signed":   {nil, "", trusting("permissive", authority), new(refused("no signature found"))},
		"another authority":   {issue(t, other), notary.JWS, trusting("permissive", authority), new(refused("no trusted authority"))},
		"level skip":          {issue(t, authority), notary.JWS, trusting("skip", authority), new(refused("lets unverified content pass"))},
		"no trust policy":     {issue(t, authority), notary.JWS, map[string][]byte{"ca.crt": authority.PEM()}, new(refused("trustpolicy.json"))},
		"no certificates":     {issue(t, authority), notary.JWS, map[string][]byte{"trustpolicy.json": notary.Policy("strict", "x")}, new(refused("*.crt"))},
		"half a trust policy": {issue(t, authority), notary.JWS, map[string][]byte{"trustpolicy.json": []byte("{"), "ca.crt": authority.PEM()}, new(refused("no valid trustpolicy.json"))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj := verifying(t, signed(t, tc.signer, tc.kind), b.secret(t, tc.secret))
			if tc.want != nil {
				b.await(t, obj, tc.want.check)
				if obj.Status.Artifact != nil {
					t.Errorf("artifact %+v", obj.Status.Artifact)
				}
				return
			}
			b.await(t, obj, ready)
			if err := condition(obj, sourcev1.SourceVerifiedCondition, metav1.ConditionTrue, "Succeeded"); err != nil {
				t.Error(err)
			}
			for _, c := range obj.Status.Conditions {
				if c.Type == sourcev1.SourceVerifiedCondition && !strings.Contains(c.Message, "notation by CN=release,O=Example") {
					t.Errorf("message %q", c.Message)
				}
			}
		})
	}
	t.Run("a timestamp outlives the certificate", func(t *testing.T) {
		t.Parallel()
		then := time.Now().Add(-2 * time.Hour)
		stamps, err := notary.NewTimestampAuthority(notaryOrganization, func() time.Time { return then }, elliptic.P256())
		if err != nil {
			t.Fatal(err)
		}
		signer := issue(t, authority, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = then.Add(-time.Hour), then.Add(time.Hour) })
		repository := signed(t, signer, notary.COSE, notary.SignedAt(then), stamps.Stamped)
		data := trusting("strict", authority)
		without := verifying(t, repository, b.secret(t, data))
		b.await(t, without, refused("is valid from").check)
		data["tsa.crt"], data["trustpolicy.json"] = stamps.PEM(), notary.Policy("strict", notaryOrganization, "tsa:any")
		b.await(t, verifying(t, repository, b.secret(t, data)), ready)
	})
	t.Run("a list that takes the certificate back is noticed", func(t *testing.T) {
		t.Parallel()
		signer := issue(t, authority)
		data := trusting("strict", authority)
		secret := b.secret(t, data)
		obj := verifying(t, signed(t, signer, notary.JWS), secret)
		b.await(t, obj, ready)
		if data["list.crl"], err = authority.Revoke(time.Now().Add(time.Hour), signer.Certificate); err != nil {
			t.Fatal(err)
		}
		b.setSecret(t, secret, data)
		b.annotate(t, obj, "again")
		b.await(t, obj, refused("is revoked").check)
	})
}
