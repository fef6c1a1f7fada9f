// SPDX-License-Identifier: Apache-2.0

package cosign

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/internal/verify"
)

// signature is one signature of either scheme.
type signature interface {
	// certified reports whether it comes with a certificate.
	certified() bool
	// verify checks it under one key.
	verify(signatures fips.Signatures, key sign.PublicKey) error
	// about checks, after verify, that what was signed is a signature of the digest.
	about(digest string) error
	// checkable is what sigstore-go needs to check it by its certificate.
	checkable(digests fips.Digests, digest string) (checkable, error)
}

// checkable is a signature in sigstore-go's terms.
type checkable struct {
	// bundle is the encoded Sigstore bundle.
	bundle []byte
	// artifact is what must have been signed.
	artifact sigstore.ArtifactPolicyOption
	// about is signature.about for what sigstore-go says it has checked.
	about func(*sigstore.VerificationResult) error
}

// settle decides about one signature.
func (r *run) settle(s signature) {
	if len(r.trust.keys) > 0 {
		statement, err := r.byKey(s)
		if err == nil {
			r.found = &statement
			return
		}
		r.refuse(err)
	}
	if len(r.trust.identities) == 0 {
		return
	}
	statement, err := r.byCertificate(s)
	if err != nil {
		r.refuse(err)
		return
	}
	r.found = &statement
}

// byKey tries each trusted key. A transparency log is not asked for: the key itself is the trust.
func (r *run) byKey(s signature) (verify.Statement, error) {
	for _, key := range r.trust.keys {
		err := s.verify(r.verifier.config.Backend, key.PublicKey)
		if errors.Is(err, fips.ErrSignature) {
			continue
		}
		if err == nil {
			err = s.about(r.subject.Digest)
		}
		if err != nil {
			return verify.Statement{}, err
		}
		return verify.Statement{Method: verify.CosignKey, Signer: key.name, Fingerprint: key.Fingerprint}, nil
	}
	return verify.Statement{}, fmt.Errorf("signature does not match any of the trusted keys (%s)", r.trust.names())
}

// byCertificate lets sigstore-go check chain, log, time and signature, and then the identity.
func (r *run) byCertificate(s signature) (statement verify.Statement, err error) {
	if !s.certified() {
		return verify.Statement{}, errors.New("signature is by a key, and the policy trusts certificate identities")
	}
	err = guarded(func() error {
		c, err := s.checkable(r.verifier.config.Backend, r.subject.Digest)
		if err != nil {
			return err
		}
		statement, err = r.checkCertificate(c)
		return err
	})
	if err != nil {
		return verify.Statement{}, err
	}
	return statement, nil
}

func (r *run) checkCertificate(c checkable) (verify.Statement, error) {
	b := &bundle.Bundle{}
	if err := b.UnmarshalJSON(c.bundle); err != nil {
		return verify.Statement{}, errors.New("bundle is not a valid Sigstore bundle")
	}
	leaf, err := leafOf(b)
	if err != nil {
		return verify.Statement{}, err
	}
	options := make([]sigstore.PolicyOption, 0, len(r.trust.identities))
	for _, identity := range r.trust.identities {
		options = append(options, sigstore.WithCertificateIdentity(identity))
	}
	result, err := r.trust.verifier.Verify(b, sigstore.NewPolicy(c.artifact, options...))
	if err != nil {
		return verify.Statement{}, explain(err, leaf)
	}
	if err := c.about(result); err != nil {
		return verify.Statement{}, err
	}
	who, err := certificate.SummarizeCertificate(leaf)
	if err != nil {
		return verify.Statement{}, errors.New("certificate has no readable identity")
	}
	sum, err := fips.Sum(r.verifier.config.Backend, crypto.SHA256, leaf.RawSubjectPublicKeyInfo)
	if err != nil {
		return verify.Statement{}, err
	}
	return verify.Statement{
		Method: verify.CosignKeyless, Signer: who.SubjectAlternativeName, Issuer: who.Issuer,
		Fingerprint: "sha256:" + hex.EncodeToString(sum),
	}, nil
}

// leafOf returns the certificate, if its key is on the FIPS list: sigstore-go has no such list.
func leafOf(b *bundle.Bundle) (*x509.Certificate, error) {
	material, err := b.VerificationContent()
	if err != nil || material.Certificate() == nil {
		return nil, errors.New("bundle holds no readable certificate")
	}
	leaf := material.Certificate()
	if _, err := fips.DefaultAlgorithm(leaf.PublicKey); err != nil {
		return nil, fmt.Errorf("certificate's key: %w", err)
	}
	return leaf, nil
}

// maxCause bounds sigstore-go's own words in a message; parts of them come from the bundle.
const maxCause = 200

// explain says what is wrong in words for the object's owner. The identity is checked last, so when that is what failed, the
// certificate's words can be quoted as true.
func explain(err error, leaf *x509.Certificate) error {
	if _, ok := errors.AsType[*sigstore.ErrNoMatchingCertificateIdentity](err); ok {
		who, err := certificate.SummarizeCertificate(leaf)
		if err != nil {
			return errors.New("certificate has no readable identity")
		}
		return fmt.Errorf("certificate identity %.256q (issuer %.256q) is not accepted", who.SubjectAlternativeName, who.Issuer)
	}
	text := strings.ToValidUTF8(fmt.Sprintf("%.*s", maxCause, err.Error()), "")
	return fmt.Errorf("certificate is not accepted: %s", strings.Join(strings.Fields(text), " "))
}

// verifyBytes checks a bare signature as cosign makes it.
func verifyBytes(signatures fips.Signatures, key sign.PublicKey, message, sig []byte) error {
	return signatures.Verify(sign.SigstoreAlgorithm(key), key.Key, bytes.NewReader(message), sig)
}

func (s simple) verify(signatures fips.Signatures, key sign.PublicKey) error {
	return verifyBytes(signatures, key, s.payload, s.signature)
}

func (s simple) checkable(digests fips.Digests, digest string) (checkable, error) {
	sum, err := fips.Sum(digests, crypto.SHA256, s.payload)
	if err != nil {
		return checkable{}, err
	}
	encoded, err := s.bundle(sum)
	if err != nil {
		return checkable{}, err
	}
	return checkable{
		bundle: encoded, artifact: sigstore.WithArtifact(bytes.NewReader(s.payload)),
		about: func(*sigstore.VerificationResult) error { return s.about(digest) },
	}, nil
}

// checkable leaves reading the statement to sigstore-go: its parser and ours may see different envelopes in a bundle that was
// made to confuse, and only the one it has checked counts.
func (s signed) checkable(_ fips.Digests, digest string) (checkable, error) {
	sum, err := hex.DecodeString(strings.TrimPrefix(digest, "sha256:"))
	if err != nil {
		return checkable{}, err
	}
	c := checkable{bundle: s.encoded, artifact: sigstore.WithArtifactDigest("sha256", sum), about: statesSignature}
	if s.Message != nil {
		c.artifact = sigstore.WithArtifact(bytes.NewReader(s.message))
	}
	return c, nil
}

// statesSignature refuses attestations. A bundle without a statement is a signature over the artifact itself.
func statesSignature(result *sigstore.VerificationResult) error {
	if result.Statement == nil {
		return nil
	}
	return isSignature(result.Statement.GetType(), result.Statement.GetPredicateType())
}
