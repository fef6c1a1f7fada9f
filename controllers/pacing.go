// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"net/http"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/client-go/rest"
)

// paced returns kube with the operator's limits where the API server has no priority and fairness, and without any where it
// has: then it treats its clients fairly by itself, and a limit on our side would only delay what a watch has told of.
func paced(ctx context.Context, kube *rest.Config, limits KubeConfig) (*rest.Config, error) {
	kube = rest.CopyConfig(kube)
	fair, err := fair(ctx, kube)
	if err != nil {
		return nil, fmt.Errorf("ask the API server whether it has priority and fairness: %w", err)
	}
	if fair {
		kube.QPS, kube.Burst = -1, 0
	} else {
		kube.QPS, kube.Burst = limits.QPS, limits.Burst
	}
	return kube, nil
}

// fair reports whether the API server has priority and fairness: then it says in each answer how it classed the request.
func fair(ctx context.Context, kube *rest.Config) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	client, err := rest.HTTPClientFor(kube)
	if err != nil {
		return false, err
	}
	base, _, err := rest.DefaultServerUrlFor(kube)
	if err != nil {
		return false, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, base.JoinPath("livez", "ping").String(), nil)
	if err != nil {
		return false, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	return resp.Header.Get(flowcontrolv1.ResponseHeaderMatchedFlowSchemaUID) != "", nil
}
