// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"cmp"
	"crypto"
	"encoding/hex"
	"fmt"
	"slices"

	"sluice.dev/sluice/internal/fips"
)

// Trust returns "sha256:<hex>" over the trust material of a policy, in an order that does not depend on the caller's. A
// changed, added or removed key is noticed by it without verifying again.
func Trust(d fips.Digests, p Policy) (string, error) {
	keys := slices.Clone(p.Keys)
	slices.SortFunc(keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), bytes.Compare(a.Data, b.Data))
	})
	identities := slices.Clone(p.Identities)
	slices.SortFunc(identities, func(a, b IdentityMatch) int {
		return cmp.Or(cmp.Compare(a.Issuer, b.Issuer), cmp.Compare(a.Subject, b.Subject))
	})
	var all []byte
	add := func(kind string, parts ...string) {
		all = append(all, kind...)
		for _, part := range parts {
			all = fmt.Appendf(all, " %d:%s", len(part), part) // lengths keep parts apart
		}
		all = append(all, '\n')
	}
	for _, k := range keys {
		add("key", k.Name, string(k.Data))
	}
	for _, i := range identities {
		add("identity", i.Issuer, i.Subject)
	}
	add("root", string(p.TrustedRoot))
	if len(p.TrustPolicy) > 0 {
		add("policy", string(p.TrustPolicy))
	}
	sum, err := fips.Sum(d, crypto.SHA256, all)
	if err != nil {
		return "", fmt.Errorf("digest of the trust material: %w", err)
	}
	return "sha256:" + hex.EncodeToString(sum), nil
}
