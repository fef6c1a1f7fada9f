// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/registry"
	"sluice.dev/sluice/test/waypoint"
)

// testOCIProxy pulls through every kind of proxy, the token included (S-20, S-55).
func testOCIProxy(t *testing.T, b *sourceBed) {
	files := map[string]string{"a.yaml": "a: b\n"}
	cert, key, err := b.authority.Issue("proxy")
	if err != nil {
		t.Fatal(err)
	}
	keychain, err := oci.ParseDockerConfig(b.bearer.DockerConfig())
	if err != nil {
		t.Fatal(err)
	}
	push(t, b.pusher(t, "proxied"), "latest", files)
	push(t, ociClient(t, b.bearer.URL()+"/proxied", oci.Config{Keychain: keychain, TLS: transport.TLS{CA: b.bearer.CA()}}), "latest", files)
	proxy := func(address, password string) map[string][]byte {
		return map[string][]byte{"address": []byte(address), "username": []byte(sourceUser), "password": []byte(password)}
	}
	from := func(t *testing.T, server *registry.Server, data map[string][]byte) *sourcev1.OCIRepository {
		return b.oci("proxied", func(s *sourcev1.OCIRepositorySpec) {
			s.URL, s.Insecure, s.ProxySecretRef = server.URL()+"/proxied", server == b.plain, ref(b.secret(t, data))
			if server == b.bearer {
				s.SecretRef = ref(b.dockerSecret(t, server.DockerConfig()))
				s.CertSecretRef = ref(b.secret(t, map[string][]byte{"ca.crt": bytes.Join([][]byte{server.CA(), b.authority.CA}, nil)}))
			}
		})
	}
	for name, tc := range map[string]struct {
		server *registry.Server
		scheme string
	}{
		"plain through http": {b.plain, "http"}, "plain through socks5": {b.plain, "socks5"},
		"tls through http": {b.bearer, "http"}, "tls through https": {b.bearer, "https"}, "tls through socks5": {b.bearer, "socks5"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			through := waypoint.Start(t, waypoint.Options{
				Scheme: tc.scheme, Username: sourceUser, Password: sourcePassword, TLS: transport.ServerTLSOptions{Cert: cert, Key: key},
			})
			obj := from(t, tc.server, proxy(through.Address, sourcePassword))
			b.Create(t, obj)
			b.await(t, obj, ready)
			if diff := cmp.Diff(files, b.download(t, obj.Status.Artifact)); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{tc.server.Host()}, through.Targets()); diff != "" {
				t.Errorf("where the proxy was sent to (-want +got):\n%s", diff)
			}
		})
	}
	open := waypoint.Start(t, waypoint.Options{Username: sourceUser, Password: sourcePassword})
	for name, tc := range map[string]struct {
		data map[string][]byte
		want failure
	}{
		"a wrong password":  {proxy(open.Address, wrongPassword), failure{reason: sourcev1.OCIPullFailedReason, says: []string{"407"}}},
		"no address":        {proxy("", sourcePassword), failure{reason: sourcev1.AuthenticationFailedReason, says: []string{`"address"`}}},
		"an unknown scheme": {proxy("ftp://p.example", sourcePassword), failure{reason: sourcev1.AuthenticationFailedReason, says: []string{"socks5"}}},
		"nobody listens":    {proxy("http://"+closedAddress(t), sourcePassword), failure{reason: sourcev1.OCIPullFailedReason, says: []string{"refused"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj := from(t, b.bearer, tc.data)
			b.Create(t, obj)
			tc.want.condition = sourcev1.FetchFailedCondition
			b.await(t, obj, tc.want.check)
			if strings.Contains(readyMessage(obj), wrongPassword) {
				t.Errorf("message %q", readyMessage(obj))
			}
		})
	}
}
