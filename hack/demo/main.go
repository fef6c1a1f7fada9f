// SPDX-License-Identifier: Apache-2.0

// Program demo plays the repository in examples/ on a control plane: a platform team and two tenants, a Git server and a
// registry on this machine, and both controllers under their own ServiceAccounts. Each step says what is expected, what was
// seen and why, and a step that does not hold makes the program fail.
//
// It is no test suite and installs nothing that stays: hack/demo.sh gives it a control plane of the test bed, which ends
// with it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// patience bounds the whole play. It takes a quarter of that on a busy machine.
const patience = 5 * time.Minute

// options are the program's flags.
type options struct {
	root string
	keep bool
}

func main() {
	// The managers are told to end when the thread that started them does, so they are started by one that stays.
	runtime.LockOSThread()
	var o options
	flag.StringVar(&o.root, "root", ".", "folder of the repository, with programs in bin/")
	flag.BoolVar(&o.keep, "keep", false, "leave everything running at the end, until interrupted")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	screen := newScreen(os.Stdout)
	s, err := build(ctx, o, screen)
	defer func() { err = errors.Join(err, s.close()) }()
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("the demo did not end within %s", patience))
	outcomes := play(bounded, s, script())
	cancel()
	screen.table(outcomes)
	failed := broken(outcomes)
	if failed > 0 {
		s.explain()
	}
	if o.keep && ctx.Err() == nil {
		s.lookAround()
		s.wait(ctx)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d steps do not hold", failed, len(outcomes))
	}
	return nil
}
