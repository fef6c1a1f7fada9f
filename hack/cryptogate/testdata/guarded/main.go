// SPDX-License-Identifier: Apache-2.0

// Guarded is a program as the gate wants it.
package main

import (
	"fmt"

	"sluice.dev/sluice/internal/fips"
)

func main() {
	fips.Guard()
	fmt.Println("running")
}
