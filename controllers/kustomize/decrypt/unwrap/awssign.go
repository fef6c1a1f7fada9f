// SPDX-License-Identifier: Apache-2.0

package unwrap

import (
	"crypto"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"

	"sluice.dev/sluice/internal/fips"
)

// The fixed texts of Signature Version 4.
const (
	awsAlgorithm   = "AWS4-HMAC-SHA256"
	awsTerminator  = "aws4_request"
	awsTime        = "20060102T150405Z"
	awsDate        = "20060102"
	awsDateHeader  = "X-Amz-Date"
	awsTokenHeader = "X-Amz-Security-Token"
)

// awsSigner signs requests with AWS Signature Version 4. It covers what this package sends: paths without escapes and no
// query.
type awsSigner struct {
	cred            awsCredential
	region, service string
	digests         fips.Digests
}

// sign adds the date, the session's token and the signature, which covers every header there is.
func (s awsSigner) sign(req *http.Request, body []byte, now time.Time) error {
	now = now.UTC()
	req.Header.Set(awsDateHeader, now.Format(awsTime))
	if s.cred.Token != "" {
		req.Header.Set(awsTokenHeader, s.cred.Token)
	}
	names, headers := canonicalHeaders(req)
	payload, err := s.hash(body)
	if err != nil {
		return err
	}
	canonical := strings.Join([]string{req.Method, req.URL.EscapedPath(), "", headers, names, payload}, "\n")
	digest, err := s.hash([]byte(canonical))
	if err != nil {
		return err
	}
	scope := strings.Join([]string{now.Format(awsDate), s.region, s.service, awsTerminator}, "/")
	toSign := strings.Join([]string{awsAlgorithm, now.Format(awsTime), scope, digest}, "\n")
	key := []byte("AWS4" + s.cred.Secret)
	for _, part := range append(strings.Split(scope, "/"), toSign) {
		if key, err = s.mac(key, part); err != nil {
			return err
		}
	}
	req.Header.Set("Authorization", awsAlgorithm+" Credential="+s.cred.ID+"/"+scope+", SignedHeaders="+names+", Signature="+hex.EncodeToString(key))
	return nil
}

// canonicalHeaders returns the names that are signed, and the lines with their values.
func canonicalHeaders(req *http.Request) (names, lines string) {
	values := map[string]string{"host": req.URL.Host}
	for name, list := range req.Header {
		values[strings.ToLower(name)] = strings.TrimSpace(strings.Join(list, ","))
	}
	var sorted []string
	for name := range values {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	for _, name := range sorted {
		lines += name + ":" + values[name] + "\n"
	}
	return strings.Join(sorted, ";"), lines
}

func (s awsSigner) hash(data []byte) (string, error) {
	sum, err := fips.Sum(s.digests, crypto.SHA256, data)
	return hex.EncodeToString(sum), err
}

func (s awsSigner) mac(key []byte, text string) ([]byte, error) {
	state, err := s.digests.HMAC(crypto.SHA256, key)
	if err != nil {
		return nil, err
	}
	state.Write([]byte(text)) // a hash never fails
	return state.Sum(nil), nil
}
