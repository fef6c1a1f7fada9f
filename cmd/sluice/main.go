// SPDX-License-Identifier: Apache-2.0

// Sluice is the operator's command line. The commands are in distro/cli, and described in docs/cli.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"sluice.dev/sluice/distro/cli"
	"sluice.dev/sluice/internal/fips"
)

func main() {
	fips.Guard()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := cli.Run(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(status)
}
