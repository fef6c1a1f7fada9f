// SPDX-License-Identifier: Apache-2.0

package gitsig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/pgp"
)

// The condition reasons of this package's faults (spec rows S-10, S-42).
const (
	ReasonInvalidMode            = "InvalidVerificationMode"
	ReasonInvalidObject          = "InvalidGitObject"
	ReasonInvalidCommitSignature = "InvalidCommitSignature"
	ReasonInvalidTagSignature    = "InvalidTagSignature"
)

// Mode says what must be signed.
type Mode string

// The modes of spec.verify.mode.
const (
	// HEAD is the commit.
	HEAD Mode = "HEAD"
	// TagOnly is the tag that led to the commit.
	TagOnly Mode = "Tag"
	// TagAndHEAD is both.
	TagAndHEAD Mode = "TagAndHEAD"
)

// ParseMode reads spec.verify.mode; "head" is the spelling of older manifests and "" the default, both meaning HEAD.
func ParseMode(s string) (Mode, error) {
	switch Mode(s) {
	case HEAD, "head", "":
		return HEAD, nil
	case TagOnly, TagAndHEAD:
		return Mode(s), nil
	default:
		return "", fault.New(fault.Invalid, ReasonInvalidMode, "verification mode %q is unknown: want %q, %q or %q", s, HEAD, TagOnly, TagAndHEAD)
	}
}

// commit and tag report what a mode asks for. The zero Mode asks for the commit.
func (m Mode) commit() bool { return m != TagOnly }
func (m Mode) tag() bool    { return m == TagOnly || m == TagAndHEAD }

// Object is a signed Git object. ID must be the hash of the whole object, checked by whoever read it.
type Object struct {
	// ID is the object id in hex.
	ID string
	// Payload is what the signature is over, Signature the armored signature, empty for an unsigned object.
	Payload   []byte
	Signature []byte
}

// Tag is an annotated tag.
type Tag struct {
	Object
	// Name is the name in the object, Target the commit it leads to.
	Name   string
	Target string
}

// Config is one checkout to verify.
type Config struct {
	// Mode says what must be signed.
	Mode Mode
	// Commit is the commit whose files were fetched, and Subject the same as a subject names it: "sha1:<id>" or "sha256:<id>".
	Commit  Object
	Subject string
	// Tag is the annotated tag that led to it, nil without one.
	Tag *Tag
	// RefName is the full name of the reference that was asked for, "refs/tags/v1.0.0".
	RefName string
	// Digests computes the digest over the trust material. Required.
	Digests fips.Digests
	// FIPS is the profile with its reporters; zero is strict.
	FIPS fips.Policy
	// Now is the clock. Required.
	Now func() time.Time
}

// Verifier checks one checkout. It implements verify.Verifier for the subject that is its commit.
type Verifier struct{ config Config }

// New returns a verifier. A mode that asks for a tag where the reference is none is a fault that waits for the spec to
// change.
func New(c Config) (*Verifier, error) {
	if c.Digests == nil || c.Now == nil {
		return nil, errors.New("a verifier needs digests and a clock")
	}
	if c.Mode.tag() && !strings.HasPrefix(c.RefName, "refs/tags/") {
		return nil, fault.New(fault.Invalid, ReasonInvalidMode,
			"verification mode %q needs a reference to a tag (spec.ref.tag, semver, or name below refs/tags/)", c.Mode)
	}
	return &Verifier{config: c}, nil
}

// Verify implements verify.Verifier.
func (v *Verifier) Verify(ctx context.Context, s verify.Subject, p verify.Policy) (verify.Statement, error) {
	if err := ctx.Err(); err != nil {
		return verify.Statement{}, err
	}
	if s.Digest != v.config.Subject || s.Digest == "" {
		return verify.Statement{}, fmt.Errorf("the subject %q is not the commit that was fetched: %w", s.Digest, verify.ErrNotVerified)
	}
	if len(p.Keys) == 0 {
		return verify.Statement{}, fault.New(fault.Denied, v.reason(), "%w", verify.ErrNoPolicy)
	}
	trust, err := verify.Trust(v.config.Digests, p)
	if err != nil {
		return verify.Statement{}, err
	}
	found, err := v.check(p.Keys)
	if err != nil {
		return verify.Statement{}, err
	}
	return verify.Statement{
		Subject: s, Method: found.method, Signer: found.signer, Fingerprint: found.fingerprint, Trust: trust,
		VerifiedAt: v.config.Now().UTC(),
	}, nil
}

// reason is the one for a failure that concerns the whole mode.
func (v *Verifier) reason() string {
	if v.config.Mode == TagOnly {
		return ReasonInvalidTagSignature
	}
	return ReasonInvalidCommitSignature
}

// check verifies what the mode asks for. With two signatures the commit's is reported, and both signers are named.
func (v *Verifier) check(keys []verify.Key) (finding, error) {
	var tag, commit finding
	var err error
	if v.config.Mode.tag() {
		if tag, err = v.checkTag(keys); err != nil {
			return finding{}, err
		}
	}
	if !v.config.Mode.commit() {
		return tag, nil
	}
	if commit, err = v.signature(v.config.Commit, keys); err != nil {
		return finding{}, fault.New(fault.Denied, ReasonInvalidCommitSignature, "commit %s: %w", v.config.Commit.ID, err)
	}
	if v.config.Mode.tag() && tag.signer != commit.signer {
		commit.signer = fmt.Sprintf("%s (commit), %s (tag)", commit.signer, tag.signer)
	}
	return commit, nil
}

// checkTag verifies the tag, and that it is the tag asked for: the name of a reference is whatever the server says, and an
// old signed tag under a new name would be a downgrade.
func (v *Verifier) checkTag(keys []verify.Key) (finding, error) {
	tag := v.config.Tag
	object := func(format string, args ...any) error {
		return fault.New(fault.Denied, ReasonInvalidObject, format+": %w", append(args, verify.ErrNotVerified)...)
	}
	switch {
	case tag == nil:
		return finding{}, object("%q is no annotated tag and cannot be signed", v.config.RefName)
	case len(tag.Signature) == 0:
		return finding{}, object("tag %q is not signed", v.config.RefName)
	case tag.Target != v.config.Commit.ID:
		return finding{}, object("tag %q leads to another commit than was fetched", v.config.RefName)
	case "refs/tags/"+tag.Name != v.config.RefName:
		return finding{}, object("reference %q holds a tag whose signed name is %q", v.config.RefName, tag.Name)
	}
	found, err := v.signature(tag.Object, keys)
	if err != nil {
		return finding{}, fault.New(fault.Denied, ReasonInvalidTagSignature, "tag %q: %w", tag.Name, err)
	}
	return found, nil
}

// finding is one signature that holds.
type finding struct {
	method      verify.Method
	signer      string
	fingerprint string
}

// maxSignature bounds an armored signature; the largest honest one, RSA with 8192 bits, needs 2 KiB.
const maxSignature = 64 << 10

// signature checks one object. The armor's first line says which kind it is.
func (v *Verifier) signature(o Object, keys []verify.Key) (finding, error) {
	switch {
	case len(o.Signature) == 0:
		return finding{}, fmt.Errorf("there is no signature: %w", verify.ErrNotVerified)
	case len(o.Signature) > maxSignature:
		return finding{}, fmt.Errorf("the signature is larger than %d bytes: %w", maxSignature, verify.ErrNotVerified)
	case bytes.HasPrefix(o.Signature, []byte("-----BEGIN SSH SIGNATURE-----\n")):
		return v.ssh(o, keys)
	case bytes.HasPrefix(o.Signature, []byte("-----BEGIN PGP SIGNATURE-----\n")):
		return v.pgp(o, keys)
	default:
		return finding{}, fmt.Errorf("the signature is neither SSH nor OpenPGP: %w", verify.ErrNotVerified)
	}
}

// isSSH reports whether a key's name says that it is a list of SSH keys; any other name means an OpenPGP key ring (spec
// row S-42).
func isSSH(k verify.Key) bool { return strings.HasSuffix(k.Name, ".sshpub") }

// pgp checks an OpenPGP signature.
func (v *Verifier) pgp(o Object, keys []verify.Key) (finding, error) {
	signature, err := pgp.Parse(o.Signature)
	if err != nil {
		return finding{}, fmt.Errorf("%w: %w", err, verify.ErrNotVerified)
	}
	found, err := pgp.Checker{FIPS: v.config.FIPS, Now: v.config.Now}.Check(o.Payload, signature, slices.DeleteFunc(slices.Clone(keys), isSSH))
	if err != nil {
		return finding{}, err
	}
	return finding{method: verify.GitOpenPGP, signer: found.Signer, fingerprint: found.Fingerprint}, nil
}
