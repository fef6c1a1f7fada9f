// SPDX-License-Identifier: Apache-2.0

package git_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/git"
	"sluice.dev/sluice/test/gitserver"
)

const hashedHost = "|1|JfKTdBh7rNbXkVAQCRp4OQoPfmI=|USECr3SWf1JUPsms5AqfD5QfxkM= "

func TestAuthFromSecret(t *testing.T) {
	key := must[gitserver.SSHKey](t)(gitserver.NewSSHKey())
	locked := pem.EncodeToMemory(must[*pem.Block](t)(ssh.MarshalPrivateKeyWithPassphrase(
		must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), "", []byte("open-sesame"))))
	known := []byte("example.com " + string(key.Authorized))
	web, shell := "https://example.com/r", "ssh://git@example.com/r"
	tests := map[string]struct {
		url     string
		data    map[string]string
		profile fips.Profile
		want    string
	}{
		"nothing at all for https":         {url: web},
		"basic":                            {url: web, data: map[string]string{"username": "ann", "password": "pw"}},
		"an empty password":                {url: web, data: map[string]string{"username": "ann", "password": ""}},
		"bearer":                           {url: web, data: map[string]string{"bearerToken": "t"}},
		"ssh":                              {url: shell, data: map[string]string{"identity": string(key.Private), "known_hosts": string(known)}},
		"ssh with a password for no lock":  {url: shell, data: map[string]string{"identity": string(key.Private), "known_hosts": string(known), "password": "x"}},
		"a locked key in standard":         {url: shell, profile: fips.Standard, data: map[string]string{"identity": string(locked), "known_hosts": string(known), "password": "open-sesame"}},
		"a locked key in strict":           {url: shell, data: map[string]string{"identity": string(locked), "known_hosts": string(known), "password": "open-sesame"}, want: "passphrase"},
		"a locked key, wrong password":     {url: shell, profile: fips.Standard, data: map[string]string{"identity": string(locked), "known_hosts": string(known), "password": "s3cret"}, want: "cannot be read"},
		"a user without a password":        {url: web, data: map[string]string{"username": "ann"}, want: `lacks "password"`},
		"a password without a user":        {url: web, data: map[string]string{"password": "s3cret"}, want: `lacks "username"`},
		"both basic and bearer":            {url: web, data: map[string]string{"username": "ann", "password": "s3cret", "bearerToken": "s3cret"}, want: "both"},
		"an authority that is none":        {url: web, data: map[string]string{"ca.crt": "s3cret"}, want: "no certificate"},
		"a certificate without a key":      {url: web, data: map[string]string{"tls.crt": "s3cret"}, want: "without a key"},
		"a key without a certificate":      {url: web, data: map[string]string{"tls.key": "s3cret"}, want: "without a certificate"},
		"a certificate that is none":       {url: web, data: map[string]string{"tls.crt": "s3cret", "tls.key": "s3cret"}, want: "no valid PEM pair"},
		"ssh without a key":                {url: shell, data: map[string]string{"known_hosts": string(known)}, want: `lacks "identity"`},
		"ssh without known_hosts":          {url: shell, data: map[string]string{"identity": string(key.Private)}, want: `lacks "known_hosts"`},
		"ssh with a key that is none":      {url: shell, data: map[string]string{"identity": "s3cret", "known_hosts": string(known)}, want: "cannot be read"},
		"ssh with a short RSA key":         {url: shell, data: map[string]string{"identity": shortIdentity(t), "known_hosts": string(known)}, want: "1024 bits"},
		"ssh with hosts that are none":     {url: shell, data: map[string]string{"identity": string(key.Private), "known_hosts": "s3cret s3cret s3cret"}, want: "no valid known_hosts entry"},
		"ssh with empty hosts":             {url: shell, data: map[string]string{"identity": string(key.Private), "known_hosts": "# none\n"}, want: "no host key"},
		"ssh with hashed hosts":            {url: shell, data: map[string]string{"identity": string(key.Private), "known_hosts": hashedHost + string(key.Authorized)}, want: "known-hosts-hashed"},
		"ssh with hashed hosts, standard":  {url: shell, profile: fips.Standard, data: map[string]string{"identity": string(key.Private), "known_hosts": hashedHost + string(key.Authorized)}, want: "known-hosts-hashed"},
		"ssh with a certificate authority": {url: shell, data: map[string]string{"identity": string(key.Private), "known_hosts": "@cert-authority * " + string(key.Authorized)}, want: "cert-authority"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			data := map[string][]byte{}
			for k, v := range tc.data {
				data[k] = []byte(v)
			}
			auth, err := git.AuthFromSecret(tc.url, data, fips.Policy{Profile: tc.profile})
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				for _, secret := range []string{"pw", "PRIVATE KEY"} {
					if strings.Contains(fmt.Sprintf("%v %+v %#v", auth, auth, auth), secret) {
						t.Errorf("the printed form shows %q", secret)
					}
				}
				return
			}
			wantFault(t, err, fault.Retry, git.ReasonAuthenticationFailed)
			if !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %q, want %q and no secret", err, tc.want)
			}
		})
	}
}

// shortIdentity is an RSA key of 1024 bits, made once with ssh-keygen: the module makes none so short.
func shortIdentity(t *testing.T) string {
	t.Helper()
	return string(must[[]byte](t)(os.ReadFile("testdata/rsa1024")))
}

func TestURLs(t *testing.T) {
	for name, raw := range map[string]string{
		"scp-like":       "git@example.com:team/app.git",
		"git protocol":   "git://example.com/r",
		"a file":         "file:///etc",
		"a path":         "/srv/git/r",
		"no host":        "https:///r",
		"a password":     "https://ann:s3cret@example.com/r",
		"a query":        "https://example.com/r?token=s3cret",
		"a fragment":     "https://example.com/r#s3cret",
		"control bytes":  "https://exa\x00mple.com/s3cret",
		"nothing at all": "",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := git.New(git.Config{URL: raw})
			wantFault(t, err, fault.Invalid, git.ReasonURLInvalid)
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%q shows a secret", err)
			}
			if _, err := git.AuthFromSecret(raw, nil, fips.Policy{}); fault.Of(err) == nil || fault.Of(err).Reason != git.ReasonURLInvalid {
				t.Errorf("AuthFromSecret: %v", err)
			}
		})
	}
	if _, err := git.New(git.Config{URL: "ssh://git@example.com/r"}); fault.Of(err) == nil || fault.Of(err).Reason != git.ReasonAuthenticationFailed {
		t.Errorf("ssh without a secret: %v", err)
	}
}

func TestSSHServers(t *testing.T) {
	root, repo := newRepo(t)
	must[string](t)(repo.Commit(gitserver.CommitOptions{Branch: "master", Files: map[string]string{"f": "f"}}))
	user := must[gitserver.SSHKey](t)(gitserver.NewSSHKey())
	stranger := must[gitserver.SSHKey](t)(gitserver.NewSSHKey())
	rsaHost := must[gitserver.SSHKey](t)(gitserver.SSHKeyFrom(must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))))
	good := serveSSH(t, gitserver.SSHOptions{Root: root, Authorized: user.Signer.PublicKey()})
	serve := func(config ssh.Config) *gitserver.SSH {
		return serveSSH(t, gitserver.SSHOptions{Root: root, Authorized: user.Signer.PublicKey(), Config: config})
	}
	list := fips.SSHAlgorithms()
	hostName, hostKey, _ := strings.Cut(string(good.KnownHosts), " ")
	tests := map[string]struct {
		server *gitserver.SSH
		user   gitserver.SSHKey
		known  string
		reason string
		text   string
	}{
		"the right key": {server: good, user: user, known: string(good.KnownHosts)},
		"an rsa host key and user key": {
			server: serveSSH(t, gitserver.SSHOptions{Root: root, Authorized: rsaHost.Signer.PublicKey(), HostKey: rsaHost}), user: rsaHost,
		},
		"a pattern":                  {server: good, user: user, known: "[127.0.0.*]:* " + hostKey},
		"another host's line beside": {server: good, user: user, known: "example.com " + string(stranger.Authorized) + string(good.KnownHosts)},
		"a key nobody knows":         {server: good, user: stranger, known: string(good.KnownHosts), reason: git.ReasonAuthenticationFailed, text: "does not accept"},
		"a host nobody knows":        {server: good, user: user, known: "example.com " + hostKey, reason: git.ReasonAuthenticationFailed, text: "no usable key"},
		"another port":               {server: good, user: user, known: "127.0.0.1 " + hostKey, reason: git.ReasonAuthenticationFailed, text: "no usable key"},
		"a host with another key":    {server: good, user: user, known: hostName + " " + string(stranger.Authorized), reason: git.ReasonAuthenticationFailed, text: "not in known_hosts"},
		"a negated host":             {server: good, user: user, known: "*,!" + hostName + " " + hostKey, reason: git.ReasonAuthenticationFailed, text: "no usable key"},
		"a revoked key":              {server: good, user: user, known: "@revoked * " + hostKey + string(good.KnownHosts), reason: git.ReasonAuthenticationFailed, text: "revoked"},
		"key exchange off the list": {
			server: serve(ssh.Config{KeyExchanges: []string{"diffie-hellman-group14-sha256"}, Ciphers: list.Ciphers, MACs: list.MACs}),
			user:   user, reason: git.ReasonOperationFailed, text: string(fips.SSHKex),
		},
		"a cipher off the list": {
			server: serve(ssh.Config{KeyExchanges: list.Kex, Ciphers: []string{"aes192-ctr"}, MACs: list.MACs}),
			user:   user, reason: git.ReasonOperationFailed, text: string(fips.SSHCipher),
		},
		"a MAC off the list": {
			server: serve(ssh.Config{KeyExchanges: list.Kex, Ciphers: list.Ciphers, MACs: []string{"hmac-sha1"}}),
			user:   user, reason: git.ReasonOperationFailed, text: string(fips.SSHMAC),
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if tc.known == "" {
				tc.known = string(tc.server.KnownHosts)
			}
			remote := must[*git.Remote](t)(git.New(git.Config{
				URL: tc.server.URL + "/team/app.git", Auth: git.Auth{Identity: tc.user.Private, KnownHosts: []byte(tc.known)},
			}))
			_, err := remote.Resolve(t.Context(), git.Reference{})
			if tc.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantFault(t, err, fault.Retry, tc.reason)
			if !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %q, want %q", err, tc.text)
			}
		})
	}
}
