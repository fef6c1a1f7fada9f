// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/waypoint"
)

// testGitProxy reads a repository through every kind of proxy (S-20, S-43).
func testGitProxy(t *testing.T, b *sourceBed) {
	repo := b.repo(t, map[string]string{"a.yaml": "a: b\n"})
	cert, key, err := b.authority.Issue("proxy")
	if err != nil {
		t.Fatal(err)
	}
	basic := map[string][]byte{"username": []byte(sourceUser), "password": []byte(sourcePassword), "ca.crt": b.authority.CA}
	servers := map[string]struct {
		url    string
		secret map[string][]byte
	}{
		"http": {url: b.gits.open.URL}, "https": {b.gits.basic.URL, basic}, "ssh": {b.gits.ssh.URL, b.sshSecret()},
	}
	credential := func(address, password string) map[string][]byte {
		return map[string][]byte{"address": []byte(address), "username": []byte(sourceUser), "password": []byte(password)}
	}
	for _, scheme := range []string{"http", "https", "socks5"} {
		for name, server := range servers {
			if scheme == "https" && name != "https" {
				continue // an https proxy is believed by the authority in the source's own Secret, which only https has
			}
			t.Run(name+" through "+scheme, func(t *testing.T) {
				t.Parallel()
				through := waypoint.Start(t, waypoint.Options{
					Scheme: scheme, Username: sourceUser, Password: sourcePassword, TLS: transport.ServerTLSOptions{Cert: cert, Key: key},
				})
				obj := b.git(repo, func(s *sourcev1.GitRepositorySpec) {
					s.URL = server.url + "/" + repo.Name
					s.ProxySecretRef = ref(b.secret(t, credential(through.Address, sourcePassword)))
					if server.secret != nil {
						s.SecretRef = ref(b.secret(t, server.secret))
					}
				})
				b.Create(t, obj)
				b.await(t, obj, ready)
				_, target, _ := strings.Cut(server.url, "://")
				_, host, _ := strings.Cut("@"+target, "@")
				if diff := cmp.Diff([]string{host[strings.LastIndex(host, "@")+1:]}, through.Targets()); diff != "" {
					t.Errorf("where the proxy was sent to (-want +got):\n%s", diff)
				}
			})
		}
	}
	open := waypoint.Start(t, waypoint.Options{Username: sourceUser, Password: sourcePassword})
	for name, tc := range map[string]struct {
		url  string
		data map[string][]byte // nil: no Secret
		want failure
	}{
		"a wrong password":   {b.gits.basic.URL, credential(open.Address, wrongPassword), failure{reason: sourcev1.GitOperationFailedReason, says: []string{"407"}}},
		"no address":         {b.gits.open.URL, credential("", sourcePassword), failure{reason: sourcev1.AuthenticationFailedReason, says: []string{`"address"`}}},
		"an unknown scheme":  {b.gits.open.URL, credential("ftp://p.example", sourcePassword), failure{reason: sourcev1.AuthenticationFailedReason, says: []string{"socks5"}}},
		"an endless address": {b.gits.open.URL, credential("http://"+strings.Repeat("p", 2048), ""), failure{reason: sourcev1.AuthenticationFailedReason, says: []string{"2048"}}},
		"no Secret":          {b.gits.open.URL, nil, failure{reason: sourcev1.AuthenticationFailedReason, says: []string{"create it"}}},
		"nobody listens":     {b.gits.open.URL, credential("http://"+closedAddress(t), ""), failure{reason: sourcev1.GitOperationFailedReason, says: []string{"refused"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj := b.git(repo, func(s *sourcev1.GitRepositorySpec) {
				s.URL, s.ProxySecretRef = tc.url+"/"+repo.Name, ref("none")
				if tc.data != nil {
					s.ProxySecretRef = ref(b.secret(t, tc.data))
				}
				if tc.url == b.gits.basic.URL {
					s.SecretRef = ref(b.secret(t, basic))
				}
			})
			b.Create(t, obj)
			tc.want.condition = sourcev1.FetchFailedCondition
			b.await(t, obj, tc.want.check)
		})
	}
}
