// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"sluice.dev/sluice/hack/testbed/internal/binaries"
)

const usage = `usage: testbed <command> [flags]

  build [SET …]      build programs, once, and print the folder of each set; without a name all sets
  up                 run a control plane until interrupted
  exec -- program …  run a program with KUBECONFIG and SLUICE_TESTBED_KUBECONFIG set, then stop
  order              have a running control plane lose its API server, or compact etcd

testbed <command> -h lists the flags.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(exitCode(run(ctx, os.Args[1:])))
}

// exitCode reports an error, and passes on how the program under exec ended.
func exitCode(err error) int {
	var program *exec.ExitError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &program) && program.Exited():
		return program.ExitCode()
	default:
		fmt.Fprintln(os.Stderr, "testbed:", err)
		return 1
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return errors.New("no command given")
	}
	switch args[0] {
	case "build":
		return build(ctx, args[1:])
	case "up":
		return up(ctx, args[1:])
	case "exec":
		return execute(ctx, args[1:])
	case "order":
		return order(ctx, args[1:])
	case "help", "-h", "--help":
		fmt.Print(usage)
		return nil
	default:
		fmt.Fprint(os.Stderr, usage)
		return fmt.Errorf("there is no command %q", args[0])
	}
}

// build prints the folders with the programs on standard output; what it says meanwhile goes to standard error.
func build(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("build", flag.ContinueOnError)
	source := sourceFlag(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	sets := flags.Args()
	if len(sets) == 0 {
		sets = binaries.Sets()
	}
	for _, name := range sets {
		set, err := ensure(ctx, *source, name)
		if err != nil {
			return err
		}
		fmt.Println(set.Dir())
	}
	return nil
}

func sourceFlag(flags *flag.FlagSet) *string {
	return flags.String("source", "", "folder of the test bed's module (default: found from the working directory)")
}

func ensure(ctx context.Context, source, set string) (binaries.Set, error) {
	source, err := findSource(source)
	if err != nil {
		return binaries.Set{}, err
	}
	cache, err := binaries.DefaultCache()
	if err != nil {
		return binaries.Set{}, err
	}
	return binaries.Ensure(ctx, binaries.Config{Set: set, Source: source, Cache: cache, Progress: os.Stderr})
}

// findSource looks in the working directory and upwards, for the module itself and for a repository that holds it.
func findSource(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		for _, candidate := range []string{dir, filepath.Join(dir, "hack", "testbed")} {
			if _, err := os.Stat(filepath.Join(candidate, "servers", "kubernetes", "go.mod")); err == nil {
				return candidate, nil
			}
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("run this within the repository, or name hack/testbed with --source")
		}
		dir = parent
	}
}
