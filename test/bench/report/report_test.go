// SPDX-License-Identifier: Apache-2.0

package report

import (
	"strings"
	"testing"

	"sluice.dev/sluice/test/bench/audit"
	"sluice.dev/sluice/test/bench/result"
)

// run is a record with one step.
func run(setup string, seconds float64, requests int) *result.Run {
	return &result.Run{
		Setup: setup, Scenario: "ks", N: 10, Candidates: []string{setup},
		Steps: []*result.Step{{
			Name: "install", Units: 10, Seconds: map[string]float64{"total": seconds, "create": 0.5}, Notes: []string{"a remark"},
			Processes: map[string]result.Usage{
				setup:       {CPU: 2, PeakAnonymous: 40, PeakResident: 90},
				"apiserver": {CPU: 3, PeakAnonymous: 1000},
			},
			Requests: []audit.Count{
				{Process: setup, Class: audit.Work, Request: "patch configmaps", As: "somebody", N: requests},
				{Process: setup, Class: audit.Token, Request: "create serviceaccounts/token", As: setup, N: 1},
				{Process: "harness", Class: audit.Work, Request: "create kustomizations", N: 1000},
			},
			Traffic: []result.Traffic{
				{Process: setup, Server: "apiserver", Sent: 10_000, Received: 20_000},
				{Process: setup, Server: "git", Sent: 1, Received: 1},
			},
		}},
	}
}

func TestTables(t *testing.T) {
	for name, tc := range map[string]struct {
		runs []*result.Run
		want []string
	}{
		"one run": {
			runs: []*result.Run{run("a", 4, 400)},
			want: []string{
				"### ks, n=10, a (1 runs)",
				"| install | 4 | 2 | 400 | 40 | 1 | 0 | 0 | 3 | 3 | – | 40 | 90 | 0 |",
				"- install: create 0.50, a remark",
				"- install: patch configmaps 400; **token** create serviceaccounts/token 1",
				"  - written as somebody 400, a 1",
			},
		},
		"several runs give a median and its range": {
			runs: []*result.Run{run("a", 4, 400), run("a", 8, 410), run("a", 5, 400)},
			want: []string{"(3 runs)", "| install | 5 (4–8) | 2 | 400 (400–410) |"},
		},
		"candidates are apart": {
			runs: []*result.Run{run("a", 4, 400), run("b", 8, 400)},
			want: []string{", a (1 runs)", ", b (1 runs)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := Tables(tc.runs)
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in\n%s", want, got)
				}
			}
		})
	}
}

func TestRatios(t *testing.T) {
	got, err := Ratios([]*result.Run{run("ref", 8, 400), run("ours", 4, 100)}, "ref", "ours")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| install | seconds | 8 | 4 | 0.50 |", "| install | requests | 400 | 100 | 0.25 |"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if _, err := Ratios([]*result.Run{run("ref", 8, 400)}, "ref", "ours"); err == nil {
		t.Error("nothing to compare is no error")
	}
}

func TestTablesOfTheCeiling(t *testing.T) {
	r := &result.Run{Setup: "a", Scenario: "ceiling", Steps: []*result.Step{{
		Name: "get, 4 workers", Units: 1000, Seconds: map[string]float64{"total": 2, "p50ms": 1.5, "p99ms": 9},
		Processes: map[string]result.Usage{"apiserver": {CPU: 3}, "harness": {CPU: 1}},
	}}}
	got := Tables([]*result.Run{r})
	for _, want := range []string{"|  | get/s |", "| 4 workers | 500 |", "| get, 4 workers | 500 | 2 | 1.50 | 9 | 3 | – | 1 | 0 |"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
