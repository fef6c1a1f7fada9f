// SPDX-License-Identifier: Apache-2.0

package unwrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"sluice.dev/sluice/controllers/kustomize/decrypt/sops"
	"sluice.dev/sluice/internal/fips"
)

// How age writes identities and recipients: X25519, and the hybrid with a post-quantum part.
const (
	ageIdentity        = "AGE-SECRET-KEY-1"
	ageHybridIdentity  = "AGE-SECRET-KEY-PQ-1"
	ageHybridRecipient = "age1pq1"
)

// maxDataKey bounds a data key, or a share of one, in bytes.
const maxDataKey = 1024

// age decrypts with the age identities of the Secret.
func (o *Opener) age(_ context.Context, key sops.Key) ([]byte, error) {
	if strings.HasPrefix(key.Fields["recipient"], ageHybridRecipient) {
		if err := o.allow(fips.AgeHybrid, "age with a post-quantum recipient"); err != nil {
			return nil, err
		}
		return nil, errors.New("post-quantum recipients of age are not supported")
	}
	if err := o.allow(fips.Age, "age"); err != nil {
		return nil, err
	}
	identities, err := o.ageIdentities()
	if err != nil {
		return nil, err
	}
	plain, err := age.Decrypt(armor.NewReader(strings.NewReader(key.Encrypted)), identities...)
	if err == nil {
		var data []byte
		if data, err = io.ReadAll(io.LimitReader(plain, maxDataKey)); err == nil {
			return data, nil
		}
	}
	if _, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return nil, fmt.Errorf("no identity in the %s entries of the decryption Secret is the one of this recipient", ageExtension)
	}
	return nil, errors.New("age cannot decrypt the data key")
}

// ageIdentities reads the identities: one a line, with comments between.
func (o *Opener) ageIdentities() ([]age.Identity, error) {
	var out []age.Identity
	for _, name := range o.creds.names(ageExtension) {
		number := 0
		for line := range strings.Lines(string(o.creds.entries[name])) {
			number++
			line = strings.TrimSpace(line)
			switch {
			case line == "" || strings.HasPrefix(line, "#"):
			case strings.HasPrefix(line, ageHybridIdentity):
				// Refused with the recipient it belongs to.
			case strings.HasPrefix(line, ageIdentity):
				identity, err := age.ParseX25519Identity(line)
				if err != nil {
					return nil, fmt.Errorf("entry %s, line %d: no valid age identity", name, number)
				}
				out = append(out, identity)
			default:
				return nil, fmt.Errorf("entry %s, line %d: no age identity", name, number)
			}
		}
	}
	if len(out) == 0 {
		return nil, errNoEntry("*" + ageExtension + " with an X25519 identity")
	}
	return out, nil
}
