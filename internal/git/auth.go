// SPDX-License-Identifier: Apache-2.0

package git

import (
	"encoding/base64"
	"fmt"
	"net/url"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/transport"
)

// Auth is how a repository is read: as whom, and which server is believed. The zero value reads anonymously over http and
// https with the system's roots.
type Auth struct {
	// Username and Password are sent as basic authentication.
	Username string
	Password string
	// BearerToken is sent as "Authorization: Bearer". It excludes Username and Password.
	BearerToken string
	// TLS is the authority and the client certificate for https.
	TLS transport.TLS

	// Identity is the SSH private key in PEM, and KeyPassword opens it, where the FIPS profile tolerates that.
	Identity    []byte
	KeyPassword []byte
	// KnownHosts is the text of a known_hosts file; ssh needs it.
	KnownHosts []byte
}

// String shows no secret.
func (a Auth) String() string {
	return fmt.Sprintf("Auth{basic: %t, bearer: %t, ssh: %t}", a.Username != "", a.BearerToken != "", len(a.Identity) > 0)
}

// GoString shows no secret.
func (a Auth) GoString() string { return a.String() }

// secrets lists what must not come back in a server's message.
func (a Auth) secrets() []string {
	return []string{
		base64.StdEncoding.EncodeToString([]byte(a.Username + ":" + a.Password)), a.Password, a.BearerToken,
	}
}

// The keys of a Secret (spec rows S-20, S-31, S-32).
const (
	keyUsername   = "username"
	keyPassword   = "password"
	keyBearer     = "bearerToken"
	keyIdentity   = "identity"
	keyKnownHosts = "known_hosts"
)

// AuthFromSecret reads the data of a Secret for a repository at rawURL. What it lacks or holds in contradiction is named
// by key, never by value. Faults have the reason AuthenticationFailed, or URLInvalid for a URL that New would refuse too.
func AuthFromSecret(rawURL string, data map[string][]byte, policy fips.Policy) (Auth, error) {
	u, err := parseURL(rawURL)
	if err != nil {
		return Auth{}, err
	}
	if u.Scheme == "ssh" {
		return sshAuth(data, policy)
	}
	return httpAuth(data)
}

func httpAuth(data map[string][]byte) (Auth, error) {
	auth := Auth{
		Username:    string(data[keyUsername]),
		Password:    string(data[keyPassword]),
		BearerToken: string(data[keyBearer]),
		TLS: transport.TLS{
			CA:          first(data, "ca.crt", "caFile"),
			SystemRoots: true,
			Cert:        first(data, "tls.crt", "certFile"),
			Key:         first(data, "tls.key", "keyFile"),
		},
	}
	_, hasPassword := data[keyPassword]
	switch {
	case auth.BearerToken != "" && auth.Username != "":
		return Auth{}, secretFault("has both %q and %q: keep one", keyBearer, keyUsername)
	case auth.Username != "" && !hasPassword:
		return Auth{}, secretFault("has %q but lacks %q", keyUsername, keyPassword)
	case auth.Username == "" && hasPassword:
		return Auth{}, secretFault("has %q but lacks %q", keyPassword, keyUsername)
	}
	if _, err := transport.ClientTLS(auth.TLS); err != nil {
		return Auth{}, secretFault("keys %q, %q and %q: %w", "ca.crt", "tls.crt", "tls.key", err)
	}
	return auth, nil
}

func sshAuth(data map[string][]byte, policy fips.Policy) (Auth, error) {
	auth := Auth{Identity: data[keyIdentity], KeyPassword: data[keyPassword], KnownHosts: data[keyKnownHosts]}
	switch {
	case len(auth.Identity) == 0:
		return Auth{}, secretFault("lacks %q, the private key that ssh needs", keyIdentity)
	case len(auth.KnownHosts) == 0:
		return Auth{}, secretFault("lacks %q, without which no ssh server can be believed", keyKnownHosts)
	}
	if _, err := parseIdentity(auth, policy); err != nil {
		return Auth{}, secretFault("key %q: %w", keyIdentity, err)
	}
	if _, err := parseKnownHosts(auth.KnownHosts, policy); err != nil {
		return Auth{}, secretFault("key %q: %w", keyKnownHosts, err)
	}
	return auth, nil
}

// secretFault is retried: nothing watches the Secret, and its owner may mend it without touching the source.
func secretFault(format string, args ...any) error {
	return fault.New(fault.Retry, ReasonAuthenticationFailed, "the secret "+format, args...)
}

// first returns the value of the first key present.
func first(data map[string][]byte, keys ...string) []byte {
	for _, key := range keys {
		if value := data[key]; len(value) > 0 {
			return value
		}
	}
	return nil
}

// parseURL accepts http, https and ssh URLs (spec row S-30) without a password. The URL stands in the object's spec for
// everybody to read, so a password there is refused instead of used.
func parseURL(raw string) (*url.URL, error) {
	invalid := func(format string, args ...any) error {
		return fault.New(fault.Invalid, ReasonURLInvalid, "url %q "+format, append([]any{transport.RedactURL(raw)}, args...)...)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, invalid("cannot be parsed")
	}
	if u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "ssh" {
		return nil, invalid("has scheme %q: want http, https or ssh", u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, invalid("names no host")
	}
	if _, set := u.User.Password(); set {
		return nil, invalid("holds a password: put it into a Secret and name that in secretRef")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return nil, invalid("has a query or a fragment")
	}
	return u, nil
}
