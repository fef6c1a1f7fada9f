// SPDX-License-Identifier: Apache-2.0

package pgp

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/verify"
)

// Checker checks signatures. Now is required; the zero FIPS is the strict profile.
type Checker struct {
	FIPS fips.Policy
	Now  func() time.Time
}

// Finding is a signature that holds.
type Finding struct {
	// Signer is the name of the key.
	Signer string
	// Fingerprint is that of the primary key, in hex.
	Fingerprint string
}

// minRSABits is what FIPS 186-5 asks of RSA.
const minRSABits = 2048

// Check checks a signature over bytes. The first key that has made it decides; a key that cannot be read is passed over, and told
// when no other has. It uses the library's v2 API, which alone honours the lists of what to reject; v1 takes them and ignores
// them (spec/fips.md note A). Its own checks come first, so that the reason is told.
func (c Checker) Check(signed []byte, s Signature, keys []verify.Key) (_ Finding, err error) {
	defer panicked(&err)
	id := *s.packet.IssuerKeyId
	issuer := fmt.Sprintf("OpenPGP key %016X", id)
	if err := c.refuseHash(s.packet.Hash); err != nil {
		return Finding{}, fmt.Errorf("signed by %s: %w: %w", issuer, err, verify.ErrNotVerified)
	}
	var why []error
	for _, key := range keys {
		ring, err := readRing(key)
		if err != nil {
			why = append(why, err)
			continue
		}
		for _, entity := range ring.EntitiesById(id) {
			if err := c.byEntity(signed, s, entity); err != nil {
				why = append(why, fmt.Errorf("key %q: %w", key.Name, err))
				continue
			}
			return Finding{Signer: key.Name, Fingerprint: fmt.Sprintf("%X", entity.PrimaryKey.Fingerprint)}, nil
		}
	}
	return Finding{}, verify.ByNobody(issuer, why)
}

// panicked makes an error of a panic. The library panics where fips140=only forbids a hash, and perhaps on input nobody has thought
// of. Neither may end the process.
func panicked(err *error) {
	if recover() != nil {
		*err = fmt.Errorf("the OpenPGP signature cannot be checked in this FIPS mode: %w", verify.ErrNotVerified)
	}
}

// refuseHash allows SHA-2 from 256 bits on.
func (c Checker) refuseHash(h crypto.Hash) error {
	switch h {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512:
		return nil
	case crypto.SHA1, crypto.MD5, crypto.RIPEMD160:
		return c.FIPS.AllowNamed(fips.PGPSHA1, "OpenPGP signature with "+h.String())
	default:
		return c.FIPS.AllowNamed(fips.PGPOther, "OpenPGP signature with "+h.String())
	}
}

// refuseKey allows RSA from 2048 bits on and ECDSA on NIST's curves; EdDSA is the profile's to decide.
func (c Checker) refuseKey(key *packet.PublicKey) error {
	switch key.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		if bits, err := key.BitLength(); err != nil || bits < minRSABits {
			return c.FIPS.AllowNamed(fips.PGPShortRSA, fmt.Sprintf("OpenPGP RSA with %d bits", bits))
		}
		return nil
	case packet.PubKeyAlgoECDSA:
		curve, err := key.Curve()
		if err == nil && (curve == packet.CurveNistP256 || curve == packet.CurveNistP384 || curve == packet.CurveNistP521) {
			return nil
		}
		return c.FIPS.AllowNamed(fips.PGPOther, fmt.Sprintf("OpenPGP ECDSA on %s", curve))
	case packet.PubKeyAlgoEdDSA, packet.PubKeyAlgoEd25519:
		return c.FIPS.Allow(fips.PGPEd25519)
	case packet.PubKeyAlgoDSA:
		return c.FIPS.Allow(fips.PGPDSA)
	case packet.PubKeyAlgoElGamal:
		return c.FIPS.Allow(fips.PGPElGamal)
	default:
		return c.FIPS.AllowNamed(fips.PGPOther, fmt.Sprintf("OpenPGP public key algorithm %d", key.PubKeyAlgo))
	}
}

// byEntity checks the signature with one key. The library asks whether the key was good when the signature says it was made,
// which whoever has stolen an expired key can choose, so the key must be good now too.
func (c Checker) byEntity(signed []byte, s Signature, entity *openpgp.Entity) error {
	id := *s.packet.IssuerKeyId
	if err := c.refuseKey(entity.PrimaryKey); err != nil {
		return err
	}
	for _, sub := range entity.Subkeys {
		if sub.PublicKey.KeyId == id {
			if err := c.refuseKey(sub.PublicKey); err != nil {
				return err
			}
		}
	}
	config := c.config()
	if _, err := entity.VerifyPrimaryKey(c.Now(), config); err != nil {
		return fmt.Errorf("the key is not valid now: %w", printable(err))
	}
	if _, ok := entity.SigningKeyById(c.Now(), id, config); !ok {
		return errors.New("the key is expired, revoked or not for signing")
	}
	_, _, err := openpgp.VerifyDetachedSignature(openpgp.EntityList{entity}, bytes.NewReader(signed), bytes.NewReader(s.raw), config)
	if err != nil {
		return fmt.Errorf("the signature does not hold: %w", printable(err))
	}
	return nil
}

// config makes the library reject in self-signatures and binding signatures what is rejected in the signature itself.
func (c Checker) config() *packet.Config {
	return &packet.Config{
		Time:       c.Now,
		MinRSABits: minRSABits,
		RejectPublicKeyAlgorithms: map[packet.PublicKeyAlgorithm]bool{
			packet.PubKeyAlgoElGamal: true, packet.PubKeyAlgoDSA: true, packet.PubKeyAlgoEd448: true,
		},
		RejectHashAlgorithms:        weakHashes(),
		RejectMessageHashAlgorithms: weakHashes(),
		RejectCurves: map[packet.Curve]bool{
			packet.CurveSecP256k1: true, packet.CurveBrainpoolP256: true, packet.CurveBrainpoolP384: true, packet.CurveBrainpoolP512: true,
			packet.Curve448: true,
		},
	}
}

func weakHashes() map[crypto.Hash]bool {
	return map[crypto.Hash]bool{crypto.MD5: true, crypto.SHA1: true, crypto.RIPEMD160: true, crypto.SHA224: true}
}

// printable shortens the library's words, which may carry foreign text.
func printable(err error) error {
	const limit = 120
	return errors.New(fault.Printable(strings.TrimPrefix(err.Error(), "openpgp: "), limit))
}

// maxRing bounds a key ring: foreign parsers need not see more.
const maxRing = 1 << 20

// CheckRing reports whether a key is a readable key ring.
func CheckRing(key verify.Key) (err error) {
	defer panicked(&err)
	_, err = readRing(key)
	return err
}

// readRing reads all armored public key blocks of an entry. Key ids are SHA-1, hence the exemption, which spans the parser
// alone.
func readRing(key verify.Key) (openpgp.EntityList, error) {
	if len(key.Data) > maxRing {
		return nil, fmt.Errorf("key %q is larger than %d bytes", key.Name, maxRing)
	}
	const begin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	var ring openpgp.EntityList
	blocks := strings.Split(string(key.Data), begin)
	for _, block := range blocks[1:] {
		var entities openpgp.EntityList
		var err error
		fips.Exempt(fips.OpenPGPFingerprint, func() {
			entities, err = openpgp.ReadArmoredKeyRing(strings.NewReader(begin + block))
		})
		if err != nil {
			return nil, fmt.Errorf("key %q holds no readable OpenPGP public key", key.Name)
		}
		ring = append(ring, entities...)
	}
	if len(ring) == 0 {
		return nil, fmt.Errorf("key %q holds no OpenPGP public key in ASCII armor", key.Name)
	}
	return ring, nil
}
