// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"sluice.dev/sluice/internal/fips"
)

// backend is the build variant the binaries must be.
type backend string

const (
	nativeBackend  backend = "native"
	opensslBackend backend = "openssl"
)

// checkMetadata compares what the toolchain recorded with the policy.
func checkMetadata(path string, module moduleRow, want backend) []string {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return []string{fmt.Sprintf("no build information: %v", err)}
	}
	return metadataProblems(info, module, want)
}

// officialGo is the version of a toolchain without vendor patches or experiments. The certificate covers the frozen module
// as an unmodified toolchain builds it.
var officialGo = regexp.MustCompile(`^go1\.\d+(\.\d+)?$`)

func metadataProblems(info *debug.BuildInfo, module moduleRow, want backend) []string {
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	var problems []string
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if got := settings["GOFIPS140"]; got != module.Version {
		problem("GOFIPS140 is %q, want %q", got, module.Version)
	}
	if !officialGo.MatchString(info.GoVersion) {
		problem("toolchain %q is not an unmodified Go release", info.GoVersion)
	}
	if got := settings["CGO_ENABLED"]; want == nativeBackend && got != "0" {
		problem("CGO_ENABLED is %q, want \"0\"", got)
	}
	if strings.Contains(settings["GOEXPERIMENT"], "boringcrypto") {
		problem("GOEXPERIMENT=%s replaces the module", settings["GOEXPERIMENT"])
	}
	if strings.Contains(settings["-ldflags"], "runtime.godebugDefault") {
		problem("linker flags replace the default GODEBUG")
	}
	for _, text := range godebugProblems(settings["DefaultGODEBUG"]) {
		problem("%s", text)
	}
	tags := strings.Split(settings["-tags"], ",")
	if got := slices.Contains(tags, "openssl"); got != (want == opensslBackend) {
		problem("build tags %q do not fit backend %q", settings["-tags"], want)
	}
	if slices.Contains(tags, "purego") {
		problem("build tag purego is not part of the tested module")
	}
	return problems
}

func godebugProblems(text string) []string {
	var problems []string
	mode := ""
	for setting := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(setting, "=")
		switch key {
		case "fips140":
			mode = value
		case "fips140ems", "cryptocustomrand", "rsa1024min", "tls10server", "tls3des", "tlsrsakex", "tlssha1", "tlsunsafeekm":
			problems = append(problems, fmt.Sprintf("default GODEBUG changes %s", setting))
		}
	}
	if mode != "on" {
		problems = append(problems, fmt.Sprintf("default GODEBUG has fips140=%s, want on", mode))
	}
	return problems
}

// checkArchive compares the module's frozen source with the hash in the policy and with the toolchain's own list.
func checkArchive(goroot string, module moduleRow) []string {
	dir := filepath.Join(goroot, "lib", "fips140")
	name := module.Version + ".zip"
	file, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return []string{fmt.Sprintf("open module archive: %v", err)}
	}
	defer file.Close()
	digests, err := fips.New()
	if err != nil {
		return []string{err.Error()}
	}
	sum, _, err := fips.Digest(digests, crypto.SHA256, file)
	if err != nil {
		return []string{fmt.Sprintf("hash module archive: %v", err)}
	}
	var problems []string
	if sum != module.ZipSHA256 {
		problems = append(problems, fmt.Sprintf("archive %s has SHA-256 %s, the policy wants %s", name, sum, module.ZipSHA256))
	}
	list, err := os.ReadFile(filepath.Join(dir, "fips140.sum"))
	if err != nil || !slices.Contains(strings.Split(string(list), "\n"), name+" "+sum) {
		problems = append(problems, fmt.Sprintf("fips140.sum of the toolchain does not list %s with SHA-256 %s", name, sum))
	}
	return problems
}

// behaviour is one way to start a binary, and how it must end.
type behaviour struct {
	name, godebug string
	code          int
	stderr        string
}

func behaviours() []behaviour {
	return []behaviour{
		{"FIPS mode switched off", "fips140=off", fips.ExitRefused, "refusing to start"},
		{"self-test failure", "fips140=on,failfipscast=SHA2-256", 2, "FIPS 140-3 self-test failed"},
	}
}

// startLimit bounds a start: a binary without the guard may be a server that runs for ever.
const startLimit = 20 * time.Second

// checkBehaviour starts the binary in each way. None gets as far as reading arguments when the guard comes first.
func checkBehaviour(ctx context.Context, path string) []string {
	var problems []string
	for _, b := range behaviours() {
		if err := b.check(ctx, path); err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", b.name, err))
		}
	}
	return problems
}

func (b behaviour) check(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	absolute, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	var stderr strings.Builder
	cmd := exec.CommandContext(ctx, absolute)
	cmd.Env = append(withoutGODEBUG(os.Environ()), "GODEBUG="+b.godebug)
	cmd.Stderr = &limitedWriter{to: &stderr, left: 1 << 16}
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	if code := cmd.ProcessState.ExitCode(); code != b.code {
		return fmt.Errorf("exit status %d, want %d", code, b.code)
	}
	if !strings.Contains(stderr.String(), b.stderr) {
		return fmt.Errorf("standard error lacks %q", b.stderr)
	}
	return nil
}

// limitedWriter keeps the beginning and drops the rest.
type limitedWriter struct {
	to   *strings.Builder
	left int
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	keep := min(len(p), w.left)
	w.to.Write(p[:keep])
	w.left -= keep
	return len(p), nil
}
