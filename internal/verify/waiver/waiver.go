// SPDX-License-Identifier: Apache-2.0

// Package waiver makes the waivers of package verify. hack/arch names its one importer, policy/parameters: nobody but the
// platform, in the file that tenants neither write nor see, can waive the verification of artifacts.
package waiver

import (
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/internal/seal"
)

// For returns the leave to apply unverified artifacts of the sources in a namespace. Without a reason it waives nothing.
func For(namespace, reason string) verify.Waiver {
	return verify.NewWaiver(seal.Key{}, namespace, reason)
}
