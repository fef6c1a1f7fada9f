// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"sluice.dev/sluice/internal/fips"
)

// GoogleKey is a key of a service account of Google Cloud. Only ParseGoogleKey makes one.
type GoogleKey struct {
	email, id string
	pem       []byte
}

// googleOAuth gives tokens for keys. Whatever a key's document says, nobody else is asked.
const googleOAuth = "https://oauth2.googleapis.com/token"

// assertionLife is how long what we say of ourselves is good, and assertionSkew how far the clocks may be apart.
const (
	assertionLife = 5 * time.Minute
	assertionSkew = 30 * time.Second
)

// googleKeyEmail is wider than googleEmail: Google makes service accounts of its own, and projects of a domain have a dot.
var googleKeyEmail = newPattern(`([a-zA-Z0-9-]+)@(?:([a-zA-Z0-9.-]+)\.iam|developer|appspot)\.gserviceaccount\.com`, 100, 100)

// ParseGoogleKey reads the document that Google Cloud makes for a key.
func ParseGoogleKey(document []byte) (GoogleKey, error) {
	var key struct {
		Type     string `json:"type"`
		Email    string `json:"client_email"`
		ID       string `json:"private_key_id"`
		PEM      string `json:"private_key"`
		TokenURI string `json:"token_uri"`
	}
	switch err := json.Unmarshal(document, &key); {
	case err != nil:
		return GoogleKey{}, errors.New("no JSON")
	case key.Type != "service_account":
		return GoogleKey{}, fmt.Errorf("type %.32q: want %q", key.Type, "service_account")
	case !googleKeyEmail.matches(key.Email):
		return GoogleKey{}, errors.New("client_email is not that of a service account")
	case key.PEM == "":
		return GoogleKey{}, errors.New("private_key is missing")
	case key.TokenURI != "" && key.TokenURI != googleOAuth:
		return GoogleKey{}, fmt.Errorf("token_uri is not %s", googleOAuth)
	}
	return GoogleKey{email: key.Email, id: key.ID, pem: []byte(key.PEM)}, nil
}

// GoogleKeyToken exchanges what a key has signed for a token (RFC 7523 §2.1). The key is loaded by the backend, which refuses one that
// the FIPS list refuses.
func (c *Client) GoogleKeyToken(ctx context.Context, key GoogleKey, scope string, backend fips.Backend) (Token, error) {
	now := c.now()
	header := map[string]any{"alg": "RS256", "typ": "JWT", "kid": key.id}
	assertion, err := sign(ctx, backend, key.pem, crypto.SHA256, header, map[string]any{
		"iss": key.email, "scope": scope, "aud": googleOAuth, "iat": now.Add(-assertionSkew).Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return Token{}, err
	}
	return c.exchange(ctx, googleOAuth, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}})
}

// sign makes a JWT (RFC 7515) with the padding that the options ask for, and SHA-256.
func sign(ctx context.Context, backend fips.Backend, pem []byte, options crypto.SignerOpts, header, claims map[string]any) (string, error) {
	signer, err := backend.Signer(ctx, fips.KeyRef{PEM: pem})
	if err != nil {
		return "", fmt.Errorf("load the private key: %w", err)
	}
	encode := func(v map[string]any) string {
		text, _ := json.Marshal(v) // strings, lists of them, and numbers
		return base64.RawURLEncoding.EncodeToString(text)
	}
	text := encode(header) + "." + encode(claims)
	digest, err := fips.Sum(backend, crypto.SHA256, []byte(text))
	if err != nil {
		return "", err
	}
	signature, err := signer.Sign(backend.Rand(), digest, options)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
