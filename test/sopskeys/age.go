// SPDX-License-Identifier: Apache-2.0

package sopskeys

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"sluice.dev/sluice/internal/fips"
)

// DataKey opens a data key that is encrypted to one of the age identities, in either FIPS mode: age is a tool of the tests here.
func DataKey(encrypted string, identities []byte) (key []byte, err error) {
	fips.Exempt(fips.OpenPGPFingerprint, func() {
		list, parseErr := age.ParseIdentities(bytes.NewReader(identities))
		if parseErr != nil {
			err = fmt.Errorf("age identities: %w", parseErr)
			return
		}
		plain, openErr := age.Decrypt(armor.NewReader(strings.NewReader(encrypted)), list...)
		if openErr != nil {
			err = openErr
			return
		}
		key, err = io.ReadAll(plain)
	})
	return key, err
}
