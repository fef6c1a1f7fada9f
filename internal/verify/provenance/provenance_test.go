// SPDX-License-Identifier: Apache-2.0

package provenance_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"sluice.dev/sluice/internal/chart"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/provenance"
	"sluice.dev/sluice/internal/verify/verifytest"
	"sluice.dev/sluice/test/charts"
)

// now is when everything here is checked; keys are made a day before, signatures an hour before.
func now() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

func hourAgo() time.Time { return now().Add(-time.Hour) }

// newKey makes a key and its ring.
func newKey(t *testing.T, o packet.Config) (entity *openpgp.Entity, ring verify.Key) {
	t.Helper()
	created := now().Add(-24 * time.Hour)
	o.Time = func() time.Time { return created }
	var err error
	fips.Exempt(fips.OpenPGPFingerprint, func() { entity, err = openpgp.NewEntity("Test", "", "test@example.com", &o) })
	if err != nil {
		t.Fatal(err)
	}
	return entity, ringOf(t, entity)
}

func ringOf(t *testing.T, entity *openpgp.Entity) verify.Key {
	t.Helper()
	armored, err := charts.Armor(entity)
	if err != nil {
		t.Fatal(err)
	}
	return verify.Key{Name: "release.asc", Data: armored}
}

// signed signs a text; change may make it a bad signature.
func signed(t *testing.T, key *openpgp.Entity, text string, change ...func(*charts.Signing)) []byte {
	t.Helper()
	s := charts.Signing{Key: key, Hash: crypto.SHA256, At: hourAgo()}
	for _, f := range change {
		f(&s)
	}
	var file []byte
	var err error
	fips.Exempt(fips.OpenPGPFingerprint, func() { file, err = charts.ClearSign(text, s) })
	if err != nil {
		t.Fatal(err)
	}
	return file
}

var archive = []byte("x") // stands for an archive: nobody here unpacks it

func digestOf(content []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(content)) }

// text is what Helm would sign of chart app 1.0.0.
func text() string {
	return charts.Provenance(charts.Files("app", "1.0.0")["Chart.yaml"], map[string][]byte{"app-1.0.0.tgz": archive})
}

// verifier looks for app 1.0.0, whose provenance file is the one given; without one there is none.
func verifier(t *testing.T, file []byte, profile fips.Policy) *provenance.Verifier {
	t.Helper()
	backend, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	v, err := provenance.New(provenance.Config{
		Name: "app", Version: "1.0.0", Digests: backend, FIPS: profile, Now: now,
		Find: func(_ context.Context, s verify.Subject) (string, []byte, error) {
			if file == nil || s.Digest != digestOf(archive) {
				return "", nil, fmt.Errorf("nothing beside it: %w", verify.ErrNotVerified)
			}
			return s.Digest, file, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func subject(content []byte) verify.Subject {
	return verify.Subject{Reference: "https://charts.example/app-1.0.0.tgz", Digest: digestOf(content)}
}

func TestContract(t *testing.T) {
	key, ring := newKey(t, packet.Config{RSABits: 2048})
	_, stranger := newKey(t, packet.Config{RSABits: 2048})
	verifytest.TestVerifier(t, verifytest.Case{
		Verifier: verifier(t, signed(t, key, text()), fips.Policy{}), Signed: subject(archive), Unsigned: subject([]byte("y")),
		Policy: verify.Policy{Keys: []verify.Key{ring}}, Stranger: verify.Policy{Keys: []verify.Key{stranger}},
		Method: verify.HelmProvenance, Signer: "release.asc",
	})
}

func TestProvenance(t *testing.T) {
	key, ring := newKey(t, packet.Config{RSABits: 2048})
	ec, ecRing := newKey(t, packet.Config{Algorithm: packet.PubKeyAlgoECDSA, Curve: packet.CurveNistP256})
	expired, expiredRing := newKey(t, packet.Config{RSABits: 2048, KeyLifetimeSecs: 23*3600 + 1800})
	revoked, _ := newKey(t, packet.Config{RSABits: 2048})
	byRevoked := signed(t, revoked, text())
	fips.Exempt(fips.OpenPGPFingerprint, func() {
		if err := revoked.Revoke(packet.KeyRetired, "", &packet.Config{Time: hourAgo}); err != nil {
			t.Fatal(err)
		}
	})
	good := signed(t, key, text())
	metadata, data := charts.Files("app", "1.0.0")["Chart.yaml"], map[string][]byte{"app-1.0.0.tgz": archive}
	and := func(more map[string][]byte) map[string][]byte { maps.Copy(more, data); return more }
	file := func(name string) []byte {
		t.Helper()
		content, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	gpg := verify.Key{Name: "gpg.asc", Data: file("gpg.asc")}
	for name, tc := range map[string]struct {
		file    []byte
		ring    verify.Key
		feature fips.Feature
		says    string // empty where it is good
	}{
		"RSA":                    {file: good, ring: ring},
		"ECDSA with SHA-512":     {file: signed(t, ec, text(), func(s *charts.Signing) { s.Hash = crypto.SHA512 }), ring: ecRing},
		"as gpg writes it":       {file: file("gpg.prov"), ring: gpg},
		"Windows line ends":      {file: bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")), ring: ring},
		"nothing":                {ring: ring, says: "nothing beside it"},
		"another key":            {file: good, ring: ecRing, says: "whom no trusted key names"},
		"SHA-1":                  {file: file("gpg-sha1.prov"), ring: gpg, feature: fips.PGPSHA1, says: "SHA-1"},
		"an expired key":         {file: signed(t, expired, text()), ring: expiredRing, says: "not valid now"},
		"a revoked key":          {file: byRevoked, ring: ringOf(t, revoked), says: "not valid now"},
		"another archive":        {file: signed(t, key, charts.Provenance(metadata, map[string][]byte{"app-1.0.0.tgz": []byte("y")})), ring: ring, says: "about an archive with digest"},
		"another version":        {file: signed(t, key, charts.Provenance(charts.Files("app", "0.9.0")["Chart.yaml"], data)), ring: ring, says: "version '0.9.0'"},
		"another chart":          {file: signed(t, key, charts.Provenance(charts.Files("other", "1.0.0")["Chart.yaml"], data)), ring: ring, says: "'other'"},
		"another file":           {file: signed(t, key, charts.Provenance(metadata, map[string][]byte{"app-2.0.0.tgz": archive})), ring: ring, says: "app-2.0.0.tgz"},
		"several files":          {file: signed(t, key, charts.Provenance(metadata, and(map[string][]byte{"b.tgz": nil}))), ring: ring, says: "not this one alone"},
		"no files":               {file: signed(t, key, metadata), ring: ring, says: "does not hold"},
		"a key twice":            {file: signed(t, key, text()+"  app-1.0.0.tgz: sha256:00\n"), ring: ring, says: "list of files"},
		"a list in a list":       {file: signed(t, key, text()+"---\nfiles: {}\n"), ring: ring, says: "more than one YAML document"},
		"a changed text":         {file: bytes.Replace(good, []byte("a chart of"), []byte("a Chart of"), 1), ring: ring, says: "does not hold"},
		"text before":            {file: append([]byte("files:\n"), good...), ring: ring, says: "does not begin"},
		"text after":             {file: append(bytes.Clone(good), "files:\n"...), ring: ring, says: "stands after"},
		"two messages":           {file: append(bytes.Clone(good), good...), ring: ring, says: "stands after"},
		"two signatures":         {file: signed(t, key, text(), func(s *charts.Signing) { s.Times = 2 }), ring: ring, says: "more than one"},
		"a document's signature": {file: signed(t, key, text(), func(s *charts.Signing) { s.Document = true }), ring: ring, says: "not over a text"},
		"a signature to come":    {file: signed(t, key, text(), func(s *charts.Signing) { s.At = now().Add(time.Hour) }), ring: ring, says: "does not hold"},
		"half a file":            {file: good[:len(good)/2], ring: ring, says: "no clear-signed"},
		"too large":              {file: append(bytes.Clone(good), bytes.Repeat([]byte("\n"), chart.MaxProvenance)...), ring: ring, says: "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := verifier(t, tc.file, fips.Policy{}).Verify(t.Context(), subject(archive), verify.Policy{Keys: []verify.Key{tc.ring}})
			if tc.says == "" {
				if err != nil || got.Signer != tc.ring.Name || got.Evidence != digestOf(tc.file) || len(got.Fingerprint) != 40 {
					t.Errorf("%+v %v", got, err)
				}
				return
			}
			if !errors.Is(err, verify.ErrNotVerified) || !strings.Contains(err.Error(), tc.says) || got != (verify.Statement{}) {
				t.Errorf("%+v %v, want an error that says %q", got, err, tc.says)
			}
			if refusal, ok := errors.AsType[*fips.Refusal](err); ok != (tc.feature != "") || ok && refusal.Feature != tc.feature {
				t.Errorf("%v: want feature %q", err, tc.feature)
			}
		})
	}
}

// TestEdDSA: the strict profile refuses what a library outside the module computes, the standard one reports it.
func TestEdDSA(t *testing.T) {
	key, ring := newKey(t, packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	file, policy := signed(t, key, text()), verify.Policy{Keys: []verify.Key{ring}}
	_, err := verifier(t, file, fips.Policy{}).Verify(t.Context(), subject(archive), policy)
	if refusal, ok := errors.AsType[*fips.Refusal](err); !ok || refusal.Feature != fips.PGPEd25519 || !errors.Is(err, verify.ErrNotVerified) {
		t.Errorf("strict: %v", err)
	}
	got, err := verifier(t, file, fips.Policy{Profile: fips.Standard}).Verify(t.Context(), subject(archive), policy)
	if err != nil || !got.Verified() {
		t.Errorf("standard: %+v %v", got, err)
	}
}

func FuzzProvenance(f *testing.F) {
	for _, name := range []string{"gpg.prov", "gpg-sha1.prov"} {
		file, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	ring, err := os.ReadFile(filepath.Join("testdata", "gpg.asc"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("-----BEGIN PGP SIGNED MESSAGE-----\n\n-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		_, err := verifier(t, file, fips.Policy{}).Verify(t.Context(), subject(archive), verify.Policy{Keys: []verify.Key{{Name: "gpg.asc", Data: ring}}})
		if err == nil && !bytes.Contains(file, []byte("app-1.0.0.tgz")) {
			t.Errorf("verified: %q", file)
		}
	})
}
