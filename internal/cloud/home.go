// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"sluice.dev/sluice/internal/transport"
)

const (
	// gkeMetadata is the metadata service of a node of GKE. It speaks no TLS and leaves no node.
	gkeMetadata = "http://metadata.google.internal"
	// metadataTimeout bounds one question. Where there is no such service, nobody answers.
	metadataTimeout = 5 * time.Second
	maxMetadata     = 1 << 10
	// metadataPause is for how long a service that did not answer is left alone, so that nobody who asks for it holds up others.
	metadataPause = time.Minute
)

// home finds out which cluster of GKE this is, once: the pool of workload identities of its project trusts it. Of the metadata service it
// asks for three names and never for a credential.
type home struct {
	http    *http.Client
	address string
	now     func() time.Time

	mu      sync.Mutex
	project string
	self    GKE
	failure error
	until   time.Time // the failure counts
}

func newHome(address string, now func() time.Time) (*home, error) {
	web, err := transport.NewClient(transport.ClientOptions{Timeout: metadataTimeout, MaxRedirects: -1})
	if err != nil {
		return nil, err
	}
	return &home{http: web, address: cmp.Or(address, gkeMetadata), now: now}, nil
}

// cluster returns the cluster and its project.
func (h *home) cluster(ctx context.Context) (project string, cluster GKE, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.project != "":
		return h.project, h.self, nil
	case h.failure != nil && h.now().Before(h.until):
		return "", GKE{}, h.failure
	}
	project, cluster, err = h.ask(ctx)
	if err != nil {
		err = fmt.Errorf("%w: on another cluster than GKE set annotation %q", err, PoolAnnotation)
		if ctx.Err() == nil {
			h.failure, h.until = err, h.now().Add(metadataPause)
		}
		return "", GKE{}, err
	}
	h.project, h.self = project, cluster
	return project, cluster, nil
}

func (h *home) ask(ctx context.Context) (project string, cluster GKE, err error) {
	var names []string
	for _, path := range []string{"project/project-id", "instance/attributes/cluster-location", "instance/attributes/cluster-name"} {
		name, err := h.get(ctx, path)
		if err != nil {
			return "", GKE{}, err
		}
		names = append(names, name)
	}
	cluster, err = ParseGKE(fmt.Sprintf("projects/%s/locations/%s/clusters/%s", names[0], names[1], names[2]))
	if err != nil {
		return "", GKE{}, errors.New("GKE's metadata service names no cluster")
	}
	return names[0], cluster, nil
}

func (h *home) get(ctx context.Context, path string) (string, error) {
	req, err := request(ctx, http.MethodGet, h.address+"/computeMetadata/v1/"+path, "", "")
	if err != nil {
		return "", err
	}
	req.Header.Set("Metadata-Flavor", "Google")
	resp, err := h.http.Do(req)
	if err != nil {
		return "", fmt.Errorf("ask GKE's metadata service: %w", transport.Cause(err))
	}
	defer resp.Body.Close() // read to the end or given up
	data, err := transport.ReadAll(resp.Body, maxMetadata)
	switch {
	case err != nil:
		return "", fmt.Errorf("answer of GKE's metadata service: %w", err)
	case resp.StatusCode != http.StatusOK || resp.Header.Get("Metadata-Flavor") != "Google":
		return "", errors.New("there is no metadata service of GKE")
	}
	return string(data), nil
}
