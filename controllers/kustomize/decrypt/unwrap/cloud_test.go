// SPDX-License-Identifier: Apache-2.0

package unwrap_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"testing"

	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/clouds"
	"sluice.dev/sluice/test/sopskeys"
)

// Keys of the clouds, and who may use them.
const (
	kmsARN     = "arn:aws:kms:eu-central-1:123456789012:key/6b4e7d1c-0000-4000-8000-000000000000"
	chinaARN   = "arn:aws-cn:kms:cn-north-1:123456789012:alias/sops"
	accessKey  = "AKIDEXAMPLE"
	accessText = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	chinaRole  = "arn:aws-cn:iam::123456789012:role/team/sops"
	vaultURL   = "https://shop.vault.azure.net"
	tenantID   = "11111111-2222-3333-4444-555555555555"
	clientID   = "66666666-7777-8888-9999-000000000000"
	kmsName    = "projects/shop/locations/global/keyRings/sops/cryptoKeys/sops-key"
	keyEmail   = "sops@shop.iam.gserviceaccount.com"
	sealed     = "c2VhbGVk"
)

func b64(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// startClouds runs stand-ins of the clouds, and returns what reaches them. There is no metadata of a machine.
func startClouds(t *testing.T, config clouds.Config) *cloud.Client {
	t.Helper()
	if config.Review == nil {
		config.Review = func(context.Context, string, string) string { return "" }
	}
	stand := clouds.Start(t, config)
	metadata := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(metadata.Close)
	client, err := cloud.New(cloud.Config{Digests: backend(t), TLS: transport.TLS{CA: stand.CA}, Proxy: stand.Proxy, Metadata: metadata.URL})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func awsEntry(arn string) sopskeys.Entry {
	return sopskeys.Entry{Kind: "kms", Fields: map[string]string{"arn": arn, "enc": b64([]byte("sealed")), "created_at": "2026-11-01T00:00:00Z"}}
}

func azureEntry(vault string) sopskeys.Entry {
	return sopskeys.Entry{Kind: "azure_kv", Fields: map[string]string{"vault_url": vault, "name": "sops", "version": "0123", "enc": sealed}}
}

func googleEntry(name string) sopskeys.Entry {
	return sopskeys.Entry{Kind: "gcp_kms", Fields: map[string]string{"resource_id": name, "enc": sealed}}
}

// TestAWS: AWS KMS opens files in the strict profile, with a credential and as a role that it may assume.
func TestAWS(t *testing.T) {
	there := startClouds(t, clouds.Config{
		Storage: clouds.Storage{AccessKeys: map[string]string{accessKey: accessText, "AKIDOTHER": "x4711x4711x4711x4711"}},
		Trusts:  map[string]string{chinaRole: accessKey},
		Keys: map[string]clouds.Key{
			kmsARN:   {User: accessKey, Sealed: "sealed", Plain: secretKey(t), Context: map[string]string{"env": "prod"}},
			chinaARN: {User: chinaRole, Sealed: "sealed", Plain: secretKey(t)},
		},
	})
	as := func(id, secret string) map[string][]byte {
		return map[string][]byte{"sops.aws-kms": []byte("aws_access_key_id: " + id + "\naws_secret_access_key: " + secret + "\n")}
	}
	owner, other := as(accessKey, accessText), as("AKIDOTHER", "x4711x4711x4711x4711")

	bound := awsEntry(kmsARN)
	bound.Context = map[string]string{"env": "prod"}
	newRig(t, fips.Strict, there, owner).opens(t, rewrapped(t, bound))
	newRig(t, fips.Strict, there, other).refuses(t, rewrapped(t, bound), "answers 400 Bad Request (AccessDeniedException)", "does not accept the credential")
	newRig(t, fips.Strict, there, owner).refuses(t, rewrapped(t, awsEntry(kmsARN)), "kms "+kmsARN, "InvalidCiphertextException")
	newRig(t, fips.Strict, there, nil).refuses(t, rewrapped(t, bound), "has no entry sops.aws-kms")
	newRig(t, fips.Strict, there, map[string][]byte{"sops.aws-kms": []byte("4711")}).refuses(t, rewrapped(t, bound), "want YAML with aws_access_key_id")

	role := awsEntry(chinaARN)
	role.Fields["role"] = chinaRole
	newRig(t, fips.Strict, there, owner).opens(t, rewrapped(t, role))
	newRig(t, fips.Strict, there, other).refuses(t, rewrapped(t, role), "role "+chinaRole+": sts.cn-north-1.amazonaws.com.cn answers 403")

	user, garbled := awsEntry(chinaARN), awsEntry(kmsARN)
	user.Fields["role"], garbled.Fields["enc"] = "arn:aws:iam::123456789012:user/sops", "?"
	for says, bad := range map[string]sopskeys.Entry{
		"no valid ARN of a KMS key": awsEntry("arn:aws:kms:evil.example/:123456789012:key/a"),
		"is no base64":              garbled,
		"no valid ARN of a role":    user,
	} {
		newRig(t, fips.Strict, there, owner).refuses(t, rewrapped(t, bad), says)
	}
}

// TestAzure: Azure Key Vault opens files in the strict profile, with the credential as either tool writes it, in either cloud.
func TestAzure(t *testing.T) {
	const china = "https://shop.vault.azure.cn"
	there := startClouds(t, clouds.Config{
		Storage: clouds.Storage{Secrets: map[string]string{clientID: "pass&word"}},
		Keys: map[string]clouds.Key{
			vaultURL + "/keys/sops/0123": {User: clientID, Sealed: sealed, Plain: secretKey(t)},
			china + "/keys/sops/0123":    {User: clientID, Sealed: sealed, Plain: secretKey(t)},
		},
	})
	with := func(text string) map[string][]byte { return map[string][]byte{"sops.azure-kv": []byte(text)} }
	good := with(`{tenantId: ` + tenantID + `, clientId: ` + clientID + `, clientSecret: "pass&word"}`)
	newRig(t, fips.Strict, there, good).opens(t, rewrapped(t, azureEntry(vaultURL)))
	newRig(t, fips.Strict, there, with(`{"tenant": "shop.onmicrosoft.example", "appId": "`+clientID+`", "password": "pass&word"}`)).opens(t, rewrapped(t, azureEntry(vaultURL+"/")))
	newRig(t, fips.Strict, there, with(`{tenantId: `+tenantID+`, clientId: `+clientID+`, clientSecret: "pass&word", authorityHost: "https://login.chinacloudapi.cn"}`)).
		opens(t, rewrapped(t, azureEntry(china)))

	for says, entries := range map[string]map[string][]byte{
		"has no entry sops.azure-kv":              nil,
		"managed identities are not supported":    with("clientId: app"),
		"authorityHost is none of Microsoft's":    with(`{tenantId: ` + tenantID + `, clientId: ` + clientID + `, clientSecret: x4711, authorityHost: "https://evil.example"}`),
		"login.microsoftonline.com answers 401":   with(`{tenantId: ` + tenantID + `, clientId: ` + clientID + `, clientSecret: x4711}`),
		"tenantId is neither a GUID nor a domain": with(`{tenantId: "../x", clientId: ` + clientID + `, clientSecret: x4711}`),
		"entry sops.azure-kv: no YAML":            with("[4711"),
	} {
		newRig(t, fips.Strict, there, entries).refuses(t, rewrapped(t, azureEntry(vaultURL)), says)
	}
	for _, bad := range []string{"https://vault.azure.net.evil.example", "http://shop.vault.azure.net", "https://shop.vault.azure.net/x"} {
		newRig(t, fips.Strict, there, good).refuses(t, rewrapped(t, azureEntry(bad)), "no address of an Azure Key Vault: want https://")
	}
}

// TestGCP: Google Cloud KMS opens files in the strict profile, with the key of a service account.
func TestGCP(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	document, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": keyEmail, "private_key_id": "k1",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	there := startClouds(t, clouds.Config{
		Storage: clouds.Storage{Google: &private.PublicKey, Email: keyEmail},
		Keys:    map[string]clouds.Key{kmsName: {User: keyEmail, Sealed: sealed, Plain: secretKey(t)}},
	})
	creds := map[string][]byte{"sops.gcp-kms": document}
	newRig(t, fips.Strict, there, creds).opens(t, rewrapped(t, googleEntry(kmsName)))
	newRig(t, fips.Strict, there, creds).refuses(t, rewrapped(t, googleEntry(kmsName+"-2")), "cloudkms.googleapis.com answers 404 Not Found (NOT_FOUND): there is no such key")
	newRig(t, fips.Strict, there, creds).refuses(t, rewrapped(t, googleEntry("projects/../../x")), "no valid name of a key")
	newRig(t, fips.Strict, there, nil).refuses(t, rewrapped(t, googleEntry(kmsName)), "has no entry sops.gcp-kms")
	newRig(t, fips.Strict, there, map[string][]byte{"sops.gcp-kms": []byte(`{"type":"authorized_user"}`)}).
		refuses(t, rewrapped(t, googleEntry(kmsName)), "key file of a service account")
}
