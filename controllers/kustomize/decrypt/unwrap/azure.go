// SPDX-License-Identifier: Apache-2.0

package unwrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"sigs.k8s.io/yaml"

	"sluice.dev/sluice/controllers/kustomize/decrypt/sops"
	"sluice.dev/sluice/internal/cloud"
)

// azure decrypts with Azure Key Vault.
func (o *Opener) azure(ctx context.Context, key sops.Key) ([]byte, error) {
	vault, err := cloud.ParseVaultKey(key.Fields["vault_url"], key.Fields["name"], key.Fields["version"])
	if err != nil {
		return nil, err
	}
	token, err := o.token(azureEntry+" "+vault.Resource(), func() (cloud.Token, error) { return o.azureToken(ctx, vault) })
	if err != nil {
		return nil, err
	}
	data, err := o.config.Clouds.VaultDecrypt(ctx, token, vault, key.Encrypted)
	return data, explained(err)
}

// azureToken gets a token with the entry of the Secret, else with a token of the account.
func (o *Opener) azureToken(ctx context.Context, vault cloud.VaultKey) (cloud.Token, error) {
	if _, ok := o.creds.entries[azureEntry]; !ok {
		return o.azureFederated(ctx, vault)
	}
	application, err := o.azureApplication()
	if err != nil {
		return cloud.Token{}, fmt.Errorf("entry %s: %w", azureEntry, err)
	}
	token, err := o.config.Clouds.EntraApplicationToken(ctx, application, vault.Resource(), o.config.Backend)
	return token, explained(err)
}

// azureApplication reads the entry of the Secret: an application with a client secret. Tenant, AppID and Password are the names that
// the az command writes.
func (o *Opener) azureApplication() (cloud.EntraApplication, error) {
	var entry struct {
		TenantID      string `json:"tenantId"`
		ClientID      string `json:"clientId"`
		ClientSecret  string `json:"clientSecret"`
		AuthorityHost string `json:"authorityHost"`
		Tenant        string `json:"tenant"`
		AppID         string `json:"appId"`
		Password      string `json:"password"`
	}
	if yaml.Unmarshal(o.creds.entries[azureEntry], &entry) != nil {
		return cloud.EntraApplication{}, errors.New("no YAML")
	}
	tenant, client, secret := cmp.Or(entry.TenantID, entry.Tenant), cmp.Or(entry.ClientID, entry.AppID), cmp.Or(entry.ClientSecret, entry.Password)
	if tenant == "" || client == "" || secret == "" {
		return cloud.EntraApplication{}, errors.New("want tenantId, clientId and clientSecret; certificates and managed identities are not supported")
	}
	return cloud.ParseEntraApplication(entry.AuthorityHost, tenant, client, cloud.EntraCredential{Secret: cloud.Secret(secret)})
}

// azureFederated gets a token in exchange for one of the account.
func (o *Opener) azureFederated(ctx context.Context, vault cloud.VaultKey) (cloud.Token, error) {
	account, annotations, err := o.creds.cloud(ctx, azureEntry)
	if err != nil {
		return cloud.Token{}, err
	}
	id, err := cloud.ParseEntraIdentity(annotations)
	if err != nil {
		return cloud.Token{}, unnamed(account, azureEntry, err)
	}
	var out cloud.Token
	err = exchange(ctx, account, cloud.EntraAudience, func(token string, _ time.Time) (err error) {
		out, err = o.config.Clouds.In(vault.Azure()).EntraToken(ctx, id, vault.Resource(), cloud.Secret(token))
		return err
	})
	return out, err
}
