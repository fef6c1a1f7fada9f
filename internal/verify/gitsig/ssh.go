// SPDX-License-Identifier: Apache-2.0

package gitsig

import (
	"bytes"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/verify"
)

// namespace keeps signatures made for other purposes with the same key out (PROTOCOL.sshsig §2).
const namespace = "git"

// ssh checks an SSH signature. The key inside the signature only selects; what counts is that a trusted line holds it.
func (v *Verifier) ssh(o Object, keys []verify.Key) (finding, error) {
	signature, err := parseSSH(o.Signature)
	if err != nil {
		return finding{}, fmt.Errorf("%w: %w", err, verify.ErrNotVerified)
	}
	fingerprint := ssh.FingerprintSHA256(signature.PublicKey)
	if err := v.refuseSSH(signature); err != nil {
		return finding{}, fmt.Errorf("signed by %s: %w: %w", fingerprint, err, verify.ErrNotVerified)
	}
	var why []error
	for _, key := range keys {
		if !isSSH(key) {
			continue
		}
		trusted, err := lineOf(key, signature.PublicKey)
		if err != nil {
			why = append(why, err)
			continue
		}
		if trusted == nil {
			continue
		}
		if err := sshsig.Verify(bytes.NewReader(o.Payload), signature, trusted, signature.HashAlgorithm, namespace); err != nil {
			return finding{}, fmt.Errorf("signed by %s of %q: the signature does not hold: %w", fingerprint, key.Name, verify.ErrNotVerified)
		}
		return finding{method: verify.GitSSH, signer: key.Name, fingerprint: fingerprint}, nil
	}
	return finding{}, verify.ByNobody(fingerprint, why)
}

// parseSSH reads one armored signature with nothing after it.
func parseSSH(armored []byte) (*sshsig.Signature, error) {
	block, rest := pem.Decode(armored)
	if block == nil || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("the SSH signature is malformed")
	}
	signature, err := sshsig.Unarmor(armored)
	if err != nil {
		return nil, errors.New("the SSH signature is malformed")
	}
	if signature.Namespace != namespace {
		return nil, fmt.Errorf("the SSH signature is for %.32q, not for %q", signature.Namespace, namespace)
	}
	return signature, nil
}

// refuseSSH refuses keys and algorithms off the list, before the key is looked for, so that the reason is told.
func (v *Verifier) refuseSSH(s *sshsig.Signature) error {
	if s.HashAlgorithm != sshsig.HashSHA256 && s.HashAlgorithm != sshsig.HashSHA512 {
		return v.config.FIPS.AllowNamed(fips.FeatureSignature, "SSH signature with hash "+s.HashAlgorithm.String())
	}
	switch s.PublicKey.Type() {
	case ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoED25519,
		ssh.KeyAlgoSKECDSA256, ssh.KeyAlgoSKED25519:
		return nil
	case ssh.KeyAlgoRSA:
		return v.refuseSSHRSA(s)
	default:
		return v.config.FIPS.AllowNamed(fips.FeatureSignature, "SSH key of type "+s.PublicKey.Type())
	}
}

// minRSABits is FIPS 186-5's bound.
const minRSABits = 2048

func (v *Verifier) refuseSSHRSA(s *sshsig.Signature) error {
	if s.Signature.Format != ssh.KeyAlgoRSASHA256 && s.Signature.Format != ssh.KeyAlgoRSASHA512 {
		return v.config.FIPS.AllowNamed(fips.FeatureSignature, s.Signature.Format)
	}
	holder, ok := s.PublicKey.(ssh.CryptoPublicKey)
	if !ok {
		return v.config.FIPS.AllowNamed(fips.FeatureSignature, "RSA key without numbers")
	}
	pub, ok := holder.CryptoPublicKey().(*rsa.PublicKey)
	if !ok || pub.N.BitLen() < minRSABits {
		return v.config.FIPS.AllowNamed(fips.FeatureSignature, "SSH RSA key below 2048 bits")
	}
	return nil
}

// lineOf returns the trusted key equal to wanted out of a list in authorized_keys format, nil if it is not there.
func lineOf(key verify.Key, wanted ssh.PublicKey) (ssh.PublicKey, error) {
	const maxLines = 1000
	for rest, n := key.Data, 0; ; n++ {
		trusted, _, _, next, err := ssh.ParseAuthorizedKey(rest)
		switch {
		case err != nil && n == 0:
			return nil, fmt.Errorf("key %q holds no SSH public key", key.Name)
		case err != nil:
			return nil, nil //nolint:nilerr // the list ends here, and the key is not in it
		case n >= maxLines:
			return nil, fmt.Errorf("key %q has more than %d lines", key.Name, maxLines)
		case bytes.Equal(trusted.Marshal(), wanted.Marshal()):
			return trusted, nil
		}
		rest = next
	}
}
