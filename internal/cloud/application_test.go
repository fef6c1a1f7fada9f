// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/clouds"
)

// certified is a key with a certificate, and its parts in PEM.
type certified struct {
	cert       *x509.Certificate
	crt        string
	key, pkcs1 string
}

func newCertified(t *testing.T) certified {
	t.Helper()
	key := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app"}, NotAfter: time.Now().Add(time.Hour)}
	der := must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))(t)
	text := func(kind string, data []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}))
	}
	return certified{
		cert: must(x509.ParseCertificate(der))(t), crt: text("CERTIFICATE", der),
		key:   text("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key))(t)),
		pkcs1: text("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)),
	}
}

// TestApplicationWithACertificate: the stand-in of Entra checks what is signed, as the real one does.
func TestApplicationWithACertificate(t *testing.T) {
	own, other := newCertified(t), newCertified(t)
	stand, c := startWith(t, cloud.AzurePublic, func(config *clouds.Config) {
		config.Storage.Certificates = map[string]*x509.Certificate{clientID: own.cert}
	})
	backend := must(fips.New())(t)
	for name, tc := range map[string]struct {
		credential cloud.EntraCredential
		refused    bool
	}{
		"certificate and key":               {credential: cloud.EntraCredential{Certificate: []byte(own.crt + own.key)}},
		"the key first, of PKCS#1":          {credential: cloud.EntraCredential{Certificate: []byte(own.pkcs1 + own.crt)}},
		"with the chain sent along":         {credential: cloud.EntraCredential{Certificate: []byte(other.crt + own.crt + own.key), SendChain: true}},
		"of another application":            {credential: cloud.EntraCredential{Certificate: []byte(other.crt + other.key)}, refused: true},
		"a secret where a certificate goes": {credential: cloud.EntraCredential{Secret: "guessed"}, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			app := must(cloud.ParseEntraApplication("", tenantID, clientID, tc.credential))(t)
			for range 2 { // each assertion is good once
				token, err := c.EntraApplicationToken(t.Context(), app, "https://storage.azure.com", backend)
				if tc.refused {
					if refused, ok := errors.AsType[*cloud.Error](err); !ok || refused.Status != http.StatusUnauthorized {
						t.Errorf("error is %v", err)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				lasts(t, token, time.Hour)
			}
		})
	}
	if calls := stand.Calls(); !strings.HasPrefix(calls[0], "login.microsoftonline.com ") {
		t.Errorf("calls %q", calls)
	}
}

// TestCertificatesThatAreNone: what cannot work is named, and nothing of it is quoted.
func TestCertificatesThatAreNone(t *testing.T) {
	own, other := newCertified(t), newCertified(t)
	curve := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	ec := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(curve))(t)}))
	for name, tc := range map[string]struct{ pem, says string }{
		"nothing":                  {"hunter2", "PKCS#12"},
		"no key":                   {own.crt, "private key"},
		"no certificate":           {own.key, "a certificate"},
		"two keys":                 {own.crt + own.key + own.key, "more than one key"},
		"the key of another":       {own.crt + other.key, "none of the certificates"},
		"no RSA":                   {own.crt + ec, "RSA"},
		"an encrypted key":         {own.crt + "-----BEGIN ENCRYPTED PRIVATE KEY-----\naHVudGVyMg==\n-----END ENCRYPTED PRIVATE KEY-----\n", "not encrypted"},
		"a certificate of rubbish": {"-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n" + own.key, "certificates that can be read"},
		"too many certificates":    {strings.Repeat(own.crt, 17) + own.key, "at most 16"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := cloud.ParseEntraApplication("", tenantID, clientID, cloud.EntraCredential{Certificate: []byte(tc.pem)})
			if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error is %v, want %q", err, tc.says)
			}
		})
	}
}

// TestThroughAProxy: the clouds are reached by the proxy of who asks, and not without.
func TestThroughAProxy(t *testing.T) {
	stand, _ := start(t, cloud.AzurePublic)
	as := must(cloud.ParseEntraIdentity(annotated()))(t)
	direct := must(cloud.New(cloud.Config{Digests: must(fips.New())(t), TLS: transport.TLS{CA: stand.CA}}))(t)
	dead := transport.Proxy{URL: must(stand.Proxy.Parse("http://127.0.0.1:1"))(t)}
	if _, err := must(direct.Through(dead))(t).EntraToken(t.Context(), as, "https://storage.azure.com", workload); err == nil {
		t.Error("a proxy that is not there was not needed")
	}
	token := must(must(direct.Through(transport.ProxyFromURL(stand.Proxy)))(t).EntraToken(t.Context(), as, "https://storage.azure.com", workload))(t)
	lasts(t, token, time.Hour)
	if same := must(direct.Through(transport.Proxy{}))(t); same != direct {
		t.Error("without a proxy it is another client")
	}
}
