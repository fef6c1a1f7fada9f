// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/github"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/clouds"
)

func TestApp(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	backend, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	c := github.Client{Backend: backend, Now: time.Now, UserAgent: "test"}
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	for name, tc := range map[string]struct {
		app  github.App
		user bool
		want string
	}{
		"an organization":       {app: github.App{ID: "7", Key: pkcs1, Owner: "shop"}},
		"a user":                {app: github.App{ID: "7", Key: pkcs1, Owner: "shop"}, user: true},
		"an installation":       {app: github.App{ID: "7", Key: pkcs1, Installation: "77"}},
		"a key in PKCS#8":       {app: github.App{ID: "7", Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), Owner: "shop"}},
		"another owner":         {app: github.App{ID: "7", Key: pkcs1, Owner: "other"}, want: `installation for "other": api.github.com answers 404`},
		"another App":           {app: github.App{ID: "8", Key: pkcs1, Owner: "shop"}, want: "answers 401"},
		"another installation":  {app: github.App{ID: "7", Key: pkcs1, Installation: "78"}, want: "token of installation 78"},
		"no key":                {app: github.App{ID: "7", Owner: "shop"}, want: "githubAppPrivateKey"},
		"no PEM":                {app: github.App{ID: "7", Key: []byte("x"), Owner: "shop"}, want: "githubAppPrivateKey"},
		"a path as an owner":    {app: github.App{ID: "7", Key: pkcs1, Owner: "../app"}, want: "githubAppInstallationOwner"},
		"no number":             {app: github.App{ID: "7", Key: pkcs1, Installation: "7/x"}, want: "githubAppInstallationID"},
		"an address in clear":   {app: github.App{ID: "7", Key: pkcs1, Owner: "shop", BaseURL: "http://ghe.example/api/v3"}, want: "githubAppBaseURL"},
		"a password as address": {app: github.App{ID: "7", Key: pkcs1, Owner: "shop", BaseURL: "https://a:b@ghe.example"}, want: "githubAppBaseURL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stand := clouds.Start(t, clouds.Config{App: clouds.App{ID: "7", Owner: "shop", User: tc.user, Installation: 77, Key: &key.PublicKey}})
			tc.app.TLS, tc.app.Proxy = transport.TLS{CA: stand.CA}, transport.Proxy{URL: stand.Proxy}
			token, err := c.Token(t.Context(), tc.app)
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "eyJ") {
					t.Errorf("error %v, want %q", err, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if left := time.Until(token.Expires); token.Value == "" || left < 59*time.Minute {
				t.Errorf("a token for %s", left)
			}
			if text := fmt.Sprintf("%v %+v %#v", token, token, token); strings.Contains(text, token.Value) {
				t.Errorf("printed as %q", text)
			}
		})
	}
	t.Run("a redirect is not followed", func(t *testing.T) {
		stand := clouds.Start(t, clouds.Config{})
		stand.Break(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://api.github.com/elsewhere", http.StatusTemporaryRedirect)
		})
		_, err := c.Token(t.Context(), github.App{ID: "7", Key: pkcs1, Owner: "shop", TLS: transport.TLS{CA: stand.CA}, Proxy: transport.Proxy{URL: stand.Proxy}})
		if refused, ok := errors.AsType[*github.Error](err); ok && refused.Status != http.StatusTemporaryRedirect || err == nil || len(stand.Calls()) != 1 {
			t.Errorf("error %v after %q", err, stand.Calls())
		}
	})
}

// TestServes: a token never goes to a host that is not of the same GitHub.
func TestServes(t *testing.T) {
	for _, tc := range []struct {
		base, host string
		want       bool
	}{
		{"", "github.com", true},
		{"", "GitHub.com", true},
		{"", "github.com.example", false},
		{"", "gist.github.com", false},
		{"", "example.com", false},
		{"https://ghe.example/api/v3", "ghe.example", true},
		{"https://ghe.example/api/v3", "github.com", false},
		{"https://api.shop.ghe.com", "shop.ghe.com", true},
		{"https://api.shop.ghe.com", "other.ghe.com", false},
		{"https://api.example.com", "example.com", false},
		{"https://api.example.com", "api.example.com", true},
		{"no address", "github.com", false},
	} {
		if got := (github.App{BaseURL: tc.base}).Serves(tc.host); got != tc.want {
			t.Errorf("Serves(%q) of %q = %t", tc.host, tc.base, got)
		}
	}
}
