// SPDX-License-Identifier: Apache-2.0

package git_test

import (
	"strings"
	"testing"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/git"
)

// TestSSHChoice: the operator's lists narrow what is offered, and never widen it.
func TestSSHChoice(t *testing.T) {
	f := newFixture(t, false)
	for name, tc := range map[string]struct {
		choice git.SSHChoice
		fails  string
	}{
		"nothing chosen":                    {},
		"one key exchange":                  {choice: git.SSHChoice{Kex: []string{"ecdh-sha2-nistp384"}}},
		"one that is not approved, and one": {choice: git.SSHChoice{Kex: []string{"curve25519-sha256", "ecdh-sha2-nistp256"}}},
		"the server's kind of host key":     {choice: git.SSHChoice{HostKeys: []string{"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"}}},
		"another kind of host key":          {choice: git.SSHChoice{HostKeys: []string{"rsa-sha2-512"}}, fails: "known_hosts has no usable key"},
		"none that is approved":             {choice: git.SSHChoice{Kex: []string{"curve25519-sha256"}}, fails: "curve25519-sha256"},
		"no host key that is approved":      {choice: git.SSHChoice{HostKeys: []string{"ssh-rsa", "ssh-dss"}}, fails: "ssh-rsa, ssh-dss"},
	} {
		t.Run(name, func(t *testing.T) {
			remote, err := git.New(git.Config{URL: f.sshURL, Auth: git.Auth{Identity: f.key.Private, KnownHosts: f.knownHosts}, SSH: tc.choice})
			if err == nil {
				_, err = remote.Resolve(t.Context(), git.Reference{Branch: "main"})
			}
			if tc.fails == "" && err != nil || tc.fails != "" && (err == nil || !strings.Contains(err.Error(), tc.fails)) {
				t.Errorf("error %v, want %q", err, tc.fails)
			}
			if err != nil && fault.Of(err).Kind != fault.Retry {
				t.Errorf("kind %s: the spec cannot change it", fault.Of(err).Kind)
			}
		})
	}
}
