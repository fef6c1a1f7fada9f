// SPDX-License-Identifier: Apache-2.0

package notation

import (
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/verify"
)

// payloadType is what a signature of an artifact signs.
const payloadType = "application/vnd.cncf.notary.payload.v1+json"

const (
	// maxChain bounds the certificates of one signature.
	maxChain = 16
	// maxCause bounds foreign words in a message.
	maxCause = 200
)

// envelope is a signature as the registry has it.
type envelope struct {
	kind    string
	encoded []byte
}

// open checks the signature under the certificate that comes with it, and the chain in itself. Nobody is believed yet.
func (e envelope) open() (content *signature.EnvelopeContent, err error) {
	// The parsers are not ours, and what they are given is anybody's who may push to the repository.
	defer func() {
		if recover() != nil {
			content, err = nil, errors.New("signature cannot be read")
		}
	}()
	var parsed signature.Envelope
	switch e.kind {
	case jws.MediaTypeEnvelope:
		parsed, err = jws.ParseEnvelope(e.encoded)
	case cose.MediaTypeEnvelope:
		parsed, err = cose.ParseEnvelope(e.encoded)
	default:
		return nil, fmt.Errorf("signature is of type %.80q", e.kind)
	}
	if err != nil {
		return nil, errors.New("signature is no valid envelope")
	}
	if content, err = parsed.Verify(); err != nil {
		text := strings.ToValidUTF8(fmt.Sprintf("%.*s", maxCause, err), "")
		return nil, fmt.Errorf("signature does not hold: %s", strings.Join(strings.Fields(text), " "))
	}
	return content, nil
}

// settle decides about one signature.
func (v *Verifier) settle(e envelope, subject oci.Manifest, t trust) (verify.Statement, error) {
	signed, err := e.open()
	if err != nil {
		return verify.Statement{}, err
	}
	info := signed.SignerInfo
	for _, check := range []func() error{
		func() error { return authentic(info, t) },
		func() error { return about(signed.Payload, subject) },
		func() error { return understood(info.SignedAttributes) },
		func() error { return t.timely(info, v.config.Now()) },
	} {
		if err := check(); err != nil {
			return verify.Statement{}, err
		}
	}
	leaf := info.CertificateChain[0]
	sum, err := fips.Sum(v.config.Backend, crypto.SHA256, leaf.RawSubjectPublicKeyInfo)
	if err != nil {
		return verify.Statement{}, err
	}
	return verify.Statement{
		Signer: leaf.Subject.String(), Issuer: leaf.Issuer.String(), Fingerprint: "sha256:" + hex.EncodeToString(sum),
	}, nil
}

// authentic checks that the chain leads to a trusted certificate, and that its first is a signer whom the policy names.
func authentic(info signature.SignerInfo, t trust) error {
	chain := info.CertificateChain
	if len(chain) == 0 || len(chain) > maxChain {
		return fmt.Errorf("signature has %d certificates", len(chain))
	}
	for _, c := range chain {
		if _, err := fips.DefaultAlgorithm(c.PublicKey); err != nil {
			return fmt.Errorf("certificate's key: %w", err)
		}
	}
	store := map[signature.SigningScheme]string{
		signature.SigningSchemeX509: "ca", signature.SigningSchemeX509SigningAuthority: "signingAuthority",
	}[info.SignedAttributes.SigningScheme]
	if store == "" || !slices.Contains(t.rules.stores, store) {
		return fmt.Errorf("statement %.80q trusts no store for signatures by scheme %.80q", t.rules.name, info.SignedAttributes.SigningScheme)
	}
	if !slices.ContainsFunc(chain, func(c *x509.Certificate) bool { return slices.ContainsFunc(t.certificates, c.Equal) }) {
		return fmt.Errorf("certificate %.256q is of no trusted authority", chain[0].Subject)
	}
	subject := nameOf(chain[0].Subject)
	if !slices.ContainsFunc(t.rules.identities, func(n name) bool { return n.covers(subject) }) {
		return fmt.Errorf("certificate %.256q is not among the trusted identities of statement %.80q", chain[0].Subject, t.rules.name)
	}
	return nil
}

// about checks that what was signed is the subject, by digest, size and media type: the same bytes may mean something else under
// another type.
func about(payload signature.Payload, subject oci.Manifest) error {
	if payload.ContentType != payloadType {
		return fmt.Errorf("signed payload is of type %.80q", payload.ContentType)
	}
	var signed struct {
		Target struct {
			MediaType string `json:"mediaType"`
			Digest    string `json:"digest"`
			Size      int64  `json:"size"`
		} `json:"targetArtifact"`
	}
	if err := json.Unmarshal(payload.Content, &signed); err != nil {
		return errors.New("signed payload is no valid JSON")
	}
	switch target := signed.Target; {
	case target.Digest != subject.Digest:
		return fmt.Errorf("signature is over another digest, %.80q", target.Digest)
	case target.Size != int64(len(subject.Raw)) || target.MediaType != subject.MediaType:
		return fmt.Errorf("signature is over %d bytes of type %.80q, and the artifact is %d bytes of type %.80q",
			target.Size, target.MediaType, len(subject.Raw), subject.MediaType)
	}
	return nil
}

// understood refuses attributes that only a plugin could check.
func understood(attributes signature.SignedAttributes) error {
	for _, a := range attributes.ExtendedAttributes {
		key := fmt.Sprintf("%.80v", a.Key)
		if a.Critical || strings.HasPrefix(key, "io.cncf.notary.verificationPlugin") {
			return fmt.Errorf("signature has attribute %q, which needs a plugin: plugins are not supported", key)
		}
	}
	return nil
}

// timely checks what depends on the time, as far as the level enforces it.
func (t trust) timely(info signature.SignerInfo, now time.Time) error {
	if err := t.unrevoked(info.CertificateChain, now); err != nil {
		return err
	}
	if until := info.SignedAttributes.Expiry; t.rules.enforced[expiry] && !until.IsZero() && !now.Before(until) {
		return fmt.Errorf("signature has expired on %s", until.UTC().Format(time.RFC3339))
	}
	if !t.rules.enforced[authenticTimestamp] {
		return nil
	}
	at, err := t.signedAt(info, now)
	if err != nil {
		return err
	}
	for _, c := range info.CertificateChain {
		if !at.within(c) {
			return fmt.Errorf("certificate %.256q is valid from %s to %s only", c.Subject, c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339))
		}
	}
	return nil
}
