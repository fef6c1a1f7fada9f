// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"embed"
	"io/fs"
)

//go:embed rego/*.rego
var files embed.FS

// Files returns the Rego files of the library, read-only.
func Files() fs.FS {
	return files
}
