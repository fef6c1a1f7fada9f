// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"encoding/base64"
	"encoding/json"
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"

	"sluice.dev/sluice/internal/fault"
)

// Bounds of a .dockerconfigjson document. A Kubernetes Secret is at most 1 MiB.
const (
	maxDockerConfig = 1 << 20
	maxAuths        = 256
)

// Keychain holds credentials by registry host and path. It is immutable; the nil Keychain is anonymous.
type Keychain struct {
	entries []entry
	// identity tells keychains apart in the pool. It holds secrets and never leaves the process's memory.
	identity string
}

// entry is one line of "auths".
type entry struct {
	host string
	path string
	auth authn.AuthConfig
}

// ParseDockerConfig reads the .dockerconfigjson entry of Secrets of type kubernetes.io/dockerconfigjson, in order of
// preference. Neither a credential helper nor a file of the machine is ever asked.
func ParseDockerConfig(documents ...[]byte) (*Keychain, error) {
	k := &Keychain{}
	for _, document := range documents {
		entries, err := parseAuths(document)
		if err != nil {
			return nil, err
		}
		k.entries = append(k.entries, entries...)
		k.identity += string(document) + "\x00"
	}
	// The most specific entry wins; among equals the first document does.
	slices.SortStableFunc(k.entries, func(a, b entry) int {
		if c := strings.Count(a.host, "*") - strings.Count(b.host, "*"); c != 0 {
			return c
		}
		return len(b.path) - len(a.path)
	})
	return k, nil
}

// String never shows a credential.
func (k *Keychain) String() string { return "keychain [redacted]" }

// GoString never shows a credential.
func (k *Keychain) GoString() string { return k.String() }

// Resolve implements authn.Keychain.
func (k *Keychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	if k == nil {
		return authn.Anonymous, nil
	}
	host, repository := target.RegistryStr(), strings.TrimPrefix(target.String(), target.RegistryStr()+"/")
	for _, e := range k.entries {
		if e.matches(host, repository) {
			return authn.FromConfig(e.auth), nil
		}
	}
	return authn.Anonymous, nil
}

// matches follows kubelet: the host may hold a * per label, the path is a prefix of whole elements.
func (e entry) matches(host, repository string) bool {
	if e.path != "" && repository != e.path && !strings.HasPrefix(repository, e.path+"/") {
		return false
	}
	want, have := strings.Split(e.host, "."), strings.Split(host, ".")
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		if ok, err := path.Match(want[i], have[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

// credential is one value of "auths". The library's own type would quote a malformed one in its error.
type credential struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// parseAuths reads one document. Errors of the JSON parser are dropped: they may quote the secret.
func parseAuths(document []byte) ([]entry, error) {
	if len(document) > maxDockerConfig {
		return nil, fault.New(fault.Retry, reasonAuthentication, "docker config is larger than %d bytes", maxDockerConfig)
	}
	var config struct {
		Auths map[string]credential `json:"auths"`
	}
	if err := json.Unmarshal(document, &config); err != nil {
		return nil, fault.New(fault.Retry, reasonAuthentication,
			"docker config is no valid JSON document with \"auths\": want a Secret of type kubernetes.io/dockerconfigjson")
	}
	if len(config.Auths) > maxAuths {
		return nil, fault.New(fault.Retry, reasonAuthentication, "docker config has more than %d registries", maxAuths)
	}
	entries := make([]entry, 0, len(config.Auths))
	for key, auth := range config.Auths {
		e, err := parseAuth(key, auth)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.host+"/"+a.path, b.host+"/"+b.path) })
	return entries, nil
}

// parseAuth reads one credential, and its key in each of the spellings in use: a host, a host with a path, and the URL
// that `docker login` writes for Docker Hub.
func parseAuth(key string, auth credential) (entry, error) {
	bare := strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	host, repository, _ := strings.Cut(strings.Trim(bare, "/"), "/")
	if host == "" {
		return entry{}, fault.New(fault.Retry, reasonAuthentication, "docker config has a credential for no registry")
	}
	if host == "docker.io" || host == "registry-1.docker.io" {
		host = "index.docker.io"
	}
	if repository == "v1" || repository == "v2" {
		repository = ""
	}
	if auth.Auth != "" && auth.Username == "" && auth.Password == "" {
		decoded, err := base64.StdEncoding.DecodeString(auth.Auth)
		user, password, ok := strings.Cut(string(decoded), ":")
		if err != nil || !ok {
			return entry{}, fault.New(fault.Retry, reasonAuthentication,
				"docker config: \"auth\" of %q is not the base64 of user:password", clip(host))
		}
		auth.Username, auth.Password = user, strings.TrimRight(password, "\x00")
	}
	return entry{host: host, path: repository, auth: authn.AuthConfig{
		Username: auth.Username, Password: auth.Password, IdentityToken: auth.IdentityToken, RegistryToken: auth.RegistryToken,
	}}, nil
}
