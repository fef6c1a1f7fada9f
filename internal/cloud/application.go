// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"sluice.dev/sluice/internal/fips"
)

// EntraApplication is an application of Entra with a credential of its own. Only ParseEntraApplication makes one.
type EntraApplication struct {
	login, tenant, client string
	secret                Secret
	certificate           certificate
}

// certificate is what an application shows instead of a secret.
type certificate struct {
	key   []byte   // PKCS#8, in PEM
	chain [][]byte // DER, that of the key first
	whole bool     // the chain is sent along
}

// EntraCredential is by what Entra knows an application: a secret, or a certificate.
type EntraCredential struct {
	Secret Secret
	// Certificate is PEM with the certificate, those above it, and the RSA key, which is not encrypted.
	Certificate []byte
	// SendChain sends the certificates along, for applications that are bound to their names and issuer.
	SendChain bool
}

// maxCertificates bounds a chain.
const maxCertificates = 16

// tenantDomain is a name by which a tenant may be known.
var tenantDomain = newPattern(`([a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)+)`, 253)

// ParseEntraApplication reads tenant, client and credential. Authority is where Entra is, empty for the public cloud.
func ParseEntraApplication(authority, tenant, client string, credential EntraCredential) (EntraApplication, error) {
	login := ""
	for _, cloud := range []AzureCloud{AzurePublic, AzureGovernment, AzureChina} {
		if host, _ := cloud.hosts(); authority == host || authority+"/" == host || authority == "" && cloud == AzurePublic {
			login = host
		}
	}
	switch {
	case login == "":
		return EntraApplication{}, errors.New("authorityHost is none of Microsoft's clouds")
	case !guid.MatchString(tenant) && !tenantDomain.matches(tenant):
		return EntraApplication{}, errors.New("tenantId is neither a GUID nor a domain")
	case !guid.MatchString(client):
		return EntraApplication{}, errors.New("clientId is not a GUID")
	case credential.Secret == "" && len(credential.Certificate) == 0:
		return EntraApplication{}, errors.New("clientSecret is empty")
	}
	app := EntraApplication{login: login, tenant: tenant, client: client, secret: credential.Secret}
	if app.secret != "" {
		return app, nil
	}
	var err error
	if app.certificate, err = parseCertificate(credential.Certificate); err != nil {
		return EntraApplication{}, fmt.Errorf("clientCertificate: %w", err)
	}
	app.certificate.whole = credential.SendChain
	return app, nil
}

// parseCertificate sorts the blocks of a PEM text, in whatever order they come.
func parseCertificate(text []byte) (certificate, error) {
	var c certificate
	var chain []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			if c.key != nil {
				return certificate{}, errors.New("it has more than one key")
			}
			c.key = pem.EncodeToMemory(block)
			continue
		}
		parsed, err := x509.ParseCertificate(block.Bytes)
		if err != nil || len(chain) == maxCertificates {
			return certificate{}, fmt.Errorf("want at most %d certificates that can be read", maxCertificates)
		}
		chain = append(chain, parsed)
	}
	if c.key == nil || len(chain) == 0 {
		return certificate{}, errors.New("want PEM with a certificate and its private key; PKCS#12 is not read: openssl pkcs12 -nodes turns it into PEM")
	}
	public, err := c.public()
	if err != nil {
		return certificate{}, err
	}
	own := slices.IndexFunc(chain, func(cert *x509.Certificate) bool { return public.Equal(cert.PublicKey) })
	if own < 0 {
		return certificate{}, errors.New("the key is that of none of the certificates")
	}
	chain[0], chain[own] = chain[own], chain[0]
	for _, cert := range chain {
		c.chain = append(c.chain, cert.Raw)
	}
	return c, nil
}

// public brings the key into the form that internal/fips reads, and returns its public half.
func (c *certificate) public() (*rsa.PublicKey, error) {
	var err error
	if c.key, err = fips.PKCS8(c.key); err != nil {
		return nil, err
	}
	block, _ := pem.Decode(c.key)
	if block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("PEM block is %.40q, want %q, not encrypted", block.Type, "PRIVATE KEY")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("the key cannot be read") // the parser's words may quote it
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("Entra takes RSA keys only")
	}
	return &private.PublicKey, nil
}

// EntraApplicationToken gets a token for a resource as an application (RFC 6749 §4.4). A key is loaded by the backend, which refuses
// one that the FIPS list refuses.
func (c *Client) EntraApplicationToken(ctx context.Context, a EntraApplication, resource string, backend fips.Backend) (Token, error) {
	service := a.login + a.tenant + "/oauth2/v2.0/token"
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {a.client}, "scope": {resource + "/.default"}}
	if a.secret != "" {
		form.Set("client_secret", string(a.secret))
		return c.exchange(ctx, service, form)
	}
	assertion, err := c.assert(ctx, a, service, backend)
	if err != nil {
		return Token{}, err
	}
	form.Set("client_assertion_type", clientAssertion)
	form.Set("client_assertion", assertion)
	return c.exchange(ctx, service, form)
}

// assert signs who the application is (RFC 7523 §2.2). Entra takes PS256 with the SHA-256 digest of the certificate, so that SHA-1, by
// which certificates were named before, is not needed.
func (c *Client) assert(ctx context.Context, a EntraApplication, service string, backend fips.Backend) (string, error) {
	thumbprint, err := fips.Sum(backend, crypto.SHA256, a.certificate.chain[0])
	if err != nil {
		return "", err
	}
	once := make([]byte, 16)
	if _, err := backend.Rand().Read(once); err != nil {
		return "", fmt.Errorf("name the assertion: %w", err)
	}
	header := map[string]any{"alg": "PS256", "typ": "JWT", "x5t#S256": base64.RawURLEncoding.EncodeToString(thumbprint)}
	if a.certificate.whole {
		header["x5c"] = a.certificate.chain // base64, as JSON has bytes
	}
	now := c.now()
	options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	return sign(ctx, backend, a.certificate.key, options, header, map[string]any{
		"aud": service, "iss": a.client, "sub": a.client, "jti": hex.EncodeToString(once),
		"nbf": now.Add(-assertionSkew).Unix(), "iat": now.Add(-assertionSkew).Unix(), "exp": now.Add(assertionLife).Unix(),
	})
}
