// SPDX-License-Identifier: Apache-2.0

//go:build openssl && linux

package fips

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
	"hash"
	"io"
	"math/big"
	"strings"

	"github.com/microsoft/go-crypto-openssl/bbig"
	"github.com/microsoft/go-crypto-openssl/openssl"
	"github.com/microsoft/go-crypto-openssl/osslsetup"
)

// BackendName is the choice made at build time: "native" or "openssl".
const BackendName = "openssl"

// libcrypto is the soname go-crypto-openssl opens at run time. It is not a setting: what is loaded here is part of the claim.
const libcrypto = "libcrypto.so.3"

// openSSL routes digests, MACs, random numbers, ECDSA and RSA to libcrypto. Ed25519 stays on the Go module: there it is an
// approved algorithm under the certificate, while OpenSSL's 3.0 and 3.1 providers offer it as a non-approved one.
type openSSL struct{}

// New loads libcrypto. It fails, and never falls back to the Go module, when that is not possible.
func New() (Backend, error) {
	if err := osslsetup.Init(libcrypto); err != nil {
		return nil, fmt.Errorf("load OpenSSL backend %q: %w", libcrypto, err)
	}
	return openSSL{}, nil
}

// checkBackend is the guard's second half in this build.
func checkBackend(ctx context.Context) error {
	backend, err := New()
	if err != nil {
		return err
	}
	if err := backend.SelfTest(ctx); err != nil {
		return fmt.Errorf("OpenSSL backend does not work, check the provider that OPENSSL_CONF names: %w", err)
	}
	return nil
}

// opensslModule describes libcrypto and its provider, or says that it could not be loaded.
func opensslModule() *Module {
	if _, err := New(); err != nil {
		return &Module{Name: "OpenSSL", Status: "not loaded: " + printable(err.Error())}
	}
	m := openSSL{}.Module()
	return &m
}

// goRouted is what stays on the Go module in this build.
func goRouted() []string {
	return []string{"Ed25519", "TLS", "X.509", "all other users of the Go standard library"}
}

// Module implements Digests.
func (openSSL) Module() Module {
	return describeProvider(osslsetup.VersionText(), osslsetup.FIPS(), readProvider())
}

// SelfTest implements Digests. It asks the FIPS provider for its own test too, where this build can. A provider that is
// missing or tampered with shows here first, as a panic of the binding.
func (o openSSL) SelfTest(ctx context.Context) (err error) {
	defer recovered(&err)
	if p := readProvider(); p.known && !p.selfTest {
		return fmt.Errorf("provider %q reports a failed self-test", p.name)
	}
	return selfTest(ctx, o)
}

// Hash implements Digests.
func (openSSL) Hash(h crypto.Hash) (state hash.Hash, err error) {
	if err := refuseHash(h); err != nil {
		return nil, err
	}
	defer recovered(&err)
	return newOpenSSLHash(h), nil
}

// HMAC implements Digests.
func (openSSL) HMAC(h crypto.Hash, key []byte) (state hash.Hash, err error) {
	if err := refuseHash(h); err != nil {
		return nil, err
	}
	if err := refuseHMACKey(key); err != nil {
		return nil, err
	}
	defer recovered(&err)
	mac := openssl.NewHMAC(func() *openssl.Hash { return newOpenSSLHash(h) }, key)
	if mac == nil {
		return nil, fmt.Errorf("OpenSSL offers no HMAC with %s", h)
	}
	return mac, nil
}

// newOpenSSLHash panics when the provider does not offer an allowed function; its callers recover.
func newOpenSSLHash(h crypto.Hash) *openssl.Hash {
	switch h {
	case crypto.SHA384:
		return openssl.NewSHA384()
	case crypto.SHA512:
		return openssl.NewSHA512()
	case crypto.SHA3_256:
		return openssl.NewSHA3_256()
	case crypto.SHA3_384:
		return openssl.NewSHA3_384()
	case crypto.SHA3_512:
		return openssl.NewSHA3_512()
	default:
		return openssl.NewSHA256()
	}
}

// recovered turns a panic of the binding, which it raises when libcrypto fails, into an error. Once a state exists, Sum can
// only panic: a module in its error state must not put out a digest.
func recovered(err *error) {
	if r := recover(); r != nil {
		text, _, _ := strings.Cut(fmt.Sprint(r), "\n") // the rest is OpenSSL's error queue, with addresses
		*err = fmt.Errorf("OpenSSL failed: %s", printable(text))
	}
}

// Rand implements Digests.
func (openSSL) Rand() io.Reader {
	return openssl.RandReader
}

// Verify implements Signatures.
func (o openSSL) Verify(alg Algorithm, pub crypto.PublicKey, message io.Reader, sig []byte) (err error) {
	p, err := resolve(alg, pub)
	if err != nil {
		return err
	}
	if p.scheme == schemeEd25519 {
		return native{}.Verify(alg, pub, message, sig)
	}
	defer recovered(&err)
	digest, err := digestFor(o, p, message)
	if err != nil {
		return err
	}
	return openSSLVerify(p, pub, digest, sig)
}

func openSSLVerify(p parameters, pub crypto.PublicKey, digest, sig []byte) error {
	switch key := pub.(type) {
	case *ecdsa.PublicKey:
		return verifyOpenSSLECDSA(key, digest, sig)
	case *rsa.PublicKey:
		return verifyOpenSSLRSA(p, key, digest, sig)
	default:
		return ErrSignature
	}
}

func verifyOpenSSLECDSA(key *ecdsa.PublicKey, digest, sig []byte) error {
	x, y, err := coordinates(key)
	if err != nil {
		return err
	}
	pub, err := openssl.NewPublicKeyECDSA(key.Curve.Params().Name, bbig.Enc(x), bbig.Enc(y))
	if err != nil {
		return fmt.Errorf("OpenSSL: public key: %w", err)
	}
	if !openssl.VerifyECDSA(pub, digest, sig) {
		return ErrSignature
	}
	return nil
}

func verifyOpenSSLRSA(p parameters, key *rsa.PublicKey, digest, sig []byte) error {
	pub, err := openssl.NewPublicKeyRSA(bbig.Enc(key.N), bbig.Enc(big.NewInt(int64(key.E))))
	if err != nil {
		return fmt.Errorf("OpenSSL: public key: %w", err)
	}
	// The binding checks the length from below only, for PKCS#1 only.
	if len(sig) != key.Size() {
		return ErrSignature
	}
	if p.scheme == schemePSS {
		err = openssl.VerifyRSAPSS(pub, p.hash, digest, sig, rsa.PSSSaltLengthEqualsHash)
	} else {
		err = openssl.VerifyRSAPKCS1v15(pub, p.hash, digest, sig)
	}
	if err != nil {
		return ErrSignature
	}
	return nil
}

// coordinates takes a point apart. Going through Bytes checks that it is on the curve.
func coordinates(key *ecdsa.PublicKey) (x, y *big.Int, err error) {
	raw, err := key.Bytes()
	if err != nil {
		return nil, nil, fmt.Errorf("public key: %w", err)
	}
	half := (len(raw) - 1) / 2
	return new(big.Int).SetBytes(raw[1 : 1+half]), new(big.Int).SetBytes(raw[1+half:]), nil
}

// Signer implements Signatures.
func (openSSL) Signer(ctx context.Context, key KeyRef) (crypto.Signer, error) {
	private, err := key.load(ctx)
	if err != nil {
		return nil, err
	}
	signer, err := newOpenSSLSigner(private)
	if err != nil {
		return nil, fmt.Errorf("OpenSSL: private key: %w", err)
	}
	return signer, nil
}

func newOpenSSLSigner(private crypto.Signer) (signer crypto.Signer, err error) {
	defer recovered(&err)
	switch key := private.(type) {
	case *ecdsa.PrivateKey:
		return newECDSASigner(key)
	case *rsa.PrivateKey:
		return newRSASigner(key)
	case ed25519.PrivateKey:
		return nativeSigner{key}, nil
	default:
		return nil, fmt.Errorf("key of type %T", private)
	}
}

// openSSLSigner is a private key held by libcrypto.
type openSSLSigner struct {
	public crypto.PublicKey
	sign   func(digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

// Public implements crypto.Signer.
func (s openSSLSigner) Public() crypto.PublicKey {
	return s.public
}

// Sign implements crypto.Signer. libcrypto takes its own random numbers.
func (s openSSLSigner) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) (sig []byte, err error) {
	opts, err = signerOpts(s.public, digest, opts)
	if err != nil {
		return nil, err
	}
	defer recovered(&err)
	sig, err = s.sign(digest, opts)
	if err != nil {
		return nil, fmt.Errorf("OpenSSL: sign: %w", err)
	}
	return sig, nil
}

func newECDSASigner(key *ecdsa.PrivateKey) (crypto.Signer, error) {
	x, y, err := coordinates(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	scalar, err := key.Bytes()
	if err != nil {
		return nil, err
	}
	d := new(big.Int).SetBytes(scalar)
	private, err := openssl.NewPrivateKeyECDSA(key.Curve.Params().Name, bbig.Enc(x), bbig.Enc(y), bbig.Enc(d))
	if err != nil {
		return nil, err
	}
	sign := func(digest []byte, _ crypto.SignerOpts) ([]byte, error) {
		return openssl.SignMarshalECDSA(private, digest)
	}
	return openSSLSigner{public: &key.PublicKey, sign: sign}, nil
}

func newRSASigner(key *rsa.PrivateKey) (crypto.Signer, error) {
	if len(key.Primes) != 2 {
		return nil, NewRefusal(FeatureSignature, "multi-prime RSA", "use an RSA key with two primes")
	}
	key.Precompute()
	private, err := openssl.NewPrivateKeyRSA(
		bbig.Enc(key.N), bbig.Enc(big.NewInt(int64(key.E))), bbig.Enc(key.D),
		bbig.Enc(key.Primes[0]), bbig.Enc(key.Primes[1]),
		bbig.Enc(key.Precomputed.Dp), bbig.Enc(key.Precomputed.Dq), bbig.Enc(key.Precomputed.Qinv))
	if err != nil {
		return nil, err
	}
	sign := func(digest []byte, opts crypto.SignerOpts) ([]byte, error) {
		if _, ok := opts.(*rsa.PSSOptions); ok {
			return openssl.SignRSAPSS(private, opts.HashFunc(), digest, rsa.PSSSaltLengthEqualsHash)
		}
		return openssl.SignRSAPKCS1v15(private, opts.HashFunc(), digest)
	}
	return openSSLSigner{public: &key.PublicKey, sign: sign}, nil
}
