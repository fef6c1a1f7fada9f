// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sluice.dev/sluice/test/bench/audit"
	"sluice.dev/sluice/test/bench/result"
	"sluice.dev/sluice/test/bench/served"
)

// group is all runs of one kind.
type group struct {
	setup, scenario, tag string
	n                    int
}

func groupOf(r *result.Run) group { return group{r.Setup, r.Scenario, r.Tag, r.N} }

func (g group) compare(other group) int {
	return cmp.Or(cmp.Compare(g.scenario, other.scenario), cmp.Compare(g.n, other.n), cmp.Compare(g.setup, other.setup), cmp.Compare(g.tag, other.tag))
}

// Tables returns the tables of all runs.
func Tables(runs []*result.Run) string {
	w := &strings.Builder{}
	groups := map[group][]*result.Run{}
	for _, r := range runs {
		groups[groupOf(r)] = append(groups[groupOf(r)], r)
	}
	for _, g := range slices.SortedFunc(maps.Keys(groups), group.compare) {
		fmt.Fprintf(w, "\n### %s, n=%d, %s %s(%d runs)\n\n", g.scenario, g.n, g.setup, spaced(g.tag), len(groups[g]))
		if g.scenario == "ceiling" {
			writeCeiling(w, groups[g])
			continue
		}
		writeSteps(w, groups[g])
		writeRequests(w, groups[g][0])
	}
	return w.String()
}

func spaced(tag string) string {
	if tag == "" {
		return ""
	}
	return tag + " "
}

// samples returns every run's step of a name.
func samples(runs []*result.Run, step string) []sample {
	var all []sample
	for _, r := range runs {
		for _, s := range r.Steps {
			if s.Name == step {
				all = append(all, sample{r, s})
			}
		}
	}
	return all
}

func writeSteps(w *strings.Builder, runs []*result.Run) {
	row(w, "step", figureNames()...)
	row(w, "---", slices.Repeat([]string{"---"}, len(figures()))...)
	for _, s := range runs[0].Steps {
		var cells []string
		for _, f := range figures() {
			cells = append(cells, f.text(samples(runs, s.Name)))
		}
		row(w, s.Name, cells...)
	}
	fmt.Fprintln(w)
	for _, s := range runs[0].Steps {
		if details := details(s); details != "" {
			fmt.Fprintf(w, "- %s: %s\n", s.Name, details)
		}
	}
}

func figureNames() []string {
	var names []string
	for _, f := range figures() {
		names = append(names, f.name)
	}
	return names
}

func row(w *strings.Builder, first string, cells ...string) {
	fmt.Fprintf(w, "| %s | %s |\n", first, strings.Join(cells, " | "))
}

// details are the further durations of a step and the remarks on it.
func details(s *result.Step) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(s.Seconds)) {
		if name != "total" && name != "window" {
			parts = append(parts, name+" "+short(s.Seconds[name]))
		}
	}
	return strings.Join(append(parts, s.Notes...), ", ")
}

// writeRequests lists what stands behind the counts, and as whom was written.
func writeRequests(w *strings.Builder, r *result.Run) {
	fmt.Fprintf(w, "\nRequests of the first run:\n\n")
	for _, s := range r.Steps {
		var parts []string
		for _, class := range audit.Classes() {
			if text := listed(r, s, class); text != "" {
				parts = append(parts, text)
			}
		}
		if len(parts) > 0 {
			fmt.Fprintf(w, "- %s: %s\n", s.Name, strings.Join(parts, "; "))
		}
		for _, server := range slices.Sorted(maps.Keys(s.Served)) {
			fmt.Fprintf(w, "  - %s was asked for %s\n", server, asked(s.Served[server]))
		}
		if as := writers(r, s); as != "" {
			fmt.Fprintf(w, "  - written as %s\n", as)
		}
	}
}

func listed(r *result.Run, s *result.Step, class audit.Class) string {
	sums := map[string]int{}
	for _, c := range s.Requests {
		if c.Class == class && slices.Contains(r.Candidates, c.Process) {
			sums[c.Request] += c.N
		}
	}
	if len(sums) == 0 {
		return ""
	}
	prefix := ""
	if class != audit.Work {
		prefix = "**" + string(class) + "** "
	}
	return prefix + ranked(sums)
}

func writers(r *result.Run, s *result.Step) string {
	sums := map[string]int{}
	for _, c := range s.Requests {
		if c.As != "" && slices.Contains(r.Candidates, c.Process) {
			sums[c.As] += c.N
		}
	}
	return ranked(sums)
}

// asked lists what a server was asked for, and the bytes it sent.
func asked(counts served.Counts) string {
	sums := map[string]int{}
	var bytes int64
	for request, c := range counts {
		sums[request] = c.N
		bytes += c.Bytes
	}
	return fmt.Sprintf("%s; %d kB", ranked(sums), bytes/1000)
}

// ranked lists the biggest first.
func ranked(sums map[string]int) string {
	const most = 16
	names := slices.SortedFunc(maps.Keys(sums), func(a, b string) int { return cmp.Or(cmp.Compare(sums[b], sums[a]), cmp.Compare(a, b)) })
	var parts []string
	for i, name := range names {
		if i == most {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, fmt.Sprintf("%s %d", name, sums[name]))
	}
	return strings.Join(parts, ", ")
}
