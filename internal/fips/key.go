// SPDX-License-Identifier: Apache-2.0

package fips

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
)

// KeyRef says where a private key is: a file, or PEM text already read. Exactly one is set. The key is one PKCS#8 block
// ("PRIVATE KEY"), not encrypted: PEM's own encryption derives keys with MD5, and a mounted Secret needs no second lock.
type KeyRef struct {
	// Path is a file, for example below a mounted Secret.
	Path string
	// PEM is the text itself.
	PEM []byte
}

// String never shows the key.
func (k KeyRef) String() string {
	if k.Path != "" {
		return fmt.Sprintf("key file %q", k.Path)
	}
	return "key [redacted]"
}

// GoString never shows the key.
func (k KeyRef) GoString() string {
	return k.String()
}

// maxKeyFile bounds a key file: an 8192-bit RSA key in PEM needs 6.5 KiB.
const maxKeyFile = 64 << 10

// load reads and parses the key, and refuses what the list refuses.
func (k KeyRef) load(ctx context.Context) (crypto.Signer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	text, err := k.read()
	if err != nil {
		return nil, err
	}
	key, err := parsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k, err)
	}
	return key, nil
}

func (k KeyRef) read() ([]byte, error) {
	switch {
	case k.Path != "" && k.PEM != nil:
		return nil, errors.New("key reference names both a file and a PEM text")
	case k.PEM != nil:
		return k.PEM, nil
	case k.Path == "":
		return nil, errors.New("key reference is empty")
	}
	file, err := os.Open(k.Path)
	if err != nil {
		return nil, fmt.Errorf("open key: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", k, err)
	}
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", k, maxKeyFile)
	}
	return text, nil
}

// parsePrivateKey takes exactly one unencrypted PKCS#8 block. Error texts of the parsers are dropped: they may quote input.
func parsePrivateKey(text []byte) (crypto.Signer, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no PEM block found")
	}
	if err := refuseEncrypted(block); err != nil {
		return nil, err
	}
	if block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("PEM block is %q, want \"PRIVATE KEY\" (PKCS#8: openssl pkcs8 -topk8 -nocrypt)", block.Type)
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("more than one PEM block")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("PEM block is not a PKCS#8 private key")
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, NewRefusal(FeatureSignature, fmt.Sprintf("key of type %T", parsed), "use a signing key")
	}
	if err := refuseKey(key.Public()); err != nil {
		return nil, err
	}
	return key, nil
}

// PKCS8 returns a PEM text with a key as KeyRef reads it. A block of PKCS#1, which clouds hand out, is written anew; any other text
// stays as it is.
func PKCS8(text []byte) ([]byte, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "RSA PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
		return text, nil
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("PEM block is not a PKCS#1 private key") // the parser's words may quote it
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, errors.New("the key cannot be read")
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func refuseEncrypted(block *pem.Block) error {
	legacy := block.Headers["DEK-Info"] != ""
	if !legacy && block.Type != "ENCRYPTED PRIVATE KEY" && block.Type != "ENCRYPTED SIGSTORE PRIVATE KEY" &&
		block.Type != "ENCRYPTED COSIGN PRIVATE KEY" {
		return nil
	}
	return NewRefusal(FeatureEncryptedKey, "PEM block "+block.Type,
		"store the key unencrypted in a Secret that only its user may read, or sign with a KMS")
}
