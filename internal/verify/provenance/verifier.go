// SPDX-License-Identifier: Apache-2.0

package provenance

import (
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice.dev/sluice/internal/chart"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/pgp"
)

// Find returns the digest of the archive that a subject stands for, and the provenance file that belongs to it. Where there is none,
// the error wraps verify.ErrNotVerified.
type Find func(ctx context.Context, s verify.Subject) (archive string, file []byte, err error)

// Config is one chart to verify. All fields but FIPS and Now are required.
type Config struct {
	// Name and Version are those of the chart that is wanted.
	Name, Version string
	// Find finds its provenance file.
	Find Find
	// Digests computes digests.
	Digests fips.Digests
	// FIPS is the profile with its reporters; zero is strict.
	FIPS fips.Policy
	// Now stamps statements, and is the clock by which keys expire; nil means time.Now.
	Now func() time.Time
}

// Verifier implements verify.Verifier for one version of a chart.
type Verifier struct{ config Config }

var _ verify.Verifier = (*Verifier)(nil)

// New returns a verifier.
func New(c Config) (*Verifier, error) {
	if c.Name == "" || c.Version == "" || c.Find == nil || c.Digests == nil {
		return nil, errors.New("a verifier of provenance needs a chart's name and version, its provenance file, and digests")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Verifier{config: c}, nil
}

// Verify implements verify.Verifier.
func (v *Verifier) Verify(ctx context.Context, s verify.Subject, p verify.Policy) (verify.Statement, error) {
	if !oci.IsDigest(s.Digest) {
		return verify.Statement{}, fmt.Errorf("verify %q: digest %.80q is not sha256:<hex>", s.Reference, s.Digest)
	}
	failed := func(err error) (verify.Statement, error) {
		return verify.Statement{}, fmt.Errorf("provenance of %q: %w", v.file(), err)
	}
	trust, err := v.trust(p)
	if err != nil {
		return failed(fmt.Errorf("%w: %w", err, verify.ErrNotVerified))
	}
	archive, file, err := v.config.Find(ctx, s)
	if err != nil {
		return failed(err)
	}
	found, err := v.check(archive, file, p.Keys)
	if err != nil {
		return failed(err)
	}
	sum, err := fips.Sum(v.config.Digests, crypto.SHA256, file)
	if err != nil {
		return failed(err)
	}
	return verify.Statement{
		Subject: s, Method: verify.HelmProvenance, Signer: found.Signer, Fingerprint: found.Fingerprint,
		Evidence: "sha256:" + hex.EncodeToString(sum), Trust: trust, VerifiedAt: v.config.Now().UTC(),
	}, nil
}

// file is the name that the archive has in its provenance file: the one under which Helm has packed it, wherever it lies.
func (v *Verifier) file() string { return v.config.Name + "-" + v.config.Version + ".tgz" }

// trust reads a policy. One key that cannot be used makes the whole unusable: a policy is never quietly narrowed to what happens to be
// readable.
func (v *Verifier) trust(p verify.Policy) (string, error) {
	if len(p.Keys) == 0 {
		return "", verify.ErrNoPolicy
	}
	for _, key := range p.Keys {
		if err := pgp.CheckRing(key); err != nil {
			return "", err
		}
	}
	return verify.Trust(v.config.Digests, p)
}

// check checks the signature, and only then reads what is signed.
func (v *Verifier) check(archive string, file []byte, keys []verify.Key) (pgp.Finding, error) {
	refused := func(err error) (pgp.Finding, error) {
		return pgp.Finding{}, fmt.Errorf("%w: %w", err, verify.ErrNotVerified)
	}
	if len(file) > chart.MaxProvenance {
		return refused(fmt.Errorf("it is larger than %d bytes", chart.MaxProvenance))
	}
	message, err := pgp.ParseMessage(file)
	if err != nil {
		return refused(err)
	}
	found, err := pgp.Checker{FIPS: v.config.FIPS, Now: v.config.Now}.Check(message.Signed, message.Signature, keys)
	if err != nil {
		return pgp.Finding{}, err
	}
	if err := v.about(message.Text, archive); err != nil {
		return refused(err)
	}
	return found, nil
}

// about reports whether a signed text is about the chart that is wanted and about an archive, and about nothing else.
func (v *Verifier) about(text []byte, archive string) error {
	says, err := chart.ParseProvenance(text)
	if err != nil {
		return err
	}
	if says.Metadata.Name != v.config.Name || says.Metadata.Version != v.config.Version {
		return fmt.Errorf("it is about '%s' version '%s'", says.Metadata.Name, says.Metadata.Version)
	}
	digest, ok := says.Files[v.file()]
	switch {
	case !ok || len(says.Files) != 1:
		return fmt.Errorf("it names the files %.200q, and not this one alone", slices.Sorted(maps.Keys(says.Files)))
	case !strings.EqualFold(digest, archive):
		return fmt.Errorf("it is about an archive with digest %.100q, and this one has %q", digest, archive)
	}
	return nil
}
