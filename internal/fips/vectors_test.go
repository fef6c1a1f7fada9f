// SPDX-License-Identifier: Apache-2.0

package fips_test

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"
	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/fips"
)

// tally counts outcomes of one vector file by what the file expects. The figures are pinned: a file that is skipped, or a
// check that can no longer fail, changes them.
type tally struct {
	// ValidAccepted and InvalidRejected are the vectors both sides agree on.
	ValidAccepted, InvalidRejected int
	// ValidRefused are good signatures by keys or parameters our list refuses.
	ValidRefused int
	// EitherAccepted and EitherRejected are vectors the file leaves open ("acceptable").
	EitherAccepted, EitherRejected int
}

// vectorFile is the part of a Wycheproof file the tests need.
type vectorFile struct {
	TestGroups []struct {
		PublicKeyDER string      `json:"publicKeyDer"`
		TagSize      int         `json:"tagSize"`
		Tests        []oneVector `json:"tests"`
	} `json:"testGroups"`
}

type oneVector struct {
	ID      int    `json:"tcId"`
	Comment string `json:"comment"`
	Key     string `json:"key"`
	Message string `json:"msg"`
	Sig     string `json:"sig"`
	Tag     string `json:"tag"`
	Result  string `json:"result"`
}

// record counts one outcome and fails where the backend contradicts the file.
func (c *tally) record(t *testing.T, v oneVector, err error) {
	t.Helper()
	accepted := err == nil
	switch {
	case v.Result == "valid" && accepted:
		c.ValidAccepted++
	case v.Result == "valid" && isRefusal(err):
		c.ValidRefused++
	case v.Result == "invalid" && !accepted:
		c.InvalidRejected++
	case v.Result == "acceptable" && accepted:
		c.EitherAccepted++
	case v.Result == "acceptable":
		c.EitherRejected++
	default:
		t.Errorf("vector %d (%s) is %s: got error %v", v.ID, v.Comment, v.Result, err)
	}
}

func TestContractVectors(t *testing.T) {
	for name, test := range map[string]struct {
		alg  fips.Algorithm
		want tally
	}{
		"ecdsa_secp256r1_sha256_test.json":      {alg: fips.ECDSAP256SHA256, want: tally{ValidAccepted: 174, InvalidRejected: 310}},
		"ecdsa_secp256r1_sha512_test.json":      {alg: fips.ECDSAP256SHA512, want: tally{ValidAccepted: 243, InvalidRejected: 311}},
		"ecdsa_secp384r1_sha384_test.json":      {alg: fips.ECDSAP384SHA384, want: tally{ValidAccepted: 194, InvalidRejected: 310}},
		"ecdsa_secp384r1_sha512_test.json":      {alg: fips.ECDSAP384SHA512, want: tally{ValidAccepted: 231, InvalidRejected: 311}},
		"ecdsa_secp521r1_sha512_test.json":      {alg: fips.ECDSAP521SHA512, want: tally{ValidAccepted: 232, InvalidRejected: 310}},
		"rsa_signature_2048_sha256_test.json":   {alg: fips.RSAPKCS1SHA256, want: tally{ValidAccepted: 7, InvalidRejected: 249, ValidRefused: 2, EitherRejected: 1}},
		"rsa_signature_3072_sha384_test.json":   {alg: fips.RSAPKCS1SHA384, want: tally{ValidAccepted: 7, InvalidRejected: 251, EitherRejected: 1}},
		"rsa_signature_4096_sha512_test.json":   {alg: fips.RSAPKCS1SHA512, want: tally{ValidAccepted: 7, InvalidRejected: 251, EitherRejected: 1}},
		"rsa_pss_2048_sha256_mgf1_32_test.json": {alg: fips.RSAPSSSHA256, want: tally{ValidAccepted: 63, InvalidRejected: 45}},
		"rsa_pss_3072_sha256_mgf1_32_test.json": {alg: fips.RSAPSSSHA256, want: tally{ValidAccepted: 63, InvalidRejected: 45}},
		"rsa_pss_2048_sha384_mgf1_48_test.json": {alg: fips.RSAPSSSHA384, want: tally{ValidAccepted: 95, InvalidRejected: 46}},
		"rsa_pss_4096_sha512_mgf1_64_test.json": {alg: fips.RSAPSSSHA512, want: tally{ValidAccepted: 132, InvalidRejected: 47}},
		"ed25519_test.json":                     {alg: fips.Ed25519, want: tally{ValidAccepted: 88, InvalidRejected: 63}},
	} {
		t.Run(name, func(t *testing.T) {
			got := verifyVectors(t, name, test.alg)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
		})
	}
}

func verifyVectors(t *testing.T, name string, alg fips.Algorithm) tally {
	t.Helper()
	b := backend(t)
	var got tally
	for _, group := range readVectors(t, name).TestGroups {
		pub, err := x509.ParsePKIXPublicKey(fromHex(t, group.PublicKeyDER))
		if err != nil {
			t.Fatalf("public key: %v", err)
		}
		for _, v := range group.Tests {
			err := b.Verify(alg, pub, bytes.NewReader(fromHex(t, v.Message)), fromHex(t, v.Sig))
			got.record(t, v, err)
		}
	}
	return got
}

// TestContractVectorsOtherSalt pins our own rule: a signature whose salt is not as long as the hash does not hold, though
// the file, which expects no salt at all, calls it valid.
func TestContractVectorsOtherSalt(t *testing.T) {
	b := backend(t)
	checked := 0
	for _, group := range readVectors(t, "rsa_pss_2048_sha256_mgf1_0_test.json").TestGroups {
		pub, err := x509.ParsePKIXPublicKey(fromHex(t, group.PublicKeyDER))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range group.Tests {
			if v.Result != "valid" {
				continue
			}
			err := b.Verify(fips.RSAPSSSHA256, pub, bytes.NewReader(fromHex(t, v.Message)), fromHex(t, v.Sig))
			if !errors.Is(err, fips.ErrSignature) {
				t.Errorf("vector %d: got %v, want ErrSignature", v.ID, err)
			}
			checked++
		}
	}
	if want := 61; checked != want {
		t.Errorf("checked %d vectors, want %d", checked, want)
	}
}

func TestContractMACVectors(t *testing.T) {
	for name, test := range map[string]struct {
		hash crypto.Hash
		want tally
	}{
		"hmac_sha256_test.json": {hash: crypto.SHA256, want: tally{ValidAccepted: 66, InvalidRejected: 108}},
		"hmac_sha384_test.json": {hash: crypto.SHA384, want: tally{ValidAccepted: 66, InvalidRejected: 108}},
		"hmac_sha512_test.json": {hash: crypto.SHA512, want: tally{ValidAccepted: 66, InvalidRejected: 108}},
	} {
		t.Run(name, func(t *testing.T) {
			var got tally
			for _, group := range readVectors(t, name).TestGroups {
				for _, v := range group.Tests {
					got.record(t, v, checkMAC(t, test.hash, group.TagSize/8, v))
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
		})
	}
}

func checkMAC(t *testing.T, h crypto.Hash, size int, v oneVector) error {
	t.Helper()
	mac, err := backend(t).HMAC(h, fromHex(t, v.Key))
	if err != nil {
		return err
	}
	if _, err := mac.Write(fromHex(t, v.Message)); err != nil {
		return err
	}
	if !hmac.Equal(mac.Sum(nil)[:size], fromHex(t, v.Tag)) {
		return fips.ErrSignature
	}
	return nil
}

func readVectors(t *testing.T, name string) vectorFile {
	t.Helper()
	text, err := fs.ReadFile(wycheproof.TestVectors, name)
	if err != nil {
		t.Fatal(err)
	}
	var file vectorFile
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.TestGroups) == 0 {
		t.Fatalf("%s has no test groups", name)
	}
	return file
}

func fromHex(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
