// SPDX-License-Identifier: Apache-2.0

package artifact

import "github.com/prometheus/client_golang/prometheus"

// Collector shows in metrics what is in a store.
type Collector struct {
	store                           *Store
	bytes, files, objects, doubtful *prometheus.Desc
}

// NewCollector returns a collector that adds up a store whenever it is asked.
func NewCollector(s *Store) Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("sluice_artifact_store_"+name, help, labels, nil)
	}
	return Collector{
		store:    s,
		bytes:    desc("bytes", "Bytes of artifacts in store, by whether they are some source's current one.", "state"),
		files:    desc("files", "Files of artifacts in store; equal content is one file."),
		objects:  desc("objects", "Sources with an artifact in store."),
		doubtful: desc("doubtful_files", "Files that were found damaged or gone, and are being fetched again."),
	}
}

// Describe implements prometheus.Collector.
func (c Collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.bytes, c.files, c.objects, c.doubtful} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c Collector) Collect(out chan<- prometheus.Metric) {
	u := c.store.Usage()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(c.bytes, float64(u.Current), "current")
	gauge(c.bytes, float64(u.Superseded), "superseded")
	gauge(c.files, float64(u.Files))
	gauge(c.objects, float64(u.Objects))
	gauge(c.doubtful, float64(u.Doubtful))
}
