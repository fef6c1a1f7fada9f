// SPDX-License-Identifier: Apache-2.0

package unwrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"sluice.dev/sluice/controllers/kustomize/decrypt/sops"
	"sluice.dev/sluice/internal/fips"
)

// pgpBlock is one armored key. An entry may have several.
var pgpBlock = regexp.MustCompile(`(?s)-----BEGIN PGP PRIVATE KEY BLOCK-----.*?-----END PGP PRIVATE KEY BLOCK-----`)

// pgp decrypts with the OpenPGP keys of the Secret, in this process: no gpg is started.
func (o *Opener) pgp(_ context.Context, key sops.Key) (data []byte, err error) {
	if err := o.allow(fips.SOPSPGP, "SOPS with PGP"); err != nil {
		return nil, err
	}
	// The library panics where fips140=only forbids a hash, and perhaps on input nobody has thought of.
	defer func() {
		if recover() != nil {
			data, err = nil, errors.New("OpenPGP cannot decrypt the data key in this FIPS mode")
		}
	}()
	ring, err := o.pgpKeys()
	if err != nil {
		return nil, err
	}
	block, err := armor.Decode(strings.NewReader(key.Encrypted))
	if err != nil {
		return nil, errors.New("the encrypted data key is no OpenPGP message")
	}
	message, err := openpgp.ReadMessage(block.Body, ring, nil, &packet.Config{Time: o.config.Now})
	if err != nil {
		return nil, fmt.Errorf("no key in the %s entries of the decryption Secret decrypts it", pgpExtension)
	}
	// Reading to the end checks the integrity of the message.
	data, err = io.ReadAll(io.LimitReader(message.UnverifiedBody, maxDataKey+1))
	if err != nil || len(data) > maxDataKey {
		return nil, errors.New("the encrypted data key is damaged")
	}
	return data, nil
}

// pgpKeys reads the private keys. A key with a passphrase is of no use here, and nobody could type it.
func (o *Opener) pgpKeys() (openpgp.EntityList, error) {
	var ring openpgp.EntityList
	for _, name := range o.creds.names(pgpExtension) {
		blocks := pgpBlock.FindAll(o.creds.entries[name], -1)
		if len(blocks) == 0 {
			return nil, fmt.Errorf("entry %s is no armored OpenPGP key", name)
		}
		for _, block := range blocks {
			list, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(block))
			if err != nil {
				return nil, fmt.Errorf("entry %s is no valid OpenPGP key", name)
			}
			if slices.ContainsFunc(list, locked) {
				return nil, fmt.Errorf("entry %s has a passphrase: export the key without one", name)
			}
			ring = append(ring, list...)
		}
	}
	if len(ring) == 0 {
		return nil, errNoEntry("*" + pgpExtension)
	}
	return ring, nil
}

// locked reports whether any private part of a key is encrypted.
func locked(entity *openpgp.Entity) bool {
	if entity.PrivateKey != nil && entity.PrivateKey.Encrypted {
		return true
	}
	for _, sub := range entity.Subkeys {
		if sub.PrivateKey != nil && sub.PrivateKey.Encrypted {
			return true
		}
	}
	return false
}
