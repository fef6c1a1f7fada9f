// SPDX-License-Identifier: Apache-2.0

package notary

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"time"

	"github.com/digitorus/timestamp"
	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/tspclient-go"
)

// TimestampAuthority makes timestamps by RFC 3161 with the library that Sigstore's authority is built on. It implements
// tspclient.Timestamper.
type TimestampAuthority struct {
	*Authority
	// Now is the clock by which it stamps.
	Now         func() time.Time
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewTimestampAuthority makes one under a root of its own, with a key on a curve. Changes are made to its certificate.
func NewTimestampAuthority(organization string, now func() time.Time, curve elliptic.Curve, changes ...func(*x509.Certificate)) (*TimestampAuthority, error) {
	root, err := NewAuthority(organization)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		return nil, err
	}
	// Only a critical extension makes a certificate one for timestamps (RFC 3161, 2.3), which a template cannot say.
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		return nil, err
	}
	at := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: subject(organization, "timestamps"), NotBefore: at.Add(-24 * time.Hour), NotAfter: at.Add(24 * time.Hour),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}},
	}
	for _, change := range changes {
		change(template)
	}
	certificate, err := create(template, root.Certificate, key, root.key)
	if err != nil {
		return nil, err
	}
	return &TimestampAuthority{Authority: root, Now: now, Certificate: certificate, key: key}, nil
}

// Timestamp answers a request.
func (a *TimestampAuthority) Timestamp(_ context.Context, q *tspclient.Request) (*tspclient.Response, error) {
	encoded, err := q.MarshalBinary()
	if err != nil {
		return nil, err
	}
	asked, err := timestamp.ParseRequest(encoded)
	if err != nil {
		return nil, err
	}
	stamp := timestamp.Timestamp{
		HashAlgorithm: asked.HashAlgorithm, HashedMessage: asked.HashedMessage, Nonce: asked.Nonce, Time: a.Now(), Accuracy: time.Second,
		Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2}, AddTSACertificate: true, Certificates: []*x509.Certificate{a.Authority.Certificate},
	}
	answer, err := stamp.CreateResponseWithOpts(a.Certificate, a.key, crypto.SHA256)
	if err != nil {
		return nil, err
	}
	r := &tspclient.Response{}
	return r, r.UnmarshalBinary(answer)
}

// Stamped asks for a timestamp beside the signature.
func (a *TimestampAuthority) Stamped(r *signature.SignRequest) {
	r.Timestamper, r.TSARootCAs = a, x509.NewCertPool()
	r.TSARootCAs.AddCert(a.Authority.Certificate)
}

// Token is a timestamp over some bytes.
func (a *TimestampAuthority) Token(over []byte) ([]byte, error) {
	q, err := tspclient.NewRequest(tspclient.RequestOptions{Content: over, HashAlgorithm: crypto.SHA256})
	if err != nil {
		return nil, err
	}
	r, err := a.Timestamp(context.Background(), q)
	if err != nil {
		return nil, err
	}
	return r.TimestampToken.FullBytes, nil
}

// Restamp puts another timestamp into an envelope in JWS: one that a signing tool would not have accepted.
func Restamp(envelope []byte, token func(signature []byte) ([]byte, error)) ([]byte, error) {
	var e struct {
		Payload   string         `json:"payload"`
		Protected string         `json:"protected"`
		Header    map[string]any `json:"header"`
		Signature string         `json:"signature"`
	}
	if err := json.Unmarshal(envelope, &e); err != nil {
		return nil, err
	}
	signed, err := base64.RawURLEncoding.DecodeString(e.Signature)
	if err != nil {
		return nil, err
	}
	stamp, err := token(signed)
	if err != nil {
		return nil, err
	}
	e.Header["io.cncf.notary.timestampSignature"] = stamp
	return json.Marshal(e)
}
