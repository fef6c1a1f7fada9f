// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/fault"
)

func TestReasonsAreFluxs(t *testing.T) {
	want := []string{
		sourcev1.URLInvalidReason, sourcev1.AuthenticationFailedReason, sourcev1.ReadOperationFailedReason,
		sourcev1.OCIPullFailedReason, sourcev1.OCILayerOperationFailedReason,
	}
	got := []string{reasonURLInvalid, reasonAuthentication, reasonRead, reasonPull, reasonLayer}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
}

func TestParseURL(t *testing.T) {
	tests := map[string]struct {
		in      string
		want    string
		invalid bool
	}{
		"host and path":          {in: "oci://ghcr.io/org/app", want: "ghcr.io/org/app"},
		"host with a port":       {in: "oci://registry.example:5000/app", want: "registry.example:5000/app"},
		"loopback":               {in: "oci://127.0.0.1:5000/a/b/c", want: "127.0.0.1:5000/a/b/c"},
		"localhost":              {in: "oci://localhost/app", want: "localhost/app"},
		"docker hub by its name": {in: "oci://docker.io/org/app", want: "index.docker.io/org/app"},
		"another scheme":         {in: "https://ghcr.io/org/app", invalid: true},
		"no scheme":              {in: "ghcr.io/org/app", invalid: true},
		"a tag":                  {in: "oci://ghcr.io/org/app:v1", invalid: true},
		"a digest":               {in: "oci://ghcr.io/org/app@sha256:" + strings.Repeat("a", 64), invalid: true},
		"credentials":            {in: "oci://user:secret@ghcr.io/org/app", invalid: true},
		"a query":                {in: "oci://ghcr.io/org/app?token=secret", invalid: true},
		"no host":                {in: "oci://org/app", invalid: true},
		"no path":                {in: "oci://ghcr.io", invalid: true},
		"an empty path":          {in: "oci://ghcr.io/", invalid: true},
		"upper case":             {in: "oci://ghcr.io/Org/App", invalid: true},
		"too long":               {in: "oci://ghcr.io/" + strings.Repeat("a", 3000), invalid: true},
		"empty":                  {in: "", invalid: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ParseURL(tc.in)
			if tc.invalid {
				f := fault.Of(err)
				if f == nil || f.Kind != fault.Invalid || f.Reason != reasonURLInvalid {
					t.Fatalf("ParseURL() error = %v, want an Invalid fault with reason %s", err, reasonURLInvalid)
				}
				if strings.Contains(err.Error(), "secret") {
					t.Errorf("the error shows a secret: %v", err)
				}
				return
			}
			if err != nil || got.String() != tc.want {
				t.Errorf("ParseURL() = %q, %v, want %q", got, err, tc.want)
			}
		})
	}
}

func TestHighest(t *testing.T) {
	tags := []string{"latest", "1.0.0", "v1.2.0", "1.10.0", "2.0.0-rc.1", "1.3", "not.a.version", "1.2.0+build", "1.11.0-alpine"}
	tests := map[string]struct {
		ref  Reference
		want string
		none bool
	}{
		"numbers are compared as numbers":       {ref: Reference{SemVer: "1.x"}, want: "1.10.0"},
		"a range":                               {ref: Reference{SemVer: ">=1.0.0 <1.3.0"}, want: "v1.2.0"},
		"pre-releases only when asked for":      {ref: Reference{SemVer: ">=1.0.0-0"}, want: "2.0.0-rc.1"},
		"the filter comes first":                {ref: Reference{SemVer: ">=1.0.0-0", SemverFilter: ".*-alpine"}, want: "1.11.0-alpine"},
		"nothing matches":                       {ref: Reference{SemVer: "3.x"}, none: true},
		"a tag of two numbers is not a version": {ref: Reference{SemVer: "~1.3"}, none: true},
		"a filter that leaves nothing":          {ref: Reference{SemVer: "1.x", SemverFilter: "^x"}, none: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			v, err := tc.ref.parseVersion()
			if err != nil {
				t.Fatal(err)
			}
			got, ok := v.highest(tags)
			if ok == tc.none || got != tc.want {
				t.Errorf("highest() = %q, %v, want %q, %v", got, ok, tc.want, !tc.none)
			}
		})
	}
}

func TestDockerConfig(t *testing.T) {
	k, err := ParseDockerConfig([]byte(`{"auths":{
		"https://index.docker.io/v1/": {"auth": "aHViOnB3"},
		"ghcr.io": {"username": "u", "password": "wide"},
		"ghcr.io/org/app": {"username": "u", "password": "narrow"},
		"*.azurecr.io": {"username": "glob", "password": "pw"},
		"token.example": {"registrytoken": "t"}}}`),
		[]byte(`{"auths":{"ghcr.io": {"username": "second", "password": "x"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		url  string
		want string
	}{
		"docker hub in docker's spelling": {url: "oci://docker.io/org/app", want: "hub/pw"},
		"the longest path wins":           {url: "oci://ghcr.io/org/app", want: "u/narrow"},
		"below the path":                  {url: "oci://ghcr.io/org/app/chart", want: "u/narrow"},
		"a path is whole elements":        {url: "oci://ghcr.io/org/apple", want: "u/wide"},
		"the first document wins":         {url: "oci://ghcr.io/other", want: "u/wide"},
		"a glob":                          {url: "oci://x.azurecr.io/a", want: "glob/pw"},
		"a glob is one label":             {url: "oci://x.y.azurecr.io/a", want: "/"},
		"nobody's registry":               {url: "oci://evil.example/ghcr.io/a", want: "/"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			repo, err := ParseURL(tc.url)
			if err != nil {
				t.Fatal(err)
			}
			auth, err := k.Resolve(repo.name)
			if err != nil {
				t.Fatal(err)
			}
			got, err := auth.Authorization()
			if err != nil {
				t.Fatal(err)
			}
			if have := got.Username + "/" + got.Password; have != tc.want {
				t.Errorf("credential = %q, want %q", have, tc.want)
			}
		})
	}
}

func TestDockerConfigRefuses(t *testing.T) {
	tests := map[string]string{
		"no JSON":           `s3cret`,
		"wrong shape":       `{"auths":["s3cret"]}`,
		"auth is no pair":   `{"auths":{"a.example":{"auth":"czNjcmV0"}}}`,
		"auth is no base64": `{"auths":{"a.example":{"auth":"s3cret!"}}}`,
		"no host":           `{"auths":{"":{"password":"s3cret"}}}`,
		"too large":         strings.Repeat(" ", maxDockerConfig+1),
	}
	for name, in := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ParseDockerConfig([]byte(in))
			if f := fault.Of(err); f == nil || f.Reason != reasonAuthentication {
				t.Fatalf("ParseDockerConfig() error = %v, want reason %s", err, reasonAuthentication)
			}
			if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "czNj") {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
}

func TestCleanShowsNoSecret(t *testing.T) {
	tests := map[string]error{
		"a URL with credentials": &url.Error{Op: "Get", URL: "https://user:s3cret@r.example/v2/", Err: errors.New("refused")},
		"a signed URL":           errors.New(`Get "https://blob.example/x?sig=s3cret": refused`),
		"user information":       errors.New("dial https://user:s3cret@r.example"),
		"a bearer token":         errors.New("header Authorization: Bearer s3cret.token.value"),
		"a token answer":         errors.New("no token in bearer response:\n{\"refresh\":\"s3cret\"}"),
		"a field":                errors.New(`{"refresh_token":"s3cret"}`),
	}
	for name, in := range tests {
		t.Run(name, func(t *testing.T) {
			err := clean(context.Background(), in)
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("clean() = %q", err)
			}
			if errors.Is(err, in) {
				t.Error("the foreign error can still be reached")
			}
		})
	}
}

func FuzzParseURL(f *testing.F) {
	for _, seed := range []string{"oci://ghcr.io/org/app", "oci://a:1/b", "oci://", "oci://[::1]:5000/x", "oci://a.b/c:d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		repo, err := ParseURL(in)
		if err != nil {
			return
		}
		again, err := ParseURL(Scheme + repo.String())
		if err != nil || again.String() != repo.String() {
			t.Errorf("ParseURL(%q) = %q, which reads as %q, %v", in, repo, again, err)
		}
	})
}

func FuzzReference(f *testing.F) {
	f.Add("1.x", "", "v1.2.3")
	f.Add(">=1.0.0-0 <2", ".*-rc.*", "1.0.0-rc.1")
	f.Add("*", "(a|b)*$", "latest")
	f.Fuzz(func(t *testing.T, semver, filter, tag string) {
		v, err := Reference{SemVer: semver, SemverFilter: filter}.parseVersion()
		if err != nil {
			return
		}
		if got, ok := v.highest([]string{tag, "0.0.1"}); ok && got != tag && got != "0.0.1" {
			t.Errorf("highest() = %q, which is no tag", got)
		}
	})
}

func FuzzDockerConfig(f *testing.F) {
	f.Add([]byte(`{"auths":{"https://index.docker.io/v1/":{"auth":"aHViOnB3"},"*.azurecr.io":{"username":"u","password":"p"}}}`))
	f.Add([]byte(`{"auths":{"[":{"registrytoken":"t"}}}`))
	repo, err := ParseURL("oci://registry.example/org/app")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		k, err := ParseDockerConfig(document)
		if err != nil {
			return
		}
		if _, err := k.Resolve(repo.name); err != nil {
			t.Error(err)
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"config":{"digest":"sha256:a"},"layers":[{"mediaType":"a","digest":"sha256:`+strings.Repeat("a", 64)+`","size":1}],"annotations":{"a":"b"}}`), "a")
	f.Add([]byte(`{"manifests":[{"platform":{"os":"linux","architecture":"amd64"}}]}`), "")
	c := &Client{limits: Limits{}.withDefaults()}
	f.Fuzz(func(t *testing.T, raw []byte, mediaType string) {
		doc, err := Manifest{Raw: raw}.Parse()
		if err != nil {
			return
		}
		layer, err := c.choose(doc, LayerSelector{MediaType: mediaType})
		if err == nil && (!IsDigest(layer.Digest) || layer.Size < 0 || layer.Size > c.limits.Layer) {
			t.Errorf("choose() = %+v", layer)
		}
	})
}
