// SPDX-License-Identifier: Apache-2.0

package binaries

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// every is how often a long build says that it is alive.
const every = 10 * time.Second

// progress tells a person who waits which program is being built, how long it has taken and about how long it takes.
type progress struct {
	out      io.Writer
	now      func() time.Time
	start    time.Time
	mu       sync.Mutex
	programs int
	packages int
	program  string
	index    int
	compiled int
	ticking  chan struct{}
	stopped  sync.WaitGroup
}

func newProgress(out io.Writer) *progress {
	return &progress{out: out, now: time.Now}
}

func (p *progress) say(format string, args ...any) {
	fmt.Fprintf(p.out, "testbed: "+format+"\n", args...)
}

// expect sets what is to be done, and starts the regular reports.
func (p *progress) expect(modules []module, compile map[string]int) {
	p.start = p.now()
	for _, m := range modules {
		p.programs += len(m.programs)
		p.packages += compile[m.folder]
	}
	p.say("building %d programs, %d packages to compile; this happens once", p.programs, p.packages)
	p.ticking = make(chan struct{})
	p.stopped.Add(1)
	go p.tick()
}

func (p *progress) tick() {
	defer p.stopped.Done()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			p.report()
		case <-p.ticking:
			return
		}
	}
}

// begin moves on to the next program.
func (p *progress) begin(name string) {
	p.mu.Lock()
	p.program = name
	p.index++
	p.mu.Unlock()
	p.report()
}

// line takes one line of go build -v. A package path has no space; anything else is the compiler talking.
func (p *progress) line(text string) {
	if text == "" || strings.ContainsAny(text, " \t") {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.compiled++
}

func (p *progress) report() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.say("%s", p.status())
}

// status is one line: program n of m, packages, elapsed, and the estimate once there is something to base it on. It
// assumes that packages cost the same, which holds on the average after the first few hundred.
func (p *progress) status() string {
	elapsed := p.now().Sub(p.start)
	total := max(p.packages, p.compiled)
	text := fmt.Sprintf("%s (%d of %d), %d of %d packages, %s elapsed", p.program, p.index, p.programs, p.compiled, total, elapsed.Round(time.Second))
	if p.compiled < 50 {
		return text
	}
	left := time.Duration(float64(elapsed) * float64(total-p.compiled) / float64(p.compiled))
	return text + fmt.Sprintf(", about %s left", left.Round(time.Second))
}

// finish ends the reports.
func (p *progress) finish() {
	close(p.ticking)
	p.stopped.Wait()
	p.say("built %d programs in %s", p.programs, p.now().Sub(p.start).Round(time.Second))
}
