// SPDX-License-Identifier: Apache-2.0

package unwrap

import (
	"cmp"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"time"

	"sluice.dev/sluice/controllers/kustomize/decrypt/sops"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/transport"
)

// gcpResource is the name of a key.
var gcpResource = regexp.MustCompile(`^projects/[\w.:-]+/locations/[\w-]+/keyRings/[\w-]+/cryptoKeys/[\w-]+(/cryptoKeyVersions/[0-9]+)?$`)

// The addresses and the right of Google Cloud KMS.
const (
	gcpAPI   = "https://cloudkms.googleapis.com/v1/"
	gcpToken = "https://oauth2.googleapis.com/token"
	gcpScope = "https://www.googleapis.com/auth/cloudkms"
)

// gcpLifetime is how long a token may be asked for.
const gcpLifetime = 10 * time.Minute

// gcpCredential is the entry of the Secret: the key file of a service account.
type gcpCredential struct {
	Type     string `json:"type"`
	Email    string `json:"client_email"`
	Key      string `json:"private_key"`
	KeyID    string `json:"private_key_id"`
	TokenURI string `json:"token_uri"`
}

func (o *Opener) gcpCredential() (gcpCredential, error) {
	var c gcpCredential
	data, ok := o.creds.entries[gcpEntry]
	if !ok {
		return c, errNoEntry(gcpEntry)
	}
	if json.Unmarshal(data, &c) != nil || c.Type != "service_account" || c.Email == "" || c.Key == "" {
		return c, fmt.Errorf("entry %s: want the JSON key file of a service account; other credentials are not supported", gcpEntry)
	}
	if c.TokenURI = cmp.Or(c.TokenURI, gcpToken); c.TokenURI != gcpToken {
		if _, err := secureURL(c.TokenURI); err != nil {
			return c, fmt.Errorf("entry %s: token_uri: %w", gcpEntry, err)
		}
	}
	return c, nil
}

// gcp decrypts with Google Cloud KMS.
func (o *Opener) gcp(ctx context.Context, key sops.Key) ([]byte, error) {
	cred, err := o.gcpCredential()
	if err != nil {
		return nil, err
	}
	resource := key.Fields["resource_id"]
	if !gcpResource.MatchString(resource) {
		return nil, errors.New("no valid name of a key")
	}
	token, err := o.gcpToken(ctx, cred)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]string{"ciphertext": key.Encrypted})
	if err != nil {
		return nil, err
	}
	req, err := request(ctx, gcpAPI+resource+":decrypt", "application/json", body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	var answer struct{ Plaintext string }
	if err := o.call(req, transport.TLS{}, &answer); err != nil {
		return nil, err
	}
	return decoded(answer.Plaintext)
}

// gcpToken exchanges an assertion that the account's key has signed (RFC 7523) for a token.
func (o *Opener) gcpToken(ctx context.Context, c gcpCredential) (string, error) {
	assertion, err := o.assertion(ctx, c)
	if err != nil {
		return "", fmt.Errorf("entry %s: private_key: %w", gcpEntry, err)
	}
	return o.token(ctx, sops.GCPKMS, c.TokenURI, url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion},
	})
}

func (o *Opener) assertion(ctx context.Context, c gcpCredential) (string, error) {
	signer, err := o.config.Backend.Signer(ctx, fips.KeyRef{PEM: []byte(c.Key)})
	if err != nil {
		return "", err
	}
	now := o.config.Now()
	header, err := json.Marshal(map[string]string{"alg": "RS256", "typ": "JWT", "kid": c.KeyID})
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(map[string]any{
		"iss": c.Email, "scope": gcpScope, "aud": c.TokenURI, "iat": now.Unix(), "exp": now.Add(gcpLifetime).Unix(),
	})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode(header) + "." + encode(claims)
	digest, err := fips.Sum(o.config.Backend, crypto.SHA256, []byte(text))
	if err != nil {
		return "", err
	}
	signature, err := signer.Sign(o.config.Backend.Rand(), digest, crypto.SHA256)
	return text + "." + encode(signature), err
}
