// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// KMSKey is a key of AWS KMS, or an alias of one. Only ParseKMSKey makes one.
type KMSKey struct {
	region Region
	arn    string
}

var kmsARN = newPattern(`arn:(aws[a-z-]*):kms:([a-z0-9-]+):[0-9]{12}:(?:key|alias)/([A-Za-z0-9/_-]+)`, 19, 32, 256)

// ParseKMSKey reads the ARN of a key.
func ParseKMSKey(arn string) (KMSKey, error) {
	parts := kmsARN.find(arn)
	if parts == nil {
		return KMSKey{}, errors.New("no valid ARN of a KMS key: want arn:aws:kms:<region>:<account>:key/<id>")
	}
	region, err := parseRegion(parts[1], parts[2])
	if err != nil {
		return KMSKey{}, fmt.Errorf("no valid ARN of a KMS key: %w", err)
	}
	return KMSKey{region: region, arn: arn}, nil
}

// Region returns where the key is.
func (k KMSKey) Region() Region { return k.region }

// KMSDecrypt opens what was sealed with a key and an encryption context, which may be nil. It takes the right to kms:Decrypt.
func (c *Client) KMSDecrypt(ctx context.Context, cred AWSCredential, key KMSKey, sealed []byte, encryption map[string]string) ([]byte, error) {
	question := map[string]any{"KeyId": key.arn, "CiphertextBlob": sealed}
	if len(encryption) > 0 {
		question["EncryptionContext"] = encryption
	}
	body, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	req, err := request(ctx, http.MethodPost, key.region.url("kms"), "application/x-amz-json-1.1", string(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Amz-Target", "TrentService.Decrypt")
	if err := c.signer(cred, key.region, "kms").sign(req, string(body)); err != nil {
		return nil, err
	}
	var answer struct{ Plaintext []byte }
	err = c.call(req, json.Unmarshal, &answer)
	return opened(req, answer.Plaintext, err)
}

// opened checks what a key service has answered.
func opened(req *http.Request, data []byte, err error) ([]byte, error) {
	if err == nil && len(data) == 0 {
		err = fmt.Errorf("%s answers without what it was to decrypt", req.URL.Host)
	}
	return data, err
}

// VaultKey is a key in Azure Key Vault or in a managed HSM. Only ParseVaultKey makes one.
type VaultKey struct {
	azure    AzureCloud
	resource string
	address  string
}

// vaultVersion is the version of the API of Key Vault.
const vaultVersion = "7.4"

var (
	vaultHost    = newPattern(`([a-z0-9-]+)\.(vault\.azure\.net|vault\.azure\.cn|vault\.usgovcloudapi\.net|managedhsm\.azure\.net)`, 63)
	vaultKeyName = newPattern(`([A-Za-z0-9-]+)`, 127)
)

// ParseVaultKey reads the address of a vault, and the name and the version of a key in it. Without a version it is the latest one.
// The vaults of Azure can be named and nothing else: a token goes there.
func ParseVaultKey(vault, name, version string) (VaultKey, error) {
	u, err := url.Parse(vault)
	if err != nil || u.Scheme != "https" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return VaultKey{}, errors.New("no address of an Azure Key Vault: want https://<name>.vault.azure.net")
	}
	host := strings.ToLower(u.Host)
	parts := vaultHost.find(host)
	switch {
	case parts == nil:
		return VaultKey{}, errors.New("no address of an Azure Key Vault: want https://<name>.vault.azure.net")
	case !vaultKeyName.matches(name), version != "" && !vaultKeyName.matches(version):
		return VaultKey{}, errors.New("no valid name or version of a key in an Azure Key Vault")
	}
	key := VaultKey{resource: "https://" + parts[2], address: "https://" + host + "/keys/" + name}
	if version != "" {
		key.address += "/" + version
	}
	switch {
	case strings.HasSuffix(host, ".azure.cn"):
		key.azure = AzureChina
	case strings.HasSuffix(host, ".usgovcloudapi.net"):
		key.azure = AzureGovernment
	}
	return key, nil
}

// Azure returns in which of Microsoft's clouds the key is.
func (k VaultKey) Azure() AzureCloud { return k.azure }

// Resource is for what a token of Entra is that VaultDecrypt takes.
func (k VaultKey) Resource() string { return k.resource }

// VaultDecrypt opens what was sealed with a key by RSA-OAEP-256, as text the way the API has it. It takes the right to decrypt.
func (c *Client) VaultDecrypt(ctx context.Context, token Token, key VaultKey, sealed string) ([]byte, error) {
	body, err := json.Marshal(map[string]string{"alg": "RSA-OAEP-256", "value": sealed})
	if err != nil {
		return nil, err
	}
	req, err := request(ctx, http.MethodPost, key.address+"/decrypt?api-version="+vaultVersion, "application/json", string(body))
	if err != nil {
		return nil, err
	}
	bearer(req, token)
	var answer struct{ Value string }
	if err := c.call(req, json.Unmarshal, &answer); err != nil {
		return nil, err
	}
	data, err := base64.RawURLEncoding.DecodeString(answer.Value)
	if err != nil {
		data = nil // whose content would be in the error
	}
	return opened(req, data, nil)
}

// GoogleKMSKey is a key of Google Cloud KMS. Only ParseGoogleKMSKey makes one.
type GoogleKMSKey struct{ name string }

// GoogleKMSScope is for what a token is that GoogleDecrypt takes.
const GoogleKMSScope = "https://www.googleapis.com/auth/cloudkms"

const googleKMS = "https://cloudkms.googleapis.com/v1/"

var googleKMSKey = newPattern(`projects/([a-z0-9][a-z0-9:.-]*)/locations/([a-z0-9-]+)/keyRings/([\w-]+)/cryptoKeys/([\w-]+)(/cryptoKeyVersions/[0-9]+)?`,
	100, 64, 63, 63, 40)

// ParseGoogleKMSKey reads the name of a key.
func ParseGoogleKMSKey(name string) (GoogleKMSKey, error) {
	if !googleKMSKey.matches(name) {
		return GoogleKMSKey{}, errors.New("no valid name of a key: want projects/<project>/locations/<location>/keyRings/<ring>/cryptoKeys/<key>")
	}
	return GoogleKMSKey{name: name}, nil
}

// GoogleDecrypt opens what was sealed with a key, as text the way the API has it. The identity needs
// cloudkms.cryptoKeyVersions.useToDecrypt.
func (c *Client) GoogleDecrypt(ctx context.Context, token Token, key GoogleKMSKey, sealed string) ([]byte, error) {
	body, err := json.Marshal(map[string]string{"ciphertext": sealed})
	if err != nil {
		return nil, err
	}
	req, err := request(ctx, http.MethodPost, googleKMS+key.name+":decrypt", "application/json", string(body))
	if err != nil {
		return nil, err
	}
	bearer(req, token)
	var answer struct{ Plaintext []byte }
	err = c.call(req, json.Unmarshal, &answer)
	return opened(req, answer.Plaintext, err)
}
