// SPDX-License-Identifier: Apache-2.0

package mutual

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// How long certificates are valid, and when they are made anew. An authority is renewed with its own key: whoever trusts the
// old certificate trusts what the new one signs, until the old one ends.
const (
	authorityLife  = 10 * 365 * 24 * time.Hour
	authorityRenew = authorityLife / 5
	leafLife       = 90 * 24 * time.Hour
	leafRenew      = leafLife / 3
	// lookAgain is how often Run looks whether something is to be renewed.
	lookAgain = time.Hour
)

const (
	caKeyFile = "ca.key"
	serverDir = "server"
	clientDir = "client"
)

// Config is what an Authority needs.
type Config struct {
	// Dir is its folder, which it makes; the folder above has to exist.
	Dir string
	// Names are the host names and addresses of the server. At least one is needed.
	Names []string
	// Now is the clock. Nil is the machine's.
	Now func() time.Time
}

// Authority is a small certificate authority in a folder: ca.crt and ca.key, with the folders "server" and "client" below,
// which hold a certificate each. Keys are readable by their owner alone.
type Authority struct {
	config Config
	root   *os.Root
}

// Open opens an authority, or makes one. All its certificates are good for a while when it returns.
func Open(c Config) (*Authority, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if len(c.Names) == 0 {
		return nil, errors.New("certificate authority: no names of the server")
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	a := &Authority{config: c, root: root}
	if err := a.Renew(); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return a, nil
}

// Close lets go of the folder.
func (a *Authority) Close() error { return a.root.Close() }

// ServerDir is the folder for ServerTLS.
func (a *Authority) ServerDir() string { return filepath.Join(a.config.Dir, serverDir) }

// ClientDir is the folder for NewClient. Whoever is to connect gets a copy of it.
func (a *Authority) ClientDir() string { return filepath.Join(a.config.Dir, clientDir) }

// Run renews what is about to end, until ctx ends. What cannot be written is told to failed and tried again.
func (a *Authority) Run(ctx context.Context, failed func(error)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookAgain):
		}
		if err := a.Renew(); err != nil {
			failed(err)
		}
	}
}

// Renew makes anew what is missing, does not fit, or is about to end.
func (a *Authority) Renew() error {
	ca, err := a.authority()
	if err != nil {
		return fmt.Errorf("certificate authority %q: %w", a.config.Dir, err)
	}
	for dir, usage := range map[string]x509.ExtKeyUsage{serverDir: x509.ExtKeyUsageServerAuth, clientDir: x509.ExtKeyUsageClientAuth} {
		if err := a.leaf(ca, dir, usage); err != nil {
			return fmt.Errorf("certificate authority %q: %s: %w", a.config.Dir, dir, err)
		}
	}
	return nil
}

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	pem  []byte
	key  *ecdsa.PrivateKey
}

// authority loads the authority, or makes one. A certificate that does not fit its key, or ends soon, is made anew for the key
// that is there.
func (a *Authority) authority() (pair, error) {
	key, err := a.key(caKeyFile)
	if err != nil {
		return pair{}, err
	}
	if p, err := a.load(caFile, key); err == nil && p.cert.IsCA && a.left(p.cert) > authorityRenew {
		return p, nil
	}
	template, err := a.template("Sluice artifact authority", authorityLife, &key.PublicKey)
	if err != nil {
		return pair{}, err
	}
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign
	return a.issue(caFile, template, pair{cert: template, key: key}, key)
}

// leaf makes one end of a connection what it should be.
func (a *Authority) leaf(ca pair, dir string, usage x509.ExtKeyUsage) error {
	if err := a.root.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := a.write(filepath.Join(dir, caFile), ca.pem, 0o644); err != nil {
		return err
	}
	key, err := a.key(filepath.Join(dir, keyFile))
	if err != nil {
		return err
	}
	name := filepath.Join(dir, certFile)
	if p, err := a.load(name, key); err == nil && a.left(p.cert) > leafRenew && a.fits(p.cert, ca, usage) {
		return nil
	}
	template, err := a.template("Sluice artifact "+dir, leafLife, &key.PublicKey)
	if err != nil {
		return err
	}
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{usage}
	if usage == x509.ExtKeyUsageServerAuth {
		template.DNSNames, template.IPAddresses = split(a.config.Names)
	}
	_, err = a.issue(name, template, ca, key)
	return err
}

// fits reports whether a certificate is by this authority, for this use, and for all names.
func (a *Authority) fits(cert *x509.Certificate, ca pair, usage x509.ExtKeyUsage) bool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: a.config.Now(), KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
		return false
	}
	if usage != x509.ExtKeyUsageServerAuth {
		return true
	}
	for _, name := range a.config.Names {
		if cert.VerifyHostname(name) != nil {
			return false
		}
	}
	return true
}

func (a *Authority) left(cert *x509.Certificate) time.Duration {
	if a.config.Now().Before(cert.NotBefore) {
		return 0
	}
	return cert.NotAfter.Sub(a.config.Now())
}

// split tells addresses from host names.
func split(names []string) (dns []string, ips []net.IP) {
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			ips = append(ips, ip)
		} else {
			dns = append(dns, name)
		}
	}
	return dns, ips
}

// key loads a private key, or makes one.
func (a *Authority) key(name string) (*ecdsa.PrivateKey, error) {
	info, err := a.root.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return a.newKey(name)
	}
	if err != nil {
		return nil, err
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return nil, fmt.Errorf("%q: mode %#o lets others at the key: want 0600", name, perm)
	}
	text, err := a.root.ReadFile(name)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%q: %w; remove the folder to start anew", name, err)
	}
	return key, nil
}
