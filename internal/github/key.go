// SPDX-License-Identifier: Apache-2.0

package github

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
)

// privateKey returns a key as internal/fips reads it, in PKCS#8. GitHub hands out PKCS#1.
func privateKey(text []byte) ([]byte, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "RSA PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
		return text, nil // which internal/fips reads, or says why not
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
