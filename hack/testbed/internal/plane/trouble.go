// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"time"
)

// StopAPIServer kills the API server as a crash would: what was in flight stays unanswered, and so does what comes.
func (p *Plane) StopAPIServer() error { return p.group.Kill(apiServerName) }

// StartAPIServer starts the API server that StopAPIServer has killed, on the same address, and returns when it is ready.
func (p *Plane) StartAPIServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := p.group.Start(p.layout.apiServer(p.started)); err != nil {
		return err
	}
	p.api.client.CloseIdleConnections() // those of the former one
	return p.await(ctx, "the API server answers again", p.api.ready)
}

// Compact makes etcd forget every revision but the last, so that a watch or a list which would go on from an older one has to
// begin anew.
func (p *Plane) Compact(ctx context.Context) error {
	etcd, err := newStore(p.layout)
	if err != nil {
		return err
	}
	defer etcd.client.CloseIdleConnections()
	return etcd.compact(ctx)
}

// newStore speaks to etcd through the JSON gateway of its gRPC interface, with the API server's credential.
func newStore(l *layout) (*api, error) {
	cert, err := tls.LoadX509KeyPair(l.pki("etcd-client.crt"), l.pki("etcd-client.key"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(l.pki("etcd-ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &api{server: fmt.Sprintf("https://127.0.0.1:%d", l.port.etcd), client: &http.Client{
		Timeout: 30 * time.Second, // compacting rewrites what was deleted
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
		},
	}}, nil
}

// compact asks for the revision of the store and compacts it there. The gateway writes 64-bit numbers as strings.
func (a *api) compact(ctx context.Context) error {
	var answer struct {
		Header struct {
			Revision string `json:"revision"`
		} `json:"header"`
	}
	if err := a.do(ctx, http.MethodPost, "/v3/kv/range", map[string]any{"key": []byte("/"), "count_only": true}, &answer); err != nil {
		return err
	}
	return a.do(ctx, http.MethodPost, "/v3/kv/compaction", map[string]any{"revision": answer.Header.Revision, "physical": true}, nil)
}
