// SPDX-License-Identifier: Apache-2.0

package tokens

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// metrics counts what the broker does. It names no tenant: the number of series must not grow with the tenants.
type metrics struct {
	requests *prometheus.CounterVec
	clients  prometheus.Gauge
}

// newMetrics registers with reg, or with nobody when reg is nil. A second broker in one process shares the first's.
func newMetrics(reg prometheus.Registerer) (metrics, error) {
	m := metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_impersonation_token_requests_total",
			Help: "Tokens requested for ServiceAccounts of tenants, by result.",
		}, []string{"result"}),
		clients: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sluice_impersonation_clients",
			Help: "ServiceAccounts for which a client is kept.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	var err error
	if m.requests, err = register(reg, m.requests); err != nil {
		return m, err
	}
	m.clients, err = register(reg, m.clients)
	return m, err
}

func register[C prometheus.Collector](reg prometheus.Registerer, c C) (C, error) {
	err := reg.Register(c)
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, ok := already.ExistingCollector.(C); ok {
			return existing, nil
		}
	}
	return c, err
}

// request counts one TokenRequest.
func (m metrics) request(err error) {
	result := "error"
	switch {
	case err == nil:
		result = "minted"
	case apierrors.IsNotFound(err):
		result = "not_found"
	case apierrors.IsForbidden(err):
		result = "forbidden"
	}
	m.requests.WithLabelValues(result).Inc()
}
