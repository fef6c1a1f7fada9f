// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
)

// Metrics are the metrics of all loops of a process; controller-runtime adds its own.
type Metrics struct {
	durations *prometheus.HistogramVec
	runs      *prometheus.CounterVec
}

// NewMetrics registers the metrics, usually in controller-runtime's registry.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gotk_reconcile_duration_seconds",
			Help:    "How long runs of an object take.",
			Buckets: prometheus.ExponentialBuckets(10e-9, 10, 10), // as upstream has them: dashboards name the buckets
		}, []string{"kind", "name", "namespace"}),
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_runs_total",
			Help: "Runs by kind and outcome: Succeeded, Unchanged, or the kind of the fault.",
		}, []string{"kind", "outcome"}),
	}
	if err := errors.Join(reg.Register(m.durations), reg.Register(m.runs)); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return m, nil
}

func (m *Metrics) observe(kind string, key types.NamespacedName, d time.Duration) {
	m.durations.WithLabelValues(kind, key.Name, key.Namespace).Observe(d.Seconds())
}

func (m *Metrics) count(kind, outcome string) {
	m.runs.WithLabelValues(kind, outcome).Inc()
}

// forget drops what belongs to an object that is gone.
func (m *Metrics) forget(kind string, key types.NamespacedName) {
	m.durations.DeleteLabelValues(kind, key.Name, key.Namespace)
}
