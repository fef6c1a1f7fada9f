// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"net/http"
	"strings"
	"testing"

	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/clouds"
)

func TestParseCodeCommit(t *testing.T) {
	for address, want := range map[string]string{
		"https://git-codecommit.eu-central-1.amazonaws.com/v1/repos/app":         "eu-central-1",
		"https://git-codecommit-fips.us-east-1.amazonaws.com/v1/repos/app":       "us-east-1",
		"https://git-codecommit.cn-north-1.amazonaws.com.cn/v1/repos/app":        "cn-north-1",
		"https://git-codecommit.us-gov-west-1.amazonaws.com/v1/repos/app":        "us-gov-west-1",
		"http://git-codecommit.eu-central-1.amazonaws.com/v1/repos/app":          "",
		"https://git-codecommit.eu-central-1.amazonaws.com.example/v1/repos/app": "",
		"https://git-codecommit.eu-central-1.example.com/v1/repos/app":           "",
		"https://git-codecommit.cn-north-1.amazonaws.com/v1/repos/app":           "",
		"https://a@git-codecommit.eu-central-1.amazonaws.com/v1/repos/app":       "",
		"https://git-codecommit.eu-central-1.amazonaws.com:8443/v1/repos/app":    "",
		"https://git-codecommit.eu-central-1.amazonaws.com/other":                "",
		"https://codecommit.eu-central-1.amazonaws.com/v1/repos/app":             "",
	} {
		got, err := cloud.ParseCodeCommit(address)
		if (err == nil) != (want != "") || err == nil && got.Region().Name() != want {
			t.Errorf("%s: region %q, error %v", address, got.Region().Name(), err)
		}
	}
}

// TestCodeCommit: the password of one repository is none of another.
func TestCodeCommit(t *testing.T) {
	stand, c := startWith(t, cloud.AzurePublic, func(config *clouds.Config) {
		config.Git = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	})
	repository := must(cloud.ParseCodeCommit("https://git-codecommit.eu-central-1.amazonaws.com/v1/repos/app"))(t)
	cred := must(c.AssumeRole(t.Context(), repository.Region(), must(cloud.ParseRole(annotated()))(t), "shop", "deploy", workload))(t)
	user, password, err := c.CodeCommitLogin(cred, repository)
	if err != nil {
		t.Fatal(err)
	}
	if id, _, _ := cred.Values(); !strings.HasPrefix(user, id+"%") {
		t.Errorf("user %q", user)
	}
	web, err := transport.NewClient(transport.ClientOptions{TLS: transport.TLS{CA: stand.CA}, Proxy: transport.Proxy{URL: stand.Proxy}})
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]int{
		"https://git-codecommit.eu-central-1.amazonaws.com/v1/repos/app/info/refs?service=git-upload-pack": http.StatusNoContent,
		"https://git-codecommit.eu-central-1.amazonaws.com/v1/repos/app/git-upload-pack":                   http.StatusNoContent,
		"https://git-codecommit.eu-central-1.amazonaws.com/v1/repos/other/info/refs":                       http.StatusUnauthorized,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(user, string(password))
		resp, err := web.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", address, resp.StatusCode, want)
		}
	}
}
