// SPDX-License-Identifier: Apache-2.0

package attest_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/attest"
)

func backend(t *testing.T) fips.Backend {
	t.Helper()
	b, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newKey(t *testing.T) *sign.Key {
	t.Helper()
	private, _, err := sign.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := sign.LoadKey(t.Context(), backend(t), fips.KeyRef{PEM: private})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func trust(t *testing.T, keys ...*sign.Key) attest.TrustedKeys {
	t.Helper()
	var texts [][]byte
	for _, key := range keys {
		texts = append(texts, key.PublicPEM())
	}
	trusted, err := attest.NewTrustedKeys(backend(t), texts...)
	if err != nil {
		t.Fatal(err)
	}
	return trusted
}

func claim() verify.Claim {
	return verify.Claim{
		Digest: "sha256:" + strings.Repeat("ab", 32), Revision: "v1@sha256:" + strings.Repeat("cd", 32),
		Origin:    verify.Origin{Kind: "OCIRepository", Namespace: "team-a", Name: "app", UID: "0001", URL: "oci://r.example/app"},
		Statement: verify.Statement{Method: verify.CosignKey, Signer: "release.pub"},
		FetchedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Producer: "sluice-manager/test",
	}
}

func expectation(c verify.Claim) attest.Expectation {
	return attest.Expectation{Digest: c.Digest, Revision: c.Revision, Origin: c.Origin}
}

func seal(t *testing.T, key *sign.Key, c verify.Claim) []byte {
	t.Helper()
	envelope, err := attest.Seal(t.Context(), key, c)
	if err != nil {
		t.Fatal(err)
	}
	return envelope
}

func TestProve(t *testing.T) {
	old, current := newKey(t), newKey(t)
	for name, keys := range map[string]attest.TrustedKeys{
		"by the only key": trust(t, current), "while a key is being replaced": trust(t, old, current),
	} {
		t.Run(name, func(t *testing.T) {
			proof, err := attest.Prove(t.Context(), seal(t, current, claim()), keys, expectation(claim()))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(claim(), proof.Claim()); diff != "" {
				t.Errorf("claim (-want +got):\n%s", diff)
			}
			if !proof.Valid() || proof.KeyID() != current.Public().Fingerprint {
				t.Errorf("proof is valid %v by %q", proof.Valid(), proof.KeyID())
			}
		})
	}
}

func TestProveRefuses(t *testing.T) {
	key := newKey(t)
	sealed := seal(t, key, claim())
	// signed makes an envelope by the right key with any payload.
	signed := func(payloadType string, statement any) []byte {
		payload, err := json.Marshal(statement)
		if err != nil {
			t.Fatal(err)
		}
		e, err := sign.Seal(key, payloadType, payload)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return encoded
	}
	statement := func(change func(*sign.Statement)) sign.Statement {
		predicate, err := json.Marshal(claim())
		if err != nil {
			t.Fatal(err)
		}
		s := sign.Statement{
			Type: sign.StatementType, PredicateType: attest.PredicateType, Predicate: predicate,
			Subject: []sign.Resource{{Name: "OCIRepository/team-a/app", Digest: map[string]string{"sha256": strings.Repeat("ab", 32)}}},
		}
		change(&s)
		return s
	}
	if _, err := attest.Prove(t.Context(), signed(sign.PayloadInToto, statement(func(*sign.Statement) {})), trust(t, key), expectation(claim())); err != nil {
		t.Fatalf("the unchanged statement is refused: %v", err)
	}
	expect := func(change func(*attest.Expectation)) attest.Expectation {
		want := expectation(claim())
		change(&want)
		return want
	}
	tampered := []byte(strings.Replace(string(sealed), `"payload":"eyJ`, `"payload":"fyJ`, 1))
	same := expectation(claim())
	tests := map[string]struct {
		envelope []byte
		keys     attest.TrustedKeys
		want     attest.Expectation
	}{
		"no trusted key":                    {sealed, attest.TrustedKeys{}, same},
		"an empty list of keys":             {sealed, trust(t), same},
		"another key":                       {sealed, trust(t, newKey(t)), same},
		"no envelope":                       {nil, trust(t, key), same},
		"no JSON":                           {[]byte("}"), trust(t, key), same},
		"no signature":                      {[]byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[]}`), trust(t, key), same},
		"a tampered payload":                {tampered, trust(t, key), same},
		"an envelope without end":           {[]byte(strings.Repeat(" ", sign.MaxEnvelope+1)), trust(t, key), same},
		"another payload type":              {signed("application/json", statement(func(*sign.Statement) {})), trust(t, key), same},
		"another statement type":            {signed(sign.PayloadInToto, statement(func(s *sign.Statement) { s.Type = "x" })), trust(t, key), same},
		"another predicate":                 {signed(sign.PayloadInToto, statement(func(s *sign.Statement) { s.PredicateType = sign.CosignPredicate })), trust(t, key), same},
		"two subjects":                      {signed(sign.PayloadInToto, statement(func(s *sign.Statement) { s.Subject = append(s.Subject, s.Subject[0]) })), trust(t, key), same},
		"no subject":                        {signed(sign.PayloadInToto, statement(func(s *sign.Statement) { s.Subject = nil })), trust(t, key), same},
		"a subject with two digests":        {signed(sign.PayloadInToto, statement(func(s *sign.Statement) { s.Subject[0].Digest["sha512"] = "x" })), trust(t, key), same},
		"a subject that is not the claim's": {signed(sign.PayloadInToto, statement(func(s *sign.Statement) { s.Subject[0].Name = "OCIRepository/team-b/app" })), trust(t, key), same},
		"an unknown field":                  {signed(sign.PayloadInToto, statement(func(s *sign.Statement) { s.Predicate = json.RawMessage(`{"more":1}`) })), trust(t, key), same},
		"an empty claim":                    {signed(sign.PayloadInToto, statement(func(s *sign.Statement) { s.Predicate = json.RawMessage(`{}`) })), trust(t, key), same},
		"other bytes":                       {sealed, trust(t, key), expect(func(e *attest.Expectation) { e.Digest = "sha256:" + strings.Repeat("00", 32) })},
		"another revision":                  {sealed, trust(t, key), expect(func(e *attest.Expectation) { e.Revision = "v2" })},
		"another kind":                      {sealed, trust(t, key), expect(func(e *attest.Expectation) { e.Origin.Kind = "GitRepository" })},
		"another namespace":                 {sealed, trust(t, key), expect(func(e *attest.Expectation) { e.Origin.Namespace = "team-b" })},
		"another name":                      {sealed, trust(t, key), expect(func(e *attest.Expectation) { e.Origin.Name = "other" })},
		"an object made anew":               {sealed, trust(t, key), expect(func(e *attest.Expectation) { e.Origin.UID = "0002" })},
		"the empty expectation":             {sealed, trust(t, key), attest.Expectation{}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			proof, err := attest.Prove(t.Context(), tc.envelope, tc.keys, tc.want)
			if !errors.Is(err, verify.ErrNotVerified) {
				t.Errorf("Prove() error = %v, want ErrNotVerified", err)
			}
			if proof.Valid() {
				t.Error("the proof is valid")
			}
		})
	}
}

func TestSealRefuses(t *testing.T) {
	tests := map[string]func(*verify.Claim){
		"no digest":              func(c *verify.Claim) { c.Digest = "" },
		"a digest that is short": func(c *verify.Claim) { c.Digest = "sha256:ab" },
		"another digest":         func(c *verify.Claim) { c.Digest = "sha1:" + strings.Repeat("a", 40) },
		"no revision":            func(c *verify.Claim) { c.Revision = "" },
		"no uid":                 func(c *verify.Claim) { c.Origin.UID = "" },
		"no namespace":           func(c *verify.Claim) { c.Origin.Namespace = "" },
		"a slash in the name":    func(c *verify.Claim) { c.Origin.Name = "a/b" },
		"a text without end":     func(c *verify.Claim) { c.Revision = strings.Repeat("x", 5000) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			c := claim()
			change(&c)
			if _, err := attest.Seal(t.Context(), newKey(t), c); err == nil {
				t.Error("Seal() sealed it")
			}
		})
	}
	if _, err := attest.Seal(t.Context(), nil, claim()); err == nil {
		t.Error("Seal() sealed without a key")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := attest.Seal(ctx, newKey(t), claim()); !errors.Is(err, context.Canceled) {
		t.Errorf("Seal() error = %v", err)
	}
}

func TestLoadOrCreateKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "platform.key")
	b := backend(t)
	first, err := attest.LoadOrCreateKey(t.Context(), b, path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, %v, want 0600", info.Mode(), err)
	}
	if err := os.WriteFile(path+".pub", []byte("stale"), 0o600); err != nil {
		t.Fatal(err)
	}
	second, err := attest.LoadOrCreateKey(t.Context(), b, path)
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	if first.Public().Fingerprint != second.Public().Fingerprint || string(public) != string(first.PublicPEM()) {
		t.Error("the key was not kept")
	}
	trusted, err := attest.NewTrustedKeys(b, public)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := attest.Prove(t.Context(), seal(t, second, claim()), trusted, expectation(claim())); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 2 {
		t.Errorf("directory holds %v, %v, want the key and its public half", entries, err)
	}
}

func TestLoadOrCreateKeyTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "platform.key")
	b := backend(t)
	var group sync.WaitGroup
	ids := make([]string, 8)
	for i := range ids {
		group.Go(func() {
			key, err := attest.LoadOrCreateKey(context.WithoutCancel(t.Context()), b, path)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = key.Public().Fingerprint
		})
	}
	group.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("several keys were made: %v", ids)
		}
	}
}

func TestLoadOrCreateKeyRefuses(t *testing.T) {
	private, _, err := sign.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]func(t *testing.T, path string){
		"a key that others may write": func(t *testing.T, path string) {
			if err := errors.Join(os.WriteFile(path, private, 0o600), os.Chmod(path, 0o622)); err != nil {
				t.Fatal(err)
			}
		},
		"a directory": func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"something else": func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("s3cret"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "platform.key")
			prepare(t, path)
			_, err := attest.LoadOrCreateKey(t.Context(), backend(t), path)
			if err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error = %v", err)
			}
		})
	}
	if _, err := attest.LoadOrCreateKey(t.Context(), backend(t), filepath.Join(t.TempDir(), "no", "key")); err == nil {
		t.Error("a missing directory was made")
	}
}

func FuzzProve(f *testing.F) {
	b, err := fips.New()
	if err != nil {
		f.Fatal(err)
	}
	_, public, err := sign.GenerateKey()
	if err != nil {
		f.Fatal(err)
	}
	keys, err := attest.NewTrustedKeys(b, public)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"sig":"AA=="}]}`))
	f.Add([]byte(`{"signatures":null}`))
	f.Fuzz(func(t *testing.T, envelope []byte) {
		if proof, err := attest.Prove(t.Context(), envelope, keys, expectation(claim())); err == nil || proof.Valid() {
			t.Error("proven by nobody's signature")
		}
	})
}
