// SPDX-License-Identifier: Apache-2.0

package fips_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/fips"
)

// The tests of this file are the contract of the seam: they run against whichever backend is compiled in, under the mode
// of this process, and TestContractHoldsUnderOnly runs them once more under fips140=only.

func backend(t *testing.T) fips.Backend {
	t.Helper()
	b, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestContractHoldsUnderOnly(t *testing.T) {
	if fips140.Enforced() {
		return // the outer run has done it: this is the inner one, or the whole suite runs under only
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestContract", "-test.count=1", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("contract under fips140=only: %v\n%s", err, out)
	}
	if !bytes.Contains(out, []byte("--- PASS: TestContractVectors/")) {
		t.Fatalf("the inner run checked no vectors:\n%s", out)
	}
}

func TestContractSelfTest(t *testing.T) {
	b := backend(t)
	if err := b.SelfTest(t.Context()); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.SelfTest(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("self-test with a cancelled context: got %v, want context.Canceled", err)
	}
}

func TestContractDigests(t *testing.T) {
	million := strings.Repeat("a", 1_000_000)
	tests := map[string]struct {
		hash crypto.Hash
		in   string
		want string
	}{
		"SHA-256 of nothing":             {crypto.SHA256, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		"SHA-256 of one block":           {crypto.SHA256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		"SHA-256 of a million bytes":     {crypto.SHA256, million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
		"SHA-384 of one block":           {crypto.SHA384, "abc", "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"},
		"SHA-512 of one block":           {crypto.SHA512, "abc", "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
		"SHA-512 of a million bytes":     {crypto.SHA512, million, "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973ebde0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b"},
		"SHA3-256 of one block":          {crypto.SHA3_256, "abc", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"},
		"SHA3-512 of nothing is defined": {crypto.SHA3_512, "", "a69f73cca23a9ac5c8b567dc185a756e97c982164fe25859e0d1dcc1475c80a615b2123af1f5f94c11e3e9402c3ac558f500199d95b6d3e301758586281dcd26"},
	}
	b := backend(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, n, err := fips.Digest(b, test.hash, iotest.HalfReader(strings.NewReader(test.in)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("digest (-want +got):\n%s", diff)
			}
			if n != int64(len(test.in)) {
				t.Errorf("read %d bytes, want %d", n, len(test.in))
			}
		})
	}
}

func TestContractDigestStateSurvivesSum(t *testing.T) {
	state, err := backend(t).Hash(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"a", "b"} {
		if _, err := io.WriteString(state, part); err != nil {
			t.Fatal(err)
		}
		state.Sum(nil)
	}
	if _, err := io.WriteString(state, "c"); err != nil {
		t.Fatal(err)
	}
	want := "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got := hex.EncodeToString(state.Sum(nil)); got != want {
		t.Errorf("sum in between changed the state: got %s, want %s", got, want)
	}
	state.Reset()
	if got := hex.EncodeToString(state.Sum(nil)); !strings.HasPrefix(got, "e3b0c442") {
		t.Errorf("reset did not empty the state: %s", got)
	}
}

func TestContractDigestReportsReadErrors(t *testing.T) {
	broken := errors.New("connection lost")
	if _, _, err := fips.Digest(backend(t), crypto.SHA256, iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v, want it to wrap the reader's error", err)
	}
}

func TestContractRefusesHashes(t *testing.T) {
	b := backend(t)
	for _, h := range []crypto.Hash{
		0, crypto.MD4, crypto.MD5, crypto.SHA1, crypto.MD5SHA1, crypto.RIPEMD160, crypto.SHA224,
		crypto.BLAKE2b_256, crypto.SHA512_256, crypto.Hash(99),
	} {
		t.Run(h.String(), func(t *testing.T) {
			_, err := b.Hash(h)
			wantRefusal(t, err, fips.FeatureDigest)
			_, err = b.HMAC(h, make([]byte, 32))
			wantRefusal(t, err, fips.FeatureDigest)
		})
	}
}

func TestContractRefusesShortHMACKeys(t *testing.T) {
	b := backend(t)
	for _, n := range []int{0, 1, fips.MinHMACKey - 1} {
		_, err := b.HMAC(crypto.SHA256, make([]byte, n))
		wantRefusal(t, err, fips.FeatureMAC)
	}
	if _, err := b.HMAC(crypto.SHA256, make([]byte, fips.MinHMACKey)); err != nil {
		t.Errorf("a key of exactly 112 bits: %v", err)
	}
}

func TestContractRand(t *testing.T) {
	seen := map[string]bool{}
	for range 64 {
		buffer := make([]byte, 24)
		if _, err := io.ReadFull(backend(t).Rand(), buffer); err != nil {
			t.Fatal(err)
		}
		seen[string(buffer)] = true
	}
	if len(seen) != 64 {
		t.Errorf("64 reads gave %d different outputs", len(seen))
	}
}

func TestContractSignatures(t *testing.T) {
	b := backend(t)
	for name, test := range map[string]struct {
		key  crypto.Signer
		alg  fips.Algorithm
		opts crypto.SignerOpts
	}{
		"ECDSA P-256":         {ecdsaKey(t, elliptic.P256()), fips.ECDSAP256SHA256, crypto.SHA256},
		"ECDSA P-256 SHA-512": {ecdsaKey(t, elliptic.P256()), fips.ECDSAP256SHA512, crypto.SHA512},
		"ECDSA P-384":         {ecdsaKey(t, elliptic.P384()), fips.ECDSAP384SHA384, crypto.SHA384},
		"ECDSA P-521":         {ecdsaKey(t, elliptic.P521()), fips.ECDSAP521SHA512, crypto.SHA512},
		"RSA PKCS#1":          {rsaKey(t), fips.RSAPKCS1SHA256, crypto.SHA256},
		"RSA PSS":             {rsaKey(t), fips.RSAPSSSHA256, &rsa.PSSOptions{Hash: crypto.SHA256}},
		"RSA PSS SHA-512":     {rsaKey(t), fips.RSAPSSSHA512, &rsa.PSSOptions{Hash: crypto.SHA512, SaltLength: rsa.PSSSaltLengthAuto}},
		"Ed25519":             {ed25519Key(t), fips.Ed25519, crypto.Hash(0)},
	} {
		t.Run(name, func(t *testing.T) {
			signer, err := b.Signer(t.Context(), fips.KeyRef{Path: keyFile(t, test.key)})
			if err != nil {
				t.Fatal(err)
			}
			message := []byte("what is applied")
			sig, err := signer.Sign(nil, toSign(t, b, test.opts.HashFunc(), message), test.opts)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Verify(test.alg, test.key.Public(), bytes.NewReader(message), sig); err != nil {
				t.Errorf("own signature: %v", err)
			}
			if err := b.Verify(test.alg, test.key.Public(), strings.NewReader("another"), sig); !errors.Is(err, fips.ErrSignature) {
				t.Errorf("another message: got %v, want ErrSignature", err)
			}
			for i := range sig {
				bad := bytes.Clone(sig)
				bad[i] ^= 1
				if err := b.Verify(test.alg, test.key.Public(), bytes.NewReader(message), bad); err == nil {
					t.Fatalf("signature with a flipped bit in byte %d was accepted", i)
				}
			}
			for _, bad := range [][]byte{nil, sig[:len(sig)-1], append(bytes.Clone(sig), 0)} {
				if err := b.Verify(test.alg, test.key.Public(), bytes.NewReader(message), bad); !errors.Is(err, fips.ErrSignature) {
					t.Errorf("signature of %d bytes: got %v, want ErrSignature", len(bad), err)
				}
			}
		})
	}
}

func TestContractVerifyRefuses(t *testing.T) {
	b := backend(t)
	p256 := ecdsaKey(t, elliptic.P256()).Public()
	weakExponent := &rsa.PublicKey{N: rsaKey(t).Public().(*rsa.PublicKey).N, E: 3} // made above
	offCurve := *p256.(*ecdsa.PublicKey)                                           // made above
	offCurve.X = offCurve.Y
	for name, test := range map[string]struct {
		alg     fips.Algorithm
		pub     crypto.PublicKey
		refusal bool
	}{
		"an unknown algorithm":             {"rsa-pkcs1-sha1", rsaKey(t).Public(), true},
		"an empty algorithm":               {"", p256, true},
		"P-224":                            {fips.ECDSAP256SHA256, ecdsaKey(t, elliptic.P224()).Public(), true},
		"RSA with exponent 3":              {fips.RSAPKCS1SHA256, weakExponent, true},
		"RSA with 1024 bits":               {fips.RSAPKCS1SHA256, shortRSA(t), true},
		"RSA without modulus":              {fips.RSAPKCS1SHA256, &rsa.PublicKey{E: 65537}, true},
		"an Ed25519 key of 31 bytes":       {fips.Ed25519, ed25519.PublicKey(make([]byte, 31)), true},
		"no key":                           {fips.Ed25519, nil, true},
		"a private key":                    {fips.ECDSAP256SHA256, ecdsaKey(t, elliptic.P256()), true},
		"an ECDSA key without curve":       {fips.ECDSAP256SHA256, &ecdsa.PublicKey{}, true},
		"an ECDSA key without point":       {fips.ECDSAP256SHA256, &ecdsa.PublicKey{Curve: elliptic.P256()}, false},
		"an ECDSA key off the curve":       {fips.ECDSAP256SHA256, &offCurve, false},
		"a P-256 key for P-384":            {fips.ECDSAP384SHA384, p256, false},
		"an RSA key for ECDSA":             {fips.ECDSAP256SHA256, rsaKey(t).Public(), false},
		"an Ed25519 key for RSA":           {fips.RSAPSSSHA256, ed25519Key(t).Public(), false},
		"an ECDSA key for Ed25519":         {fips.Ed25519, p256, false},
		"a good key with a broken message": {fips.ECDSAP256SHA256, p256, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := b.Verify(test.alg, test.pub, iotest.ErrReader(errors.New("broken")), []byte("signature"))
			if err == nil {
				t.Fatal("accepted")
			}
			var refusal *fips.Refusal
			if got := errors.As(err, &refusal); got != test.refusal {
				t.Errorf("a *Refusal: got %t, want %t (%v)", got, test.refusal, err)
			}
		})
	}
}

func TestContractSignerRefuses(t *testing.T) {
	b := backend(t)
	signer, err := b.Signer(t.Context(), fips.KeyRef{PEM: keyPEM(t, ecdsaKey(t, elliptic.P256()))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signer.Sign(rand.Reader, make([]byte, 20), crypto.SHA1); !isRefusal(err) {
		t.Errorf("SHA-1: got %v, want a *Refusal", err)
	}
	if _, err := signer.Sign(rand.Reader, make([]byte, 20), crypto.SHA256); err == nil {
		t.Error("a digest of the wrong length was signed")
	}
	if _, err := signer.Sign(rand.Reader, make([]byte, 32), nil); err == nil {
		t.Error("signed without options")
	}
	edwards, err := b.Signer(t.Context(), fips.KeyRef{PEM: keyPEM(t, ed25519Key(t))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := edwards.Sign(rand.Reader, make([]byte, 64), crypto.SHA512); !isRefusal(err) {
		t.Errorf("Ed25519ph: got %v, want a *Refusal", err)
	}
}

func TestContractConcurrentUse(t *testing.T) {
	b := backend(t)
	key := ecdsaKey(t, elliptic.P256())
	signer, err := b.Signer(t.Context(), fips.KeyRef{PEM: keyPEM(t, key)})
	if err != nil {
		t.Fatal(err)
	}
	work := func(worker int) error {
		for i := range 20 {
			message := fmt.Appendf(nil, "worker %d, message %d", worker, i)
			digest, err := fips.Sum(b, crypto.SHA256, message)
			if err != nil {
				return err
			}
			sig, err := signer.Sign(nil, digest, crypto.SHA256)
			if err != nil {
				return err
			}
			if err := b.Verify(fips.ECDSAP256SHA256, key.Public(), bytes.NewReader(message), sig); err != nil {
				return err
			}
			if err := macTwice(b, message); err != nil {
				return err
			}
		}
		return nil
	}
	var group sync.WaitGroup
	errs := make([]error, 8)
	for worker := range errs {
		group.Go(func() { errs[worker] = work(worker) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// macTwice computes one MAC in two states and compares.
func macTwice(b fips.Backend, message []byte) error {
	var sums [2][]byte
	for i := range sums {
		mac, err := b.HMAC(crypto.SHA256, []byte("a key of some twenty bytes"))
		if err != nil {
			return err
		}
		if _, err := mac.Write(message); err != nil {
			return err
		}
		sums[i] = mac.Sum(nil)
	}
	if !bytes.Equal(sums[0], sums[1]) {
		return errors.New("two MACs of one message differ")
	}
	return nil
}

func toSign(t *testing.T, b fips.Backend, h crypto.Hash, message []byte) []byte {
	t.Helper()
	if h == 0 {
		return message
	}
	digest, err := fips.Sum(b, h, message)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func wantRefusal(t *testing.T, err error, feature fips.Feature) {
	t.Helper()
	var refusal *fips.Refusal
	if !errors.As(err, &refusal) {
		t.Fatalf("got %v, want a *Refusal", err)
	}
	if diff := cmp.Diff(feature, refusal.Feature); diff != "" {
		t.Errorf("feature (-want +got):\n%s", diff)
	}
	if refusal.Remedy == "" || refusal.Algorithm == "" {
		t.Errorf("refusal names no algorithm or remedy: %+v", refusal)
	}
}

func isRefusal(err error) bool {
	var refusal *fips.Refusal
	return errors.As(err, &refusal)
}

func ecdsaKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ed25519Key(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// rsaOnce makes the one RSA key of this test process: generating one takes a tenth of a second.
var rsaOnce = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsaOnce()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// shortRSA is a 1024-bit public key: the top half of a good modulus, made odd.
func shortRSA(t *testing.T) *rsa.PublicKey {
	t.Helper()
	short := rsaKey(t).PublicKey
	n := *short.N
	n.Rsh(&n, 1024)
	n.SetBit(&n, 0, 1)
	return &rsa.PublicKey{N: &n, E: short.E}
}

func keyPEM(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func keyFile(t *testing.T, key crypto.Signer) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(path, keyPEM(t, key), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
