// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/charts"
)

// chartServers are Helm repositories. A repository below slow/ never answers.
type chartServers struct {
	open, basic, mutual, bare *charts.Server
}

func (b *sourceBed) startCharts(t *testing.T) {
	t.Helper()
	start := func(o charts.Options) *charts.Server {
		o.Wrap = stalling
		server, err := charts.Start(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Close() })
		return server
	}
	cert, key, err := b.authority.Issue("charts")
	if err != nil {
		t.Fatal(err)
	}
	secure := transport.ServerTLSOptions{Cert: cert, Key: key}
	mutual := secure
	mutual.ClientCA = b.authority.CA
	b.charts.open = start(charts.Options{})
	b.charts.basic = start(charts.Options{TLS: secure, Username: sourceUser, Password: sourcePassword})
	b.charts.mutual = start(charts.Options{TLS: mutual})
	b.charts.bare = start(charts.Options{TLS: secure, NoValidators: true})
}

// stalling lets whatever lies below slow/ wait for ever.
func stalling(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/slow/") {
			<-r.Context().Done()
			return
		}
		next.ServeHTTP(w, r)
	})
}

// pack puts a chart into a repository of a server and returns its digest.
func packChart(t *testing.T, server *charts.Server, repo, name, version string) string {
	t.Helper()
	digest, err := server.Add(repo, name, version, charts.Files(name, version))
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// helm returns a HelmRepository of the open server, in the platform's namespace.
func (b *sourceBed) helm(repo string, change ...func(*sourcev1.HelmRepositorySpec)) *sourcev1.HelmRepository {
	obj := &sourcev1.HelmRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.ns, Name: b.name("helm")},
		Spec:       sourcev1.HelmRepositorySpec{URL: b.charts.open.URL + "/" + repo, Interval: metav1.Duration{Duration: time.Hour}},
	}
	for _, f := range change {
		f(&obj.Spec)
	}
	return obj
}
