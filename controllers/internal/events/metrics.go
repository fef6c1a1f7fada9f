// SPDX-License-Identifier: Apache-2.0

package events

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what becomes of events.
type metrics struct {
	delivered, dropped, suppressed *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	var m metrics
	var err error
	m.delivered, err = counter(reg, "sluice_events_delivered_total",
		"Events that reached their destination.", "controller", "destination")
	if err != nil {
		return nil, err
	}
	m.dropped, err = counter(reg, "sluice_events_dropped_total",
		"Events that were given up, by reason.", "controller", "destination", "reason")
	if err != nil {
		return nil, err
	}
	m.suppressed, err = counter(reg, "sluice_events_suppressed_total",
		"Events that repeated what had been said shortly before.", "controller")
	return &m, err
}

// counter registers a counter, or returns the one that another recorder of this process has registered.
func counter(reg prometheus.Registerer, name, help string, labels ...string) (*prometheus.CounterVec, error) {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	err := reg.Register(c)
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, ok := already.ExistingCollector.(*prometheus.CounterVec); ok {
			return existing, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("register metric %q: %w", name, err)
	}
	return c, nil
}
