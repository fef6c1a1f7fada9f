// SPDX-License-Identifier: Apache-2.0

package unwrap_test

import (
	"crypto/fips140"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice.dev/sluice/controllers/kustomize/decrypt/sops"
	"sluice.dev/sluice/controllers/kustomize/decrypt/unwrap"
	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/test/sopskeys"
)

const testdata = "../testdata"

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testdata, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func backend(t *testing.T) fips.Backend {
	t.Helper()
	b, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func transit(t *testing.T) *sopskeys.Transit {
	t.Helper()
	server, err := sopskeys.StartTransit()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() }) // the test is over
	return server
}

// rig is an opener with what it reported.
type rig struct {
	*unwrap.Opener

	refused, tolerated []fips.Refusal
}

// newRig returns an opener for a profile. Nil clouds are reached as in production.
func newRig(t *testing.T, profile fips.Profile, there *cloud.Client, entries map[string][]byte) *rig {
	t.Helper()
	r := &rig{}
	var err error
	r.Opener, err = unwrap.NewOpener(unwrap.Config{
		Policy: fips.Policy{
			Profile:     profile,
			OnRefusal:   func(refusal fips.Refusal) { r.refused = append(r.refused, refusal) },
			OnTolerated: func(refusal fips.Refusal) { r.tolerated = append(r.tolerated, refusal) },
		},
		Backend: backend(t), Clouds: reached(t, there), Client: unwrap.NewClient("test"), Now: func() time.Time { return time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC) },
	}, unwrap.NewCredentials(entries))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// reached returns what reaches the clouds.
func reached(t *testing.T, there *cloud.Client) *cloud.Client {
	t.Helper()
	if there == nil {
		var err error
		if there, err = cloud.New(cloud.Config{Digests: backend(t)}); err != nil {
			t.Fatal(err)
		}
	}
	return there
}

// parse reads a file, and opens it wrongly for nobody.
func parse(t *testing.T, f sops.Format, data []byte) *sops.File {
	t.Helper()
	file, err := sops.Parse(f, data)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// opens checks that a data key is the right one.
func (r *rig) opens(t *testing.T, file *sops.File) {
	t.Helper()
	key, err := r.DataKey(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Decrypt(key, backend(t)); err != nil {
		t.Error(err)
	}
}

// refuses checks that nothing opens a file, and that the message has all of the texts.
func (r *rig) refuses(t *testing.T, file *sops.File, texts ...string) error {
	t.Helper()
	_, err := r.DataKey(t.Context(), file)
	if err == nil {
		t.Fatal("it opened")
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("message %q lacks %q", err, text)
		}
	}
	for _, secret := range []string{sopskeys.Token, "AGE-SECRET-KEY", "4711"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("message %q has the secret %q", err, secret)
		}
	}
	return err
}

// secretKey is the data key of kube/secret.yaml.
func secretKey(t *testing.T) []byte {
	t.Helper()
	file := parse(t, sops.YAML, read(t, "kube/secret.yaml"))
	key, err := sopskeys.DataKey(file.Groups()[0][0].Encrypted, read(t, "alice.agekey"))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// notEnforced skips a test of age or OpenPGP where the module refuses their algorithms, as fips140=only makes it.
func notEnforced(t *testing.T) {
	t.Helper()
	if fips140.Enforced() {
		t.Skip("fips140=only refuses age and OpenPGP")
	}
}

// rewrapped is kube/secret.yaml with other keys.
func rewrapped(t *testing.T, entries ...sopskeys.Entry) *sops.File {
	t.Helper()
	data, err := sopskeys.Rewrap(read(t, "kube/secret.yaml"), entries...)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, sops.YAML, data)
}

// TestAge: age identities open files outside the strict profile alone (row K-17).
func TestAge(t *testing.T) {
	notEnforced(t)
	file := func() *sops.File { return parse(t, sops.YAML, read(t, "kube/secret.yaml")) }
	alice, bob := map[string][]byte{"alice.agekey": read(t, "alice.agekey")}, map[string][]byte{"b.agekey": read(t, "bob.agekey")}

	standard := newRig(t, fips.Standard, nil, alice)
	standard.opens(t, file())
	standard.opens(t, file())
	if len(standard.tolerated) != 1 || standard.tolerated[0].Feature != fips.Age {
		t.Errorf("reported %+v, want one use of age", standard.tolerated)
	}

	strict := newRig(t, fips.Strict, nil, alice)
	err := strict.refuses(t, file(), "age age1", "age is refused by the FIPS policy (age)", "encrypt with SOPS and a KMS or Vault key")
	if refusal, ok := errors.AsType[*fips.Refusal](err); !ok || refusal.Feature != fips.Age {
		t.Errorf("no typed refusal in %v", err)
	}
	if len(strict.refused) != 1 {
		t.Errorf("reported %+v, want one refusal", strict.refused)
	}

	newRig(t, fips.Standard, nil, bob).refuses(t, file(), "no identity in the .agekey entries")
	newRig(t, fips.Standard, nil, nil).refuses(t, file(), "has no entry *.agekey")
	newRig(t, fips.Standard, nil, map[string][]byte{"x.agekey": []byte("# a comment\n\nAGE-SECRET-KEY-1QQQQ\n")}).refuses(t, file(), "x.agekey, line 3")
	newRig(t, fips.Standard, nil, map[string][]byte{"x.agekey": []byte("password 4711")}).refuses(t, file(), "x.agekey, line 1: no age identity")
}

// TestAgeHybrid: refused in both profiles, since age tries for ever where the module refuses it.
func TestAgeHybrid(t *testing.T) {
	entry := sopskeys.Entry{Kind: "age", Fields: map[string]string{"recipient": "age1pq1" + strings.Repeat("q", 300), "enc": "x"}}
	for _, profile := range []fips.Profile{fips.Strict, fips.Standard} {
		r := newRig(t, profile, nil, map[string][]byte{"a.agekey": []byte("AGE-SECRET-KEY-PQ-1QQQQ")})
		r.refuses(t, rewrapped(t, entry), "post-quantum", "is refused by the FIPS policy (age-hybrid)")
	}
}

// TestPGP: OpenPGP keys open files outside the strict profile alone, and without a gpg.
func TestPGP(t *testing.T) {
	notEnforced(t)
	carol := map[string][]byte{"carol.asc": read(t, "carol.asc")}
	for name, format := range map[string]sops.Format{"enc/pgp.yaml": sops.YAML, "enc/pgp.env": sops.Dotenv, "enc/everybody.yaml": sops.YAML} {
		r := newRig(t, fips.Standard, nil, carol)
		r.opens(t, parse(t, format, read(t, name)))
		strict := newRig(t, fips.Strict, nil, carol)
		strict.refuses(t, parse(t, format, read(t, name)), "is refused by the FIPS policy (sops-pgp)")
	}
	file := parse(t, sops.YAML, read(t, "enc/pgp.yaml"))
	newRig(t, fips.Standard, nil, map[string][]byte{"x.asc": []byte("4711")}).refuses(t, file, "x.asc is no armored OpenPGP key")
	newRig(t, fips.Standard, nil, nil).refuses(t, file, "has no entry *.asc")
}

// TestShares: as many groups as the file asks for, whichever they are.
func TestShares(t *testing.T) {
	notEnforced(t)
	alice, bob, carol := read(t, "alice.agekey"), read(t, "bob.agekey"), read(t, "carol.asc")
	for name, entries := range map[string]map[string][]byte{
		"first and second": {"a.agekey": alice, "b.agekey": bob},
		"first and third":  {"a.agekey": alice, "c.asc": carol},
		"second and third": {"b.agekey": bob, "c.asc": carol},
		"all":              {"a.agekey": alice, "b.agekey": bob, "c.asc": carol},
	} {
		t.Run(name, func(t *testing.T) {
			newRig(t, fips.Standard, nil, entries).opens(t, parse(t, sops.YAML, read(t, "enc/shared.yaml")))
			newRig(t, fips.Standard, nil, entries).opens(t, parse(t, sops.Dotenv, read(t, "enc/shared.env")))
		})
	}
	newRig(t, fips.Standard, nil, map[string][]byte{"a.agekey": alice}).refuses(t, parse(t, sops.YAML, read(t, "enc/shared.yaml")), "1 of 3 key groups opened, 2 are needed")
}

// TestVault: the transit engine opens files in the strict profile.
func TestVault(t *testing.T) {
	server := transit(t)
	entry := server.Entry(secretKey(t))
	good := map[string][]byte{"sops.vault-token": []byte(sopskeys.Token + "\n"), "ca.crt": server.CA}
	with := func(name, value string) map[string][]byte {
		out := map[string][]byte{name: []byte(value)}
		for key, data := range good {
			if key != name {
				out[key] = data
			}
		}
		return out
	}
	changed := func(name, value string) sopskeys.Entry {
		fields := map[string]string{name: value}
		for key, text := range entry.Fields {
			if key != name {
				fields[key] = text
			}
		}
		return sopskeys.Entry{Kind: entry.Kind, Fields: fields}
	}

	r := newRig(t, fips.Strict, nil, good)
	r.opens(t, rewrapped(t, entry))
	r.opens(t, rewrapped(t, entry))
	if server.Requests() != 1 {
		t.Errorf("%d requests for one data key", server.Requests())
	}
	r = newRig(t, fips.Strict, nil, with("sops.vault-address", server.URL+"/"))
	r.opens(t, rewrapped(t, entry))

	for name, tc := range map[string]struct {
		entries map[string][]byte
		entry   sopskeys.Entry
		says    string
	}{
		"no token":        {nil, entry, "has no entry sops.vault-token"},
		"a wrong token":   {with("sops.vault-token", "s.wrong-4711"), entry, "answers 403 Forbidden: the credential is not valid"},
		"no authority":    {map[string][]byte{"sops.vault-token": good["sops.vault-token"]}, entry, "certificate"},
		"no certificate":  {with("ca.crt", "4711"), entry, "entry ca.crt"},
		"another address": {with("sops.vault-address", "https://vault.example"), entry, "the token is not sent there"},
		"plain http":      {good, changed("vault_address", "http://127.0.0.1:1"), "over https"},
		"no address":      {good, changed("vault_address", "https://user:4711@vault.example"), "no valid address"},
		"another key":     {good, changed("key_name", "other"), "answers 404 Not Found"},
		"a way out":       {good, changed("key_name", "../../sys/raw"), "no valid path"},
		"an engine out":   {good, changed("engine_path", "transit/../sys"), "no valid path"},
		"a damaged key":   {good, changed("enc", "vault:v1:AAAA4711"), "answers 400 Bad Request"},
		"another service": {good, changed("enc", ""), "answers 400 Bad Request"},
	} {
		t.Run(name, func(t *testing.T) {
			newRig(t, fips.Strict, nil, tc.entries).refuses(t, rewrapped(t, tc.entry), "hc_vault "+tc.entry.Fields["vault_address"][:4], tc.says)
		})
	}
}

// TestApprovedFirst: where a file has both, age is not even asked about.
func TestApprovedFirst(t *testing.T) {
	server := transit(t)
	original := parse(t, sops.YAML, read(t, "kube/secret.yaml")).Groups()[0][0]
	old := sopskeys.Entry{Kind: "age", Fields: map[string]string{"recipient": original.Fields["recipient"], "enc": original.Encrypted}}
	for _, profile := range []fips.Profile{fips.Strict, fips.Standard} {
		r := newRig(t, profile, nil, map[string][]byte{
			"alice.agekey": read(t, "alice.agekey"), "sops.vault-token": []byte(sopskeys.Token), "ca.crt": server.CA,
		})
		r.opens(t, rewrapped(t, old, server.Entry(secretKey(t))))
		if len(r.refused)+len(r.tolerated) > 0 {
			t.Errorf("%s: reported %+v %+v", profile, r.refused, r.tolerated)
		}
	}
}

func TestUnknownKinds(t *testing.T) {
	r := newRig(t, fips.Strict, nil, nil)
	r.refuses(t, rewrapped(t, sopskeys.Entry{Kind: "hckms", Fields: map[string]string{"key_id": "region:4e7a1"}}), "hckms region:4e7a1", "this kind of key is not supported")
	many := make([]sopskeys.Entry, 9)
	for i := range many {
		many[i] = sopskeys.Entry{Kind: "pgp", Fields: map[string]string{"fp": "F" + strings.Repeat("0", i), "enc": "x"}}
	}
	r.refuses(t, rewrapped(t, many...), "and 5 more keys")
}

func TestCredentials(t *testing.T) {
	data := map[string][]byte{"a.agekey": []byte("secret-4711"), "other": []byte("x"), "sops.vault-token": []byte("y")}
	creds := unwrap.NewCredentials(data)
	digest := func(c unwrap.Credentials) string {
		d, err := c.Digest(backend(t))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	before := digest(creds)
	data["other"] = []byte("changed")
	if digest(unwrap.NewCredentials(data)) != before {
		t.Error("an entry of others counts")
	}
	data["a.agekey"][0] = 'S'
	if digest(creds) != before {
		t.Error("the credentials share memory with the Secret")
	}
	if digest(unwrap.NewCredentials(data)) == before {
		t.Error("a changed key does not count")
	}
	if text := creds.String(); strings.Contains(text, "4711") || !strings.Contains(text, "a.agekey") {
		t.Errorf("String() = %q", text)
	}
}
