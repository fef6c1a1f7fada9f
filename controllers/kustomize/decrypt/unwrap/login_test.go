// SPDX-License-Identifier: Apache-2.0

package unwrap_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice.dev/sluice/controllers/kustomize/decrypt/sops"
	"sluice.dev/sluice/controllers/kustomize/decrypt/unwrap"
	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/test/clouds"
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
func newLoginRig(t *testing.T, now time.Time, there *cloud.Client, login unwrap.Login) *rig {
	t.Helper()
	o, err := unwrap.NewOpener(unwrap.Config{
		Policy: fips.Policy{Profile: fips.Strict}, Backend: backend(t), Clouds: reached(t, there), Client: unwrap.NewClient("test"), Now: func() time.Time { return now },
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

// TestCloudLogin: ServiceAccounts log in to clouds as what their annotations say, and nothing else opens the keys.
func TestCloudLogin(t *testing.T) {
	const (
		who      = "system:serviceaccount:team-a:keeper"
		role     = "arn:aws:iam::123456789012:role/team-a"
		provider = "projects/1/locations/global/workloadIdentityPools/pool/providers/hub"
		email    = "team-a@shop.iam.gserviceaccount.com"
		china    = "https://shop.vault.azure.cn"
	)
	key := func(user, sealed string) clouds.Key {
		return clouds.Key{User: user, Sealed: sealed, Plain: secretKey(t)}
	}
	there := startClouds(t, clouds.Config{
		Review: func(_ context.Context, token, audience string) string {
			if token == "token-4711-for-"+audience {
				return who
			}
			return ""
		},
		Trusts: map[string]string{role: who, provider: who, email: who, clientID: who},
		Keys: map[string]clouds.Key{
			kmsARN: key(role, "sealed"), kmsName: key(email, sealed),
			vaultURL + "/keys/sops/0123": key(tenantID+"/"+clientID, sealed), china + "/keys/sops/0123": key(tenantID+"/"+clientID, sealed),
		},
	})
	azure := map[string]string{cloud.TenantAnnotation: tenantID, cloud.ClientAnnotation: clientID}
	tests := map[string]struct {
		entry       sopskeys.Entry
		annotations map[string]string
		lacks       string
		// stranger is what the clouds do not trust the account with.
		stranger string
		audience string
	}{
		"aws": {
			entry: awsEntry(kmsARN), annotations: map[string]string{cloud.RoleAnnotation: role}, lacks: cloud.RoleAnnotation,
			stranger: role + "-of-others", audience: cloud.AWSAudience,
		},
		"azure": {
			entry: azureEntry(vaultURL), annotations: azure, lacks: cloud.TenantAnnotation, audience: cloud.EntraAudience,
		},
		"azure in China": {
			entry: azureEntry(china), annotations: azure, lacks: cloud.TenantAnnotation, audience: cloud.EntraAudience,
		},
		"gcp": {
			entry: googleEntry(kmsName), annotations: map[string]string{cloud.PoolAnnotation: provider, cloud.GoogleAccountAnnotation: email},
			lacks: cloud.PoolAnnotation, stranger: provider + "-2", audience: "//iam.googleapis.com/" + provider + "-2",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			now, file := time.Now(), rewrapped(t, tc.entry)
			newLoginRig(t, now, there, unwrap.Login{Account: &account{annotations: tc.annotations}, Clouds: true}).opens(t, file)
			newLoginRig(t, now, there, unwrap.Login{Account: &account{}, Clouds: true}).refuses(t, file, "has no entry sops.", `annotation "`+tc.lacks+`"`)
			bad := &account{annotations: map[string]string{tc.lacks: "../4711"}}
			newLoginRig(t, now, there, unwrap.Login{Account: bad, Clouds: true}).refuses(t, file, `annotation "`+tc.lacks+`" is not valid`)
			newLoginRig(t, now, there, unwrap.Login{Account: &account{}}).refuses(t, file, "has no entry sops.")
			if tc.stranger == "" {
				return
			}
			foreign := &account{annotations: map[string]string{tc.lacks: tc.stranger}}
			newLoginRig(t, now, there, unwrap.Login{Account: foreign, Clouds: true}).refuses(t, file, `log in as ServiceAccount "keeper" in namespace "team-a"`)
			if len(foreign.refused) != 1 || foreign.refused[0] != tc.audience {
				t.Errorf("refused %q, want %q", foreign.refused, tc.audience)
			}
		})
	}
}
