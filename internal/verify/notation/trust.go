// SPDX-License-Identifier: Apache-2.0

package notation

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/verify"
)

// Bounds of the trust material.
const (
	maxFiles        = 64
	maxCertificates = 256
	maxFile         = 1 << 20
)

// listSuffix ends the name of a file with a revocation list. Every other file has certificates.
const listSuffix = ".crl"

// ofTimestamps is the name of a file whose certificates are for stores of type "tsa" alone. As in Flux every certificate is in
// every store as long as no file has such a name; with one, an authority for timestamps cannot vouch for a signer, nor the other way.
var ofTimestamps = regexp.MustCompile(`^(.*\.)?tsa\.[^.]+$`)

// trust is a policy, read for one repository.
type trust struct {
	rules        rules
	certificates []*x509.Certificate
	// authorities are those whose timestamps count.
	authorities []*x509.Certificate
	lists       []*x509.RevocationList
	// fingerprint is over the policy's material, so that a changed one can be noticed.
	fingerprint string
}

// trust reads a policy. One part that cannot be used makes the whole unusable: a policy is never quietly narrowed or
// widened to what happens to be readable.
func (v *Verifier) trust(repository string, p verify.Policy) (trust, error) {
	if len(p.TrustPolicy) == 0 || len(p.Keys) == 0 {
		return trust{}, verify.ErrNoPolicy
	}
	if len(p.Keys) > maxFiles {
		return trust{}, fmt.Errorf("more than %d files of certificates", maxFiles)
	}
	var t trust
	d, err := parseDocument(p.TrustPolicy)
	if err != nil {
		return trust{}, err
	}
	if t.rules, err = d.of(repository); err != nil {
		return trust{}, err
	}
	for _, file := range p.Keys {
		if err := t.read(file); err != nil {
			return trust{}, fmt.Errorf("%q: %w", file.Name, err)
		}
	}
	switch {
	case len(t.certificates) == 0:
		return trust{}, verify.ErrNoPolicy
	case len(t.certificates)+len(t.authorities) > maxCertificates:
		return trust{}, fmt.Errorf("more than %d certificates", maxCertificates)
	case len(t.authorities) == 0:
		t.authorities = t.certificates
	}
	t.fingerprint, err = verify.Trust(v.config.Backend, p)
	return t, err
}

// read reads one file: certificates or a revocation list, in PEM or DER.
func (t *trust) read(file verify.Key) error {
	if len(file.Data) > maxFile {
		return fmt.Errorf("larger than %d bytes", maxFile)
	}
	if strings.HasSuffix(file.Name, listSuffix) {
		list, err := x509.ParseRevocationList(decode(file.Data, "X509 CRL"))
		if err != nil {
			return errors.New("no revocation list")
		}
		t.lists = append(t.lists, list)
		return nil
	}
	certificates, err := x509.ParseCertificates(decode(file.Data, "CERTIFICATE"))
	if err != nil || len(certificates) == 0 {
		return errors.New("no certificate in PEM or DER")
	}
	for _, c := range certificates {
		if err := root(c); err != nil {
			return err
		}
	}
	if ofTimestamps.MatchString(file.Name) {
		t.authorities = append(t.authorities, certificates...)
	} else {
		t.certificates = append(t.certificates, certificates...)
	}
	return nil
}

// root refuses what is no root of trust: a certificate that neither is an authority nor has signed itself.
func root(c *x509.Certificate) error {
	if _, err := fips.DefaultAlgorithm(c.PublicKey); err != nil {
		return fmt.Errorf("certificate %.256q: %w", c.Subject, err)
	}
	if !c.IsCA && (!bytes.Equal(c.RawSubject, c.RawIssuer) || c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) != nil) {
		return fmt.Errorf("certificate %.256q is neither an authority nor signed by itself", c.Subject)
	}
	return nil
}

// decode returns what is in PEM blocks of one type, or the bytes themselves where there is no PEM. Another type of block spoils the
// file: a private key does not belong there.
func decode(data []byte, kind string) []byte {
	block, rest := pem.Decode(data)
	if block == nil {
		return data
	}
	var out []byte
	for ; block != nil; block, rest = pem.Decode(rest) {
		if block.Type != kind {
			return nil
		}
		out = append(out, block.Bytes...)
	}
	return out
}

// unrevoked checks a chain against the lists, as far as the level enforces it.
func (t trust) unrevoked(chain []*x509.Certificate, now time.Time) error {
	unknown, err := t.revoked(chain, now)
	switch t.rules.revocation {
	case skip:
		return nil
	case enforce:
		return cmp.Or(err, unknown)
	default:
		return err
	}
}

// revoked checks a chain against the lists, and returns what is unknown about it. A certificate on a list is refused, whatever the
// level: whoever gives a list means it.
func (t trust) revoked(chain []*x509.Certificate, now time.Time) (unknown, err error) {
	for i, c := range chain[:len(chain)-1] {
		current := false
		for _, list := range t.lists {
			if list.CheckSignatureFrom(chain[i+1]) != nil {
				continue
			}
			for _, entry := range list.RevokedCertificateEntries {
				if entry.SerialNumber.Cmp(c.SerialNumber) == 0 {
					return nil, fmt.Errorf("certificate %.256q is revoked", c.Subject)
				}
			}
			current = current || !now.Before(list.ThisUpdate) && (list.NextUpdate.IsZero() || now.Before(list.NextUpdate))
		}
		if !current && (len(c.OCSPServer) > 0 || len(c.CRLDistributionPoints) > 0) {
			unknown = fmt.Errorf("nobody is asked whether certificate %.256q is revoked, and there is no current list of its authority: "+
				"give one as an entry *.crl, or override \"revocation\"", c.Subject)
		}
	}
	return unknown, nil
}
