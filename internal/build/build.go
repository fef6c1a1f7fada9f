// SPDX-License-Identifier: Apache-2.0

// Package build says which build of Sluice is running: for `sluice version`, for the producer in a statement and for
// the User-Agent of every request. What the build says about cryptography is internal/fips's to tell.
package build

import (
	"runtime"
	"runtime/debug"
)

// version is set by the linker: -X sluice.dev/sluice/internal/build.version=… (see the Makefile).
var version = "dev"

// Info describes a build.
type Info struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Read returns the build of the running program. Commit is empty where the program was built outside a repository.
func Read() Info {
	info := Info{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	bi, ok := debug.ReadBuildInfo()
	if !ok {
		return info
	}
	for _, s := range bi.Settings {
		switch s.Key {
		case "vcs.revision":
			info.Commit = s.Value
		case "vcs.modified":
			info.Modified = s.Value == "true"
		}
	}
	return info
}

// UserAgent returns "<program>/<version>".
func (i Info) UserAgent(program string) string { return program + "/" + i.Version }
