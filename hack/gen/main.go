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
	"strings"
)

func main() {
	check := flag.Bool("check", false, "compare with the committed files instead of writing them")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *check); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run derives every file and hands the result to the writer or the comparison.
func run(ctx context.Context, check bool) error {
	root, err := repositoryRoot(ctx)
	if err != nil {
		return err
	}
	want, err := deriveCRDs(ctx, root)
	if err != nil {
		return err
	}
	changes, err := compare(filepath.Join(root, crdFolder), want)
	if err != nil {
		return err
	}
	if check {
		return stale(changes)
	}
	return write(changes)
}

// repositoryRoot is the folder of the main module's go.mod, so that gen runs from any folder below it.
func repositoryRoot(ctx context.Context) (string, error) {
	out, err := output(ctx, ".", "go", "list", "-m", "-f", "{{.Dir}}", "sluice.dev/sluice")
	if err != nil {
		return "", fmt.Errorf("find the repository (run gen inside it): %w", err)
	}
	return out, nil
}

// output runs a program and returns what it printed, without the final newline. What it says on standard error
// becomes part of the error, because that is where go and controller-gen explain themselves.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			return "", fmt.Errorf("%s %s: %s: %w", filepath.Base(name), strings.Join(args, " "), strings.TrimSpace(string(exit.Stderr)), err)
		}
		return "", err
	}
	return strings.TrimSpace(string(out)), nil
}
