// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// TLS says whom a client trusts and as whom it presents itself. The zero value trusts the system's roots and presents no
// certificate.
type TLS struct {
	// CA is PEM with one or more certificates. When set, only these are trusted, unless SystemRoots adds the system's.
	CA []byte
	// SystemRoots trusts the system's roots beside CA. Without CA they are trusted anyway.
	SystemRoots bool
	// Cert and Key are the client certificate chain and its key in PEM. Both or none.
	Cert []byte
	Key  []byte
	// ServerName is checked against the server's certificate instead of the host in the URL.
	ServerName string
	// SkipVerificationUnsafe accepts any certificate. Anybody between us and the server can then read and change
	// everything; only a caller whose owner and platform policy both permit it may set this.
	SkipVerificationUnsafe bool
}

// IsZero reports whether nothing is set.
func (t TLS) IsZero() bool {
	return len(t.CA) == 0 && !t.SystemRoots && len(t.Cert) == 0 && len(t.Key) == 0 && t.ServerName == "" &&
		!t.SkipVerificationUnsafe
}

// String never shows the key.
func (t TLS) String() string {
	return fmt.Sprintf("TLS{ca: %d bytes, system roots: %t, client certificate: %t}", len(t.CA), t.SystemRoots, len(t.Cert) > 0)
}

// GoString never shows the key.
func (t TLS) GoString() string { return t.String() }

// ClientTLS returns the configuration of a TLS client.
func ClientTLS(t TLS) (*tls.Config, error) {
	config := profile()
	config.ServerName = t.ServerName
	config.InsecureSkipVerify = t.SkipVerificationUnsafe // named by its danger in TLS
	if len(t.CA) > 0 {
		pool, err := roots(t)
		if err != nil {
			return nil, err
		}
		config.RootCAs = pool
	}
	if len(t.Cert) == 0 && len(t.Key) == 0 {
		return config, nil
	}
	pair, err := keyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// ServerTLSOptions is the identity of a TLS server and whom it lets in.
type ServerTLSOptions struct {
	// Cert and Key are the server's certificate chain and its key in PEM. Both are required.
	Cert []byte
	Key  []byte
	// ClientCA is PEM. When set, every client must present a certificate that one of these authorities signed.
	ClientCA []byte
}

// ServerTLS returns the configuration of a TLS server.
func ServerTLS(o ServerTLSOptions) (*tls.Config, error) {
	pair, err := keyPair(o.Cert, o.Key)
	if err != nil {
		return nil, fmt.Errorf("server certificate: %w", err)
	}
	config := profile()
	config.Certificates = []tls.Certificate{pair}
	if len(o.ClientCA) > 0 {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(o.ClientCA) {
			return nil, errors.New("client CA: no certificate found in PEM")
		}
		config.ClientCAs = pool
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config, nil
}

// profile is the one choice of versions, suites and groups (SP 800-52r2 §3.3; spec/fips.md §1.3). Bare X25519 is not
// approved and its hybrid is disputed by auditors, so the hybrids here stand on the NIST curves. TLS 1.3 suites cannot be
// configured; the module's mode limits them to AES-GCM.
func profile() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		},
		CurvePreferences: []tls.CurveID{
			tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024, tls.CurveP256, tls.CurveP384, tls.CurveP521,
		},
	}
}

// roots is the pool of t.CA, with the system's roots where asked for.
func roots(t TLS) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if t.SystemRoots {
		system, err := x509.SystemCertPool()
		if err != nil {
			return nil, fmt.Errorf("system certificate pool: %w", err)
		}
		pool = system
	}
	if !pool.AppendCertsFromPEM(t.CA) {
		return nil, errors.New("CA: no certificate found in PEM")
	}
	return pool, nil
}

// keyPair parses a certificate and its key. The parser's text is dropped on a bad key: it may describe the input.
func keyPair(cert, key []byte) (tls.Certificate, error) {
	switch {
	case len(cert) == 0:
		return tls.Certificate{}, errors.New("a key without a certificate")
	case len(key) == 0:
		return tls.Certificate{}, errors.New("a certificate without a key")
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, errors.New("certificate and key are no valid PEM pair")
	}
	return pair, nil
}
