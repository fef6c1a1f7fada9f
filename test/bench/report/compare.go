// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sluice.dev/sluice/test/bench/audit"
	"sluice.dev/sluice/test/bench/result"
)

// compared are the figures that ratios are made of.
func compared() []figure {
	return []figure{
		{"seconds", seconds},
		{"object seconds", func(s sample) (float64, bool) { v, ok := s.step.Seconds["object"]; return v, ok }},
		{"CPU s", cpu},
		{"apiserver CPU s", cpuOf("apiserver")},
		{"peak anonymous MiB", anonymous},
		{"peak RSS MiB", resident},
		{"requests", count(audit.Work)},
		{"kB per object", kilobytesPerUnit},
	}
}

// Ratios returns the medians of two candidates and their ratio, for every scenario that both have played. It returns an
// error when there is none.
func Ratios(runs []*result.Run, reference, ours string) (string, error) {
	w := &strings.Builder{}
	groups := map[group]map[string][]*result.Run{}
	for _, r := range runs {
		key := groupOf(r)
		key.setup = ""
		if groups[key] == nil {
			groups[key] = map[string][]*result.Run{}
		}
		groups[key][r.Setup] = append(groups[key][r.Setup], r)
	}
	found := false
	for _, key := range slices.SortedFunc(maps.Keys(groups), group.compare) {
		a, b := groups[key][reference], groups[key][ours]
		if len(a) == 0 || len(b) == 0 || key.scenario == "ceiling" {
			continue
		}
		found = true
		fmt.Fprintf(w, "\n### %s, n=%d %s: %s beside %s\n\n", key.scenario, key.n, key.tag, ours, reference)
		row(w, "step", "figure", reference, ours, "ratio")
		row(w, "---", "---", "---", "---", "---")
		for _, s := range a[0].Steps {
			writeRatios(w, s.Name, samples(a, s.Name), samples(b, s.Name))
		}
	}
	if !found {
		return "", fmt.Errorf("no scenario was played by both %q and %q", reference, ours)
	}
	return w.String(), nil
}

func writeRatios(w *strings.Builder, step string, a, b []sample) {
	for _, f := range compared() {
		x, y := f.numbers(a), f.numbers(b)
		if len(x) == 0 || len(y) == 0 {
			continue
		}
		was, is := x[len(x)/2], y[len(y)/2]
		ratio := "–"
		if was > 0 {
			ratio = fmt.Sprintf("%.2f", is/was)
		}
		row(w, step, f.name, short(was), short(is), ratio)
	}
}
