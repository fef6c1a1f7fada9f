// SPDX-License-Identifier: Apache-2.0

// Command bare is sluice-manager without what protects it: no FIPS mode, no guard at the start, and policy that allows everything.
// The benchmark compares the manager with it to learn what protection costs (test/bench/README.md). It is never shipped: it is
// in none of `make build`'s programs, and it is good for nothing but a control plane that ends with the benchmark.
package main

import (
	"context"
	"crypto/fips140"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/clientcmd"

	"sluice.dev/sluice/controllers"
	"sluice.dev/sluice/policy"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

// run takes the manager's flags and environment.
func run(args []string) error {
	if fips140.Enabled() {
		return errors.New("what FIPS mode costs cannot be seen with it on: set GODEBUG=fips140=off")
	}
	config := controllers.NewConfig()
	flags := pflag.NewFlagSet("bare", pflag.ContinueOnError)
	config.Bind(flags, os.LookupEnv)
	if err := flags.Parse(args); err != nil {
		return err
	}
	kube, err := clientcmd.BuildConfigFromFlags("", os.Getenv(clientcmd.RecommendedConfigPathEnvVar))
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return controllers.RunWithDeciderUnsafe(ctx, config, kube, os.Stderr, allowAll{})
}

// allowAll is policy that looks at nothing.
type allowAll struct{}

// Decide implements policy.Decider. Rules and parameters have names that never change, so that what was decided stays decided.
func (allowAll) Decide(context.Context, policy.Query) (policy.Decision, error) {
	return policy.Decision{Allowed: true, Bundle: "none", Parameters: "none", Input: "none"}, nil
}
