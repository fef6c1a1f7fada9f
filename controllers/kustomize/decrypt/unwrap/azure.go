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
	"regexp"
	"strings"
	"time"

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
	if yaml.Unmarshal(o.creds.entries[azureEntry], &c) != nil {
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
	token, err := o.azureToken(ctx, service)
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

// azureToken gets a token for a service, with the entry of the Secret, else with a token of the account.
func (o *Opener) azureToken(ctx context.Context, service string) (string, error) {
	if _, ok := o.creds.entries[azureEntry]; !ok {
		return o.azureFederated(ctx, service)
	}
	c, err := o.azureCredential()
	if err != nil {
		return "", err
	}
	authority, err := secureURL(c.AuthorityHost)
	if err != nil {
		return "", fmt.Errorf("entry %s: authorityHost: %w", azureEntry, err)
	}
	return o.token(ctx, sops.AzureKV, azureTokenURL(authority, c.TenantID), url.Values{
		"grant_type": {"client_credentials"}, "client_id": {c.ClientID}, "client_secret": {c.ClientSecret}, "scope": {service + "/.default"},
	})
}

func azureTokenURL(authority *url.URL, tenant string) string {
	return authority.JoinPath(tenant, "oauth2", "v2.0", "token").String()
}

// The annotations with the identity of a ServiceAccount, and whom its token is for.
const (
	azureTenantAnnotation = "azure.workload.identity/tenant-id"
	azureClientAnnotation = "azure.workload.identity/client-id"
	azureAudience         = "api://AzureADTokenExchange"
)

// azureID is an identifier of Azure.
var azureID = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

// azureFederated gets a token for a service in exchange for one of the account.
func (o *Opener) azureFederated(ctx context.Context, service string) (string, error) {
	account, err := o.creds.cloud(azureEntry)
	if err != nil {
		return "", err
	}
	tenant, err := annotation(ctx, account, azureTenantAnnotation, azureEntry, azureID)
	if err != nil {
		return "", err
	}
	client, err := annotation(ctx, account, azureClientAnnotation, azureEntry, azureID)
	if err != nil {
		return "", err
	}
	authority, err := secureURL(azureAuthority(service))
	if err != nil {
		return "", err
	}
	var out string
	err = exchange(ctx, account, azureAudience, func(token string, _ time.Time) (err error) {
		out, err = o.token(ctx, sops.AzureKV, azureTokenURL(authority, tenant), url.Values{
			"grant_type": {"client_credentials"}, "client_id": {client}, "scope": {service + "/.default"},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {token},
		})
		return err
	})
	return out, err
}

// azureAuthority is where the tokens of a service come from.
func azureAuthority(service string) string {
	switch {
	case strings.HasSuffix(service, ".azure.cn"):
		return "https://login.chinacloudapi.cn/"
	case strings.HasSuffix(service, ".usgovcloudapi.net"):
		return "https://login.microsoftonline.us/"
	default:
		return azurePublic
	}
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
