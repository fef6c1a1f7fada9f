// SPDX-License-Identifier: Apache-2.0

// Package notary signs artifacts as the Notary Project's tools do, with an authority of its own: real envelopes in JWS and COSE, pushed
// as referrers.
package notary

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"

	"sluice.dev/sluice/internal/oci"
)

// Media types of a signature.
const (
	JWS          = jws.MediaTypeEnvelope
	COSE         = cose.MediaTypeEnvelope
	ArtifactType = "application/vnd.cncf.notary.signature"
	PayloadType  = "application/vnd.cncf.notary.payload.v1+json"
)

// Authority issues certificates for signers.
type Authority struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes one by the name of an organization.
func NewAuthority(organization string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: subject(organization, "authority"), NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	certificate, err := create(template, template, key, key)
	if err != nil {
		return nil, err
	}
	return &Authority{Certificate: certificate, key: key}, nil
}

func subject(organization, name string) pkix.Name {
	return pkix.Name{Country: []string{"NL"}, Province: []string{"NH"}, Organization: []string{organization}, CommonName: name}
}

func create(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("create certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// PEM is the authority's certificate.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate.Raw})
}

// Revoke makes a list of certificates that the authority has taken back.
func (a *Authority) Revoke(until time.Time, revoked ...*x509.Certificate) ([]byte, error) {
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-24 * time.Hour), NextUpdate: until}
	for _, c := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.Certificate, a.key)
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), err
}

// Signer is who signs.
type Signer struct {
	Certificate *x509.Certificate
	chain       []*x509.Certificate
	key         *ecdsa.PrivateKey
}

// Issue gives a signer a certificate. Changes are made to it before it is signed.
func (a *Authority) Issue(organization, name string, changes ...func(*x509.Certificate)) (*Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: subject(organization, name), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	for _, change := range changes {
		change(template)
	}
	certificate, err := create(template, a.Certificate, key, a.key)
	if err != nil {
		return nil, err
	}
	return &Signer{Certificate: certificate, chain: []*x509.Certificate{certificate, a.Certificate}, key: key}, nil
}

// Change is made to what is signed.
type Change = func(*signature.SignRequest)

// SignedAt sets the time that the signer claims.
func SignedAt(at time.Time) Change { return func(r *signature.SignRequest) { r.SigningTime = at } }

// Envelope signs an artifact, which is described by its manifest. Changes are made to what is signed.
func (s *Signer) Envelope(kind string, m oci.Manifest, changes ...Change) ([]byte, error) {
	local, err := signature.NewLocalSigner(s.chain, s.key)
	if err != nil {
		return nil, err
	}
	payload, err := json.Marshal(map[string]any{"targetArtifact": map[string]any{"mediaType": m.MediaType, "digest": m.Digest, "size": len(m.Raw)}})
	if err != nil {
		return nil, err
	}
	req := &signature.SignRequest{
		Payload: signature.Payload{ContentType: PayloadType, Content: payload}, Signer: local, SigningTime: time.Now(),
		SigningScheme: signature.SigningSchemeX509, SigningAgent: "test",
	}
	for _, change := range changes {
		change(req)
	}
	envelope, err := signature.NewEnvelope(kind)
	if err != nil {
		return nil, err
	}
	return envelope.Sign(req)
}

// Sign signs an artifact and pushes the signature.
func (s *Signer) Sign(ctx context.Context, c *oci.Client, kind, digest string, changes ...Change) error {
	m, err := c.Manifest(ctx, digest)
	if err != nil {
		return err
	}
	envelope, err := s.Envelope(kind, m, changes...)
	if err != nil {
		return err
	}
	return Push(ctx, c, m, kind, envelope)
}

// Push attaches an envelope to an artifact.
func Push(ctx context.Context, c *oci.Client, m oci.Manifest, kind string, envelope []byte) error {
	_, err := c.Push(ctx, "", oci.Artifact{
		ArtifactType: ArtifactType, Config: oci.Blob{MediaType: ArtifactType, Data: []byte("{}")},
		Layers:  []oci.Blob{{MediaType: kind, Data: envelope}},
		Subject: &oci.Entry{MediaType: m.MediaType, Digest: m.Digest, Size: int64(len(m.Raw))},
	})
	return err
}

// Policy is a trust policy document that believes a signer of an organization, by a level. Further stores may be named.
func Policy(level, organization string, stores ...string) []byte {
	named := strings.Join(append([]string{"ca:any"}, stores...), `","`)
	return fmt.Appendf(nil, `{"version":"1.0","trustPolicies":[{"name":"all","registryScopes":["*"],"signatureVerification":{"level":%q},`+
		`"trustStores":["%s"],"trustedIdentities":["x509.subject: C=NL, ST=NH, O=%s"]}]}`, level, named, organization)
}
