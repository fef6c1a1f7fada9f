// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"slices"
	"time"

	"sluice.dev/sluice/internal/verify/internal/seal"
)

// Method names how something was verified.
type Method string

const (
	// None says that nothing was verified, because the source asked for no verification or somebody else fetched the
	// content (Proof.Waived). Policy decides whether that is enough (rule 4).
	None Method = "none"
	// CosignKey is a cosign signature by one of the policy's public keys.
	CosignKey Method = "cosign-key"
	// CosignKeyless is a cosign signature by a short-lived certificate of a trusted authority.
	CosignKeyless Method = "cosign-keyless"
	// Notation is a Notary Project signature by a certificate that a trust policy names.
	Notation Method = "notation"
	// GitSSH is an SSH signature on a commit or a tag.
	GitSSH Method = "git-ssh"
	// GitOpenPGP is an OpenPGP signature on a commit or a tag.
	GitOpenPGP Method = "git-openpgp"
	// HelmProvenance is an OpenPGP signature over a chart's provenance file.
	HelmProvenance Method = "helm-provenance"
)

// Subject is what is verified. It is always named by digest or object id, never by a tag.
type Subject struct {
	// Reference is the repository, without tag or digest: "registry.example/app" or a Git URL without credentials.
	Reference string `json:"reference"`
	// Digest is "sha256:<hex>" of an OCI manifest, or "sha1:<hex>" or "sha256:<hex>" of a Git object. A SHA-1 object id is
	// an identifier with collision detection, not a security digest (docs/fips.md).
	Digest string `json:"digest"`
}

// Key is one trusted public key.
type Key struct {
	// Name is where the key stands, for example the entry of a Secret; it appears in messages.
	Name string
	// Data is the key as its owner writes it: PEM, an SSH authorized_keys line, or an armored OpenPGP key ring.
	Data []byte
}

// IdentityMatch accepts certificates by issuer and subject. Both are anchored regular expressions; an empty one
// accepts nothing.
type IdentityMatch struct {
	Issuer  string
	Subject string
}

// Policy is who is believed. The zero Policy accepts nothing.
type Policy struct {
	// Keys are the trusted public keys; any one of them may have signed.
	Keys []Key
	// Identities are the accepted certificate identities; any one may match. They need TrustedRoot.
	Identities []IdentityMatch
	// TrustedRoot is a Sigstore trusted_root.json: the authorities and logs behind Identities.
	TrustedRoot []byte
	// TrustPolicy is a Notary Project trustpolicy.json. With it, Keys are the certificates of its trust stores, and revocation lists.
	TrustPolicy []byte
}

// Empty reports whether the policy accepts nothing at all.
func (p Policy) Empty() bool {
	return len(p.Keys) == 0 && (len(p.Identities) == 0 || len(p.TrustedRoot) == 0)
}

// Statement is what a verification found. The zero Statement found nothing.
type Statement struct {
	// Subject is what was verified.
	Subject Subject `json:"subject"`
	// Method is how.
	Method Method `json:"method"`
	// Signer names who signed: the key's name, or the identity in the certificate.
	Signer string `json:"signer,omitempty"`
	// Issuer is the issuer of a keyless identity, or of the certificate of a Notation signature.
	Issuer string `json:"issuer,omitempty"`
	// Fingerprint is "SHA256:<base64>" for SSH keys, "sha256:<hex>" over the DER public key for others, or the
	// OpenPGP fingerprint in hex.
	Fingerprint string `json:"fingerprint,omitempty"`
	// Evidence is "sha256:<hex>" of the file that has the signature, where that lies beside the subject: a chart's provenance.
	Evidence string `json:"evidence,omitempty"`
	// Trust is "sha256:<hex>" over the trust material of the policy, so that a changed key can be noticed.
	Trust string `json:"trust,omitempty"`
	// VerifiedAt is when.
	VerifiedAt time.Time `json:"verifiedAt,omitzero"`
}

// Verified reports whether a signature was checked and held.
func (s Statement) Verified() bool { return s.Method != "" && s.Method != None }

// Verifier checks a subject against a policy. It works by digest; a policy that accepts nothing is an error, never a
// success. A signature that does not hold, is missing, or is by nobody trusted returns an error that wraps
// ErrNotVerified; everything else (a registry that does not answer) is an ordinary error.
type Verifier interface {
	Verify(ctx context.Context, s Subject, p Policy) (Statement, error)
}

// Origin says which source object an artifact came from. A Proof holds for this object alone.
type Origin struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
	// URL is the source's address, without credentials.
	URL string `json:"url"`
}

// Attestation is an in-toto attestation about the upstream content. It stays where it is; the digest says which one was there.
type Attestation struct {
	// Digest is "sha256:<hex>" of the Sigstore bundle, or of the envelope where cosign's older scheme has no bundle.
	Digest string `json:"digest"`
	// PredicateType says what it is about: an SBOM, provenance, a scan.
	PredicateType string `json:"predicateType"`
	// Signer names who signed, as in a Statement.
	Signer string `json:"signer"`
}

// Material is an artifact that another one was made from: the index that a chart was looked up in, the files it was packed from.
type Material struct {
	Kind     string `json:"kind"`
	Name     string `json:"name"`
	Revision string `json:"revision"`
	Digest   string `json:"digest"`
}

// Claim is what the platform signs about one artifact.
type Claim struct {
	// Digest is "sha256:<hex>" of the artifact's bytes.
	Digest string `json:"digest"`
	// Revision is the source revision as in status.artifact.revision.
	Revision string `json:"revision"`
	// Origin is the source object that fetched it.
	Origin Origin `json:"origin"`
	// Statement is how the upstream content was verified; method none when nothing was asked for.
	Statement Statement `json:"statement"`
	// Attestations are those that came with the upstream content, each signed by somebody whom the source trusts.
	Attestations []Attestation `json:"attestations,omitempty"`
	// Includes are the contents of other sources in the artifact.
	Includes []Included `json:"includes,omitempty"`
	// From is the artifact of another source that this one was made from, if there is one.
	From Material `json:"from,omitzero"`
	// FetchedAt is when the content was fetched.
	FetchedAt time.Time `json:"fetchedAt"`
	// Producer names the program and version that fetched and verified.
	Producer string `json:"producer"`
}

// Verified reports whether a signature was checked and held for all that is in the artifact.
func (c Claim) Verified() bool {
	return c.Statement.Verified() && !slices.ContainsFunc(c.Includes, func(i Included) bool { return !i.Verified })
}

// Included is content of another source of the same namespace in an artifact.
type Included struct {
	// Name is the source's, and Revision and Digest are those of its artifact.
	Name     string `json:"name"`
	Revision string `json:"revision"`
	Digest   string `json:"digest"`
	// From is the path in that artifact, To the one where it stands in this.
	From string `json:"from"`
	To   string `json:"to"`
	// Verified says that the claim about that artifact is verified, in all its parts.
	Verified bool `json:"verified"`
}

// Proof is the capability to apply one artifact: somebody who holds the platform's key has fetched exactly these
// bytes for exactly this source, or the platform has waived that (Unverified). The zero Proof proves nothing.
type Proof struct {
	claim  Claim
	keyID  string
	waived string
	valid  bool
}

// NewProof is for attest/ alone, which calls it after every check has passed.
func NewProof(_ seal.Key, claim Claim, keyID string) Proof {
	return Proof{claim: claim, keyID: keyID, valid: true}
}

// Valid reports whether the proof was made by a completed check.
func (p Proof) Valid() bool { return p.valid }

// Claim returns what was proven. It is the zero Claim on an invalid proof.
func (p Proof) Claim() Claim { return p.claim }

// KeyID returns the id of the platform key that signed the claim. It is empty where there is no such key; see Waived.
func (p Proof) KeyID() string { return p.keyID }

// Waived returns why the platform admits content that it did not verify, and "" where a statement speaks for it.
func (p Proof) Waived() string { return p.waived }
