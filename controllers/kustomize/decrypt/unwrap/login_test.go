// SPDX-License-Identifier: Apache-2.0

package unwrap_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sluice.dev/sluice/controllers/kustomize/decrypt/sops"
	"sluice.dev/sluice/controllers/kustomize/decrypt/unwrap"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/sopskeys"
)

// account shows key services a text instead of a token; that of a cluster is looked at in test/conformance.
type account struct {
	annotations map[string]string
	refused     []string
}

func (*account) Namespace() string      { return "team-a" }
func (*account) ServiceAccount() string { return "keeper" }

func (*account) Token(_ context.Context, audience string) (string, time.Time, error) {
	return "token-4711-for-" + audience, time.Date(2026, 11, 28, 12, 8, 0, 0, time.UTC), nil
}

func (a *account) Refused(audience string) { a.refused = append(a.refused, audience) }

func (a *account) Annotations(context.Context) (map[string]string, error) { return a.annotations, nil }

// newLoginRig is an opener without a Secret, at a time.
func newLoginRig(t *testing.T, now time.Time, client func(transport.TLS) (*http.Client, error), login unwrap.Login) *rig {
	t.Helper()
	if client == nil {
		client = unwrap.NewClient("test")
	}
	o, err := unwrap.NewOpener(unwrap.Config{
		Policy: fips.Policy{Profile: fips.Strict}, Backend: backend(t), Client: client, Now: func() time.Time { return now },
	}, unwrap.Credentials{}.With(login))
	if err != nil {
		t.Fatal(err)
	}
	return &rig{Opener: o}
}

// TestVaultLogin: a ServiceAccount logs in where the platform says, and what it is given serves until its lease is nearly over.
func TestVaultLogin(t *testing.T) {
	server := transit(t)
	server.Lease = time.Minute
	server.Bind("team-a_keeper", "keeper of team-a")
	server.Review = func(token, audience string) (string, error) {
		if token != "token-4711-for-"+server.URL || audience != server.URL {
			return "", errors.New("not authenticated")
		}
		return "keeper of team-a", nil
	}
	file := func() *sops.File { return rewrapped(t, server.Entry(secretKey(t))) }
	vaults, err := unwrap.ParseVaults(map[string]string{
		"config.yaml": fmt.Sprintf("instances: [{address: %s/, loginPath: /%s}]", server.URL, sopskeys.LoginPath), "ca.crt": string(server.CA),
	})
	if err != nil {
		t.Fatal(err)
	}
	who := &account{}
	login := unwrap.Login{Account: who, Vaults: unwrap.NewLogins(func(context.Context) (unwrap.Vaults, error) { return vaults, nil })}
	start := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for _, after := range []time.Duration{0, 47 * time.Second} {
		newLoginRig(t, start.Add(after), nil, login).opens(t, file())
		if server.Logins() != 1 {
			t.Errorf("after %s: %d logins, want one", after, server.Logins())
		}
	}
	newLoginRig(t, start.Add(49*time.Second), nil, login).opens(t, file())
	server.Revoke()
	newLoginRig(t, start.Add(50*time.Second), nil, login).opens(t, file())
	if server.Logins() != 3 {
		t.Errorf("%d logins, want one for a lease that ends and one for a token that was revoked", server.Logins())
	}

	server.Bind("team-a_keeper", "somebody else")
	server.Revoke()
	newLoginRig(t, start, nil, login).refuses(t, file(), "answers 403 Forbidden", `must have a role "team-a_keeper"`, `with the audience "`+server.URL+`"`)
	if len(who.refused) != 1 || who.refused[0] != server.URL {
		t.Errorf("refused %q", who.refused)
	}
	newLoginRig(t, start, nil, unwrap.Login{Account: who}).refuses(t, file(), "lets no ServiceAccount log in (--sops-vault-configmap)")
	nowhere := unwrap.NewLogins(func(context.Context) (unwrap.Vaults, error) { return unwrap.Vaults{}, nil })
	newLoginRig(t, start, nil, unwrap.Login{Account: who, Vaults: nowhere}).refuses(t, file(), "no ServiceAccount may log in at this address")
}

func TestParseVaults(t *testing.T) {
	for says, text := range map[string]string{
		"over https":     "instances: [{address: 'http://vault.example', loginPath: auth/kubernetes/login}]",
		"no valid path":  "instances: [{address: 'https://vault.example', loginPath: ../sys/raw}]",
		"listed twice":   "instances: [{address: 'https://a.example', loginPath: a}, {address: 'https://a.example/', loginPath: b}]",
		"want instances": "instances: {address: a}",
	} {
		if _, err := unwrap.ParseVaults(map[string]string{"config.yaml": text}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want it to say %q", err, says)
		}
	}
	if _, err := unwrap.ParseVaults(nil); err == nil || !strings.Contains(err.Error(), "no entry config.yaml") {
		t.Errorf("error %v", err)
	}
}

// TestAgeCredentials: of the platform's Secret, nothing but age identities is for others.
func TestAgeCredentials(t *testing.T) {
	creds := unwrap.NewAgeCredentials(map[string][]byte{"a.agekey": []byte("x"), "b.asc": []byte("x"), "sops.vault-token": []byte("x")})
	if got, want := creds.String(), "credentials [a.agekey]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// form checks the form of a request, and answers.
func form(want url.Values, answer any) func(*testing.T, *http.Request, []byte) (int, any) {
	return func(t *testing.T, req *http.Request, body []byte) (int, any) {
		if string(body) != want.Encode() || req.Header.Get("Authorization") != "" {
			t.Errorf("form %s, want %s; headers %v", body, want.Encode(), req.Header)
		}
		return http.StatusOK, answer
	}
}

// bearer answers a request with a token.
func bearer(token string, answer any) func(*testing.T, *http.Request, []byte) (int, any) {
	return func(_ *testing.T, req *http.Request, _ []byte) (int, any) {
		if req.Header.Get("Authorization") != "Bearer "+token {
			return http.StatusForbidden, nil
		}
		return http.StatusOK, answer
	}
}

// TestCloudLogin: ServiceAccounts log in to clouds as what their annotations say.
func TestCloudLogin(t *testing.T) {
	key := secretKey(t)
	const (
		roleARN  = "arn:aws:iam::123456789012:role/team-a"
		provider = "projects/1/locations/global/workloadIdentityPools/pool/providers/hub"
		resource = "projects/shop/locations/global/keyRings/sops/cryptoKeys/sops-key"
		email    = "team-a@shop.iam.gserviceaccount.com"
	)
	tests := map[string]struct {
		service     cloud
		entry       sopskeys.Entry
		annotations map[string]string
		lacks       string
	}{
		"aws": {
			service: cloud{
				"https://sts.eu-central-1.amazonaws.com/": form(url.Values{
					"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}, "RoleArn": {roleARN}, "RoleSessionName": {"sops@sluice"},
					"WebIdentityToken": {"token-4711-for-sts.amazonaws.com"},
				}, raw(`<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>`+
					`<AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>a-secret-of-the-role</SecretAccessKey><SessionToken>s</SessionToken>`+
					`</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`)),
				"https://kms.eu-central-1.amazonaws.com/": func(_ *testing.T, req *http.Request, _ []byte) (int, any) {
					if !strings.Contains(req.Header.Get("Authorization"), "Credential=ASIA/") || req.Header.Get("X-Amz-Security-Token") != "s" {
						return http.StatusForbidden, nil
					}
					return http.StatusOK, map[string]string{"Plaintext": b64(key)}
				},
			},
			entry: sopskeys.Entry{Kind: "kms", Fields: map[string]string{
				"arn": "arn:aws:kms:eu-central-1:123456789012:alias/sops", "enc": b64([]byte("sealed")), "created_at": "2026-11-01T00:00:00Z",
			}},
			annotations: map[string]string{"eks.amazonaws.com/role-arn": roleARN}, lacks: "eks.amazonaws.com/role-arn",
		},
		"azure": {
			service: cloud{
				"https://login.microsoftonline.com/tenant/oauth2/v2.0/token": form(url.Values{
					"grant_type": {"client_credentials"}, "client_id": {"app"}, "scope": {"https://vault.azure.net/.default"},
					"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {"token-4711-for-api://AzureADTokenExchange"},
				}, map[string]string{"access_token": "azure"}),
				"https://shop.vault.azure.net/keys/sops/0123/decrypt?api-version=7.4": bearer("azure", map[string]string{"value": strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(b64(key)), "=")}),
			},
			entry: sopskeys.Entry{Kind: "azure_kv", Fields: map[string]string{
				"vault_url": "https://shop.vault.azure.net", "name": "sops", "version": "0123", "enc": "c2VhbGVk",
			}},
			annotations: map[string]string{"azure.workload.identity/tenant-id": "tenant", "azure.workload.identity/client-id": "app"},
			lacks:       "azure.workload.identity/tenant-id",
		},
		"gcp": {
			service: cloud{
				"https://sts.googleapis.com/v1/token": form(url.Values{
					"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "audience": {"//iam.googleapis.com/" + provider},
					"scope": {"https://www.googleapis.com/auth/cloud-platform"}, "requested_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
					"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"}, "subject_token": {"token-4711-for-//iam.googleapis.com/" + provider},
				}, map[string]string{"access_token": "federated"}),
				"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + email + ":generateAccessToken": bearer("federated", map[string]string{"accessToken": "google"}),
				"https://cloudkms.googleapis.com/v1/" + resource + ":decrypt":                                           bearer("google", map[string]string{"plaintext": b64(key)}),
			},
			entry:       sopskeys.Entry{Kind: "gcp_kms", Fields: map[string]string{"resource_id": resource, "enc": "c2VhbGVk"}},
			annotations: map[string]string{"gcp.auth.fluxcd.io/workload-identity-provider": provider, "iam.gke.io/gcp-service-account": email},
			lacks:       "gcp.auth.fluxcd.io/workload-identity-provider",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
			file := rewrapped(t, tc.entry)
			newLoginRig(t, now, tc.service.client(t), unwrap.Login{Account: &account{annotations: tc.annotations}, Clouds: true}).opens(t, file)
			newLoginRig(t, now, tc.service.client(t), unwrap.Login{Account: &account{}, Clouds: true}).refuses(t, file, "no annotation "+tc.lacks)
			bad := &account{annotations: map[string]string{tc.lacks: "../4711"}}
			newLoginRig(t, now, tc.service.client(t), unwrap.Login{Account: bad, Clouds: true}).refuses(t, file, "annotation "+tc.lacks+" is not valid")
			newLoginRig(t, now, tc.service.client(t), unwrap.Login{Account: &account{}}).refuses(t, file, "has no entry sops.")
		})
	}
}
