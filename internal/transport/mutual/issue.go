// SPDX-License-Identifier: Apache-2.0

package mutual

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path"
	"time"
)

const (
	certBlock = "CERTIFICATE"
	keyBlock  = "PRIVATE KEY"
)

// template begins a certificate. It is good from an hour ago on, because clocks differ.
func (a *Authority) template(name string, life time.Duration, key *ecdsa.PublicKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(public)
	now := a.config.Now()
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, SubjectKeyId: id[:20],
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(life),
	}, nil
}

// issue signs a template and writes the certificate.
func (a *Authority) issue(name string, template *x509.Certificate, signer pair, key *ecdsa.PrivateKey) (pair, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, signer.cert, &key.PublicKey, signer.key)
	if err != nil {
		return pair{}, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return pair{}, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: der})
	return pair{cert: cert, pem: text, key: key}, a.write(name, text, 0o644)
}

// load reads a certificate of a key.
func (a *Authority) load(name string, key *ecdsa.PrivateKey) (pair, error) {
	text, err := a.root.ReadFile(name)
	if err != nil {
		return pair{}, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != certBlock {
		return pair{}, errors.New("no certificate in PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return pair{}, err
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return pair{}, errors.New("certificate of another key")
	}
	return pair{cert: cert, pem: text, key: key}, nil
}

// newKey makes a key on P-256.
func (a *Authority) newKey(name string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, a.write(name, pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), 0o600)
}

// parseKey says nothing about the text, which is a secret.
func parseKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != keyBlock {
		return nil, errors.New("no private key in PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("not a PKCS #8 key")
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok || private.Curve != elliptic.P256() {
		return nil, errors.New("not an ECDSA key on P-256")
	}
	return private, nil
}

// write replaces a file, down to the disk, unless it is as it should be.
func (a *Authority) write(name string, data []byte, mode fs.FileMode) error {
	if have, err := a.root.ReadFile(name); err == nil && bytes.Equal(have, data) {
		return nil
	}
	temporary := path.Join(path.Dir(name), "."+path.Base(name)+"."+rand.Text())
	f, err := a.root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = a.root.Rename(temporary, name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %q: %w", name, err), a.root.Remove(temporary))
	}
	return a.sync(path.Dir(name))
}

// sync makes a rename durable.
func (a *Authority) sync(dir string) error {
	d, err := a.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
