// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"fmt"
	"net/http"
)

// auditHeader is on every answer of a Kubernetes API server, whatever it answers (k8s.io/apiserver, filters.WithAuditInit).
const auditHeader = "Audit-Id"

// Genuine passes answers on, except for a 404 that is not the API server's: a gateway whose backend is gone says so of everything
// it is asked for.
type Genuine struct{ Base http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (g Genuine) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := g.Base.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusNotFound && resp.Header.Get(auditHeader) == "" {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%s %s: the answer 404 is not the API server's, for it has no %s: look at what stands before it", req.Method, req.URL.Path, auditHeader)
	}
	return resp, err
}

// WrappedRoundTripper lets client-go find the transport below, to close its idle connections.
func (g Genuine) WrappedRoundTripper() http.RoundTripper { return g.Base }
