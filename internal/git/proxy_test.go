// SPDX-License-Identifier: Apache-2.0

package git_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/internal/git"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/waypoint"
)

// TestProxies: all that is read from a repository comes through the proxy, whatever the protocol.
func TestProxies(t *testing.T) {
	f := newFixture(t, false)
	for _, scheme := range []string{"http", "socks5"} {
		through := waypoint.Start(t, waypoint.Options{Scheme: scheme, Username: "u", Password: "pa55"})
		address := must[*url.URL](t)(url.Parse(through.Address))
		for name, config := range map[string]git.Config{
			"http": {URL: f.httpURL}, "ssh": {URL: f.sshURL, Auth: git.Auth{Identity: f.key.Private, KnownHosts: f.knownHosts}},
		} {
			t.Run(name+" through "+scheme, func(t *testing.T) {
				config.Proxy = transport.Proxy{URL: address, Username: "u", Password: "pa55"}
				remote := must[*git.Remote](t)(git.New(config))
				head := must[git.Head](t)(remote.Resolve(t.Context(), git.Reference{Branch: "main"}))
				got := must[fetched](t)(fetch(t, remote, head))
				if diff := cmp.Diff(f.second, got.Hash); diff != "" {
					t.Errorf("commit (-want +got):\n%s", diff)
				}
				u := must[*url.URL](t)(url.Parse(config.URL))
				if got := through.Targets(); !strings.Contains(strings.Join(got, " "), u.Host) {
					t.Errorf("the proxy was sent to %v, not to %s", got, u.Host)
				}
				config.Proxy.Password = "wr0ng"
				remote = must[*git.Remote](t)(git.New(config))
				if _, err := remote.Resolve(t.Context(), git.Reference{Branch: "main"}); err == nil || strings.Contains(err.Error(), "wr0ng") {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}
