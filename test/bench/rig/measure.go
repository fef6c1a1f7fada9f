// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"sluice.dev/sluice/test/bench/audit"
	"sluice.dev/sluice/test/bench/proc"
	"sluice.dev/sluice/test/bench/result"
	"sluice.dev/sluice/test/bench/served"
)

// A step ends when the candidate has been quiet for a while, so that its afterwork belongs to it.
const (
	quietFor    = 1500 * time.Millisecond
	quietAtMost = time.Minute
)

// Measure is a step that is being measured.
type Measure struct {
	*result.Step

	rig      *Rig
	start    time.Time
	cpu      map[int]float64
	busy     float64
	requests []audit.Count
	traffic  map[proc.Flow]proc.Bytes
	served   map[string]served.Counts
}

// Begin starts the counters of a step about so many objects.
func (r *Rig) Begin(name string, units int) *Measure {
	m := &Measure{
		Step: &result.Step{Name: name, Units: units, Seconds: map[string]float64{}},
		rig:  r, cpu: map[int]float64{}, traffic: r.sockets.Totals(),
	}
	for _, pid := range r.processes() {
		proc.ResetPeak(pid)
		m.cpu[pid] = proc.CPU(pid)
	}
	for _, c := range r.candidates {
		if c.Alive() {
			r.sampler.Reset(c.PID)
		}
	}
	m.requests = r.audit.Counts()
	m.served = r.served()
	m.busy = proc.Busy()
	m.start = time.Now()
	return m
}

// processes are all that are measured, by name.
func (r *Rig) processes() map[string]int {
	all := maps.Clone(r.bed.pids)
	all[harness] = os.Getpid()
	for _, c := range r.servers {
		all[c.Name] = c.PID
	}
	for name, c := range r.candidates {
		if c.Alive() {
			all[name] = c.PID
		}
	}
	return all
}

// Since records the time from t until now under a name.
func (m *Measure) Since(name string, t time.Time) { m.Seconds[name] = time.Since(t).Seconds() }

// Spread records median, 95th percentile and maximum of the times at which objects were done, counted from t.
func (m *Measure) Spread(name string, done map[string]time.Time, t time.Time) {
	if len(done) == 0 {
		return
	}
	var v []float64
	for _, at := range done {
		v = append(v, max(0, at.Sub(t).Seconds()))
	}
	slices.Sort(v)
	m.Seconds[name+".p50"] = v[len(v)/2]
	m.Seconds[name+".p95"] = v[min(len(v)-1, len(v)*95/100)]
	m.Seconds[name+".max"] = v[len(v)-1]
}

// Note adds a remark to the record.
func (m *Measure) Note(format string, args ...any) {
	m.Notes = append(m.Notes, fmt.Sprintf(format, args...))
}

// End waits until the candidate is quiet and adds the step to the record.
func (m *Measure) End(ctx context.Context) error {
	if _, err := m.rig.Quiet(ctx, quietFor, quietAtMost); err != nil {
		return err
	}
	return m.EndNow()
}

// EndNow adds the step to the record. It fails when a request cannot be attributed or a process has died: what was counted
// is worth nothing then.
func (m *Measure) EndNow() error {
	r := m.rig
	m.Window = time.Since(m.start).Seconds()
	other := proc.Busy() - m.busy
	m.Processes = map[string]result.Usage{}
	for name, pid := range r.processes() {
		cpu := proc.CPU(pid) - m.cpu[pid]
		memory := proc.ReadMemory(pid)
		m.Processes[name] = result.Usage{
			CPU: cpu, PeakAnonymous: r.sampler.Peak(pid), PeakResident: memory.PeakResident,
			Anonymous: memory.Anonymous, Resident: memory.Resident,
		}
		other -= cpu
	}
	m.OtherCPU = max(0, other)
	m.Requests = r.audit.Since(m.requests)
	for flow, b := range r.sockets.Totals() {
		was := m.traffic[flow]
		if b != was {
			m.Traffic = append(m.Traffic, result.Traffic{
				Process: flow.Process, Server: flow.Server, Sent: b.Sent - was.Sent, Received: b.Received - was.Received,
			})
		}
	}
	slices.SortFunc(m.Traffic, func(a, b result.Traffic) int {
		return cmp.Or(cmp.Compare(a.Process, b.Process), cmp.Compare(a.Server, b.Server))
	})
	m.Served = map[string]served.Counts{}
	for name, counts := range r.served() {
		if news := counts.Since(m.served[name]); len(news) > 0 {
			m.Served[name] = news
		}
	}
	r.Run.Steps = append(r.Run.Steps, m.Step)
	r.say("%s", r.brief(m.Step))
	return r.check()
}

func (r *Rig) check() error {
	for _, c := range r.candidates {
		if err := c.Died(); err != nil {
			return err
		}
	}
	return r.audit.Err()
}

func (r *Rig) brief(s *result.Step) string {
	var seconds []string
	for _, name := range slices.Sorted(maps.Keys(s.Seconds)) {
		seconds = append(seconds, fmt.Sprintf("%s %.2f", name, s.Seconds[name]))
	}
	return fmt.Sprintf("%-18s %s | candidate CPU %.2f s, %d requests, %d kB, apiserver CPU %.2f s, others %.1f s of %.1f s",
		s.Name, strings.Join(seconds, ", "), r.Run.Sum(s, func(u result.Usage) float64 { return u.CPU }),
		r.Run.Requests(s, audit.Work), r.Run.Bytes(s, apiServer)/1000, s.Processes[apiServer].CPU, s.OtherCPU, s.Window)
}

// Quiet waits until no process of the candidate has sent a request of work for a while, counted from now at the earliest since
// the log comes after the answer, and at most for so long. It returns when the last request was sent.
func (r *Rig) Quiet(ctx context.Context, quiet, atMost time.Duration) (time.Time, error) {
	names := r.candidateNames()
	begin := time.Now()
	var last time.Time
	err := until(ctx, atMost+time.Minute, func() (bool, error) {
		last = r.audit.LastWork(names)
		still := min(time.Since(begin), time.Since(last)) >= quiet
		return still || time.Since(begin) > atMost, r.check()
	})
	return last, err
}
