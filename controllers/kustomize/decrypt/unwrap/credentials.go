// SPDX-License-Identifier: Apache-2.0

package unwrap

import (
	"crypto"
	"encoding/hex"
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strings"

	"sluice.dev/sluice/internal/fips"
)

// The entries of a decryption Secret (spec row K-17).
const (
	vaultTokenEntry = "sops.vault-token"
	awsEntry        = "sops.aws-kms"
	azureEntry      = "sops.azure-kv"
	gcpEntry        = "sops.gcp-kms"
	ageExtension    = ".agekey"
	pgpExtension    = ".asc"

	// vaultAddressEntry is Sluice's own: the only address that the token is sent to.
	vaultAddressEntry = "sops.vault-address"
	// caEntry is Flux's name for certificate authorities, here those of Vault and OpenBao.
	caEntry = "ca.crt"
)

// Credentials are the entries of a decryption Secret that open data keys. The zero value opens nothing.
type Credentials struct {
	entries map[string][]byte
	login   Login
}

// NewCredentials takes the data of a decryption Secret. Entries with other names are left aside. The entries are read when
// one is needed, so that a broken one that nothing needs breaks nothing.
func NewCredentials(data map[string][]byte) Credentials {
	kept := map[string][]byte{}
	for name, value := range data {
		switch {
		case path.Ext(name) == ageExtension, path.Ext(name) == pgpExtension:
		case slices.Contains([]string{vaultTokenEntry, vaultAddressEntry, awsEntry, azureEntry, gcpEntry, caEntry}, name):
		default:
			continue
		}
		kept[name] = slices.Clone(value)
	}
	return Credentials{entries: kept}
}

// NewAgeCredentials takes nothing but the age identities of a Secret.
func NewAgeCredentials(data map[string][]byte) Credentials {
	c := NewCredentials(data)
	maps.DeleteFunc(c.entries, func(name string, _ []byte) bool { return path.Ext(name) != ageExtension })
	return c
}

// Digest returns the SHA-256 of all entries, so that a change of one is noticed without keeping any.
func (c Credentials) Digest(digests fips.Digests) (string, error) {
	data, err := json.Marshal(c.entries) // sorts keys
	if err != nil {
		return "", err
	}
	sum, err := fips.Sum(digests, crypto.SHA256, data)
	return hex.EncodeToString(sum), err
}

// String never shows a value.
func (c Credentials) String() string {
	return "credentials [" + strings.Join(c.names(""), ", ") + "]"
}

// GoString never shows a value.
func (c Credentials) GoString() string { return c.String() }

// names returns the sorted names of the entries with an extension; the empty extension means all.
func (c Credentials) names(extension string) []string {
	return slices.Sorted(func(yield func(string) bool) {
		for name := range maps.Keys(c.entries) {
			if (extension == "" || path.Ext(name) == extension) && !yield(name) {
				return
			}
		}
	})
}

// text returns an entry without surrounding white space.
func (c Credentials) text(name string) string { return strings.TrimSpace(string(c.entries[name])) }
