// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// stopPatience is how long a process may take to end by itself.
const stopPatience = 8 * time.Second

// Spec says what to run.
type Spec struct {
	// Name is how the process is called in results.
	Name string
	// Path and Args are the program and its arguments.
	Path string
	Args []string
	// Env is added to this process's environment.
	Env []string
	// Log is the file that takes both outputs.
	Log string
}

// Child is a running process.
type Child struct {
	// Name is the Spec's.
	Name string
	// PID is the process's.
	PID int

	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// Start runs a process that ends with this one, whatever ends this one.
func Start(s Spec) (*Child, error) {
	log, err := os.OpenFile(s.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of %q: %w", s.Name, err)
	}
	cmd := exec.Command(s.Path, s.Args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.Dir = filepath.Dir(s.Log)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %q: %w", s.Name, errors.Join(err, log.Close()))
	}
	c := &Child{Name: s.Name, PID: cmd.Process.Pid, cmd: cmd, log: s.Log, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		_ = cmd.Wait() // how it ended stands in its log
		_ = log.Close()
	}()
	return c, nil
}

// Alive reports whether the process runs.
func (c *Child) Alive() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// Died returns an error with the end of the log once the process has ended.
func (c *Child) Died() error {
	if c.Alive() {
		return nil
	}
	return fmt.Errorf("%q has ended (%s): %s", c.Name, c.cmd.ProcessState, tail(c.log))
}

// Kill ends the process as a crash would, and waits for it.
func (c *Child) Kill() {
	_ = c.cmd.Process.Signal(syscall.SIGKILL)
	<-c.done
}

// Stop asks the process to end, and kills it when it does not.
func (c *Child) Stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	select {
	case <-c.done:
	case <-ctx.Done():
		c.Kill()
	}
}

// tail returns the last lines of a log for a message.
func tail(path string) string {
	const last = 2000
	f, err := os.Open(path)
	if err != nil {
		return "no log"
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "no log"
	}
	from := max(0, info.Size()-last)
	text := make([]byte, info.Size()-from)
	n, _ := f.ReadAt(text, from)
	return string(text[:n])
}
