// SPDX-License-Identifier: Apache-2.0

// Program sluice-manager runs Sluice's controllers, all of them or some, in one process.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"sluice.dev/sluice/controllers"
	"sluice.dev/sluice/internal/build"
	"sluice.dev/sluice/internal/fips"
)

func main() {
	fips.Guard()
	os.Exit(run(os.Args[1:]))
}

// run returns the exit status: 0 after a clean shutdown, 1 for a failure, 2 for a configuration that cannot work.
func run(args []string) int {
	config := controllers.NewConfig()
	flags := pflag.NewFlagSet("sluice-manager", pflag.ContinueOnError)
	flags.SortFlags = true
	config.Bind(flags, os.LookupEnv)
	version := flags.Bool("version", false, "print the version and exit")
	if err := flags.Parse(args); errors.Is(err, pflag.ErrHelp) {
		return 0
	} else if err != nil {
		return fail(2, err)
	}
	if *version {
		fmt.Println(build.Read().UserAgent("sluice-manager"))
		return 0
	}
	idle, err := controllers.CheckFlags(flags)
	if err == nil {
		err = config.Validate()
	}
	if err != nil {
		return fail(2, err)
	}
	if len(idle) > 0 {
		fmt.Fprintf(os.Stderr, "sluice-manager: accepted without effect: %s (see docs/flags.md)\n", strings.Join(idle, ", "))
	}
	kube, err := kubeConfig()
	if err != nil {
		return fail(1, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := controllers.Run(ctx, config, kube, os.Stderr); err != nil {
		return fail(1, err)
	}
	return 0
}

func fail(code int, err error) int {
	fmt.Fprintln(os.Stderr, "sluice-manager:", err)
	return code
}

// kubeConfig is that of the Pod, or of $KUBECONFIG where it is set.
func kubeConfig() (*rest.Config, error) {
	if path := os.Getenv(clientcmd.RecommendedConfigPathEnvVar); path != "" {
		return clientcmd.BuildConfigFromFlags("", path)
	}
	return rest.InClusterConfig()
}
