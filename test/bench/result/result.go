// SPDX-License-Identifier: Apache-2.0

// Package result is the record of a benchmark run, as it is kept in JSON. It is data and arithmetic on it; measuring is
// rig's, tables are report's.
package result

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sluice.dev/sluice/test/bench/audit"
	"sluice.dev/sluice/test/bench/served"
)

// Run is one scenario with one candidate on a control plane of its own.
type Run struct {
	Setup    string    `json:"setup"`
	Scenario string    `json:"scenario"`
	Tag      string    `json:"tag,omitempty"`
	N        int       `json:"n"`
	Start    time.Time `json:"start"`
	// Candidates are the names of the processes that are compared; the others are the same for everybody.
	Candidates []string `json:"candidates"`
	Steps      []*Step  `json:"steps"`
}

// Step is what happened between two looks at the counters.
type Step struct {
	Name string `json:"name"`
	// Units is how many objects the step is about.
	Units int `json:"units"`
	// Seconds are named durations, and in the ceiling a few other figures.
	Seconds map[string]float64 `json:"seconds"`
	// Window is for how many seconds the counters ran.
	Window    float64          `json:"window"`
	Processes map[string]Usage `json:"processes"`
	Requests  []audit.Count    `json:"requests"`
	Traffic   []Traffic        `json:"traffic"`
	// Served is what the servers of content were asked for, by server.
	Served map[string]served.Counts `json:"served,omitempty"`
	// OtherCPU is what everything else on the machine has used: the noise.
	OtherCPU float64  `json:"otherCPU"`
	Notes    []string `json:"notes,omitempty"`
}

// Usage is what one process has used during a step. Memory is in MiB.
type Usage struct {
	CPU           float64 `json:"cpu"`
	PeakAnonymous float64 `json:"peakAnonymous"`
	PeakResident  float64 `json:"peakResident"`
	Anonymous     float64 `json:"anonymous"`
	Resident      float64 `json:"resident"`
}

// Traffic are the bytes between a process and a server.
type Traffic struct {
	Process  string `json:"process"`
	Server   string `json:"server"`
	Sent     int64  `json:"sent"`
	Received int64  `json:"received"`
}

// Requests counts the candidates' requests of one class.
func (r *Run) Requests(s *Step, class audit.Class) int {
	n := 0
	for _, c := range s.Requests {
		if c.Class == class && slices.Contains(r.Candidates, c.Process) {
			n += c.N
		}
	}
	return n
}

// Bytes adds up what the candidates exchanged with a server.
func (r *Run) Bytes(s *Step, server string) int64 {
	var n int64
	for _, t := range s.Traffic {
		if t.Server == server && slices.Contains(r.Candidates, t.Process) {
			n += t.Sent + t.Received
		}
	}
	return n
}

// Sum adds a figure up over the candidates.
func (r *Run) Sum(s *Step, figure func(Usage) float64) float64 {
	var sum float64
	for _, name := range r.Candidates {
		sum += figure(s.Processes[name])
	}
	return sum
}

// Save writes the run into a folder and returns the file.
func (r *Run) Save(dir string) (string, error) {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return "", fmt.Errorf("encode result: %w", err)
	}
	file := filepath.Join(dir, r.Name()+".json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return "", fmt.Errorf("write result: %w", err)
	}
	return file, nil
}

// Name tells the run from others, for file names.
func (r *Run) Name() string {
	tag := ""
	if r.Tag != "" {
		tag = "-" + r.Tag
	}
	return fmt.Sprintf("%s-%s-%d%s-%s", r.Setup, r.Scenario, r.N, tag, r.Start.UTC().Format("150405"))
}

// Load reads runs.
func Load(files []string) ([]*Run, error) {
	var runs []*Run
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read result: %w", err)
		}
		r := &Run{}
		if err := json.Unmarshal(text, r); err != nil {
			return nil, fmt.Errorf("result %q: %w", file, err)
		}
		if r.Scenario == "" {
			return nil, fmt.Errorf("%q is no result", file)
		}
		runs = append(runs, r)
	}
	return runs, nil
}
