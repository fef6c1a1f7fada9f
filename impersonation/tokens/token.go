// SPDX-License-Identifier: Apache-2.0

package tokens

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"

	"sluice.dev/sluice/impersonation"
)

// maxToken bounds a token. The API server's own are about 1 KiB.
const maxToken = 16 << 10

// secret is a bearer token. However it is printed or encoded, it does not show.
type secret []byte

const redacted = "[redacted]"

// String hides the token from %s and %v.
func (secret) String() string { return redacted }

// GoString hides it from %#v.
func (secret) GoString() string { return redacted }

// Format hides it from every other verb, %x included.
func (secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText hides it from encoders.
func (secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON hides it from JSON, which would prefer base64 for a byte slice.
func (secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// token is one minted credential.
type token struct {
	value secret
	// uid is the ServiceAccount's UID, for which alone the token is good, and audiences are the servers it is good at.
	uid       string
	audiences []string
	// minted, renewAt and expires are on the broker's clock.
	minted, renewAt, expires time.Time
}

// fresh reports whether the token needs no renewal yet.
func (t *token) fresh(now time.Time) bool { return t != nil && now.Before(t.renewAt) }

// usable reports whether the API server still accepts the token, with a margin for a request on its way.
func (t *token) usable(now time.Time) bool {
	return t != nil && now.Add(10*time.Second).Before(t.expires)
}

// claims is the part of a bound token's payload that is read. The signature is the API server's business: the token came
// from it over the manager's authenticated connection, and goes back to it.
type claims struct {
	Subject    string    `json:"sub"`
	Audience   audiences `json:"aud"`
	Kubernetes struct {
		ServiceAccount struct {
			UID string `json:"uid"`
		} `json:"serviceaccount"`
	} `json:"kubernetes.io"`
}

// audiences is the claim "aud", which a single one may stand in without a list (RFC 7519 §4.1.3).
type audiences []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *audiences) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audiences{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// readToken checks that what was minted is a token of id, and finds the ServiceAccount's UID in it. Reading the UID there
// spares the manager a grant to read ServiceAccounts.
func readToken(status authenticationv1.TokenRequestStatus, id impersonation.Identity, now time.Time, lifetime time.Duration) (*token, error) {
	c, err := decodeClaims(status.Token)
	if err != nil {
		return nil, fmt.Errorf("read the token minted for %s: %w", id, err)
	}
	if c.Subject != id.String() {
		return nil, fmt.Errorf("the token minted for %s is for %q", id, c.Subject)
	}
	if c.Kubernetes.ServiceAccount.UID == "" {
		return nil, fmt.Errorf("the token minted for %s names no ServiceAccount UID", id)
	}
	if len(c.Audience) == 0 {
		return nil, fmt.Errorf("the token minted for %s is good at every server", id)
	}
	expires := status.ExpirationTimestamp.Time
	// Some providers hand out longer tokens than asked for. Renewal goes by the shorter of the two.
	valid := min(lifetime, expires.Sub(now))
	if valid <= 0 {
		return nil, fmt.Errorf("the token minted for %s has expired at %s; check the clocks", id, expires.UTC().Format(time.RFC3339))
	}
	return &token{
		value:     secret(status.Token),
		uid:       c.Kubernetes.ServiceAccount.UID,
		audiences: c.Audience,
		minted:    now,
		renewAt:   now.Add(valid * 8 / 10),
		expires:   expires,
	}, nil
}

// decodeClaims reads the payload of a JSON web token. Errors never quote it.
func decodeClaims(raw string) (claims, error) {
	var c claims
	if len(raw) > maxToken {
		return c, errors.New("it is too long")
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return c, errors.New("it is no JSON web token")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return c, errors.New("its payload is not base64url")
	}
	if json.Unmarshal(payload, &c) != nil {
		return c, errors.New("its payload is not JSON")
	}
	return c, nil
}
