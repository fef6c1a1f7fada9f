// SPDX-License-Identifier: Apache-2.0

package gitserver

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"fmt"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// SSHKey is a key pair in the three forms its users want.
type SSHKey struct {
	Signer ssh.Signer
	// Private is the OpenSSH private key in PEM.
	Private []byte
	// Authorized is the authorized_keys line.
	Authorized []byte
}

// NewSSHKey makes an ECDSA P-256 key.
func NewSSHKey() (SSHKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return SSHKey{}, fmt.Errorf("generate key: %w", err)
	}
	return SSHKeyFrom(key)
}

// SSHKeyFrom wraps a private key of any type x/crypto/ssh takes.
func SSHKeyFrom(key any) (SSHKey, error) {
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return SSHKey{}, fmt.Errorf("ssh signer: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return SSHKey{}, fmt.Errorf("marshal key: %w", err)
	}
	return SSHKey{Signer: signer, Private: pem.EncodeToMemory(block), Authorized: ssh.MarshalAuthorizedKey(signer.PublicKey())}, nil
}

// SSHSign signs as git does with gpg.format=ssh.
func SSHSign(signer ssh.Signer) SignFunc {
	return SSHSignNamespace(signer, "git")
}

// SSHSignNamespace signs for another purpose than Git's, which no verifier of commits may accept.
func SSHSignNamespace(signer ssh.Signer, namespace string) SignFunc {
	return func(payload []byte) ([]byte, error) {
		signature, err := sshsig.Sign(bytes.NewReader(payload), signer, sshsig.HashSHA512, namespace)
		if err != nil {
			return nil, err
		}
		return sshsig.Armor(signature), nil
	}
}

// PGPSign signs as git does with gpg. A nil config takes the library's defaults.
func PGPSign(entity *openpgp.Entity, config *packet.Config) SignFunc {
	return func(payload []byte) ([]byte, error) {
		var armored bytes.Buffer
		err := openpgp.ArmoredDetachSign(&armored, []*openpgp.Entity{entity}, bytes.NewReader(payload), &openpgp.SignParams{Config: config})
		if err != nil {
			return nil, err
		}
		armored.WriteByte('\n')
		return armored.Bytes(), nil
	}
}
