// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/clouds"
)

// pulls reports whether a registry of the stand-ins lets a login in.
func pulls(t *testing.T, stand *clouds.Clouds, host string, login cloud.RegistryLogin) bool {
	t.Helper()
	client, err := transport.NewClient(transport.ClientOptions{TLS: transport.TLS{CA: stand.CA}, Proxy: transport.ProxyFromURL(stand.Proxy)})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host+"/v2/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(login.Username, string(login.Password))
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusNotFound // behind the door there is nothing
}

func TestRegistryLogins(t *testing.T) {
	stand, c := start(t, cloud.AzurePublic)
	as := must(cloud.ParseRole(annotated()))(t)
	for host, name := range map[string]string{
		"123456789012.dkr.ecr.eu-central-1.amazonaws.com":      "private",
		"123456789012.dkr.ecr-fips.eu-central-1.amazonaws.com": "by FIPS endpoints",
	} {
		t.Run("ECR, "+name, func(t *testing.T) {
			registry := must(cloud.ParseECR(host))(t)
			cred := must(c.AssumeRole(t.Context(), registry.Region(), as, "shop", "deploy", workload))(t)
			login := must(c.ECRLogin(t.Context(), cred, registry))(t)
			if left := time.Until(login.Expires); left > 12*time.Hour || left < 12*time.Hour-time.Minute {
				t.Errorf("the login is good for %s", left)
			}
			if login.Username != "AWS" || !pulls(t, stand, host, login) {
				t.Errorf("%s does not let %q in", host, login.Username)
			}
		})
	}
	t.Run("ACR", func(t *testing.T) {
		const host = "shop.azurecr.io"
		registry := must(cloud.ParseACR(host))(t)
		who := must(cloud.ParseEntraIdentity(annotated()))(t)
		token := must(c.EntraToken(t.Context(), who, c.ACRResource(), workload))(t)
		login := must(c.ACRLogin(t.Context(), token, registry))(t)
		if left := time.Until(login.Expires); left > 3*time.Hour || left < 3*time.Hour-time.Minute {
			t.Errorf("the login is good for %s", left)
		}
		if !pulls(t, stand, host, login) {
			t.Errorf("%s does not let it in", host)
		}
		if _, err := c.ACRLogin(t.Context(), cloud.Token{Value: "another"}, registry); err == nil || strings.Contains(err.Error(), "another") {
			t.Errorf("a token of nobody: %v", err)
		}
	})
	t.Run("Artifact Registry", func(t *testing.T) {
		who := must(cloud.ParseGoogleIdentity(annotated()))(t)
		login := cloud.GoogleLogin(must(c.GoogleToken(t.Context(), who, workload))(t))
		if !pulls(t, stand, "europe-docker.pkg.dev", login) {
			t.Error("it does not let it in")
		}
	})
}

// TestRegistryHosts: a login goes to a cloud's own registries, and a host becomes part of an address.
func TestRegistryHosts(t *testing.T) {
	ecr := func(s string) error { _, err := cloud.ParseECR(s); return err }
	acr := func(s string) error { _, err := cloud.ParseACR(s); return err }
	for name, tc := range map[string]struct {
		parse     func(string) error
		good, bad []string
	}{
		"ECR": {
			ecr,
			[]string{"123456789012.dkr.ecr.eu-central-1.amazonaws.com", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "public.ecr.aws"},
			[]string{
				"", "registry.example", "123456789012.dkr.ecr.eu-central-1.amazonaws.com.example", "123456789012.dkr.ecr.eu-central-1.amazonaws.com.cn", "12.dkr.ecr.eu-central-1.amazonaws.com",
				"123456789012.dkr.ecr.localhost.amazonaws.com", "123456789012.dkr.ecr.eu-central-1.amazonaws.com:5000", "x.public.ecr.aws",
			},
		},
		"ACR": {
			acr,
			[]string{"shop.azurecr.io", "shop.azurecr.us", "shop-1.azurecr.cn"},
			[]string{"", "azurecr.io", "shop.azurecr.io.example", "a.b.azurecr.io", "shop.azurecr.io:443", "-.azurecr.io", "shop.azurecr.io/x"},
		},
		"Artifact Registry": {
			cloud.ParseArtifactRegistry,
			[]string{"europe-docker.pkg.dev", "us-west1-docker.pkg.dev", "gcr.io", "eu.gcr.io"},
			[]string{"", "pkg.dev", "docker.pkg.dev", "europe-npm.pkg.dev", "gcr.io.example", "a.b.gcr.io", "europe-docker.pkg.dev:443"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, host := range tc.good {
				if err := tc.parse(host); err != nil {
					t.Errorf("%q: %v", host, err)
				}
			}
			for _, host := range tc.bad {
				if tc.parse(host) == nil {
					t.Errorf("%q is accepted", host)
				}
			}
		})
	}
}
