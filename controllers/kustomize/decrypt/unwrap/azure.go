// SPDX-License-Identifier: Apache-2.0

package unwrap

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"sigs.k8s.io/yaml"

	"sluice.dev/sluice/controllers/kustomize/decrypt/sops"
	"sluice.dev/sluice/internal/transport"
)

// azureVersion is the version of the Key Vault API.
const azureVersion = "7.4"

// azurePublic is where tokens come from unless the credential says otherwise.
const azurePublic = "https://login.microsoftonline.com/"

// azureCredential is the entry of the Secret: an application with a client secret. Tenant, AppID and Password are the names
// that the az command writes.
type azureCredential struct {
	TenantID      string `json:"tenantId"`
	ClientID      string `json:"clientId"`
	ClientSecret  string `json:"clientSecret"`
	AuthorityHost string `json:"authorityHost"`
	Tenant        string `json:"tenant"`
	AppID         string `json:"appId"`
	Password      string `json:"password"`
}

func (o *Opener) azureCredential() (azureCredential, error) {
	var c azureCredential
	data, ok := o.creds.entries[azureEntry]
	if !ok {
		return c, errNoEntry(azureEntry)
	}
	if yaml.Unmarshal(data, &c) != nil {
		return c, fmt.Errorf("entry %s is no YAML", azureEntry)
	}
	c.TenantID, c.ClientID = cmp.Or(c.TenantID, c.Tenant), cmp.Or(c.ClientID, c.AppID)
	c.ClientSecret, c.AuthorityHost = cmp.Or(c.ClientSecret, c.Password), cmp.Or(c.AuthorityHost, azurePublic)
	if c.TenantID == "" || c.ClientID == "" || c.ClientSecret == "" {
		return c, fmt.Errorf("entry %s: want tenantId, clientId and clientSecret; certificates and managed identities are not supported", azureEntry)
	}
	if !plainSegments(c.TenantID) {
		return c, fmt.Errorf("entry %s: no valid tenantId", azureEntry)
	}
	return c, nil
}

// azureVault returns the address of a vault and the service its token is for. A file may name the vaults of Azure and
// nothing else: the token goes there.
func azureVault(text string) (*url.URL, string, error) {
	u, err := secureURL(text)
	if err != nil {
		return nil, "", err
	}
	name, domain, _ := strings.Cut(strings.ToLower(u.Host), ".")
	for _, known := range []string{"vault.azure.net", "vault.azure.cn", "vault.usgovcloudapi.net", "managedhsm.azure.net"} {
		if domain == known && name != "" {
			return u, "https://" + known, nil
		}
	}
	return nil, "", errors.New("no address of an Azure Key Vault")
}

// azure decrypts with Azure Key Vault.
func (o *Opener) azure(ctx context.Context, key sops.Key) ([]byte, error) {
	cred, err := o.azureCredential()
	if err != nil {
		return nil, err
	}
	vault, service, err := azureVault(key.Fields["vault_url"])
	if err != nil {
		return nil, err
	}
	segments := []string{"keys", key.Fields["name"]}
	if version := key.Fields["version"]; version != "" {
		segments = append(segments, version)
	}
	if !plainSegments(strings.Join(segments, "/")) {
		return nil, errors.New("no valid name of a key")
	}
	token, err := o.azureToken(ctx, cred, service)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]string{"alg": "RSA-OAEP-256", "value": key.Encrypted})
	if err != nil {
		return nil, err
	}
	req, err := request(ctx, vault.JoinPath(append(segments, "decrypt")...).String()+"?api-version="+azureVersion, "application/json", body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	var answer struct{ Value string }
	if err := o.call(req, transport.TLS{}, &answer); err != nil {
		return nil, err
	}
	data, err := base64.RawURLEncoding.DecodeString(answer.Value)
	if err != nil || len(data) == 0 {
		return nil, errors.New("the answer has no data key")
	}
	return data, nil
}

// azureToken gets a token for a service.
func (o *Opener) azureToken(ctx context.Context, c azureCredential, service string) (string, error) {
	authority, err := secureURL(c.AuthorityHost)
	if err != nil {
		return "", fmt.Errorf("entry %s: authorityHost: %w", azureEntry, err)
	}
	return o.token(ctx, sops.AzureKV, authority.JoinPath(c.TenantID, "oauth2", "v2.0", "token").String(), url.Values{
		"grant_type": {"client_credentials"}, "client_id": {c.ClientID}, "client_secret": {c.ClientSecret}, "scope": {service + "/.default"},
	})
}

// token gets an OAuth 2 token, once for a kind of service and run.
func (o *Opener) token(ctx context.Context, kind sops.Kind, address string, form url.Values) (string, error) {
	id := kind + sops.Kind(form.Get("scope"))
	if token, ok := o.tokens[id]; ok {
		return token, nil
	}
	req, err := request(ctx, address, "application/x-www-form-urlencoded", []byte(form.Encode()))
	if err != nil {
		return "", err
	}
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := o.call(req, transport.TLS{}, &answer); err != nil {
		return "", err
	}
	if answer.Token == "" {
		return "", fmt.Errorf("%s answers without a token", req.URL.Host)
	}
	o.tokens[id] = answer.Token
	return answer.Token, nil
}
