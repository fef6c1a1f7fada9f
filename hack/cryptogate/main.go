// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Exit statuses.
const (
	exitOK       = 0
	exitProblems = 1
	exitUsage    = 2
)

// config is the command line.
type config struct {
	policy     string
	commands   []string
	tags       string
	backend    backend
	goroot     string
	stale      bool
	updateList bool
	binaries   []string
}

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parse(args, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "cryptogate:", err)
		return exitUsage
	}
	p, err := readPolicy(c.policy)
	if err != nil {
		fmt.Fprintln(stderr, "cryptogate:", err)
		return exitUsage
	}
	r, err := c.inspect(ctx, p)
	if err != nil {
		fmt.Fprintln(stderr, "cryptogate:", err)
		return exitProblems
	}
	if c.updateList {
		fmt.Fprint(stdout, skeleton(r.Missing))
		return exitOK
	}
	return c.print(r, stdout)
}

func parse(args []string, stderr io.Writer) (config, error) {
	c := config{}
	var commands, variant string
	flags := flag.NewFlagSet("cryptogate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&c.policy, "policy", "hack/cryptogate/crypto-policy.yaml", "the policy `file`")
	flags.StringVar(&commands, "commands", "", "package `patterns` whose dependencies are listed, separated by commas")
	flags.StringVar(&c.tags, "tags", "", "build `tags` for listing dependencies")
	flags.StringVar(&variant, "backend", string(nativeBackend), "what the binaries were built for: native or openssl")
	flags.StringVar(&c.goroot, "goroot", "", "the toolchain's `directory`; asked from the go command when empty")
	flags.BoolVar(&c.stale, "fail-stale", false, "fail on entries that nothing links")
	flags.BoolVar(&c.updateList, "update-list", false, "print a skeleton for each missing entry, and fail on nothing")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	c.backend = backend(variant)
	if c.backend != nativeBackend && c.backend != opensslBackend {
		return config{}, fmt.Errorf("backend %q is neither native nor openssl", variant)
	}
	if commands != "" {
		c.commands = strings.Split(commands, ",")
	}
	c.binaries = flags.Args()
	if len(c.commands) == 0 && len(c.binaries) == 0 {
		return config{}, errors.New("nothing to check: name binaries, -commands or both")
	}
	return c, nil
}

// inspect gathers everything and judges it.
func (c config) inspect(ctx context.Context, p policy) (report, error) {
	goroot, err := c.findGoroot(ctx)
	if err != nil {
		return report{}, err
	}
	seen := sighting{}
	problems := prefixed("module", checkArchive(goroot, p.Module))
	if len(c.commands) > 0 {
		packages, err := listDeps(ctx, p.Module.Version, c.tags, c.commands)
		if err != nil {
			return report{}, err
		}
		seen.add("go list", packages)
	}
	for _, path := range c.binaries {
		packages, err := binaryPackages(path)
		if err != nil {
			return report{}, err
		}
		seen.add(path, packages)
		problems = append(problems, prefixed(path, checkMetadata(path, p.Module, c.backend))...)
		problems = append(problems, prefixed(path, checkBehaviour(ctx, path))...)
	}
	r := judge(p, seen, time.Now())
	r.Problems = append(problems, r.Problems...)
	return r, nil
}

func (c config) findGoroot(ctx context.Context) (string, error) {
	if c.goroot != "" {
		return c.goroot, nil
	}
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

func prefixed(place string, problems []string) []string {
	lines := make([]string, 0, len(problems))
	for _, p := range problems {
		lines = append(lines, place+": "+p)
	}
	return lines
}

// print writes the report and returns the exit status.
func (c config) print(r report, out io.Writer) int {
	problems := r.Problems
	if c.stale {
		problems = append(problems, r.Notes...)
	} else {
		for _, note := range r.Notes {
			fmt.Fprintln(out, "note:", note)
		}
	}
	for _, problem := range problems {
		fmt.Fprintln(out, "FAIL:", problem)
	}
	if len(problems) > 0 {
		fmt.Fprintf(out, "cryptogate: %d problems\n", len(problems))
		return exitProblems
	}
	fmt.Fprintf(out, "cryptogate: pass (binaries: %d, dependency lists: %d)\n", len(c.binaries), len(c.commands))
	return exitOK
}
