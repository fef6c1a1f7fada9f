// SPDX-License-Identifier: Apache-2.0

package gitsig_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/git"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/gitsig"
	"sluice.dev/sluice/test/gitserver"
)

// now is when everything here happens; keys are made a day before, objects carry the hour before.
func now() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func backend(t *testing.T) fips.Backend {
	t.Helper()
	return must[fips.Backend](t)(fips.New())
}

// pgpKey makes a key as the options say, a day before now, and its armored public half.
func pgpKey(t *testing.T, o packet.Config) (*openpgp.Entity, []byte) {
	t.Helper()
	created := now().Add(-24 * time.Hour)
	o.Time = func() time.Time { return created }
	var entity *openpgp.Entity
	var err error
	exempt(func() { entity, err = openpgp.NewEntity("Test", "", "test@example.com", &o) })
	if err != nil {
		t.Fatal(err)
	}
	return entity, armored(t, entity)
}

// exempt lets the library make keys under fips140=only, which is the test's business and not the product's.
func exempt(f func()) { fips.Exempt(fips.OpenPGPFingerprint, f) }

func armored(t *testing.T, entity *openpgp.Entity) []byte {
	t.Helper()
	var out bytes.Buffer
	w := must[io.WriteCloser](t)(armor.Encode(&out, openpgp.PublicKeyType, nil))
	if err := errors.Join(entity.Serialize(w), w.Close()); err != nil {
		t.Fatal(err)
	}
	out.WriteByte('\n')
	return out.Bytes()
}

// at is a signing configuration with a clock and a hash.
func at(when time.Time, hash crypto.Hash) *packet.Config {
	return &packet.Config{
		Time: func() time.Time { return when }, DefaultHash: hash, NonDeterministicSignaturesViaNotation: new(false),
		RejectHashAlgorithms: map[crypto.Hash]bool{}, RejectMessageHashAlgorithms: map[crypto.Hash]bool{},
	}
}

const commitID = "0123456789abcdef0123456789abcdef01234567"

// signed is a commit with a signature by sign.
func signed(t *testing.T, sign gitserver.SignFunc) gitsig.Object {
	t.Helper()
	payload := []byte("tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor A <a@b> 1 +0000\n\nmessage\n")
	object := gitsig.Object{ID: commitID, Payload: payload}
	if sign != nil {
		var err error
		exempt(func() { object.Signature, err = sign(payload) })
		if err != nil {
			t.Fatal(err)
		}
	}
	return object
}

// weak is a commit with a signature out of testdata.
func weak(t *testing.T, name string) gitsig.Object {
	t.Helper()
	return gitsig.Object{ID: commitID, Payload: []byte("x"), Signature: must[[]byte](t)(os.ReadFile(filepath.Join("testdata", name)))}
}

func weakKey(t *testing.T, name string) verify.Key {
	t.Helper()
	return verify.Key{Name: name, Data: must[[]byte](t)(os.ReadFile(filepath.Join("testdata", name)))}
}

// run verifies and returns what came of it.
func run(t *testing.T, c gitsig.Config, keys ...verify.Key) (verify.Statement, error) {
	t.Helper()
	c.Digests, c.Now, c.Subject = backend(t), now, "sha1:"+c.Commit.ID
	verifier, err := gitsig.New(c)
	if err != nil {
		return verify.Statement{}, err
	}
	return verifier.Verify(t.Context(), verify.Subject{Reference: "https://example.com/r", Digest: c.Subject}, verify.Policy{Keys: keys})
}

// wantRefused checks that err is a denial with the reason, and a *fips.Refusal of the feature where one is named.
func wantRefused(t *testing.T, err error, reason string, feature fips.Feature) {
	t.Helper()
	if !errors.Is(err, verify.ErrNotVerified) {
		t.Fatalf("%v does not wrap ErrNotVerified", err)
	}
	if got := fault.Of(err); got.Kind != fault.Denied || got.Reason != reason {
		t.Errorf("fault %v %q, want Denied %q", got.Kind, got.Reason, reason)
	}
	refusal, ok := errors.AsType[*fips.Refusal](err)
	if ok != (feature != "") || ok && refusal.Feature != feature {
		t.Errorf("%v: refusal %v, want feature %q", err, refusal, feature)
	}
}

func TestSSH(t *testing.T) {
	good := must[gitserver.SSHKey](t)(gitserver.NewSSHKey())
	other := must[gitserver.SSHKey](t)(gitserver.NewSSHKey())
	key := func(private any, err error) gitserver.SSHKey {
		t.Helper()
		return must[gitserver.SSHKey](t)(gitserver.SSHKeyFrom(must[any](t)(private, err)))
	}
	_, edPrivate, err := ed25519.GenerateKey(rand.Reader)
	ed := key(edPrivate, err)
	long := key(rsa.GenerateKey(rand.Reader, 2048))
	p521 := key(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	entry := func(name string, keys ...gitserver.SSHKey) verify.Key {
		data := []byte("# people who may sign\n")
		for _, k := range keys {
			data = append(data, k.Authorized...)
		}
		return verify.Key{Name: name, Data: data}
	}
	tampered := func(o gitsig.Object) gitsig.Object {
		o.Payload = append(bytes.Clone(o.Payload), '!')
		return o
	}
	suffixed := func(o gitsig.Object, text string) gitsig.Object {
		o.Signature = append(bytes.Clone(o.Signature), text...)
		return o
	}
	commit := signed(t, gitserver.SSHSign(good.Signer))
	tests := map[string]struct {
		commit     gitsig.Object
		keys       []verify.Key
		wantSigner string
		feature    fips.Feature
	}{
		"ecdsa":                           {commit: commit, keys: []verify.Key{entry("a.sshpub", good)}, wantSigner: "a.sshpub"},
		"ecdsa on P-521":                  {commit: signed(t, gitserver.SSHSign(p521.Signer)), keys: []verify.Key{entry("a.sshpub", p521)}, wantSigner: "a.sshpub"},
		"ed25519":                         {commit: signed(t, gitserver.SSHSign(ed.Signer)), keys: []verify.Key{entry("a.sshpub", ed)}, wantSigner: "a.sshpub"},
		"rsa":                             {commit: signed(t, gitserver.SSHSign(long.Signer)), keys: []verify.Key{entry("a.sshpub", long)}, wantSigner: "a.sshpub"},
		"the last line of the last entry": {commit: commit, keys: []verify.Key{entry("a.sshpub", other), entry("b.sshpub", other, good)}, wantSigner: "b.sshpub"},
		"a broken entry beside a good one": {
			commit: commit, keys: []verify.Key{{Name: "a.sshpub", Data: []byte("nonsense")}, entry("b.sshpub", good)}, wantSigner: "b.sshpub",
		},
		"another key":                  {commit: commit, keys: []verify.Key{entry("a.sshpub", other)}},
		"a key under an OpenPGP name":  {commit: commit, keys: []verify.Key{entry("a.asc", good)}},
		"a broken entry alone":         {commit: commit, keys: []verify.Key{{Name: "a.sshpub", Data: []byte("nonsense")}}},
		"no signature":                 {commit: signed(t, nil), keys: []verify.Key{entry("a.sshpub", good)}},
		"a changed commit":             {commit: tampered(commit), keys: []verify.Key{entry("a.sshpub", good)}},
		"a signature for files":        {commit: signed(t, gitserver.SSHSignNamespace(good.Signer, "file")), keys: []verify.Key{entry("a.sshpub", good)}},
		"a second signature":           {commit: suffixed(commit, string(commit.Signature)), keys: []verify.Key{entry("a.sshpub", good)}},
		"text after the armor":         {commit: suffixed(commit, "x"), keys: []verify.Key{entry("a.sshpub", good)}},
		"an armor of nothing":          {commit: gitsig.Object{ID: commitID, Signature: []byte("-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n")}, keys: []verify.Key{entry("a.sshpub", good)}},
		"an armor without end":         {commit: suffixed(gitsig.Object{ID: commitID}, "-----BEGIN SSH SIGNATURE-----\nAAAA"), keys: []verify.Key{entry("a.sshpub", good)}},
		"a huge signature":             {commit: suffixed(commit, strings.Repeat("\n", 70_000)), keys: []verify.Key{entry("a.sshpub", good)}},
		"an X.509 signature":           {commit: suffixed(gitsig.Object{ID: commitID}, "-----BEGIN SIGNED MESSAGE-----\n"), keys: []verify.Key{entry("a.sshpub", good)}},
		"an RSA key that is too short": {commit: weak(t, "ssh-rsa1024.sig"), keys: []verify.Key{weakKey(t, "ssh-rsa1024.sshpub")}, feature: fips.FeatureSignature},
		"a DSA key":                    {commit: weak(t, "ssh-dsa.sig"), keys: []verify.Key{weakKey(t, "ssh-dsa.sshpub")}, feature: fips.FeatureSignature},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := run(t, gitsig.Config{Commit: tc.commit}, tc.keys...)
			if tc.wantSigner == "" {
				wantRefused(t, err, gitsig.ReasonInvalidCommitSignature, tc.feature)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Method != verify.GitSSH || got.Signer != tc.wantSigner || !strings.HasPrefix(got.Fingerprint, "SHA256:") {
				t.Errorf("got %+v, want signer %q", got, tc.wantSigner)
			}
			if got.Subject.Digest != "sha1:"+commitID || !got.VerifiedAt.Equal(now()) || !got.Verified() {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestOpenPGP(t *testing.T) {
	hour := now().Add(-time.Hour)
	good, goodKey := pgpKey(t, packet.Config{RSABits: 2048})
	other, otherKey := pgpKey(t, packet.Config{Algorithm: packet.PubKeyAlgoECDSA, Curve: packet.CurveNistP384})
	subkeyed, _ := pgpKey(t, packet.Config{Algorithm: packet.PubKeyAlgoECDSA, Curve: packet.CurveNistP256})
	exempt(func() {
		if err := subkeyed.AddSigningSubkey(&packet.Config{
			Algorithm: packet.PubKeyAlgoECDSA, Curve: packet.CurveNistP256, Time: func() time.Time { return hour.Add(-time.Hour) },
		}); err != nil {
			t.Fatal(err)
		}
	})
	expired, expiredKey := pgpKey(t, packet.Config{RSABits: 2048, KeyLifetimeSecs: 23*3600 + 1800})
	revoked, _ := pgpKey(t, packet.Config{RSABits: 2048})
	commitByRevoked := signed(t, gitserver.PGPSign(revoked, at(hour, crypto.SHA256)))
	exempt(func() {
		if err := revoked.Revoke(packet.KeyRetired, "", &packet.Config{Time: func() time.Time { return hour.Add(time.Minute) }}); err != nil {
			t.Fatal(err)
		}
	})
	commit := signed(t, gitserver.PGPSign(good, at(hour, crypto.SHA256)))
	ring := func(name string, keys ...[]byte) verify.Key {
		return verify.Key{Name: name, Data: bytes.Join(keys, nil)}
	}
	changed := commit
	changed.Payload = append(bytes.Clone(commit.Payload), '!')
	doubled := commit
	doubled.Signature = append(bytes.Clone(commit.Signature), commit.Signature...)
	tests := map[string]struct {
		commit     gitsig.Object
		keys       []verify.Key
		wantSigner string
		wantPrint  []byte
		feature    fips.Feature
	}{
		"rsa":                  {commit: commit, keys: []verify.Key{ring("a.asc", goodKey)}, wantSigner: "a.asc", wantPrint: good.PrimaryKey.Fingerprint},
		"rsa with SHA-512":     {commit: signed(t, gitserver.PGPSign(good, at(hour, crypto.SHA512))), keys: []verify.Key{ring("a.asc", goodKey)}, wantSigner: "a.asc", wantPrint: good.PrimaryKey.Fingerprint},
		"ecdsa":                {commit: signed(t, gitserver.PGPSign(other, at(hour, crypto.SHA384))), keys: []verify.Key{ring("a.asc", otherKey)}, wantSigner: "a.asc", wantPrint: other.PrimaryKey.Fingerprint},
		"a signing subkey":     {commit: signed(t, gitserver.PGPSign(subkeyed, at(hour, crypto.SHA256))), keys: []verify.Key{ring("a.asc", armored(t, subkeyed))}, wantSigner: "a.asc", wantPrint: subkeyed.PrimaryKey.Fingerprint},
		"a name of no kind":    {commit: commit, keys: []verify.Key{ring("author", goodKey)}, wantSigner: "author", wantPrint: good.PrimaryKey.Fingerprint},
		"two blocks in one":    {commit: commit, keys: []verify.Key{ring("a.asc", otherKey, goodKey)}, wantSigner: "a.asc", wantPrint: good.PrimaryKey.Fingerprint},
		"a broken ring first":  {commit: commit, keys: []verify.Key{ring("a.asc", []byte("nonsense")), ring("b.asc", goodKey)}, wantSigner: "b.asc", wantPrint: good.PrimaryKey.Fingerprint},
		"another key":          {commit: commit, keys: []verify.Key{ring("a.asc", otherKey)}},
		"a changed commit":     {commit: changed, keys: []verify.Key{ring("a.asc", goodKey)}},
		"two signatures":       {commit: doubled, keys: []verify.Key{ring("a.asc", goodKey)}},
		"a broken ring alone":  {commit: commit, keys: []verify.Key{ring("a.asc", goodKey[:len(goodKey)/2])}},
		"an expired key":       {commit: signed(t, gitserver.PGPSign(expired, at(hour, crypto.SHA256))), keys: []verify.Key{ring("a.asc", expiredKey)}},
		"a revoked key":        {commit: commitByRevoked, keys: []verify.Key{ring("a.asc", armored(t, revoked))}},
		"a signature to come":  {commit: signed(t, gitserver.PGPSign(good, at(now().Add(time.Hour), crypto.SHA256))), keys: []verify.Key{ring("a.asc", goodKey)}},
		"a SHA-1 signature":    {commit: weak(t, "pgp-sha1.sig"), keys: []verify.Key{weakKey(t, "pgp-rsa1024.asc")}, feature: fips.PGPSHA1},
		"an armor of nothing":  {commit: gitsig.Object{ID: commitID, Signature: []byte("-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n")}, keys: []verify.Key{ring("a.asc", goodKey)}},
		"an armor without end": {commit: gitsig.Object{ID: commitID, Signature: commit.Signature[:60]}, keys: []verify.Key{ring("a.asc", goodKey)}},
		"a short RSA key":      {commit: weak(t, "pgp-rsa1024.sig"), keys: []verify.Key{weakKey(t, "pgp-rsa1024.asc")}, feature: fips.PGPShortRSA},
		"a DSA key":            {commit: weak(t, "pgp-dsa.sig"), keys: []verify.Key{weakKey(t, "pgp-dsa.asc")}, feature: fips.PGPDSA},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := run(t, gitsig.Config{Commit: tc.commit}, tc.keys...)
			if tc.wantSigner == "" {
				wantRefused(t, err, gitsig.ReasonInvalidCommitSignature, tc.feature)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("%X", tc.wantPrint)
			if got.Method != verify.GitOpenPGP || got.Signer != tc.wantSigner || got.Fingerprint != want {
				t.Errorf("got %+v, want signer %q with %s", got, tc.wantSigner, want)
			}
		})
	}
}

// TestOpenPGPEdDSA: the strict profile refuses what a library outside the module computes, the standard one reports it.
func TestOpenPGPEdDSA(t *testing.T) {
	entity, key := pgpKey(t, packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	commit := signed(t, gitserver.PGPSign(entity, at(now().Add(-time.Hour), crypto.SHA256)))
	_, err := run(t, gitsig.Config{Commit: commit}, verify.Key{Name: "a.asc", Data: key})
	wantRefused(t, err, gitsig.ReasonInvalidCommitSignature, fips.PGPEd25519)

	var reported []fips.Feature
	policy := fips.Policy{Profile: fips.Standard, OnTolerated: func(r fips.Refusal) { reported = append(reported, r.Feature) }}
	if _, err := run(t, gitsig.Config{Commit: commit, FIPS: policy}, verify.Key{Name: "a.asc", Data: key}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]fips.Feature{fips.PGPEd25519}, reported); diff != "" {
		t.Errorf("reported (-want +got):\n%s", diff)
	}
}

func TestModes(t *testing.T) {
	key := must[gitserver.SSHKey](t)(gitserver.NewSSHKey())
	other := must[gitserver.SSHKey](t)(gitserver.NewSSHKey())
	trusted := verify.Key{Name: "a.sshpub", Data: key.Authorized}
	unsigned, commit := signed(t, nil), signed(t, gitserver.SSHSign(key.Signer))
	tag := func(o gitsig.Object, name, target string) *gitsig.Tag {
		o.ID = "tag"
		return &gitsig.Tag{Object: o, Name: name, Target: target}
	}
	signedTag := tag(commit, "v1", commitID)
	tests := map[string]struct {
		config     gitsig.Config
		wantReason string
		wantKind   fault.Kind
	}{
		"the zero mode wants the commit signed": {config: gitsig.Config{Commit: commit}},
		"HEAD does not care for the tag":        {config: gitsig.Config{Mode: gitsig.HEAD, Commit: commit, RefName: "refs/heads/main"}},
		"Tag does not care for the commit":      {config: gitsig.Config{Mode: gitsig.TagOnly, Commit: unsigned, Tag: signedTag, RefName: "refs/tags/v1"}},
		"TagAndHEAD wants both":                 {config: gitsig.Config{Mode: gitsig.TagAndHEAD, Commit: commit, Tag: signedTag, RefName: "refs/tags/v1"}},
		"HEAD on an unsigned commit": {
			config:     gitsig.Config{Mode: gitsig.HEAD, Commit: unsigned, Tag: signedTag, RefName: "refs/tags/v1"},
			wantReason: gitsig.ReasonInvalidCommitSignature, wantKind: fault.Denied,
		},
		"TagAndHEAD on an unsigned commit": {
			config:     gitsig.Config{Mode: gitsig.TagAndHEAD, Commit: unsigned, Tag: signedTag, RefName: "refs/tags/v1"},
			wantReason: gitsig.ReasonInvalidCommitSignature, wantKind: fault.Denied,
		},
		"TagAndHEAD on an unsigned tag": {
			config:     gitsig.Config{Mode: gitsig.TagAndHEAD, Commit: commit, Tag: tag(unsigned, "v1", commitID), RefName: "refs/tags/v1"},
			wantReason: gitsig.ReasonInvalidObject, wantKind: fault.Denied,
		},
		"Tag on a lightweight tag": {
			config:     gitsig.Config{Mode: gitsig.TagOnly, Commit: commit, RefName: "refs/tags/v1"},
			wantReason: gitsig.ReasonInvalidObject, wantKind: fault.Denied,
		},
		"Tag on a tag of another commit": {
			config:     gitsig.Config{Mode: gitsig.TagOnly, Commit: commit, Tag: tag(commit, "v1", "other"), RefName: "refs/tags/v1"},
			wantReason: gitsig.ReasonInvalidObject, wantKind: fault.Denied,
		},
		"Tag on an old tag under a new name": {
			config:     gitsig.Config{Mode: gitsig.TagOnly, Commit: commit, Tag: signedTag, RefName: "refs/tags/v2"},
			wantReason: gitsig.ReasonInvalidObject, wantKind: fault.Denied,
		},
		"Tag signed by a stranger": {
			config: gitsig.Config{
				Mode: gitsig.TagOnly, Commit: commit, RefName: "refs/tags/v1",
				Tag: tag(signed(t, gitserver.SSHSign(other.Signer)), "v1", commitID),
			},
			wantReason: gitsig.ReasonInvalidTagSignature, wantKind: fault.Denied,
		},
		"Tag on a branch": {
			config:     gitsig.Config{Mode: gitsig.TagOnly, Commit: commit, RefName: "refs/heads/main"},
			wantReason: gitsig.ReasonInvalidMode, wantKind: fault.Invalid,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := run(t, tc.config, trusted)
			if tc.wantReason == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if got := fault.Of(err); got == nil || got.Reason != tc.wantReason || got.Kind != tc.wantKind {
				t.Fatalf("got %+v (%v), want %v %q", got, err, tc.wantKind, tc.wantReason)
			}
		})
	}
}

func TestParseMode(t *testing.T) {
	for in, want := range map[string]gitsig.Mode{
		"": gitsig.HEAD, "head": gitsig.HEAD, "HEAD": gitsig.HEAD, "Tag": gitsig.TagOnly, "TagAndHEAD": gitsig.TagAndHEAD,
	} {
		if got, err := gitsig.ParseMode(in); err != nil || got != want {
			t.Errorf("ParseMode(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	if _, err := gitsig.ParseMode("tag"); fault.Of(err) == nil || fault.Of(err).Kind != fault.Invalid {
		t.Errorf("ParseMode of an unknown mode: %v", err)
	}
}

func TestNothingIsTrustedByDefault(t *testing.T) {
	key := must[gitserver.SSHKey](t)(gitserver.NewSSHKey())
	commit := signed(t, gitserver.SSHSign(key.Signer))
	if _, err := run(t, gitsig.Config{Commit: commit}); !errors.Is(err, verify.ErrNoPolicy) {
		t.Errorf("an empty policy: %v", err)
	}
	verifier := must[*gitsig.Verifier](t)(gitsig.New(gitsig.Config{Commit: commit, Subject: "sha1:" + commitID, Digests: backend(t), Now: now}))
	for _, digest := range []string{"", "sha1:other", "sha256:" + commitID, commitID, ":" + commitID} {
		_, err := verifier.Verify(t.Context(), verify.Subject{Digest: digest}, verify.Policy{Keys: []verify.Key{{Name: "a.sshpub", Data: key.Authorized}}})
		if !errors.Is(err, verify.ErrNotVerified) {
			t.Errorf("subject %q: %v", digest, err)
		}
	}
	if _, err := gitsig.New(gitsig.Config{}); err == nil {
		t.Error("a verifier without a clock")
	}
}

func TestTrust(t *testing.T) {
	trust := func(keys ...verify.Key) string {
		return must[string](t)(verify.Trust(backend(t), verify.Policy{Keys: keys}))
	}
	a, b := verify.Key{Name: "a", Data: []byte("1")}, verify.Key{Name: "b", Data: []byte("2")}
	if trust(a, b) != trust(b, a) {
		t.Error("the order of keys changes the digest")
	}
	seen := map[string]bool{}
	for _, d := range []string{
		trust(), trust(a), trust(b), trust(a, b), trust(verify.Key{Name: "a", Data: []byte("2")}),
		trust(verify.Key{Name: "a1", Data: []byte("")}),
	} {
		if seen[d] || !strings.HasPrefix(d, "sha256:") {
			t.Errorf("digest %q is not its own", d)
		}
		seen[d] = true
	}
}

// TestThroughGit signs with the real programs, and reads what they made through a real server.
func TestThroughGit(t *testing.T) {
	home := t.TempDir()
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	sshKey := must[gitserver.SSHKey](t)(gitserver.NewSSHKey())
	keyFile := filepath.Join(home, "key")
	if err := errors.Join(os.WriteFile(keyFile, sshKey.Private, 0o600), os.WriteFile(keyFile+".pub", sshKey.Authorized, 0o600)); err != nil {
		t.Fatal(err)
	}
	environment := append(os.Environ(),
		"HOME="+home, "GNUPGHOME="+home, "GIT_CONFIG_NOSYSTEM=1", "GODEBUG=",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.com",
	)
	sh := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Env, cmd.Dir = environment, home
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	sh("gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", "A <a@example.com>", "rsa2048", "sign", "never")
	t.Cleanup(func() {
		cmd := exec.Command("gpgconf", "--kill", "gpg-agent")
		cmd.Env = environment
		_ = cmd.Run()
	})
	pgpPublic := sh("gpg", "--armor", "--export")
	server := must[*gitserver.HTTP](t)(gitserver.NewHTTP(gitserver.HTTPOptions{Root: home}))
	t.Cleanup(func() { _ = server.Close() })
	for _, format := range []string{"sha1", "sha256"} {
		work := filepath.Join(home, format)
		sh("git", "init", "--quiet", "--object-format="+format, "-b", "main", work)
		ssh := []string{"-C", work, "-c", "gpg.format=ssh", "-c", "user.signingkey=" + keyFile}
		sh("git", append(ssh, "commit", "--quiet", "--allow-empty", "-S", "-m", "by ssh")...)
		sh("git", append(ssh, "tag", "-s", "-m", "by ssh", "vssh")...)
		sh("git", "-C", work, "commit", "--quiet", "--allow-empty", "-Sa@example.com", "-m", "by gpg")
		sh("git", "-C", work, "tag", "-u", "a@example.com", "-m", "by gpg", "vpgp")
		remote := must[*git.Remote](t)(git.New(git.Config{URL: server.URL + "/" + format + "/.git"}))
		for ref, key := range map[string]verify.Key{
			"vssh": {Name: "a.sshpub", Data: sshKey.Authorized},
			"vpgp": {Name: "a.asc", Data: []byte(pgpPublic)},
		} {
			t.Run(format+"/"+ref, func(t *testing.T) { verifyTag(t, remote, ref, format, key) })
		}
	}
}

// verifyTag wants a tag and its commit to be signed by a key.
func verifyTag(t *testing.T, remote *git.Remote, ref, format string, key verify.Key) {
	head := must[git.Head](t)(remote.Resolve(t.Context(), git.Reference{Tag: ref}))
	c, content, err := remote.Fetch(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = content.Close() })
	verifier := must[*gitsig.Verifier](t)(gitsig.New(gitsig.Config{
		Mode: gitsig.TagAndHEAD, RefName: head.RefName, Digests: backend(t), Now: time.Now, Subject: c.Digest(),
		Commit: gitsig.Object{ID: c.Hash, Payload: c.Payload, Signature: c.Signature},
		Tag: &gitsig.Tag{
			Object: gitsig.Object{ID: c.Tag.Hash, Payload: c.Tag.Payload, Signature: c.Tag.Signature},
			Name:   c.Tag.Name, Target: c.Tag.Target,
		},
	}))
	got, err := verifier.Verify(t.Context(), verify.Subject{Digest: format + ":" + c.Hash}, verify.Policy{Keys: []verify.Key{key}})
	if err != nil {
		t.Fatal(err)
	}
	if got.Signer != key.Name {
		t.Errorf("got %+v", got)
	}
}
