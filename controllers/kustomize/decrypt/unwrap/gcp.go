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
	// gcpPlatformScope is what a token needs to act as another account.
	gcpPlatformScope = "https://www.googleapis.com/auth/cloud-platform"
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
	if json.Unmarshal(o.creds.entries[gcpEntry], &c) != nil || c.Type != "service_account" || c.Email == "" || c.Key == "" {
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
	resource := key.Fields["resource_id"]
	if !gcpResource.MatchString(resource) {
		return nil, errors.New("no valid name of a key")
	}
	token, err := o.gcpToken(ctx)
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

// gcpToken exchanges an assertion that the key of the Secret has signed (RFC 7523) for a token, else one of the account.
func (o *Opener) gcpToken(ctx context.Context) (string, error) {
	if _, ok := o.creds.entries[gcpEntry]; !ok {
		return o.gcpFederated(ctx)
	}
	c, err := o.gcpCredential()
	if err != nil {
		return "", err
	}
	assertion, err := o.assertion(ctx, c)
	if err != nil {
		return "", fmt.Errorf("entry %s: private_key: %w", gcpEntry, err)
	}
	return o.token(ctx, sops.GCPKMS, c.TokenURI, url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion},
	})
}

// The annotations of a ServiceAccount: the provider that trusts this cluster's issuer, and the Google account to act as.
const (
	gcpProviderAnnotation = "gcp.auth.fluxcd.io/workload-identity-provider"
	gcpAccountAnnotation  = "iam.gke.io/gcp-service-account"
)

// Where a token of the account is exchanged, and where that acts as another.
const (
	gcpExchange = "https://sts.googleapis.com/v1/token"
	gcpAccounts = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
)

var (
	gcpProvider = regexp.MustCompile(`^projects/[0-9]{1,30}/locations/global/workloadIdentityPools/[\w-]{1,100}/providers/[\w-]{1,100}$`)
	gcpAccount  = regexp.MustCompile(`^[a-zA-Z0-9-]{1,100}@[a-zA-Z0-9-]{1,100}\.iam\.gserviceaccount\.com$`)
)

// gcpFederated exchanges a token of the account (RFC 8693). Where it names a Google account, the result acts as that one.
func (o *Opener) gcpFederated(ctx context.Context) (string, error) {
	account, err := o.creds.cloud(gcpEntry)
	if err != nil {
		return "", err
	}
	provider, err := annotation(ctx, account, gcpProviderAnnotation, gcpEntry, gcpProvider)
	if err != nil {
		return "", err
	}
	audience := "//iam.googleapis.com/" + provider
	var out string
	if err = exchange(ctx, account, audience, func(token string, _ time.Time) (err error) {
		out, err = o.token(ctx, sops.GCPKMS, gcpExchange, url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "audience": {audience}, "scope": {gcpPlatformScope},
			"requested_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
			"subject_token_type":   {"urn:ietf:params:oauth:token-type:jwt"}, "subject_token": {token},
		})
		return err
	}); err != nil {
		return "", err
	}
	all, err := account.Annotations(ctx)
	if err != nil || all[gcpAccountAnnotation] == "" {
		return out, err
	}
	email, err := annotation(ctx, account, gcpAccountAnnotation, gcpEntry, gcpAccount)
	if err != nil {
		return "", err
	}
	return o.gcpActAs(ctx, out, email)
}

// gcpActAs exchanges a token for one of a Google account, which must permit it, once a run.
func (o *Opener) gcpActAs(ctx context.Context, token, email string) (string, error) {
	id := sops.GCPKMS + sops.Kind(email)
	if known, ok := o.tokens[id]; ok {
		return known, nil
	}
	body, err := json.Marshal(map[string]any{"scope": []string{gcpScope}})
	if err != nil {
		return "", err
	}
	req, err := request(ctx, gcpAccounts+email+":generateAccessToken", "application/json", body)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	var answer struct {
		Token string `json:"accessToken"`
	}
	if err := o.call(req, transport.TLS{}, &answer); err != nil {
		return "", fmt.Errorf("act as %s: %w", email, err)
	}
	if answer.Token == "" {
		return "", fmt.Errorf("%s answers without a token", req.URL.Host)
	}
	o.tokens[id] = answer.Token
	return answer.Token, nil
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
