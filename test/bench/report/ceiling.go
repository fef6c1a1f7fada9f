// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"
	"strings"

	"sluice.dev/sluice/test/bench/result"
)

// writeCeiling prints what a plain client reaches: one table of rates, and one of all that was measured.
func writeCeiling(w *strings.Builder, runs []*result.Run) {
	writeRates(w, runs)
	fmt.Fprintln(w)
	columns := ceilingFigures()
	var names []string
	for _, c := range columns {
		names = append(names, c.name)
	}
	row(w, "step", names...)
	row(w, "---", slices.Repeat([]string{"---"}, len(columns))...)
	for _, s := range runs[0].Steps {
		var cells []string
		for _, c := range columns {
			cells = append(cells, c.text(samples(runs, s.Name)))
		}
		row(w, strings.Join(append([]string{s.Name}, s.Notes...), ", "), cells...)
	}
}

// writeRates has a row for each number of workers and a column for each operation. Steps are named "operation, N workers".
func writeRates(w *strings.Builder, runs []*result.Run) {
	var operations, workers []string
	add := func(list []string, s string) []string {
		if slices.Contains(list, s) {
			return list
		}
		return append(list, s)
	}
	for _, s := range runs[0].Steps {
		at := strings.LastIndex(s.Name, ", ")
		if at > 0 && strings.HasSuffix(s.Name, " workers") {
			operations, workers = add(operations, s.Name[:at]), add(workers, s.Name[at+2:])
		}
	}
	var head []string
	for _, o := range operations {
		head = append(head, o+"/s")
	}
	row(w, "", head...)
	row(w, "---", slices.Repeat([]string{"---"}, len(head))...)
	for _, n := range workers {
		var cells []string
		for _, o := range operations {
			cells = append(cells, rate().text(samples(runs, o+", "+n)))
		}
		row(w, n, cells...)
	}
}

func rate() figure {
	return figure{"calls/s", func(s sample) (float64, bool) {
		total := s.step.Seconds["total"]
		return float64(s.step.Units) / max(total, 1e-9), total > 0
	}}
}

func ceilingFigures() []figure {
	named := func(name string) func(sample) (float64, bool) {
		return func(s sample) (float64, bool) { v, ok := s.step.Seconds[name]; return v, ok }
	}
	perCall := func(process string) func(sample) (float64, bool) {
		return func(s sample) (float64, bool) {
			u, ok := s.step.Processes[process]
			return u.CPU * 1000 / float64(max(1, s.step.Units)), ok
		}
	}
	return []figure{
		rate(),
		{"seconds", named("total")},
		{"p50 ms", named("p50ms")},
		{"p99 ms", named("p99ms")},
		{"apiserver CPU ms", perCall("apiserver")},
		{"etcd CPU ms", perCall("etcd")},
		{"client CPU ms", perCall("harness")},
		{"other CPU s", func(s sample) (float64, bool) { return s.step.OtherCPU, true }},
	}
}
