// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"path"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"sluice.dev/sluice/internal/fips"
)

// hostKeys is a parsed known_hosts file.
type hostKeys []hostKey

type hostKey struct {
	patterns []string
	key      ssh.PublicKey
	revoked  bool
}

// parseKnownHosts reads the text of a known_hosts file. A line that cannot be read is an error, not a warning: it may have
// been the one that revokes a key.
func parseKnownHosts(text []byte, policy fips.Policy) (hostKeys, error) {
	var keys hostKeys
	for rest := text; ; {
		marker, hosts, key, _, next, err := ssh.ParseKnownHosts(rest)
		switch {
		case errors.Is(err, io.EOF) && len(keys) == 0:
			return nil, errors.New("no host key found")
		case errors.Is(err, io.EOF):
			return keys, nil
		case err != nil:
			return nil, errors.New("a line is no valid known_hosts entry")
		}
		rest = next
		switch {
		case slices.ContainsFunc(hosts, func(h string) bool { return strings.HasPrefix(h, "|") }):
			return nil, refuseHashed(policy)
		case marker == "cert-authority":
			return nil, errors.New("entries marked @cert-authority are not supported: list the host's own key")
		case marker != "" && marker != "revoked":
			return nil, errors.New("an entry has an unknown marker")
		}
		keys = append(keys, hostKey{patterns: hosts, key: key, revoked: marker == "revoked"})
	}
}

// refuseHashed refuses hosts listed by hash, which the policy does in every profile: matching them takes HMAC-SHA1, and
// x/crypto's reader, which can, takes files alone.
func refuseHashed(policy fips.Policy) error { return policy.Allow(fips.KnownHostsHashed) }

// check is an ssh.HostKeyCallback.
func (k hostKeys) check(address string, _ net.Addr, presented ssh.PublicKey) error {
	known := false
	for _, entry := range k {
		if !entry.matches(address) {
			continue
		}
		same := bytes.Equal(entry.key.Marshal(), presented.Marshal())
		if entry.revoked && same {
			return fmt.Errorf("the host key %s is marked as revoked in known_hosts: %w", ssh.FingerprintSHA256(presented), errAuth)
		}
		known = known || same && !entry.revoked
	}
	if known {
		return nil
	}
	return fmt.Errorf("the %s host key %s of %q is not in known_hosts: %w",
		presented.Type(), ssh.FingerprintSHA256(presented), address, errAuth)
}

// algorithms returns which of the allowed host key algorithms the entries for address can satisfy, so that the server
// shows a key we know and not its favourite.
func (k hostKeys) algorithms(address string, allowed []string) []string {
	var usable []string
	for _, algorithm := range allowed {
		keyType := algorithm
		if strings.HasPrefix(algorithm, "rsa-sha2-") {
			keyType = ssh.KeyAlgoRSA
		}
		if slices.ContainsFunc(k, func(e hostKey) bool { return !e.revoked && e.key.Type() == keyType && e.matches(address) }) {
			usable = append(usable, algorithm)
		}
	}
	return usable
}

// matches follows sshd(8): comma-separated patterns with * and ?, "!" refuses, "[host]:port" for ports other than 22.
func (e hostKey) matches(address string) bool {
	name := hostName(address)
	matched := false
	for _, pattern := range e.patterns {
		pattern, negated := strings.CutPrefix(pattern, "!")
		if !globMatch(pattern, name) {
			continue
		}
		if negated {
			return false
		}
		matched = true
	}
	return matched
}

// hostName writes "host:port" as known_hosts does.
func hostName(address string) string {
	host, port, err := net.SplitHostPort(address)
	switch {
	case err != nil:
		return strings.ToLower(address)
	case port == "22":
		return strings.ToLower(host)
	default:
		return "[" + strings.ToLower(host) + "]:" + port
	}
}

// globMatch knows * and ? alone; brackets are plain characters here, unlike in path.Match.
func globMatch(pattern, name string) bool {
	escaped := strings.NewReplacer(`\`, `\\`, `[`, `\[`).Replace(strings.ToLower(pattern))
	ok, err := path.Match(escaped, name)
	return err == nil && ok
}
