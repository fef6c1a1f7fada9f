// SPDX-License-Identifier: Apache-2.0

package fips

import (
	"context"
	"crypto/fips140"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
)

// ExitRefused is the status of a process that may not run: EX_CONFIG of sysexits.h.
const ExitRefused = 78

// Names and versions the guard and the evidence share.
const (
	goModuleName = "Go Cryptographic Module"
	modeOn       = "on"
	modeOnly     = "only"
	modeOff      = "off"
)

// Guard ends the process with ExitRefused and one line on standard error unless CheckMode passes. It is the first
// statement of every main: crypto/fips140 proves nothing by Enabled alone, and a Pod's environment can switch it off.
func Guard() {
	guard(os.Stderr, os.Exit, CheckMode)
}

func guard(stderr io.Writer, exit func(int), check func() error) {
	err := check()
	if err == nil {
		return
	}
	fmt.Fprintf(stderr, "sluice: refusing to start: %v\n", err) // the exit status says it too
	exit(ExitRefused)
}

// CheckMode returns nil only in a process that operates a certified version of the Go module, with no setting that
// weakens it, and whose backend passes its self-test. The error is one line that says what to do.
func CheckMode() error {
	state := moduleState{
		version: fips140.Version(),
		enabled: fips140.Enabled(),
		godebug: effectiveGODEBUG(),
	}
	if err := state.check(); err != nil {
		return err
	}
	return checkBackend(context.Background()) //nolint:forbidigo // start-up: there is no caller's context before main
}

// moduleState is what the guard looks at, apart from the process so that a table can test it.
type moduleState struct {
	version string
	enabled bool
	godebug map[string]string
}

func (s moduleState) check() error {
	if certificate(s.version) == "" {
		return fmt.Errorf("this binary was built without the certified Go Cryptographic Module (module version %q): run `make build`",
			s.version)
	}
	if !s.enabled {
		return fmt.Errorf("FIPS mode was switched off by GODEBUG=fips140=off: remove fips140 from GODEBUG")
	}
	for _, weak := range weakSettings() {
		if s.godebug[weak.key] == weak.value {
			return fmt.Errorf("GODEBUG=%s=%s %s: remove it from GODEBUG", weak.key, weak.value, weak.effect)
		}
	}
	return nil
}

// certificate is the compiled-in table of certificates, keyed by the version the module reports. It is empty for every
// version without one, v1.26.0 among them until its review ends.
func certificate(version string) string {
	if version == "v1.0.0" {
		return "CMVP #5247"
	}
	return ""
}

// weakSetting is a GODEBUG key that undoes part of what a claim rests on.
type weakSetting struct {
	key, value, effect string
}

func weakSettings() []weakSetting {
	return []weakSetting{
		{"cryptocustomrand", "1", "lets callers replace the module's random numbers"},
		{"fips140ems", "0", "allows TLS 1.2 without extended master secret"},
		{"rsa1024min", "0", "allows RSA keys below 1024 bits"},
		{"tls10server", "1", "allows TLS 1.0 servers"},
		{"tls3des", "1", "allows 3DES in TLS"},
		{"tlsrsakex", "1", "allows RSA key exchange in TLS"},
		{"tlssha1", "1", "allows SHA-1 signatures in TLS"},
		{"tlsunsafeekm", "1", "allows exported keys without extended master secret"},
	}
}

// mode is how the module operates. Inside Exempt it reads "on": enforcement is per goroutine.
func mode() string {
	switch {
	case !fips140.Enabled():
		return modeOff
	case fips140.Enforced():
		return modeOnly
	default:
		return modeOn
	}
}

// goModuleStatus says in words what may be claimed of a version in a mode.
func goModuleStatus(version, mode string) string {
	id := certificate(version)
	switch {
	case id == "":
		return "not a validated version"
	case mode == modeOff:
		return "validated version (FIPS 140-3, " + id + "), but switched off"
	default:
		return "validated version (FIPS 140-3, " + id + "), operating in its FIPS mode"
	}
}

// effectiveGODEBUG merges the binary's default with the environment, which wins; within each the last entry wins.
func effectiveGODEBUG() map[string]string {
	settings := map[string]string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		mergeGODEBUG(settings, buildSetting(info, "DefaultGODEBUG"))
	}
	mergeGODEBUG(settings, os.Getenv("GODEBUG"))
	return settings
}

func mergeGODEBUG(into map[string]string, text string) {
	for entry := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(entry, "=")
		if !ok {
			continue
		}
		value, _, _ = strings.Cut(value, "#") // "#" starts a bisect pattern
		into[key] = value
	}
}

func buildSetting(info *debug.BuildInfo, key string) string {
	for _, setting := range info.Settings {
		if setting.Key == key {
			return setting.Value
		}
	}
	return ""
}
