// SPDX-License-Identifier: Apache-2.0

// Command bench measures GitOps controllers as black boxes (test/bench). What it can do is in usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"sluice.dev/sluice/test/bench/report"
	"sluice.dev/sluice/test/bench/result"
	"sluice.dev/sluice/test/bench/rig"
	"sluice.dev/sluice/test/bench/scenario"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

const usage = `usage:
  bench ks|tenants|wait|source|ocirepos|charts|quiet|ceiling|rollout [flags]   play a scenario and keep its record (-h shows its flags)
  bench report FILE...                                                         tables of records
  bench compare REFERENCE OURS FILE...                                         ratios of two candidates
test/bench/README.md says what the scenarios are`

func run(args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	command, rest := args[0], args[1:]
	play, isScenario := scenario.All()[command]
	switch {
	case slices.Contains([]string{"help", "-h", "--help"}, command):
		fmt.Println(usage)
		return nil
	case isScenario:
		return measure(play, command, rest)
	case command == "report":
		runs, err := result.Load(rest)
		if err != nil {
			return err
		}
		fmt.Print(report.Tables(runs))
		return nil
	case command == "compare" && len(rest) > 2:
		runs, err := result.Load(rest[2:])
		if err != nil {
			return err
		}
		ratios, err := report.Ratios(runs, rest[0], rest[1])
		fmt.Print(ratios)
		return err
	case slices.Contains(rig.ServeCommands(), command) && len(rest) > 0:
		return rig.ServeUntilEnd(command, rest[0], strings.Join(rest[1:], ""))
	}
	return fmt.Errorf("there is no %q, or arguments are missing; %s", command, usage)
}

// measure plays a scenario as often as was asked for.
func measure(play scenario.Func, name string, args []string) error {
	o, runs, limit, err := options(name, args)
	switch {
	case errors.Is(err, flag.ErrHelp): // and shown
		return nil
	case err != nil:
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the whole is limited to %s", limit))
	defer cancel()
	defer func() { _ = os.Remove(o.Work) }() // unless something of it was to be kept
	for i := range runs {
		fmt.Fprintf(os.Stderr, "== %s of %s, n=%d, run %d of %d\n", name, filepath.Base(o.Config), o.N, i+1, runs)
		if err := play(ctx, o); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return fmt.Errorf("%w (%w)", err, cause)
			}
			return err
		}
	}
	return nil
}

func options(name string, args []string) (o scenario.Options, runs int, limit time.Duration, err error) {
	o.Progress = os.Stderr
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.StringVar(&o.Config, "config", "test/bench/sluice.json", "the candidate")
	flags.StringVar(&o.Root, "root", ".", "the repository's folder")
	flags.StringVar(&o.Work, "work", workFolder(), "folder for everything that goes; one in memory keeps the disk out of the figures")
	flags.StringVar(&o.Out, "out", "dist/bench", "folder for results and logs")
	flags.StringVar(&o.Cache, "cache", "dist/bench/cache", "folder for content that is made once")
	flags.StringVar(&o.Tag, "tag", "", "label of the run in results")
	flags.StringVar(&o.Interval, "interval", "10m", "spec.interval of Kustomizations")
	flags.IntVar(&o.N, "n", 100, "number of Kustomizations, or of sources")
	flags.DurationVar(&o.Timeout, "timeout", 0, "bound of each wait for the candidate (default: three minutes, and 300 ms and --ready-after for each Kustomization)")
	flags.DurationVar(&o.DriftWait, "drift-wait", 30*time.Second, "how long a repair of drift is waited for")
	flags.DurationVar(&o.Window, "window", 2*time.Minute, "length of the steady state in step interval")
	flags.DurationVar(&o.ReadyAfter, "ready-after", 0, "how long a pod of wait and rollout takes to be Ready once it has its node")
	flags.BoolVar(&o.Keep, "keep", false, "leave the folder of the run below --work, with the audit log")
	flags.IntVar(&runs, "runs", 1, "repetitions, each on a control plane of its own")
	flags.DurationVar(&limit, "limit", 40*time.Minute, "bound of the whole")
	steps := flags.String("steps", strings.Join(scenario.DefaultSteps(), ","), "steps of ks, of idle,trigger,update,restart,drift,interval")
	if err := flags.Parse(args); err != nil {
		return o, 0, 0, err
	}
	if o.N < 1 || o.N > 5000 {
		return o, 0, 0, fmt.Errorf("-n %d: from 1 to 5000", o.N)
	}
	if o.ReadyAfter != 0 && name != "wait" && name != "rollout" {
		return o, 0, 0, fmt.Errorf("--ready-after %s: %s has no pods, wait and rollout have", o.ReadyAfter, name)
	}
	if o.Timeout == 0 {
		// Who waits for one Kustomization after the other is slow, and not stuck.
		o.Timeout = 3*time.Minute + time.Duration(o.N)*(300*time.Millisecond+o.ReadyAfter)
	}
	if o.Steps, err = scenario.ParseSteps(*steps); err != nil {
		return o, 0, 0, err
	}
	for _, folder := range []*string{&o.Root, &o.Work, &o.Out, &o.Cache} {
		if *folder, err = filepath.Abs(*folder); err != nil {
			return o, 0, 0, err
		}
	}
	return o, runs, limit, nil
}

// workFolder is in memory where there is room for a run.
func workFolder() string {
	const memory, room = "/dev/shm", 2 << 30
	var fs syscall.Statfs_t
	if err := syscall.Statfs(memory, &fs); err != nil || fs.Bavail*uint64(fs.Bsize) < room {
		return filepath.Join(os.TempDir(), "sluice-bench")
	}
	return filepath.Join(memory, "sluice-bench")
}
