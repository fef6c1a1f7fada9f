// SPDX-License-Identifier: Apache-2.0

// Package attached is what the verifiers of signatures that lie beside an artifact in its registry have in common: what they need,
// which subjects they look at, and how they say why no signature counts. What makes a signature count is theirs.
package attached

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/verify"
)

// MaxSignatures bounds the signatures that are looked at for one subject in each scheme. Whoever may push to the repository may add
// some, and each costs requests.
const MaxSignatures = 64

// Registry is what verification needs of the subject's repository; *oci.Client is it.
type Registry interface {
	Repository() string
	Manifest(ctx context.Context, id string) (oci.Manifest, error)
	Blob(ctx context.Context, digest string, limit int64) ([]byte, error)
	Referrers(ctx context.Context, digest string) ([]oci.Entry, error)
}

// Config is what a verifier needs. All fields but Now are required.
type Config struct {
	// Registry reaches the one repository whose artifacts and signatures are read, with the source's own credentials.
	Registry Registry
	// Backend does the cryptography of our own.
	Backend fips.Backend
	// Now stamps statements, and is the clock by which a scheme lets signatures expire; nil means time.Now.
	Now func() time.Time
}

// Complete returns the configuration with its defaults, or says what is missing to a verifier of a scheme.
func (c Config) Complete(scheme string) (Config, error) {
	if c.Registry == nil || c.Backend == nil {
		return Config{}, fmt.Errorf("%s verifier without a registry or a crypto backend", scheme)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

// Check refuses a subject that is not of the verifier's repository, or not named by its digest.
func (c Config) Check(s verify.Subject) error {
	if s.Reference != c.Registry.Repository() {
		return fmt.Errorf("verify %q: the verifier is for %q", s.Reference, c.Registry.Repository())
	}
	if !oci.IsDigest(s.Digest) {
		return fmt.Errorf("verify %q: digest %.80q is not sha256:<hex>", s.Reference, s.Digest)
	}
	return nil
}

// IsContent reports whether an error is about what the registry holds, and not about reaching it.
func IsContent(err error) bool {
	return errors.Is(err, oci.ErrTooLarge) || errors.Is(err, oci.ErrNotFound)
}

// Reasons are why signatures do not count, each once.
type Reasons []string

// Add remembers a reason.
func (r *Reasons) Add(reason error) {
	if text := reason.Error(); !slices.Contains(*r, text) {
		*r = append(*r, text)
	}
}

// maxReasons bounds the message; the same signatures give the same one.
const maxReasons = 3

// String names the first reasons by name, and how many more there are.
func (r Reasons) String() string {
	sorted := slices.Sorted(slices.Values(r))
	text := strings.Join(sorted[:min(len(sorted), maxReasons)], "; ")
	if more := len(sorted) - maxReasons; more > 0 {
		text += fmt.Sprintf("; and %d more reasons", more)
	}
	return text
}
