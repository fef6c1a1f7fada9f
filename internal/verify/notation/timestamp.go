// SPDX-License-Identifier: Apache-2.0

package notation

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	nx509 "github.com/notaryproject/notation-core-go/x509"
	"github.com/notaryproject/tspclient-go"

	"sluice.dev/sluice/internal/fips"
)

const (
	// maxToken bounds a timestamp in bytes. With its certificates it has some 8 KiB.
	maxToken = 64 << 10
	// maxAccuracy bounds how little a timestamp may say, and keeps its limits from running over.
	maxAccuracy = 24 * time.Hour
)

// span is the time within which something happened.
type span struct{ from, until time.Time }

// within reports whether a certificate was valid all the time.
func (s span) within(c *x509.Certificate) bool {
	return !s.from.Before(c.NotBefore) && !s.until.After(c.NotAfter)
}

// signedAt returns when the certificates of a signature had to be valid (trust-store-trust-policy, "Validate Trusted Timestamp").
func (t trust) signedAt(info signature.SignerInfo, now time.Time) (span, error) {
	switch {
	case info.SignedAttributes.SigningScheme == signature.SigningSchemeX509SigningAuthority:
		at := info.SignedAttributes.SigningTime // the authority, which is trusted, says when it signed
		return span{at, at}, nil
	case !t.rules.timestamps, t.rules.afterExpiry && !expired(info.CertificateChain, now):
		return span{now, now}, nil
	}
	s, err := t.stamped(info, now)
	if err != nil {
		return span{}, fmt.Errorf("timestamp: %w", err)
	}
	return s, nil
}

func expired(chain []*x509.Certificate, now time.Time) bool {
	for _, c := range chain {
		if now.After(c.NotAfter) {
			return true
		}
	}
	return false
}

// stamped returns when a trusted authority had the signature before it.
func (t trust) stamped(info signature.SignerInfo, now time.Time) (s span, err error) {
	// The parser is not ours, and the timestamp is no part of what was signed: anybody may have put it there.
	defer func() {
		if recover() != nil {
			s, err = span{}, errors.New("it cannot be read")
		}
	}()
	encoded := info.UnsignedAttributes.TimestampSignature
	switch {
	case len(encoded) == 0:
		return span{}, errors.New("signature has none, and the trust policy names a store of type \"tsa\"")
	case len(encoded) > maxToken:
		return span{}, fmt.Errorf("it has more than %d bytes", maxToken)
	}
	token, err := tspclient.ParseSignedToken(encoded)
	if err != nil {
		return span{}, errors.New("it is no timestamp by RFC 3161")
	}
	// RFC 3161, 2.4.2: no signature but the authority's. Each more would cost a search for its chain.
	if len(token.SignerInfos) != 1 || len(token.Certificates) > maxChain {
		return span{}, fmt.Errorf("it has %d signatures and %d certificates", len(token.SignerInfos), len(token.Certificates))
	}
	said, err := token.Info()
	if err != nil {
		return span{}, errors.New("it is no timestamp by RFC 3161")
	}
	stamp, err := said.Validate(info.Signature)
	if err != nil {
		return span{}, errors.New("it is not over this signature, or by a hash that is not supported")
	}
	if stamp.Accuracy < 0 || stamp.Accuracy > maxAccuracy || said.Accuracy.Seconds < 0 || said.Accuracy.Seconds > int(maxAccuracy/time.Second) {
		return span{}, errors.New("its accuracy says nothing")
	}
	if err := t.authority(token, stamp.Value, now); err != nil {
		return span{}, err
	}
	return span{stamp.Value.Add(-stamp.Accuracy), stamp.Value.Add(stamp.Accuracy)}, nil
}

// authority checks who has made a timestamp: somebody of a trusted authority who was one at that time, and was not taken back since.
func (t trust) authority(token *tspclient.SignedToken, at, now time.Time) error {
	roots := x509.NewCertPool()
	for _, c := range t.authorities {
		roots.AddCert(c)
	}
	chain, err := token.Verify(context.Background(), x509.VerifyOptions{CurrentTime: at, Roots: roots}) //nolint:forbidigo // it asks nobody
	if err == nil {
		err = nx509.ValidateTimestampingCertChain(chain)
	}
	if err != nil {
		text := strings.ToValidUTF8(fmt.Sprintf("%.*s", maxCause, err), "")
		return fmt.Errorf("it is not by an authority that is trusted: %s", strings.Join(strings.Fields(text), " "))
	}
	for _, c := range chain {
		if _, err := fips.DefaultAlgorithm(c.PublicKey); err != nil {
			return fmt.Errorf("key of its certificate: %w", err)
		}
	}
	return t.unrevoked(chain, now)
}
