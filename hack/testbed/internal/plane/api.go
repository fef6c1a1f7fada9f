// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"sluice.dev/sluice/hack/testbed/internal/pki"
)

const (
	nodeAnnotation      = "kwok.x-k8s.io/node"
	nodeAnnotationValue = "fake"
	// maxAnswer bounds what is read of one answer; 5000 nodes with their status take about 15 MiB.
	maxAnswer = 64 << 20
)

// api asks the API server the few questions of a start. It is plain HTTP because client-go would take longer to
// compile than the bed takes to start.
type api struct {
	server string
	client *http.Client
}

func newAPI(l *layout) (*api, error) {
	pair, err := l.ca.IssueClient(pki.Subject{User: bedUser, Groups: []string{"system:masters"}})
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(l.ca.CertPEM())
	return &api{server: l.server(), client: &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			Proxy:             nil, // the loopback address is never behind one
			ForceAttemptHTTP2: true,
			TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
		},
	}}, nil
}

// do sends one request and decodes the answer into out, unless that is nil.
func (a *api) do(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, a.server+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return err
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %s: %.512s", method, path, response.Status, answer)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

func (a *api) ready(ctx context.Context) error {
	return a.do(ctx, http.MethodGet, "/readyz", nil, nil)
}

// controllersWork holds when pods can be created in the namespace default, which is what tests do first.
func (a *api) controllersWork(ctx context.Context) error {
	return errors.Join(
		a.do(ctx, http.MethodGet, "/api/v1/namespaces/default/serviceaccounts/default", nil, nil),
		a.do(ctx, http.MethodGet, "/api/v1/namespaces/default/configmaps/kube-root-ca.crt", nil, nil),
	)
}

// createNodes makes the objects that KWOK plays.
func (a *api) createNodes(ctx context.Context, n int) error {
	for i := range n {
		if err := a.do(ctx, http.MethodPost, "/api/v1/nodes", node(i), nil); err != nil {
			return err
		}
	}
	return nil
}

func node(i int) map[string]any {
	name := fmt.Sprintf("node-%d", i)
	resources := map[string]string{"cpu": "64", "memory": "512Gi", "pods": "1000", "ephemeral-storage": "1Ti"}
	return map[string]any{
		"apiVersion": "v1", "kind": "Node",
		"metadata": map[string]any{
			"name":        name,
			"annotations": map[string]string{nodeAnnotation: nodeAnnotationValue},
			"labels": map[string]string{
				"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "type": "kwok",
			},
		},
		"status": map[string]any{"capacity": resources, "allocatable": resources},
	}
}

// nodesReady asks whether n nodes are Ready.
func (a *api) nodesReady(n int) func(context.Context) error {
	return func(ctx context.Context) error {
		var list nodeList
		if err := a.do(ctx, http.MethodGet, "/api/v1/nodes?resourceVersion=0", nil, &list); err != nil {
			return err
		}
		if got := list.ready(); got < n {
			return fmt.Errorf("%d of %d nodes are Ready", got, n)
		}
		return nil
	}
}

// nodeList is as much of a list of nodes as tells whether they are Ready.
type nodeList struct {
	Items []struct {
		Status struct {
			Conditions []struct{ Type, Status string }
		}
	}
}

// ready counts the nodes that are.
func (l nodeList) ready() int {
	count := 0
	for _, item := range l.Items {
		for _, condition := range item.Status.Conditions {
			if condition.Type == "Ready" && condition.Status == "True" {
				count++
			}
		}
	}
	return count
}
