// SPDX-License-Identifier: Apache-2.0

package artifact_test

import (
	"testing"

	"sluice.dev/sluice/controllers/internal/artifact"
)

func TestServers(t *testing.T) {
	several := artifact.Servers{"https://main.example", "https://shard1.example:8443", "http://10.0.0.1:9090", "http://10.0.0.1:9091"}
	tests := map[string]struct {
		servers   artifact.Servers
		url, want string
	}{
		"one server is asked whatever a status says": {artifact.Servers{"http://a"}, "http://b/x", "http://a"},
		"the same origin": {several, "https://shard1.example:8443/v1/x", "https://shard1.example:8443"},
		"the same host, where Flux's path is plain": {several, "http://shard1.example/gitrepository/a/b/c.tar.gz", "https://shard1.example:8443"},
		"a Service with the dot at its end":         {several, "http://Shard1.example./x", "https://shard1.example:8443"},
		"a port of several at a host":               {several, "http://10.0.0.1:9091/x", "http://10.0.0.1:9091"},
		"no port of several at a host":              {several, "http://10.0.0.1:9092/x", "https://main.example"},
		"a host that nobody has named":              {several, "http://attacker.example/x", "https://main.example"},
		"a host that only looks like one":           {several, "http://shard1.example.attacker.example/x", "https://main.example"},
		"a name before the host":                    {several, "http://shard1.example@attacker.example/x", "https://main.example"},
		"no URL":                                    {several, "%zz", "https://main.example"},
		"nothing":                                   {several, "", "https://main.example"},
		"no server":                                 {nil, "http://a", ""},
	}
	for url, want := range map[string]bool{
		"https://main.example/x": true, "https://MAIN.example./x": true, "http://10.0.0.1:9091/x": true, "http://main.example/x": false,
		"http://10.0.0.1:9092/x": false, "https://shard1.example/x": false, "https://main.example@attacker.example/x": false, "": false, "%zz": false,
	} {
		if got := several.Name(url); got != want {
			t.Errorf("%q is at a server that was named: %t, want %t", url, got, want)
		}
	}
	for name, tc := range tests {
		if got := tc.servers.For(tc.url); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}
