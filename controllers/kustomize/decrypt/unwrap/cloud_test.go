// SPDX-License-Identifier: Apache-2.0

package unwrap_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/sopskeys"
)

// cloud answers for all hosts: the key services of clouds cannot be run here. Requests must be https, and carry no redirect.
type cloud map[string]func(t *testing.T, req *http.Request, body []byte) (int, any)

func (c cloud) client(t *testing.T) func(transport.TLS) (*http.Client, error) {
	return func(trust transport.TLS) (*http.Client, error) {
		if !trust.IsZero() {
			t.Errorf("trusts %s", trust)
		}
		return &http.Client{Transport: tripper(func(req *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(req.Body)
			if err != nil {
				return nil, err
			}
			recorder := httptest.NewRecorder()
			handle, ok := c[req.URL.String()]
			if !ok || req.Method != http.MethodPost {
				t.Errorf("request %s %s", req.Method, req.URL)
				recorder.WriteHeader(http.StatusNotFound)
				return recorder.Result(), nil
			}
			status, answer := handle(t, req, body)
			recorder.WriteHeader(status)
			if text, ok := answer.(raw); ok {
				_, err = recorder.WriteString(string(text))
			} else {
				err = json.NewEncoder(recorder).Encode(answer)
			}
			return recorder.Result(), err
		})}, nil
	}
}

// raw is an answer that is no JSON.
type raw string

type tripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f tripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func b64(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

func fields(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal(body, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestAWS: AWS KMS opens files in the strict profile.
func TestAWS(t *testing.T) {
	const arn = "arn:aws:kms:eu-central-1:123456789012:key/6b4e7d1c-0000-4000-8000-000000000000"
	key := secretKey(t)
	service := cloud{"https://kms.eu-central-1.amazonaws.com/": func(t *testing.T, req *http.Request, body []byte) (int, any) {
		auth := req.Header.Get("Authorization")
		if !strings.HasPrefix(auth, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261128/eu-central-1/kms/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature=") {
			t.Errorf("Authorization %q", auth)
		}
		if req.Header.Get("X-Amz-Target") != "TrentService.Decrypt" || req.Header.Get("X-Amz-Security-Token") != "session" {
			t.Errorf("headers %v", req.Header)
		}
		in := fields(t, body)
		if context, ok := in["EncryptionContext"].(map[string]any); !ok || context["env"] != "prod" || in["KeyId"] != arn || in["CiphertextBlob"] != b64([]byte("sealed")) {
			return http.StatusBadRequest, map[string]string{"message": "InvalidCiphertextException"}
		}
		return http.StatusOK, map[string]string{"Plaintext": b64(key), "KeyId": arn}
	}}
	creds := map[string][]byte{"sops.aws-kms": []byte("aws_access_key_id: AKIDEXAMPLE\naws_secret_access_key: wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\naws_session_token: session\n")}
	entry := func(name, enc string) sopskeys.Entry {
		return sopskeys.Entry{Kind: "kms", Fields: map[string]string{"arn": name, "enc": enc, "created_at": "2026-11-01T00:00:00Z"}}
	}
	bound := entry(arn, b64([]byte("sealed")))
	bound.Context = map[string]string{"env": "prod"}
	file := rewrapped(t, bound)
	newRig(t, fips.Strict, service.client(t), creds).opens(t, file)
	newRig(t, fips.Strict, service.client(t), creds).refuses(t, rewrapped(t, entry(arn, b64([]byte("sealed")))), "kms "+arn, "answers 400 Bad Request")
	newRig(t, fips.Strict, service.client(t), nil).refuses(t, file, "has no entry sops.aws-kms")
	newRig(t, fips.Strict, service.client(t), map[string][]byte{"sops.aws-kms": []byte("4711")}).refuses(t, file, "want YAML with aws_access_key_id")
	role := entry(arn, b64([]byte("sealed")))
	role.Fields["role"] = "arn:aws:iam::123456789012:user/sops"
	for says, bad := range map[string]sopskeys.Entry{
		"no valid ARN":           entry("arn:aws:kms:evil.example/:123456789012:key/a", "x"),
		"is no base64":           entry(arn, "?"),
		"no valid ARN of a role": role,
	} {
		newRig(t, fips.Strict, service.client(t), creds).refuses(t, rewrapped(t, bad), says)
	}
}

// TestAWSRole: a role is assumed with the credential, and KMS is asked as the role.
func TestAWSRole(t *testing.T) {
	key := secretKey(t)
	service := cloud{
		"https://sts.us-gov-west-1.amazonaws.com/": func(t *testing.T, req *http.Request, body []byte) (int, any) {
			if want := "Action=AssumeRole&RoleArn=arn%3Aaws-us-gov%3Aiam%3A%3A123456789012%3Arole%2Fteam%2Fsops&RoleSessionName=sops%40sluice&Version=2011-06-15"; string(body) != want {
				t.Errorf("form %s, want %s", body, want)
			}
			if auth := req.Header.Get("Authorization"); !strings.Contains(auth, "Credential=AKIDEXAMPLE/20261128/us-gov-west-1/sts/aws4_request") {
				t.Errorf("Authorization %q", auth)
			}
			return http.StatusOK, raw(`<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>` +
				`<AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>a-secret-of-the-role</SecretAccessKey><SessionToken>token</SessionToken></Credentials></AssumeRoleResult></AssumeRoleResponse>`)
		},
		"https://kms.us-gov-west-1.amazonaws.com/": func(t *testing.T, req *http.Request, _ []byte) (int, any) {
			if !strings.Contains(req.Header.Get("Authorization"), "Credential=ASIAROLE/") || req.Header.Get("X-Amz-Security-Token") != "token" {
				t.Errorf("headers %v", req.Header)
			}
			return http.StatusOK, map[string]string{"Plaintext": b64(key)}
		},
	}
	entry := sopskeys.Entry{Kind: "kms", Fields: map[string]string{
		"arn": "arn:aws-us-gov:kms:us-gov-west-1:123456789012:alias/sops", "role": "arn:aws-us-gov:iam::123456789012:role/team/sops", "enc": b64([]byte("sealed")),
	}}
	creds := map[string][]byte{"sops.aws-kms": []byte("aws_access_key_id: AKIDEXAMPLE\naws_secret_access_key: x4711x4711x4711x4711\n")}
	newRig(t, fips.Strict, service.client(t), creds).opens(t, rewrapped(t, entry))
	delete(service, "https://kms.us-gov-west-1.amazonaws.com/")
	service["https://sts.us-gov-west-1.amazonaws.com/"] = func(*testing.T, *http.Request, []byte) (int, any) { return http.StatusForbidden, raw("x4711") }
	newRig(t, fips.Strict, service.client(t), creds).refuses(t, rewrapped(t, entry), "role arn:aws-us-gov:iam::123456789012:role/team/sops: sts.us-gov-west-1.amazonaws.com answers 403")
}

// TestAzure: Azure Key Vault opens files in the strict profile, with the credential as either tool writes it.
func TestAzure(t *testing.T) {
	key := secretKey(t)
	tokens := 0
	service := cloud{
		"https://login.microsoftonline.com/tenant/oauth2/v2.0/token": func(t *testing.T, _ *http.Request, body []byte) (int, any) {
			tokens++
			if got, want := string(body), "client_id=app&client_secret=pass%26word&grant_type=client_credentials&scope=https%3A%2F%2Fvault.azure.net%2F.default"; got != want {
				t.Errorf("form %q, want %q", got, want)
			}
			return http.StatusOK, map[string]string{"access_token": "token"}
		},
		"https://shop.vault.azure.net/keys/sops/0123/decrypt?api-version=7.4": func(t *testing.T, req *http.Request, body []byte) (int, any) {
			if in := fields(t, body); req.Header.Get("Authorization") != "Bearer token" || in["alg"] != "RSA-OAEP-256" || in["value"] != "c2VhbGVk" {
				return http.StatusForbidden, nil
			}
			return http.StatusOK, map[string]string{"value": base64.RawURLEncoding.EncodeToString(key)}
		},
	}
	entry := func(vault string) sopskeys.Entry {
		return sopskeys.Entry{Kind: "azure_kv", Fields: map[string]string{"vault_url": vault, "name": "sops", "version": "0123", "enc": "c2VhbGVk"}}
	}
	for _, text := range []string{`{tenantId: tenant, clientId: app, clientSecret: "pass&word"}`, `{"tenant": "tenant", "appId": "app", "password": "pass&word"}`} {
		r := newRig(t, fips.Strict, service.client(t), map[string][]byte{"sops.azure-kv": []byte(text)})
		r.opens(t, rewrapped(t, entry("https://shop.vault.azure.net")))
	}
	if tokens != 2 {
		t.Errorf("asked for %d tokens, want 2", tokens)
	}
	creds := map[string][]byte{"sops.azure-kv": []byte(`{tenantId: tenant, clientId: app, clientSecret: x4711}`)}
	newRig(t, fips.Strict, service.client(t), creds).refuses(t, rewrapped(t, entry("https://vault.azure.net.evil.example")), "no address of an Azure Key Vault")
	newRig(t, fips.Strict, service.client(t), creds).refuses(t, rewrapped(t, entry("http://shop.vault.azure.net")), "over https")
	newRig(t, fips.Strict, service.client(t), nil).refuses(t, rewrapped(t, entry("https://shop.vault.azure.net")), "has no entry sops.azure-kv")
	newRig(t, fips.Strict, service.client(t), map[string][]byte{"sops.azure-kv": []byte("clientId: app")}).
		refuses(t, rewrapped(t, entry("https://shop.vault.azure.net")), "managed identities are not supported")
}

// TestGCP: Google Cloud KMS opens files in the strict profile. The assertion is checked as the token service would.
func TestGCP(t *testing.T) {
	key := secretKey(t)
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	account, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "sops@shop.example", "private_key_id": "k1",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	const resource = "projects/shop/locations/global/keyRings/sops/cryptoKeys/sops-key"
	service := cloud{
		"https://oauth2.googleapis.com/token": func(t *testing.T, _ *http.Request, body []byte) (int, any) {
			_, assertion, _ := strings.Cut(string(body), "assertion=")
			assertion, _, _ = strings.Cut(assertion, "&")
			checkAssertion(t, assertion, &private.PublicKey)
			return http.StatusOK, map[string]string{"access_token": "token"}
		},
		"https://cloudkms.googleapis.com/v1/" + resource + ":decrypt": func(t *testing.T, req *http.Request, body []byte) (int, any) {
			if req.Header.Get("Authorization") != "Bearer token" || fields(t, body)["ciphertext"] != "c2VhbGVk" {
				return http.StatusForbidden, nil
			}
			return http.StatusOK, map[string]string{"plaintext": b64(key)}
		},
	}
	entry := func(name string) sopskeys.Entry {
		return sopskeys.Entry{Kind: "gcp_kms", Fields: map[string]string{"resource_id": name, "enc": "c2VhbGVk"}}
	}
	creds := map[string][]byte{"sops.gcp-kms": account}
	newRig(t, fips.Strict, service.client(t), creds).opens(t, rewrapped(t, entry(resource)))
	newRig(t, fips.Strict, service.client(t), creds).refuses(t, rewrapped(t, entry("projects/../../x")), "no valid name of a key")
	newRig(t, fips.Strict, service.client(t), nil).refuses(t, rewrapped(t, entry(resource)), "has no entry sops.gcp-kms")
	newRig(t, fips.Strict, service.client(t), map[string][]byte{"sops.gcp-kms": []byte(`{"type":"authorized_user"}`)}).
		refuses(t, rewrapped(t, entry(resource)), "key file of a service account")
}

func checkAssertion(t *testing.T, assertion string, public *rsa.PublicKey) {
	t.Helper()
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		t.Fatalf("assertion %q", assertion)
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature); err != nil {
		t.Error(err)
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	want := `{"aud":"https://oauth2.googleapis.com/token","exp":1795867800,"iat":1795867200,"iss":"sops@shop.example","scope":"https://www.googleapis.com/auth/cloudkms"}`
	if string(claims) != want {
		t.Errorf("claims %s, want %s", claims, want)
	}
}
