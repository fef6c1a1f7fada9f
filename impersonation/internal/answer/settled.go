// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// readyTimeout bounds the question whether the API server is ready.
const readyTimeout = 10 * time.Second

// Settled is a mapper that says that a kind is not served only when the API server is ready. One that has just started answers for
// up to a second before it knows its CustomResourceDefinitions.
type Settled struct {
	meta.RESTMapper
	// Client and Server are how the API server is asked whether it is ready.
	Client *http.Client
	Server string
}

// RESTMapping implements meta.RESTMapper.
func (m Settled) RESTMapping(gk schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	found, err := m.RESTMapper.RESTMapping(gk, versions...)
	if !meta.IsNoMatchError(err) {
		return found, err
	}
	if err := m.ready(); err != nil {
		return nil, fmt.Errorf("find out whether %s is served: %w", gk, err)
	}
	return m.RESTMapper.RESTMapping(gk, versions...) // which asks anew for what it did not find
}

// ready reports an API server that is not. One that does not tell us is taken for ready.
func (m Settled) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout) //nolint:forbidigo // a mapper is given no context
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Server+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := m.Client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() // its status was all that counts
	switch resp.StatusCode {
	case http.StatusOK, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return nil
	default:
		return fmt.Errorf("the API server is not ready: %s", resp.Status)
	}
}
