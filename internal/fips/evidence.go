// SPDX-License-Identifier: Apache-2.0

package fips

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"
)

// Inputs is what Collect cannot find out by itself.
type Inputs struct {
	// Backend is the one the process uses.
	Backend Backend
	// Profile is the feature profile in force.
	Profile Profile
	// TLS is what internal/transport configures; left out of the evidence when nil.
	TLS *TLS
}

// TLS is the transport's profile as plain data: this package must not import crypto/tls.
type TLS struct {
	MinVersion   string   `json:"minVersion"`
	CipherSuites []string `json:"cipherSuites"`
	Groups       []string `json:"groups"`
}

// Evidence is what a running process can say about its cryptography. It is data: an auditor checks it against the
// certificate and the security policy, which this program cannot do.
type Evidence struct {
	Module      Module         `json:"module"`
	Mode        string         `json:"mode"`
	Integrity   string         `json:"integrity"`
	SelfTest    string         `json:"selfTest"`
	Backend     string         `json:"backend"`
	OpenSSL     *Module        `json:"openssl,omitempty"`
	Build       Build          `json:"build"`
	GODEBUG     string         `json:"godebug"`
	Environment Environment    `json:"environment"`
	Profile     Profile        `json:"profile"`
	Exemptions  []ExemptionRow `json:"exemptions"`
	Features    []FeatureRow   `json:"features"`
	TLS         *TLS           `json:"tls,omitempty"`
	SSH         SSH            `json:"ssh"`
	Limits      []string       `json:"limits"`
}

// Build is what the toolchain recorded. Linker flags can make it lie; Module and Mode come from the running module.
type Build struct {
	GoVersion      string `json:"goVersion"`
	GOFIPS140      string `json:"gofips140"`
	DefaultGODEBUG string `json:"defaultGodebug"`
	CGOEnabled     string `json:"cgoEnabled"`
	Main           string `json:"main"`
	Version        string `json:"version"`
	Revision       string `json:"revision,omitempty"`
	Modified       string `json:"modified,omitempty"`
}

// Environment is where the process runs, and how the certificate sees it.
type Environment struct {
	OS        string `json:"os"`
	Kernel    string `json:"kernel"`
	Arch      string `json:"arch"`
	Statement string `json:"statement"`
}

// Collect gathers the evidence of this process. It runs the backend's self-test; nothing here is cached.
func Collect(ctx context.Context, in Inputs) Evidence {
	module := goModule(goRouted()...)
	return Evidence{
		Module:      module,
		Mode:        mode(),
		Integrity:   integrity(mode()),
		SelfTest:    selfTestResult(ctx, in.Backend),
		Backend:     BackendName,
		OpenSSL:     opensslModule(),
		Build:       readBuild(),
		GODEBUG:     os.Getenv("GODEBUG"),
		Environment: readEnvironment(os.DirFS("/"), module),
		Profile:     in.Profile,
		Exemptions:  Exemptions(),
		Features:    Features(),
		TLS:         in.TLS,
		SSH:         SSHAlgorithms(),
		Limits:      limits(),
	}
}

// integrity follows from the mode: the module panics before main when its checksum does not match.
func integrity(mode string) string {
	if mode == modeOff {
		return "not checked: FIPS mode is off"
	}
	return "verified at start"
}

func selfTestResult(ctx context.Context, b Backend) string {
	if b == nil {
		return "not run: no backend"
	}
	if err := b.SelfTest(ctx); err != nil {
		return "failed: " + err.Error()
	}
	return "passed"
}

func readBuild() Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Build{GoVersion: runtime.Version()}
	}
	return Build{
		GoVersion:      info.GoVersion,
		GOFIPS140:      buildSetting(info, "GOFIPS140"),
		DefaultGODEBUG: buildSetting(info, "DefaultGODEBUG"),
		CGOEnabled:     buildSetting(info, "CGO_ENABLED"),
		Main:           info.Path,
		Version:        info.Main.Version,
		Revision:       buildSetting(info, "vcs.revision"),
		Modified:       buildSetting(info, "vcs.modified"),
	}
}

// maxReleaseFile bounds /etc/os-release, which an image's author writes.
const maxReleaseFile = 64 << 10

// readEnvironment describes the platform from below root.
func readEnvironment(root fs.FS, module Module) Environment {
	return Environment{
		OS:        prettyName(readSmall(root, "etc/os-release")),
		Kernel:    orUnknown(strings.TrimSpace(readSmall(root, "proc/sys/kernel/osrelease"))),
		Arch:      runtime.GOARCH,
		Statement: environmentStatement(module.Certificate, runtime.GOOS, runtime.GOARCH),
	}
}

// environmentStatement never says "tested": the certificate lists environments by version and processor, and only a reader
// with the certificate in hand can match them. Linux on these processors is what the module's vendor affirms in general.
func environmentStatement(certificate, goos, goarch string) string {
	if certificate == "" {
		return "no certificate, so no environment to compare with"
	}
	switch {
	case goos == "linux" && (goarch == "amd64" || goarch == "arm64" || goarch == "arm"):
		return "vendor affirmed, not a tested environment (unless " + certificate + " lists this exact one)"
	default:
		return "neither tested nor vendor affirmed as far as this program knows; compare with " + certificate
	}
}

func readSmall(root fs.FS, name string) string {
	file, err := root.Open(name)
	if err != nil {
		return ""
	}
	defer file.Close() //nolint:errcheck // opened for reading only
	buffer := make([]byte, maxReleaseFile)
	n, _ := readFull(file, buffer)
	return string(buffer[:n])
}

// readFull reads until the buffer is full or the file ends. A file of /proc reports size zero, so it cannot be sized first.
func readFull(file fs.File, buffer []byte) (int, error) {
	total := 0
	for total < len(buffer) {
		n, err := file.Read(buffer[total:])
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// prettyName reads PRETTY_NAME of os-release(5).
func prettyName(release string) string {
	for line := range strings.Lines(release) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return orUnknown(printable(strings.Trim(value, `"'`)))
		}
	}
	return "unknown"
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// limits is what the evidence does not show, in the words of docs/fips.md.
func limits() []string {
	return []string{
		"a validated module is used; this program as a whole is not validated",
		"the module has no public indicator for a single call; the feature table and the build gate stand in for it",
		"Git object names (SHA-1), OpenPGP EdDSA and the key derivation of SSH are computed outside the module",
	}
}

// Text renders the evidence for a terminal.
func (e Evidence) Text() string {
	var out strings.Builder
	table := tabwriter.NewWriter(&out, 0, 4, 2, ' ', 0)
	line := func(key, value string) { fmt.Fprintf(table, "%s\t%s\n", key, value) } // writes to memory
	line("Module", e.Module.Name+" "+e.Module.Version)
	line("Certificate", orNone(e.Module.Certificate))
	line("Status", e.Module.Status)
	line("Mode", e.Mode)
	line("Integrity", e.Integrity)
	line("Self-test", e.SelfTest)
	line("Backend", e.Backend)
	if e.OpenSSL != nil {
		line("OpenSSL", e.OpenSSL.Name+" "+e.OpenSSL.Version)
		line("OpenSSL certificate", orNone(e.OpenSSL.Certificate))
		line("OpenSSL status", e.OpenSSL.Status)
		line("OpenSSL does", strings.Join(e.OpenSSL.Routed, ", "))
	}
	line("Go module does", strings.Join(e.Module.Routed, ", "))
	line("Built with", e.Build.GoVersion+", GOFIPS140="+orNone(e.Build.GOFIPS140)+", CGO_ENABLED="+orNone(e.Build.CGOEnabled))
	line("GODEBUG", orNone(e.GODEBUG))
	line("Environment", e.Environment.OS+", kernel "+e.Environment.Kernel+", "+e.Environment.Arch)
	line("", e.Environment.Statement)
	line("Profile", e.Profile.String())
	for _, row := range e.Exemptions {
		line("Exemption", fmt.Sprintf("%s: %s, %d uses; %s", row.ID, row.Algorithm, row.Uses, row.Reason))
	}
	if e.TLS != nil {
		line("TLS", "at least "+e.TLS.MinVersion+"; "+strings.Join(e.TLS.Groups, ", "))
	}
	line("SSH", strings.Join(e.SSH.Kex, ", ")+"; "+strings.Join(e.SSH.Ciphers, ", "))
	for _, limit := range e.Limits {
		line("Limit", limit)
	}
	_ = table.Flush() // writes to memory
	return out.String()
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
