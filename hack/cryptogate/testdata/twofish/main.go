// SPDX-License-Identifier: Apache-2.0

// Twofish is a program without the guard that links a cipher the policy does not know.
package main

import (
	"fmt"
	"os"

	"golang.org/x/crypto/twofish"
)

func main() {
	block, err := twofish.NewCipher(make([]byte, 16))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	out := make([]byte, 16)
	block.Encrypt(out, out)
	fmt.Printf("%x\n", out)
}
