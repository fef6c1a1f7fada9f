// SPDX-License-Identifier: Apache-2.0

package source

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/controllers/internal/evidence"
	"sluice.dev/sluice/internal/chart"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/git"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/policy"
	"sluice.dev/sluice/policy/parameters"
)

// Config is what both source controllers work with. All fields but TrustedRoot are required.
type Config struct {
	// Ledger keeps evidence of what was refused.
	Ledger evidence.Recorder
	// Secrets reads Secrets, past any cache.
	Secrets client.Reader
	// Sources reads sources that others are made from, from a cache.
	Sources client.Reader
	// Store keeps artifacts.
	Store *artifact.Store
	// Decider is asked before anything is fetched.
	Decider policy.Decider
	// Grants returns what the platform grants to tenants; it is asked anew for every run.
	Grants func() parameters.Parameters
	// IsPlatform says whose namespace it is.
	IsPlatform func(namespace string) bool
	// OwnNamespaces are the platform's.
	OwnNamespaces []string
	// Backend does the cryptography, and FIPS refuses what the profile refuses.
	Backend fips.Backend
	FIPS    fips.Policy
	// Key signs the statement about each artifact.
	Key *sign.Key
	// Cache reads sources that other sources name.
	Cache client.Reader
	// SSH narrows the algorithms of ssh.
	SSH git.SSHChoice
	// Accounts lets sources log in to clouds.
	Accounts Accounts
	// TrustedRoot is a Sigstore trusted_root.json for sources of the platform that name none; empty where there is none.
	TrustedRoot []byte
	// Registries keeps sessions with OCI registries.
	Registries *oci.Pool
	// Mirrors keeps what was fetched of Git repositories.
	Mirrors *git.Mirrors
	// Indexes are the parsed indexes of Helm repositories, and Charts bound what is taken from them.
	Indexes *Indexes
	Charts  chart.Limits
	// Producer names program and version in statements, UserAgent in requests.
	Producer, UserAgent string
	// TempDir is where content lies while it is looked at.
	TempDir string
	// HoldDir is where the objects of buckets are held between two runs, so that only what has changed is fetched.
	HoldDir string
	// Now is the clock.
	Now func() time.Time
}
