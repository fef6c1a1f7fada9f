// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"sluice.dev/sluice/hack/testbed/internal/binaries"
	"sluice.dev/sluice/hack/testbed/internal/folder"
	"sluice.dev/sluice/hack/testbed/internal/plane"
)

// upFlags are the flags of up and exec.
type upFlags struct {
	source      string
	plane       plane.Config
	without     string
	whileLocked string
	control     string
	chdir       string
}

func newUpFlags(name string) (*flag.FlagSet, *upFlags) {
	f := &upFlags{}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.StringVar(&f.source, "source", "", "folder of the test bed's module (default: found from the working directory)")
	flags.StringVar(&f.plane.Kubeconfig, "kubeconfig", "", "where to write the administrator's kubeconfig (default: within --dir)")
	flags.StringVar(&f.plane.Dir, "dir", "", "folder for logs and the audit log, which stays (default: a temporary one, which goes)")
	flags.IntVar(&f.plane.Nodes, "nodes", 1, "number of nodes that KWOK plays")
	flags.DurationVar(&f.plane.ReadyAfter, "ready-after", 0, "how long a pod takes to be Ready once it has its node")
	flags.StringVar(&f.without, "without", "", "parts to leave out, comma separated: controller-manager, scheduler, kwok")
	flags.Func("apiserver-flag", "one more flag for kube-apiserver, such as --feature-gates=X=true; may be repeated", func(s string) error {
		f.plane.APIServerFlags = append(f.plane.APIServerFlags, s)
		return nil
	})
	return flags, f
}

func (f *upFlags) config(ctx context.Context) (plane.Config, error) {
	set, err := ensure(ctx, f.source, binaries.Plane)
	if err != nil {
		return plane.Config{}, err
	}
	c := f.plane
	c.Binaries = set
	c.Log = os.Stderr
	if f.without != "" {
		c.Without = strings.Split(f.without, ",")
	}
	return c, c.Validate()
}

// up runs a plane until the context ends, its user goes away, or a server dies.
func up(ctx context.Context, args []string) error {
	flags, f := newUpFlags("up")
	flags.StringVar(&f.whileLocked, "while-locked", "", "end soon after the last process has released its shared lock on this file, instead of with the parent process")
	flags.StringVar(&f.control, "control", "", "take orders from this socket (testbed order); for a bed that nobody else uses")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if f.whileLocked == "" {
		go endWithParent(ctx, cancel, os.Getppid())
	} else {
		lock, err := folder.TryLock(f.whileLocked + ".plane")
		if errors.Is(err, folder.ErrInUse) {
			fmt.Fprintln(os.Stderr, "testbed: another process serves the users of", f.whileLocked)
			return nil
		}
		if err != nil {
			return err
		}
		defer lock.Release()
	}
	c, err := f.config(ctx)
	if err != nil {
		return err
	}
	p, err := plane.Start(ctx, c)
	if err != nil {
		return err
	}
	if f.whileLocked != "" {
		go endWithUsers(ctx, cancel, f.whileLocked, p.Retract)
	}
	if f.control != "" {
		if err := obey(ctx, f.control, p); err != nil {
			return errors.Join(err, p.Stop())
		}
	}
	return errors.Join(announce(p), wait(ctx, p), p.Stop())
}

// announce prints the one line that says that the plane can be used, and how.
func announce(p *plane.Plane) error {
	line, err := json.Marshal(p.Info())
	if err != nil {
		return err
	}
	_, err = fmt.Printf("ready %s\n", line)
	return err
}

func wait(ctx context.Context, p *plane.Plane) error {
	select {
	case <-ctx.Done():
		return nil
	case exit := <-p.Exited():
		return exit
	}
}

// execute runs a program against a plane of its own.
func execute(ctx context.Context, args []string) error {
	flags, f := newUpFlags("exec")
	flags.StringVar(&f.chdir, "chdir", "", "working directory of the program")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return errors.New("exec needs a program to run: testbed exec [flags] -- program arguments")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go endWithParent(ctx, cancel, os.Getppid())
	c, err := f.config(ctx)
	if err != nil {
		return err
	}
	p, err := plane.Start(ctx, c)
	if err != nil {
		return err
	}
	return errors.Join(runProgram(ctx, p, f.chdir, flags.Args()), p.Stop())
}

// runProgram gives the program this process's own environment, since it is the user's and not a server. When a server
// dies the program is ended, for what it would report then is not about itself.
func runProgram(ctx context.Context, p *plane.Plane, dir string, args []string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { cancel(wait(ctx, p)) }()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	file := p.Info().Kubeconfig
	cmd.Env = append(os.Environ(), "KUBECONFIG="+file, "SLUICE_TESTBED_KUBECONFIG="+file)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	err := cmd.Run()
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}
