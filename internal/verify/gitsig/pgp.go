// SPDX-License-Identifier: Apache-2.0

package gitsig

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/verify"
)

// pgp checks an OpenPGP signature. It uses the library's v2 API, which alone honours the lists of what to reject; v1 takes
// them and ignores them (spec/fips.md note A). Its own checks come first, so that the reason is told.
func (v *Verifier) pgp(o Object, keys []verify.Key) (found finding, err error) {
	// The library panics where fips140=only forbids a hash, and perhaps on input nobody has thought of. Neither may end the
	// process.
	defer func() {
		if recover() != nil {
			found, err = finding{}, fmt.Errorf("the OpenPGP signature cannot be checked in this FIPS mode: %w", verify.ErrNotVerified)
		}
	}()
	signature, err := parsePGP(o.Signature)
	if err != nil {
		return finding{}, fmt.Errorf("%w: %w", err, verify.ErrNotVerified)
	}
	issuer := fmt.Sprintf("OpenPGP key %016X", *signature.IssuerKeyId)
	if err := v.refuseHash(signature.Hash); err != nil {
		return finding{}, fmt.Errorf("signed by %s: %w: %w", issuer, err, verify.ErrNotVerified)
	}
	var why []error
	for _, key := range keys {
		if isSSH(key) {
			continue
		}
		ring, err := readRing(key)
		if err != nil {
			why = append(why, err)
			continue
		}
		for _, entity := range ring.EntitiesById(*signature.IssuerKeyId) {
			if err := v.byEntity(o, entity, *signature.IssuerKeyId); err != nil {
				why = append(why, fmt.Errorf("key %q: %w", key.Name, err))
				continue
			}
			return finding{
				method: verify.GitOpenPGP, signer: key.Name,
				fingerprint: fmt.Sprintf("%X", entity.PrimaryKey.Fingerprint),
			}, nil
		}
	}
	return finding{}, nobody(issuer, why)
}

// parsePGP reads one armored block with exactly one signature packet over binary data. Git refuses more than one too
// (gpg-interface.c): which of two signers has approved is anybody's guess.
func parsePGP(armored []byte) (*packet.Signature, error) {
	malformed := errors.New("the OpenPGP signature is malformed")
	const end = "-----END PGP SIGNATURE-----"
	_, after, ok := bytes.Cut(armored, []byte(end))
	if !ok || len(bytes.TrimSpace(after)) > 0 {
		return nil, malformed
	}
	block, err := armor.Decode(bytes.NewReader(armored))
	if err != nil {
		return nil, malformed
	}
	packets := packet.NewReader(block.Body)
	first, err := packets.Next()
	if err != nil {
		return nil, malformed
	}
	signature, ok := first.(*packet.Signature)
	switch {
	case !ok || signature.IssuerKeyId == nil:
		return nil, malformed
	case signature.SigType != packet.SigTypeBinary:
		return nil, errors.New("the OpenPGP signature is not over a document")
	}
	if _, err := packets.Next(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one OpenPGP signature")
	}
	return signature, nil
}

// refuseHash allows SHA-2 from 256 bits on.
func (v *Verifier) refuseHash(h crypto.Hash) error {
	switch h {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512:
		return nil
	case crypto.SHA1, crypto.MD5, crypto.RIPEMD160:
		return v.config.FIPS.AllowNamed(fips.PGPSHA1, "OpenPGP signature with "+h.String())
	default:
		return v.config.FIPS.AllowNamed(fips.PGPOther, "OpenPGP signature with "+h.String())
	}
}

// refusePGPKey allows RSA from 2048 bits on and ECDSA on NIST's curves; EdDSA is the profile's to decide.
func (v *Verifier) refusePGPKey(key *packet.PublicKey) error {
	switch key.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		if bits, err := key.BitLength(); err != nil || bits < minRSABits {
			return v.config.FIPS.AllowNamed(fips.PGPShortRSA, fmt.Sprintf("OpenPGP RSA with %d bits", bits))
		}
		return nil
	case packet.PubKeyAlgoECDSA:
		curve, err := key.Curve()
		if err == nil && (curve == packet.CurveNistP256 || curve == packet.CurveNistP384 || curve == packet.CurveNistP521) {
			return nil
		}
		return v.config.FIPS.AllowNamed(fips.PGPOther, fmt.Sprintf("OpenPGP ECDSA on %s", curve))
	case packet.PubKeyAlgoEdDSA, packet.PubKeyAlgoEd25519:
		return v.config.FIPS.Allow(fips.PGPEd25519)
	case packet.PubKeyAlgoDSA:
		return v.config.FIPS.Allow(fips.PGPDSA)
	case packet.PubKeyAlgoElGamal:
		return v.config.FIPS.Allow(fips.PGPElGamal)
	default:
		return v.config.FIPS.AllowNamed(fips.PGPOther, fmt.Sprintf("OpenPGP public key algorithm %d", key.PubKeyAlgo))
	}
}

// byEntity checks the signature with one key. The library asks whether the key was good when the signature says it was made,
// which whoever has stolen an expired key can choose, so the key must be good now too.
func (v *Verifier) byEntity(o Object, entity *openpgp.Entity, id uint64) error {
	if err := v.refusePGPKey(entity.PrimaryKey); err != nil {
		return err
	}
	for _, sub := range entity.Subkeys {
		if sub.PublicKey.KeyId == id {
			if err := v.refusePGPKey(sub.PublicKey); err != nil {
				return err
			}
		}
	}
	config := v.pgpConfig()
	if _, err := entity.VerifyPrimaryKey(v.config.Now(), config); err != nil {
		return fmt.Errorf("the key is not valid now: %w", pgpError(err))
	}
	if _, ok := entity.SigningKeyById(v.config.Now(), id, config); !ok {
		return errors.New("the key is expired, revoked or not for signing")
	}
	ring := openpgp.EntityList{entity}
	_, _, err := openpgp.VerifyArmoredDetachedSignature(ring, bytes.NewReader(o.Payload), bytes.NewReader(o.Signature), config)
	if err != nil {
		return fmt.Errorf("the signature does not hold: %w", pgpError(err))
	}
	return nil
}

// pgpConfig makes the library reject in self-signatures and binding signatures what is rejected in the signature itself.
func (v *Verifier) pgpConfig() *packet.Config {
	return &packet.Config{
		Time:       v.config.Now,
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

// pgpError shortens the library's words, which may carry foreign text.
func pgpError(err error) error {
	const limit = 120
	return errors.New(fault.Printable(strings.TrimPrefix(err.Error(), "openpgp: "), limit))
}

// maxRing bounds a key ring: foreign parsers need not see more.
const maxRing = 1 << 20

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
		return nil, fmt.Errorf("key %q holds no OpenPGP public key", key.Name)
	}
	return ring, nil
}
