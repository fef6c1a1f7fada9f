// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"crypto"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice.dev/sluice/internal/fips"
)

// The fixed texts of Signature Version 4.
const (
	sigAlgorithm  = "AWS4-HMAC-SHA256"
	sigTerminator = "aws4_request"
	sigTime       = "20060102T150405Z"
	sigDate       = "20060102"
)

// signer signs requests with AWS Signature Version 4. It covers what this package sends: paths without escapes.
type signer struct {
	cred            AWSCredential
	region, service string
	digests         fips.Digests
	now             time.Time
}

func (s signer) time() string { return s.now.UTC().Format(sigTime) }

func (s signer) scope() string {
	return strings.Join([]string{s.now.UTC().Format(sigDate), s.region, s.service, sigTerminator}, "/")
}

// sign adds the date, the session's token and the signature, which covers every header there is.
func (s signer) sign(req *http.Request, body string) error {
	req.Header.Set("X-Amz-Date", s.time())
	if s.cred.session != "" {
		req.Header.Set("X-Amz-Security-Token", string(s.cred.session))
	}
	names, _ := canonicalHeaders(req)
	signature, err := s.signature(req, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", sigAlgorithm+" Credential="+s.cred.id+"/"+s.scope()+", SignedHeaders="+names+", Signature="+signature)
	return nil
}

// presign returns the address of a request without a body that is good by itself, for whoever adds the headers it was signed with.
func (s signer) presign(req *http.Request, good time.Duration) (Secret, error) {
	names, _ := canonicalHeaders(req)
	query := req.URL.Query()
	query.Set("X-Amz-Algorithm", sigAlgorithm)
	query.Set("X-Amz-Credential", s.cred.id+"/"+s.scope())
	query.Set("X-Amz-Date", s.time())
	query.Set("X-Amz-Expires", strconv.Itoa(int(good/time.Second)))
	query.Set("X-Amz-SignedHeaders", names)
	if s.cred.session != "" {
		query.Set("X-Amz-Security-Token", string(s.cred.session))
	}
	req.URL.RawQuery = query.Encode()
	signature, err := s.signature(req, "")
	if err != nil {
		return "", err
	}
	query.Set("X-Amz-Signature", signature)
	req.URL.RawQuery = query.Encode()
	return Secret(req.URL.String()), nil
}

// signature computes the signature over the request as it is.
func (s signer) signature(req *http.Request, body string) (string, error) {
	names, headers := canonicalHeaders(req)
	payload, err := s.hash(body)
	if err != nil {
		return "", err
	}
	query := strings.ReplaceAll(req.URL.Query().Encode(), "+", "%20") // a plus of a value is %2B here
	digest, err := s.hash(strings.Join([]string{req.Method, req.URL.EscapedPath(), query, headers, names, payload}, "\n"))
	if err != nil {
		return "", err
	}
	value, err := s.derive(strings.Join([]string{sigAlgorithm, s.time(), s.scope(), digest}, "\n"))
	return hex.EncodeToString(value), err
}

// derive signs a text with the key of the scope.
func (s signer) derive(toSign string) (key []byte, err error) {
	key = []byte("AWS4" + string(s.cred.secret))
	for _, part := range append(strings.Split(s.scope(), "/"), toSign) {
		if key, err = s.mac(key, part); err != nil {
			return nil, err
		}
	}
	return key, nil
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

func (s signer) hash(text string) (string, error) {
	sum, err := fips.Sum(s.digests, crypto.SHA256, []byte(text))
	return hex.EncodeToString(sum), err
}

func (s signer) mac(key []byte, text string) ([]byte, error) {
	state, err := s.digests.HMAC(crypto.SHA256, key)
	if err != nil {
		return nil, err
	}
	state.Write([]byte(text)) // a hash never fails
	return state.Sum(nil), nil
}
