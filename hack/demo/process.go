// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// shell runs the commands that are shown, in the stage's folder.
type shell struct {
	dir        string
	path       []string
	kubeconfig string
}

// environment finds our programs first, and leaves the rest of the user's as it is.
func (s shell) environment() []string {
	path := strings.Join(append(s.path, os.Getenv("PATH")), string(os.PathListSeparator))
	return append(os.Environ(), "PATH="+path, "KUBECONFIG="+s.kubeconfig)
}

// run runs a command line whose arguments are separated by single spaces, and returns all that it prints.
func (s shell) run(ctx context.Context, line string) (string, error) {
	name, args, err := s.parse(line)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = s.dir, s.environment()
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", cut(line, width), err, cut(strings.TrimSpace(string(out)), 400))
	}
	return string(out), nil
}

// parse splits a command line as a shell would one with single quotes, and finds the program.
func (s shell) parse(line string) (string, []string, error) {
	var args []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			args = append(args, part)
		} else {
			args = append(args, strings.Fields(part)...)
		}
	}
	for _, dir := range s.path {
		if file := filepath.Join(dir, args[0]); dir != "" && isProgram(file) {
			return file, args[1:], nil
		}
	}
	file, err := exec.LookPath(args[0])
	return file, args[1:], err
}

func isProgram(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// errNoReason stands for the error of a process that ended with 0.
var errNoReason = errors.New("exit status 0")

// child is a manager that runs beside the play.
type child struct {
	name string
	cmd  *exec.Cmd
	log  string
	// done is closed when the process has ended; err says how.
	done chan struct{}
	err  error
	// started gets what the manager says about itself when it starts.
	started chan greeting
}

// greeting is the line with which a manager starts.
type greeting struct {
	Message string `json:"msg"`
	Version string `json:"version"`
	FIPS    string `json:"fips"`
}

// start runs a manager with nothing of the user's environment but what it needs, logging into a file.
func start(name, program, dir, kubeconfig, log string, args ...string) (*child, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	c := &child{name: name, cmd: exec.Command(program, args...), log: log, done: make(chan struct{}), started: make(chan greeting, 1)}
	c.cmd.Dir, c.cmd.Env = dir, []string{"HOME=" + dir, "KUBECONFIG=" + kubeconfig}
	c.cmd.SysProcAttr = attributes()
	output, err := c.cmd.StderrPipe()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if err := c.cmd.Start(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	go func() {
		defer close(c.done)
		c.copyLog(output, file)
		err := errors.Join(c.cmd.Wait(), file.Close())
		if err == nil {
			err = errNoReason
		}
		c.err = fmt.Errorf("%s has ended: %w: %s", name, err, c.lastWords(1))
	}()
	return c, nil
}

// copyLog writes the log and notices the greeting in it.
func (c *child) copyLog(from io.Reader, to io.Writer) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		if _, writeErr := to.Write(line); writeErr != nil || err != nil {
			_, _ = io.Copy(io.Discard, from) // a full pipe would stop the manager
			return
		}
		var g greeting
		if bytes.Contains(line, []byte(`"starting"`)) && json.Unmarshal(line, &g) == nil && g.Message == "starting" {
			select {
			case c.started <- g:
			default:
			}
		}
	}
}

// lastWords are the last lines of the log that tell of something wrong.
func (c *child) lastWords(n int) string {
	body, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	var wrong []string
	for line := range strings.SplitSeq(strings.TrimSpace(string(body)), "\n") {
		if !strings.Contains(line, `"level":"info"`) {
			wrong = append(wrong, line)
		}
	}
	return strings.Join(wrong[max(0, len(wrong)-n):], "\n")
}

// grace is how long a manager may take to stop.
const grace = 10 * time.Second

// stop asks the manager to end, and makes it when it does not.
func (c *child) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	timer := time.AfterFunc(grace, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	<-c.done
}
