// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"

	"sluice.dev/sluice/test/bench/audit"
	"sluice.dev/sluice/test/bench/result"
)

// sample is the same step of several runs.
type sample struct {
	run  *result.Run
	step *result.Step
}

// figure is one column: a number of a step, or none.
type figure struct {
	name string
	of   func(sample) (float64, bool)
}

// seconds is the duration that stands for the step.
func seconds(s sample) (float64, bool) {
	for _, name := range []string{"total", "fixed.p50"} {
		if v, ok := s.step.Seconds[name]; ok {
			return v, true
		}
	}
	return 0, false
}

func cpu(s sample) (float64, bool) {
	return s.run.Sum(s.step, func(u result.Usage) float64 { return u.CPU }), true
}

func cpuOf(process string) func(sample) (float64, bool) {
	return func(s sample) (float64, bool) {
		u, ok := s.step.Processes[process]
		return u.CPU, ok
	}
}

func anonymous(s sample) (float64, bool) {
	return s.run.Sum(s.step, func(u result.Usage) float64 { return u.PeakAnonymous }), true
}

func resident(s sample) (float64, bool) {
	return s.run.Sum(s.step, func(u result.Usage) float64 { return u.PeakResident }), true
}

// perUnit is how many requests of a class there were for each object.
func perUnit(class audit.Class) func(sample) (float64, bool) {
	return func(s sample) (float64, bool) {
		return float64(s.run.Requests(s.step, class)) / float64(max(1, s.step.Units)), true
	}
}

func count(class audit.Class) func(sample) (float64, bool) {
	return func(s sample) (float64, bool) { return float64(s.run.Requests(s.step, class)), true }
}

func kilobytesPerUnit(s sample) (float64, bool) {
	n := s.run.Bytes(s.step, "apiserver")
	return float64(n) / 1000 / float64(max(1, s.step.Units)), n > 0
}

// figures are the columns of a scenario with a candidate.
func figures() []figure {
	return []figure{
		{"seconds", seconds},
		{"CPU s", cpu},
		{"requests", count(audit.Work)},
		{"requests per object", perUnit(audit.Work)},
		{"apart: tokens", count(audit.Token)},
		{"watches", count(audit.Watch)},
		{"leases", count(audit.Lease)},
		{"kB per object", kilobytesPerUnit},
		{"apiserver CPU s", cpuOf("apiserver")},
		{"etcd CPU s", cpuOf("etcd")},
		{"peak anonymous MiB", anonymous},
		{"peak RSS MiB", resident},
		{"other CPU s", func(s sample) (float64, bool) { return s.step.OtherCPU, true }},
	}
}

// numbers returns the figure of each sample that has it, sorted.
func (f figure) numbers(samples []sample) []float64 {
	var v []float64
	for _, s := range samples {
		if x, ok := f.of(s); ok {
			v = append(v, x)
		}
	}
	return slices.Sorted(slices.Values(v))
}

// text is the median, and the range where there is one.
func (f figure) text(samples []sample) string {
	v := f.numbers(samples)
	if len(v) == 0 {
		return "–"
	}
	median, low, high := short(v[len(v)/2]), short(v[0]), short(v[len(v)-1])
	if low == high {
		return median
	}
	return fmt.Sprintf("%s (%s–%s)", median, low, high)
}

func short(v float64) string {
	switch {
	case v >= 100 || v == float64(int64(v)):
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
