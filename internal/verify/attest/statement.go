// SPDX-License-Identifier: Apache-2.0

package attest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/internal/verify"
)

// PredicateType names the predicate: a verify.Claim.
const PredicateType = "https://sluice.dev/attestation/artifact/v1"

// maxField bounds each text of a claim in bytes.
const maxField = 4096

// encode is pure: the statement about a claim.
func encode(claim verify.Claim) ([]byte, error) {
	if err := check(claim); err != nil {
		return nil, err
	}
	predicate, err := json.Marshal(claim)
	if err != nil {
		return nil, fmt.Errorf("encode claim: %w", err)
	}
	return json.Marshal(sign.Statement{
		Type:          sign.StatementType,
		Subject:       []sign.Resource{{Name: subjectName(claim.Origin), Digest: map[string]string{"sha256": hexOf(claim.Digest)}}},
		PredicateType: PredicateType,
		Predicate:     predicate,
	})
}

// decode reads a statement and returns its claim if the statement says the same thing twice, in its subject and in its
// predicate.
func decode(payload []byte) (verify.Claim, error) {
	var s sign.Statement
	if err := strict(payload, &s); err != nil {
		return verify.Claim{}, fmt.Errorf("statement: %w", err)
	}
	switch {
	case s.Type != sign.StatementType:
		return verify.Claim{}, fmt.Errorf("statement is of type %.64q", s.Type)
	case s.PredicateType != PredicateType:
		return verify.Claim{}, fmt.Errorf("statement has predicate %.64q, want %q", s.PredicateType, PredicateType)
	case len(s.Subject) != 1:
		return verify.Claim{}, fmt.Errorf("statement has %d subjects, want one", len(s.Subject))
	}
	var claim verify.Claim
	if err := strict(s.Predicate, &claim); err != nil {
		return verify.Claim{}, fmt.Errorf("claim: %w", err)
	}
	if err := check(claim); err != nil {
		return verify.Claim{}, err
	}
	subject := s.Subject[0]
	if len(subject.Digest) != 1 || subject.Digest["sha256"] != hexOf(claim.Digest) || subject.Name != subjectName(claim.Origin) {
		return verify.Claim{}, errors.New("statement's subject is not what its claim says")
	}
	return claim, nil
}

// strict refuses unknown fields and trailing text: a statement is of our own making, down to the last byte.
func strict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return errors.New("no valid JSON of the expected shape")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("text after the JSON document")
	}
	return nil
}

// check refuses a claim that names nothing.
func check(c verify.Claim) error {
	o := c.Origin
	for name, value := range map[string]string{"kind": o.Kind, "namespace": o.Namespace, "name": o.Name, "uid": o.UID, "revision": c.Revision} {
		if value == "" || len(value) > maxField {
			return fmt.Errorf("claim without a usable %s", name)
		}
	}
	// The subject's name is joined with slashes, so no part may hold one.
	if strings.Contains(o.Kind+o.Namespace+o.Name, "/") {
		return errors.New("claim with a slash in its origin")
	}
	if !isDigest(c.Digest) {
		return fmt.Errorf("claim digest %.80q is not sha256:<hex>", c.Digest)
	}
	return nil
}

func subjectName(o verify.Origin) string { return o.Kind + "/" + o.Namespace + "/" + o.Name }

func hexOf(digest string) string { return strings.TrimPrefix(digest, "sha256:") }

func isDigest(s string) bool {
	hex, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}
