// SPDX-License-Identifier: Apache-2.0

package fips

import (
	"fmt"

	"sluice.dev/sluice/internal/fault"
)

// Refusal is the typed error of everything this package and its users refuse for cryptographic reasons. Callers find it
// with errors.As; it becomes an event and a metric in the harness.
type Refusal struct {
	// Feature and Algorithm are cells of the policy table, and fit for metric labels: input cannot add values to them.
	Feature   Feature
	Algorithm string
	// Named is what exactly was asked for, in the input's words where there are any: bounded and printable. May be empty.
	Named string
	// Remedy says what to use instead, for the owner of the object.
	Remedy string
}

// Error names the algorithm, the feature and the remedy.
func (r *Refusal) Error() string {
	name := r.Named
	if name == "" {
		name = r.Algorithm
	}
	return fmt.Sprintf("%s is refused by the FIPS policy (%s): %s", name, string(r.Feature), r.Remedy)
}

// NewRefusal makes the refusal of something particular under a row of the table: named is what the input asked for, and may
// be foreign text.
func NewRefusal(f Feature, named, remedy string) *Refusal {
	row, _ := featureRow(f)
	return &Refusal{Feature: f, Algorithm: row.Algorithm, Named: printable(named), Remedy: remedy}
}

// Profile is how much the feature policy refuses. The zero value is Strict.
type Profile uint8

const (
	// Strict refuses every row of the feature table. It is the default.
	Strict Profile = iota
	// Standard lets the rows pass that Flux users depend on, and reports each use.
	Standard
)

// ParseProfile reads a profile's name; the empty name is strict.
func ParseProfile(name string) (Profile, error) {
	switch name {
	case "", "strict":
		return Strict, nil
	case "standard":
		return Standard, nil
	default:
		return Strict, fmt.Errorf("unknown FIPS profile %q: want strict or standard", name)
	}
}

// String is the name ParseProfile reads. A value outside the list reads, and acts, as strict.
func (p Profile) String() string {
	if p == Standard {
		return "standard"
	}
	return "strict"
}

// MarshalText implements encoding.TextMarshaler.
func (p Profile) MarshalText() ([]byte, error) {
	return []byte(p.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Profile) UnmarshalText(text []byte) error {
	parsed, err := ParseProfile(string(text))
	*p = parsed
	return err
}

// Feature names one use of cryptography that the module's mode does not refuse by itself.
type Feature string

// The features. Each has one row in Features.
const (
	FeatureDigest       Feature = "digest"
	FeatureMAC          Feature = "mac"
	FeatureSignature    Feature = "signature"
	FeatureEncryptedKey Feature = "encrypted-private-key"

	ArtifactDigestSHA1   Feature = "artifact-digest-sha1"
	ArtifactDigestBLAKE3 Feature = "artifact-digest-blake3"

	Age              Feature = "age"
	AgeHybrid        Feature = "age-hybrid"
	SOPSPGP          Feature = "sops-pgp"
	PGPSHA1          Feature = "pgp-sha1"
	PGPDSA           Feature = "pgp-dsa"
	PGPElGamal       Feature = "pgp-elgamal"
	PGPShortRSA      Feature = "pgp-rsa<2048"
	PGPEd25519       Feature = "pgp-ed25519-circl"
	PGPOther         Feature = "pgp-other"
	SSHKex           Feature = "ssh-kex"
	SSHCipher        Feature = "ssh-cipher"
	SSHMAC           Feature = "ssh-mac"
	SSHHostKey       Feature = "ssh-host-key"
	SSHKeyPassphrase Feature = "ssh-key-passphrase"
	KnownHostsHashed Feature = "known-hosts-hashed"

	CosignEncryptedKey Feature = "cosign-encrypted-key"
	SprigWeakFunction  Feature = "sprig-weak-function"
	OPAWeakBuiltin     Feature = "opa-weak-builtin"
	NexusReceiver      Feature = "receiver-hmac-sha1"
)

// FeatureRow is one line of the policy table.
type FeatureRow struct {
	Feature   Feature `json:"feature"`
	Algorithm string  `json:"algorithm"`
	Reason    string  `json:"reason"`
	Remedy    string  `json:"remedy"`
	// Standard says what the standard profile does: it refuses, or tolerates and reports. Strict refuses every row.
	Standard Handling `json:"standard"`
}

// Handling is what a profile does with a feature.
type Handling string

// What a profile may do with a feature.
const (
	Refuses   Handling = "refuse"
	Tolerates Handling = "report"
)

// Allow returns nil or a *Refusal. A feature without a row is refused: a new use needs a reviewed line first.
func (p Profile) Allow(f Feature) error {
	row, ok := featureRow(f)
	if !ok {
		return &Refusal{Feature: f, Algorithm: "unknown", Remedy: "the feature has no row in the policy table"}
	}
	if p == Standard && row.Standard == Tolerates {
		return nil
	}
	return row.refusal()
}

func (r FeatureRow) refusal() *Refusal {
	return &Refusal{Feature: r.Feature, Algorithm: r.Algorithm, Remedy: r.Remedy}
}

func featureRow(f Feature) (FeatureRow, bool) {
	for _, row := range Features() {
		if row.Feature == f {
			return row, true
		}
	}
	return FeatureRow{}, false
}

// Policy is a profile with its reporters. The zero value is strict and reports to nobody.
type Policy struct {
	// Profile decides.
	Profile Profile
	// OnRefusal is told each refusal; gitops_fips_refusals_total counts here. May be nil, must not block.
	OnRefusal func(Refusal)
	// OnTolerated is told each use that strict would refuse and the profile lets pass. May be nil, must not block.
	OnTolerated func(Refusal)
}

// Allow decides as the profile does, and reports.
func (p Policy) Allow(f Feature) error {
	return p.AllowNamed(f, "")
}

// AllowNamed is Allow with the algorithm as the input named it, for a message the owner recognises.
func (p Policy) AllowNamed(f Feature, algorithm string) error {
	err := p.Profile.Allow(f)
	row, _ := featureRow(f)
	refusal := row.refusal()
	if r, ok := err.(*Refusal); ok { //nolint:errorlint // Profile.Allow returns it unwrapped
		refusal = r
	}
	refusal.Named = printable(algorithm)
	if err == nil {
		report(p.OnTolerated, refusal)
		return nil
	}
	report(p.OnRefusal, refusal)
	return refusal
}

func report(hook func(Refusal), r *Refusal) {
	if hook != nil {
		hook(*r)
	}
}

// printable keeps at most 64 printable ASCII characters.
func printable(s string) string {
	const limit = 64
	return fault.Printable(s, limit)
}
