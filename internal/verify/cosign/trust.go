// SPDX-License-Identifier: Apache-2.0

package cosign

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/root"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"

	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/internal/verify"
)

// Bounds of a policy.
const (
	maxKeys        = 64
	maxIdentities  = 64
	maxExpression  = 1024
	maxTrustedRoot = 2 << 20
)

// trust is a policy, read.
type trust struct {
	keys       []namedKey
	identities sigstore.CertificateIdentities
	verifier   *sigstore.Verifier
	// fingerprint is over the policy's material, so that a changed one can be noticed.
	fingerprint string
}

type namedKey struct {
	name string
	sign.PublicKey
}

// names lists the keys for a message.
func (t trust) names() string {
	names := make([]string, 0, len(t.keys))
	for _, key := range t.keys {
		names = append(names, key.name)
	}
	return strings.Join(names, ", ")
}

// trust reads a policy. One part that cannot be used makes the whole unusable: a policy is never quietly narrowed or
// widened to what happens to be readable.
func (v *Verifier) trust(p verify.Policy) (trust, error) {
	if p.Empty() || len(p.TrustPolicy) > 0 {
		return trust{}, verify.ErrNoPolicy // a trust policy is Notation's
	}
	if len(p.Keys) > maxKeys || len(p.Identities) > maxIdentities || len(p.TrustedRoot) > maxTrustedRoot {
		return trust{}, errors.New("policy is too large")
	}
	var t trust
	for _, key := range p.Keys {
		public, err := sign.ParsePublicKey(v.config.Backend, key.Data)
		if err != nil {
			return trust{}, fmt.Errorf("trusted key %q: %w", key.Name, err)
		}
		t.keys = append(t.keys, namedKey{name: key.Name, PublicKey: public})
	}
	// Sorted, so that a message does not depend on the order of a Secret's entries.
	slices.SortStableFunc(t.keys, func(a, b namedKey) int { return strings.Compare(a.name, b.name) })
	if len(p.Identities) > 0 {
		if err := t.readIdentities(p); err != nil {
			return trust{}, err
		}
	}
	if len(t.keys) == 0 && len(t.identities) == 0 {
		return trust{}, verify.ErrNoPolicy
	}
	var err error
	t.fingerprint, err = verify.Trust(v.config.Backend, p)
	return t, err
}

func (t *trust) readIdentities(p verify.Policy) error {
	if len(p.TrustedRoot) == 0 {
		return errors.New("identities need a trusted root: give trusted_root.json")
	}
	for _, match := range p.Identities {
		if match.Issuer == "" || match.Subject == "" {
			continue // accepts nothing, and so adds nothing
		}
		identity, err := readIdentity(match)
		if err != nil {
			return err
		}
		t.identities = append(t.identities, identity)
	}
	var err error
	t.verifier, err = certificateVerifier(p.TrustedRoot)
	return err
}

// readIdentity anchors both expressions: "github.com/org" must not accept "evil.example/github.com/org".
func readIdentity(match verify.IdentityMatch) (sigstore.CertificateIdentity, error) {
	for _, expression := range []string{match.Issuer, match.Subject} {
		if _, err := regexp.Compile(expression); err != nil || len(expression) > maxExpression {
			return sigstore.CertificateIdentity{}, fmt.Errorf("identity %.128q is no usable regular expression", expression)
		}
	}
	return sigstore.NewShortCertificateIdentity("", anchored(match.Issuer), "", anchored(match.Subject))
}

func anchored(expression string) string { return `\A(?:` + expression + `)\z` }

// CheckTrustedRoot reports what keeps a trusted_root.json from being used.
func CheckTrustedRoot(data []byte) error {
	if len(data) > maxTrustedRoot {
		return fmt.Errorf("trusted root is larger than %d bytes", maxTrustedRoot)
	}
	_, err := certificateVerifier(data)
	return err
}

// certificateVerifier asks for whatever the trusted root can vouch for. Certificates live for minutes, so at least one source
// of time is needed; a root with none verifies nothing.
func certificateVerifier(trustedRoot []byte) (v *sigstore.Verifier, err error) {
	err = guarded(func() error {
		material, err := root.NewTrustedRootFromJSON(trustedRoot)
		if err != nil {
			return errors.New("trusted root is no valid Sigstore trusted_root.json")
		}
		options := []sigstore.VerifierOption{sigstore.WithoutStatementPredicate()}
		switch logs, authorities := len(material.RekorLogs()), len(material.TimestampingAuthorities()); {
		case len(material.FulcioCertificateAuthorities()) == 0:
			return errors.New("trusted root names no certificate authority")
		case logs > 0:
			// An observer's time, because entries of a Rekor v2 log carry none of their own and come with a timestamp.
			options = append(options, sigstore.WithTransparencyLog(1), sigstore.WithObserverTimestamps(1))
		case authorities > 0:
			options = append(options, sigstore.WithSignedTimestamps(1))
		default:
			return errors.New("trusted root names neither a transparency log nor a timestamp authority, so no time can be trusted")
		}
		if len(material.CTLogs()) > 0 {
			options = append(options, sigstore.WithSignedCertificateTimestamps(1))
		}
		v, err = sigstore.NewVerifier(material, options...)
		return err
	})
	return v, err
}

// guarded turns a panic into an error. The parsers of bundles, log entries and timestamps are not ours, and what they are
// given is anybody's who may push to the repository.
func guarded(f func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("signature cannot be read")
		}
	}()
	return f()
}
