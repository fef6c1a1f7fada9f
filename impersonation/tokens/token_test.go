// SPDX-License-Identifier: Apache-2.0

package tokens

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"sluice.dev/sluice/impersonation"
)

type tenanted struct{ namespace, account string }

func (o tenanted) GetNamespace() string       { return o.namespace }
func (o tenanted) GetName() string            { return "app" }
func (o tenanted) ServiceAccountName() string { return o.account }

func identity(t *testing.T, namespace, account string) impersonation.Identity {
	t.Helper()
	id, err := impersonation.Resolve(tenanted{namespace, account}, impersonation.Lockdown{
		PlatformNamespaces: []string{"flux-system"}, PlatformServiceAccount: "sluice-platform",
		ControllerServiceAccounts: []string{"kustomize-controller"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// jwt makes a token as the API server does, with a signature that nobody here looks at.
func jwt(payload string) string {
	e := base64.RawURLEncoding
	return e.EncodeToString([]byte(`{"alg":"RS256"}`)) + "." + e.EncodeToString([]byte(payload)) + ".c2ln"
}

func TestReadToken(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	mine := jwt(`{"sub":"system:serviceaccount:a:deploy","aud":["here"],"kubernetes.io":{"serviceaccount":{"uid":"u1"}}}`)
	tests := map[string]struct {
		raw       string
		expires   time.Duration
		wantRenew time.Duration
		wantErr   bool
	}{
		"renewal is due at 80 percent":                  {raw: mine, expires: 10 * time.Minute, wantRenew: 8 * time.Minute},
		"a longer token is renewed as if it were short": {raw: mine, expires: 365 * 24 * time.Hour, wantRenew: 8 * time.Minute},
		"a shorter token is renewed sooner":             {raw: mine, expires: 5 * time.Minute, wantRenew: 4 * time.Minute},
		"an expired token is refused":                   {raw: mine, expires: -time.Second, wantErr: true},
		"somebody else's token is refused": {
			raw:     jwt(`{"sub":"system:serviceaccount:b:deploy","aud":["here"],"kubernetes.io":{"serviceaccount":{"uid":"u1"}}}`),
			expires: time.Minute, wantErr: true,
		},
		"a token without UID is refused": {raw: jwt(`{"sub":"system:serviceaccount:a:deploy","aud":["here"]}`), expires: time.Minute, wantErr: true},
		"one audience needs no list": {
			raw:     jwt(`{"sub":"system:serviceaccount:a:deploy","aud":"here","kubernetes.io":{"serviceaccount":{"uid":"u1"}}}`),
			expires: 10 * time.Minute, wantRenew: 8 * time.Minute,
		},
		"a token without audience is refused": {
			raw:     jwt(`{"sub":"system:serviceaccount:a:deploy","kubernetes.io":{"serviceaccount":{"uid":"u1"}}}`),
			expires: time.Minute, wantErr: true,
		},
		"no JSON web token":           {raw: "opaque", expires: time.Minute, wantErr: true},
		"no base64":                   {raw: "a.!!.c", expires: time.Minute, wantErr: true},
		"no JSON":                     {raw: jwt("no"), expires: time.Minute, wantErr: true},
		"an endless token is refused": {raw: strings.Repeat("x", maxToken+1), expires: time.Minute, wantErr: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := readToken(authenticationv1.TokenRequestStatus{Token: tc.raw, ExpirationTimestamp: metav1.NewTime(now.Add(tc.expires))},
				identity(t, "a", "deploy"), now, minLifetime)
			if tc.wantErr {
				if err == nil || strings.Contains(err.Error(), tc.raw) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if renew := got.renewAt.Sub(now); renew != tc.wantRenew || got.uid != "u1" || len(got.audiences) != 1 || got.audiences[0] != "here" {
				t.Errorf("renewal after %s, want %s; uid %q, audiences %q", renew, tc.wantRenew, got.uid, got.audiences)
			}
		})
	}
}

func TestSecretNeverShows(t *testing.T) {
	s := secret("hunter2")
	encoded, err := json.Marshal(map[string]any{"token": s, "nested": token{value: s}})
	if err != nil {
		t.Fatal(err)
	}
	shown := string(encoded)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		shown += fmt.Sprintf(verb, s) + fmt.Sprintf(verb, []any{s})
	}
	for _, leak := range []string{"hunter2", "68756e74657232", "68756E74657232", "aHVudGVyMg", "104 117"} {
		if strings.Contains(shown, leak) {
			t.Errorf("%q shows in %s", leak, shown)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	good := func() Config {
		return Config{Manager: &rest.Config{Host: "https://127.0.0.1:1"}, Scheme: runtime.NewScheme()}
	}
	tests := map[string]func(*Config){
		"no manager":                  func(c *Config) { c.Manager = nil },
		"no scheme":                   func(c *Config) { c.Scheme = nil },
		"a lifetime nobody issues":    func(c *Config) { c.Lifetime = time.Minute },
		"a negative limit":            func(c *Config) { c.MaxClients = -1 },
		"a server that is not secure": func(c *Config) { c.Manager.Host = "http://127.0.0.1:1" },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			config := good()
			spoil(&config)
			if _, err := New(config); err == nil {
				t.Error("accepted")
			}
		})
	}
	if _, err := New(good()); err != nil {
		t.Errorf("the good one: %v", err)
	}
}
