// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"
)

// lastWords is how much of its log a child is quoted with: servers of Kubernetes are talkative when they give up.
const lastWords = 4096

// Spec is one child: what to run, with which complete environment, logging where.
type Spec struct {
	Name string
	Path string
	Args []string
	Env  []string
	Log  string
}

// Exit tells that a child ended that nobody had asked to end.
type Exit struct {
	Name string
	// Last is the end of its log, taken at once, because the log may be deleted before somebody asks.
	Last string
	Err  error
}

// Error names the child, how it ended, and the last of what it logged.
func (e *Exit) Error() string {
	return fmt.Sprintf("%s ended (%v), the end of its log:\n%s", e.Name, e.Err, e.Last)
}

// Unwrap is how the child ended.
func (e *Exit) Unwrap() error { return e.Err }

// Group is a set of children that live and die together. The zero Group starts nothing: use NewGroup.
type Group struct {
	spawn  chan func()
	exits  chan *Exit
	mu     sync.Mutex
	kids   []*child
	closed bool
}

type child struct {
	spec Spec
	cmd  *exec.Cmd
	done chan struct{}
	// killed says that its end was asked for; guarded by the group's lock.
	killed bool
}

// NewGroup makes an empty group. Stop must be called, and ends the goroutine it starts.
func NewGroup() *Group {
	g := &Group{spawn: make(chan func()), exits: make(chan *Exit, 1)}
	go func() {
		// The parent-death signal fires when the thread that forked ends, so one thread forks all children and
		// stays until the group is stopped.
		runtime.LockOSThread()
		for start := range g.spawn {
			start()
		}
	}()
	return g
}

// Start runs a child.
func (g *Group) Start(spec Spec) error {
	log, err := os.OpenFile(spec.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Env = spec.Env
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = attributes()

	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return errors.New("the group is stopped")
	}
	started := make(chan error)
	g.spawn <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", spec.Name, err)
	}
	c := &child{spec: spec, cmd: cmd, done: make(chan struct{})}
	g.kids = append(g.kids, c)
	go g.reap(c)
	return nil
}

func (g *Group) reap(c *child) {
	err := c.cmd.Wait()
	close(c.done)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || c.killed {
		return
	}
	if err == nil {
		err = errors.New("exit status 0")
	}
	select {
	case g.exits <- &Exit{Name: c.spec.Name, Last: Tail(c.spec.Log, lastWords), Err: err}:
	default: // the first one is the cause, the rest follow from it
	}
}

// Exited delivers the first child that ended by itself.
func (g *Group) Exited() <-chan *Exit { return g.exits }

// PIDs are the process ids of the children, in the order in which they were started.
func (g *Group) PIDs() []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	pids := make([]int, 0, len(g.kids))
	for _, c := range g.kids {
		pids = append(pids, c.cmd.Process.Pid)
	}
	return pids
}

// Kill ends a child with SIGKILL, and its descendants, as a crash would. It returns when the child is gone, whose name is then
// free for another Start; its end is not reported.
func (g *Group) Kill(name string) error {
	g.mu.Lock()
	at := slices.IndexFunc(g.kids, func(c *child) bool { return c.spec.Name == name })
	if g.closed || at < 0 {
		g.mu.Unlock()
		return fmt.Errorf("%s does not run", name)
	}
	c := g.kids[at]
	c.killed = true
	g.kids = slices.Delete(g.kids, at, at+1)
	g.mu.Unlock()
	c.kill()
	return nil
}

// Stop ends the children, last started first. Each gets grace to leave by itself before its whole process group is
// killed. It returns when all are gone, and may be called again.
func (g *Group) Stop(grace time.Duration) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return
	}
	g.closed = true
	kids := slices.Clone(g.kids)
	g.mu.Unlock()
	for _, c := range slices.Backward(kids) {
		c.stop(grace)
	}
	close(g.spawn)
}

func (c *child) stop(grace time.Duration) {
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGTERM) // it may be gone already, which is what we want
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
	}
	c.kill()
}

// kill ends the whole process group, and returns when the child is gone.
func (c *child) kill() {
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	<-c.done
}

// Tail is at most the last n bytes of a file, from the start of a line; empty when it cannot be read.
func Tail(path string, n int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	offset := max(0, info.Size()-n)
	buffer := make([]byte, info.Size()-offset)
	read, _ := f.ReadAt(buffer, offset)
	buffer = buffer[:read]
	if _, rest, ok := bytes.Cut(buffer, []byte("\n")); ok && offset > 0 {
		buffer = rest
	}
	return string(buffer)
}
