// SPDX-License-Identifier: Apache-2.0

package fips_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/fips140"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice.dev/sluice/internal/fips"
)

func TestSignerRejectsKeys(t *testing.T) {
	good := keyPEM(t, ecdsaKey(t, elliptic.P256()))
	block, _ := pem.Decode(good)
	file := func(text []byte) fips.KeyRef {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return fips.KeyRef{Path: path}
	}
	legacy := &pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: []byte("x")}
	for name, test := range map[string]struct {
		key     fips.KeyRef
		refusal bool
	}{
		"an empty reference":               {fips.KeyRef{}, false},
		"both a file and a text":           {fips.KeyRef{Path: "x", PEM: good}, false},
		"a missing file":                   {fips.KeyRef{Path: filepath.Join(t.TempDir(), "absent")}, false},
		"a directory":                      {fips.KeyRef{Path: t.TempDir()}, false},
		"a huge file":                      {file(bytes.Repeat([]byte("A"), 1<<20)), false},
		"no PEM":                           {file([]byte("hello")), false},
		"two keys":                         {file(append(bytes.Clone(good), good...)), false},
		"a public key":                     {file(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: block.Bytes})), false},
		"garbage in a PKCS#8 block":        {file(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("garbage")})), false},
		"an encrypted PKCS#8 key":          {file(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY"})), true},
		"an encrypted cosign key":          {file(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY"})), true},
		"a key with legacy PEM encryption": {file(pem.EncodeToMemory(legacy)), true},
		"a P-224 key":                      {fips.KeyRef{PEM: keyPEM(t, ecdsaKey(t, elliptic.P224()))}, true},
		"an X25519 key, which cannot sign": {fips.KeyRef{PEM: x25519PEM(t)}, !fips140.Enforced()},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := backend(t).Signer(t.Context(), test.key)
			if err == nil {
				t.Fatal("accepted")
			}
			if isRefusal(err) != test.refusal {
				t.Errorf("a *Refusal: got %t, want %t (%v)", isRefusal(err), test.refusal, err)
			}
			if strings.Contains(err.Error(), "garbage") || strings.Contains(err.Error(), "AAAA") {
				t.Errorf("the message quotes the key: %v", err)
			}
		})
	}
}

func TestSignerHonoursTheContext(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := backend(t).Signer(cancelled, fips.KeyRef{Path: "x"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestKeyRefNeverPrintsTheKey(t *testing.T) {
	ref := fips.KeyRef{PEM: []byte("secret")}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(format, ref); strings.Contains(text, "secret") || strings.Contains(text, "115 101") {
			t.Errorf("%s prints %s", format, text)
		}
	}
}

func TestDefaultAlgorithm(t *testing.T) {
	for name, test := range map[string]struct {
		key  crypto.PublicKey
		want fips.Algorithm
	}{
		"P-256":   {ecdsaKey(t, elliptic.P256()).Public(), fips.ECDSAP256SHA256},
		"P-384":   {ecdsaKey(t, elliptic.P384()).Public(), fips.ECDSAP384SHA384},
		"P-521":   {ecdsaKey(t, elliptic.P521()).Public(), fips.ECDSAP521SHA512},
		"RSA":     {rsaKey(t).Public(), fips.RSAPSSSHA256},
		"Ed25519": {ed25519Key(t).Public(), fips.Ed25519},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := fips.DefaultAlgorithm(test.key)
			if err != nil || got != test.want {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
	if _, err := fips.DefaultAlgorithm(shortRSA(t)); !isRefusal(err) {
		t.Errorf("short RSA: got %v, want a *Refusal", err)
	}
}

// x25519PEM is a key for key agreement in the form of RFC 8410.
func x25519PEM(t *testing.T) []byte {
	t.Helper()
	der := append(fromHex(t, "302e020100300506032b656e04220420"), bytes.Repeat([]byte{0x42}, 32)...)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
