// SPDX-License-Identifier: Apache-2.0

// Probe is the smallest program with the guard: it prints its evidence as JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"sluice.dev/sluice/internal/fips"
)

func main() {
	fips.Guard()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	backend, err := fips.New()
	if err != nil {
		return err
	}
	evidence := fips.Collect(context.Background(), fips.Inputs{Backend: backend})
	return json.NewEncoder(os.Stdout).Encode(evidence)
}
