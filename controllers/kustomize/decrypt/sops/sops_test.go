// SPDX-License-Identifier: Apache-2.0

package sops_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/controllers/kustomize/decrypt/sops"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/test/sopskeys"
)

// testdata is made by SOPS itself; see vectors.sh there.
const testdata = "../testdata"

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testdata, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func backend(t testing.TB) fips.Backend {
	t.Helper()
	b, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// dataKey opens a file with the identities of the test.
func dataKey(t testing.TB, f *sops.File) []byte {
	t.Helper()
	var shares [][]byte
	for _, group := range f.Groups() {
		for _, key := range group {
			if share := openAge(t, key); share != nil {
				shares = append(shares, share)
				break
			}
		}
	}
	if len(f.Groups()) == 1 {
		return shares[0]
	}
	key, err := sops.Combine(shares[:f.Threshold()])
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func openAge(t testing.TB, key sops.Key) []byte {
	t.Helper()
	if key.Kind != sops.Age {
		return nil
	}
	data, err := sopskeys.DataKey(key.Encrypted, append(read(t, "alice.agekey"), read(t, "bob.agekey")...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func formatOf(name string) sops.Format {
	switch name {
	case "blob.bin", "token.bin":
		return sops.Binary
	default:
		return sops.FormatOf(name)
	}
}

// decrypt decrypts a file, and returns what sops would.
func decrypt(t testing.TB, f sops.Format, data []byte) ([]byte, error) {
	t.Helper()
	file, err := sops.Parse(f, data)
	if err != nil {
		return nil, err
	}
	if _, err := file.Decrypt(dataKey(t, file), backend(t)); err != nil {
		return nil, err
	}
	return file.Bytes()
}

// TestVectors compares with what SOPS gives, byte by byte (row K-16).
func TestVectors(t *testing.T) {
	for _, name := range []string{
		"typed.yaml", "maconly.yaml", "suffix.yaml", "comment-on.yaml", "comment-off.yaml", "documents.yaml", "typed.json", "pull.json",
		"app.env", "app.ini", "blob.bin", "everybody.yaml", "shared.yaml", "shared.env",
	} {
		t.Run(name, func(t *testing.T) {
			data := read(t, "enc/"+name)
			if !sops.Marked(formatOf(name), data) {
				t.Error("not recognized as encrypted")
			}
			if f, ok := sops.Detect(name, data); !ok || f != formatOf(name) {
				t.Errorf("recognized as %s, %t", f, ok)
			}
			got, err := decrypt(t, formatOf(name), data)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(read(t, "want/"+name)), string(got)); diff != "" {
				t.Errorf("plaintext (-sops +got):\n%s", diff)
			}
			if sops.Marked(formatOf(name), got) {
				t.Error("the plaintext is recognized as encrypted")
			}
		})
	}
}

// change replaces one text, which must be there.
func change(t *testing.T, data []byte, old, text string) []byte {
	t.Helper()
	if !bytes.Contains(data, []byte(old)) {
		t.Fatalf("the vector has no %q", old)
	}
	return bytes.Replace(data, []byte(old), []byte(text), 1)
}

// line returns the line of a file that holds a text.
func line(t *testing.T, data []byte, text string) string {
	t.Helper()
	for l := range strings.Lines(string(data)) {
		if strings.Contains(l, text) {
			return l
		}
	}
	t.Fatalf("no line with %q", text)
	return ""
}

// valueOf is the encrypted value on the line of a key.
func valueOf(t *testing.T, data []byte, key string) string {
	t.Helper()
	_, value, _ := strings.Cut(line(t, data, key), "ENC[")
	return "ENC[" + strings.TrimSpace(value)
}

// TestTampering holds the reader to the MAC: upstream does not look at it.
func TestTampering(t *testing.T) {
	secret, next := read(t, "kube/secret.yaml"), read(t, "kube/secret-next.yaml")
	if _, err := decrypt(t, sops.YAML, secret); err != nil {
		t.Fatal(err)
	}
	password, user := valueOf(t, secret, "password:"), valueOf(t, secret, "user:")
	documents := read(t, "kube/documents.yaml")
	for name, tampered := range map[string][]byte{
		"a value from an older revision":       change(t, secret, password, valueOf(t, next, "password:")),
		"the MAC of another revision":          change(t, secret, valueOf(t, secret, "mac:"), valueOf(t, next, "mac:")),
		"an unencrypted value":                 change(t, secret, "type: Opaque", "type: kubernetes.io/tls"),
		"a removed unencrypted value":          change(t, secret, "type: Opaque\n", ""),
		"a removed encrypted value":            change(t, secret, line(t, secret, "user:"), ""),
		"an added value":                       change(t, secret, "type: Opaque", "type: Opaque\nimmutable: true"),
		"values that changed places":           change(t, change(t, change(t, secret, user, "SWAP"), password, user), "SWAP", password),
		"a value under another key":            change(t, secret, "    user: ENC", "    root: ENC"),
		"a value in clear":                     change(t, secret, password, "chosen"),
		"a number in the place of a value":     change(t, secret, password, "7"),
		"a text behind a value":                change(t, secret, password, password+"x"),
		"a broken value":                       change(t, secret, password, strings.Replace(password, "tag:", "tag:AAAA", 1)),
		"another time":                         change(t, secret, `lastmodified: "20`, `lastmodified: "19`),
		"an empty MAC":                         change(t, secret, valueOf(t, secret, "mac:"), `""`),
		"only encrypted values for the MAC":    change(t, secret, "    version:", "    mac_only_encrypted: true\n    version:"),
		"a document removed":                   documents[bytes.Index(documents, []byte("\n---\n"))+5:],
		"a value of another document":          change(t, documents, "database", "another"),
		"an order changed":                     change(t, change(t, secret, "apiVersion: v1\nkind: Secret\n", ""), "metadata:", "kind: Secret\napiVersion: v1\nmetadata:"),
		"a comment in the place of a rule":     change(t, read(t, "enc/comment-on.yaml"), "# above a nested key", "# elsewhere"),
		"everything in clear by a wider rule":  change(t, secret, "^(data|stringData)$", "^nothing$"),
		"nothing of a list, in another format": change(t, read(t, "enc/typed.json"), `"two"`, `"owt"`),
	} {
		t.Run(name, func(t *testing.T) {
			f := sops.YAML
			if bytes.HasPrefix(tampered, []byte("{")) {
				f = sops.JSON
			}
			got, err := decrypt(t, f, tampered)
			if !errors.Is(err, sops.ErrIntegrity) {
				t.Fatalf("error %v, want ErrIntegrity; content %q", err, got)
			}
			if strings.Contains(err.Error(), "4711") {
				t.Errorf("the error quotes a value: %v", err)
			}
		})
	}
}

// TestSwappedFormats tampers with lines of the formats without structure.
func TestSwappedFormats(t *testing.T) {
	env, ini := read(t, "enc/app.env"), read(t, "enc/app.ini")
	for name, tc := range map[string]struct {
		format sops.Format
		data   []byte
	}{
		"a line less":           {sops.Dotenv, change(t, env, line(t, env, "USER="), "")},
		"a line more":           {sops.Dotenv, append([]byte("MORE_unencrypted=1\n"), env...)},
		"clear text changed":    {sops.Dotenv, change(t, env, "CLEAR_unencrypted=readable", "CLEAR_unencrypted=other")},
		"an ini key less":       {sops.INI, change(t, ini, line(t, ini, "port"), "")},
		"an ini section moved":  {sops.INI, change(t, ini, "[database]", "[databases]")},
		"an ini text in clear":  {sops.INI, change(t, ini, "clear_unencrypted = readable", "clear_unencrypted = other")},
		"a binary value in two": {sops.Binary, change(t, read(t, "enc/blob.bin"), `"data":`, `"more_unencrypted": "1", "data":`)},
	} {
		if _, err := decrypt(t, tc.format, tc.data); !errors.Is(err, sops.ErrIntegrity) {
			t.Errorf("%s: error %v, want ErrIntegrity", name, err)
		}
	}
}

// TestParseRefuses is about what SOPS never writes.
func TestParseRefuses(t *testing.T) {
	const stanza = "sops:\n    age:\n        - recipient: age1x\n          enc: x\n    lastmodified: \"2026-11-01T00:00:00Z\"\n    mac: ENC[AES256_GCM,data:a,iv:b,tag:c,type:str]\n"
	for name, tc := range map[string]struct {
		format sops.Format
		data   string
		want   string
	}{
		"too large":             {sops.YAML, stanza + strings.Repeat("#", sops.MaxBytes), "limit of 5242880 bytes"},
		"no YAML":               {sops.YAML, "a: 4711: b\n" + stanza, "no valid yaml"},
		"an alias":              {sops.YAML, "a: &x 1\nb: *x\n" + stanza, "anchors and aliases"},
		"a key twice":           {sops.YAML, "a: 1\na: 2\n" + stanza, "line 2: a key occurs twice"},
		"metadata twice":        {sops.YAML, stanza + stanza, "occurs twice"},
		"a key that is no text": {sops.YAML, "1: 2\n" + stanza, "a key is no text"},
		"a list of documents":   {sops.YAML, stanza + "---\n- a\n", "is a mapping"},
		"too deep":              {sops.YAML, "a: " + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "\n" + stanza, "too deep"},
		"two rules":             {sops.YAML, stanza + "    encrypted_regex: a\n    unencrypted_regex: b\n", "more than one rule"},
		"a broken rule":         {sops.YAML, stanza + "    encrypted_regex: '('\n", "encrypted_regex"},
		"no time":               {sops.YAML, strings.Replace(stanza, "2026", "then", 1), "lastmodified is no time"},
		"no keys":               {sops.YAML, strings.Replace(stanza, "age:", "ega:", 1), "no keys"},
		"keys that are none":    {sops.YAML, "sops: {age: [1], lastmodified: \"2026-11-01T00:00:00Z\", mac: x}\n", "no mapping"},
		"too many keys":         {sops.JSON, `{"sops":{"lastmodified":"2026-11-01T00:00:00Z","mac":"x","age":[` + strings.Repeat(`{"enc":"x"},`, 64) + `{}]}}`, "at most 64"},
		"too few groups":        {sops.JSON, `{"sops":{"lastmodified":"2026-11-01T00:00:00Z","mac":"x","shamir_threshold":1,"key_groups":[{"age":[{}]},{"age":[{}]}]}}`, "does not fit"},
		"no JSON":               {sops.JSON, `{"a": 4711`, "no valid json"},
		"two JSON objects":      {sops.JSON, `{}{}`, "no valid json"},
		"a JSON list":           {sops.JSON, `[]`, "is an object"},
		"JSON too deep":         {sops.JSON, `{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, "too deep"},
		"a JSON key twice":      {sops.JSON, `{"a":1,"a":2}`, "occurs twice"},
		"a line without =":      {sops.Dotenv, "A=1\npassword-4711\n", "line 2 has no ="},
		"a place in a list":     {sops.Dotenv, "sops_age__list_99999999__map_enc=x\n", "place in a list"},
		"flat and not":          {sops.Dotenv, "sops_age=x\nsops_age__list_0__map_enc=x\n", "does not fit together"},
		"flat metadata twice":   {sops.Dotenv, "sops_mac=x\nsops_mac=y\n", "occurs twice"},
		"no INI":                {sops.INI, "password-4711\n", "no valid ini"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sops.Parse(tc.format, []byte(tc.data))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want %q", err, tc.want)
			}
			if strings.Contains(err.Error(), "4711") {
				t.Errorf("the error quotes the file: %v", err)
			}
		})
	}
}

// TestDecryptBounds is about files that would keep a controller busy.
func TestDecryptBounds(t *testing.T) {
	many := strings.Replace(string(read(t, "enc/typed.json")), "{", `{"many_unencrypted": [`+strings.Repeat("1,", 100_000)+`1],`, 1)
	if _, err := decrypt(t, sops.JSON, []byte(many)); err == nil || !strings.Contains(err.Error(), "more than 100000 values") {
		t.Errorf("error %v, want the limit of values", err)
	}
	talkative := strings.Repeat("# a comment\n", 1001) + string(read(t, "enc/comment-on.yaml"))
	if _, err := decrypt(t, sops.YAML, []byte(talkative)); err == nil || !strings.Contains(err.Error(), "more than 1000 comments") {
		t.Errorf("error %v, want the limit of comments", err)
	}
}

func TestParsePlain(t *testing.T) {
	for f, data := range map[sops.Format]string{
		sops.YAML: "a: b\n", sops.JSON: `{"a": "b"}`, sops.Binary: `{"data": "b"}`, sops.Dotenv: "A=b\n", sops.INI: "[a]\nb = c\n",
	} {
		if _, err := sops.Parse(f, []byte(data)); !errors.Is(err, sops.ErrPlain) {
			t.Errorf("%s: error %v, want ErrPlain", f, err)
		}
		if sops.Marked(f, []byte(data)) {
			t.Errorf("%s: recognized as encrypted", f)
		}
	}
}

func TestWrongKey(t *testing.T) {
	for name, key := range map[string][]byte{"short": make([]byte, 16), "another": make([]byte, 32)} {
		file, err := sops.Parse(sops.YAML, read(t, "kube/secret.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Decrypt(key, backend(t)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestCombineRefuses(t *testing.T) {
	for name, shares := range map[string][][]byte{
		"one":            {{1, 1}},
		"the same place": {{1, 2, 1}, {3, 4, 1}},
		"place zero":     {{1, 2, 0}, {3, 4, 1}},
		"of two lengths": {{1, 2, 1}, {3, 2}},
		"empty":          {{}, {}},
	} {
		if key, err := sops.Combine(shares); err == nil {
			t.Errorf("%s: %v", name, key)
		}
	}
}

func TestFormatOf(t *testing.T) {
	for name, want := range map[string]sops.Format{
		"a.yaml": sops.YAML, "a.yml": sops.YAML, "a.json": sops.JSON, ".dockerconfigjson": sops.JSON, "x/.env": sops.Dotenv,
		"a.ini": sops.INI, "a.txt": sops.Binary, "yaml": sops.Binary, "a.YAML": sops.Binary,
	} {
		if got := sops.FormatOf(name); got != want {
			t.Errorf("FormatOf(%q) = %s, want %s", name, got, want)
		}
	}
}

// FuzzParse looks for input that ends the process or takes for ever.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"typed.yaml", "documents.yaml", "typed.json", "app.env", "app.ini", "blob.bin", "shared.env"} {
		f.Add(int(formatOf(name)), read(f, "enc/"+name))
	}
	f.Fuzz(func(t *testing.T, format int, data []byte) {
		file, err := sops.Parse(sops.Format(format%5), data)
		if err != nil {
			return
		}
		if _, err := file.Decrypt(make([]byte, 32), backend(t)); err == nil {
			t.Error("a key of zeros opens it")
		}
	})
}
