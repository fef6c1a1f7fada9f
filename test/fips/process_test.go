// SPDX-License-Identifier: Apache-2.0

package fips

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"sluice.dev/sluice/internal/fips"
)

// build makes the probe with the given GOFIPS140 value and tags. It keeps the symbols: the tampering test finds the module
// by them. GODEBUG is dropped, because the go command itself would heed it.
func build(ctx context.Context, out, module, tags string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", tags, "-o", out, "./testdata/probe")
	cmd.Env = append(without(os.Environ(), "GODEBUG"), "CGO_ENABLED=0", "GOFIPS140="+module)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build probe: %w\n%s", err, text)
	}
	return nil
}

// variant returns a probe other than the certified one.
func variant(t *testing.T, module, tags string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "probe")
	if err := build(t.Context(), out, module, tags); err != nil {
		t.Fatal(err)
	}
	return out
}

// certified returns the bytes of the probe with the certified module.
func certified(t *testing.T) []byte {
	t.Helper()
	binary, err := buildCertified()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// buildCertified builds once for all tests, so no one test's context fits.
var buildCertified = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "probe")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) // a temporary directory
	out := filepath.Join(dir, "probe")
	if err := build(context.Background(), out, "v1.0.0", ""); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
})

func install(t *testing.T, binary []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "probe")
	if err := os.WriteFile(path, binary, 0o700); err != nil { // a program
		t.Fatal(err)
	}
	return path
}

func without(env []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
}

// result is what a user sees of a process.
type result struct {
	code           int
	stdout, stderr string
}

func run(t *testing.T, path string, env ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path)
	cmd.Env = append(without(os.Environ(), "GODEBUG"), env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// refused fails unless the guard ended the process with its status and exactly one line that contains want.
func (r result) refused(t *testing.T, want string) {
	t.Helper()
	if r.code != fips.ExitRefused {
		t.Errorf("exit status %d, want %d", r.code, fips.ExitRefused)
	}
	if strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, want) {
		t.Errorf("standard error, want one line with %q:\n%s", want, r.stderr)
	}
	if r.stdout != "" {
		t.Errorf("a refused process wrote %q", r.stdout)
	}
}

// aborted fails unless the module itself ended the process.
func (r result) aborted(t *testing.T, want string) {
	t.Helper()
	if r.code != 2 {
		t.Errorf("exit status %d, want 2", r.code)
	}
	if !strings.Contains(r.stderr, want) {
		t.Errorf("standard error lacks %q:\n%s", want, r.stderr)
	}
	if r.stdout != "" {
		t.Errorf("an aborted process wrote %q", r.stdout)
	}
}

func TestCertifiedBinaryRuns(t *testing.T) {
	probe := install(t, certified(t))
	for name, test := range map[string]struct{ godebug, mode string }{
		"by default":   {"", "on"},
		"mode on":      {"fips140=on", "on"},
		"mode only":    {"fips140=only", "only"},
		"mode debug":   {"fips140=debug", "on"},
		"other values": {"http2debug=0", "on"},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, probe, "GODEBUG="+test.godebug)
			if got.code != 0 {
				t.Fatalf("exit status %d\n%s", got.code, got.stderr)
			}
			var evidence fips.Evidence
			if err := json.Unmarshal([]byte(got.stdout), &evidence); err != nil {
				t.Fatal(err)
			}
			if evidence.Module.Version != "v1.0.0" || evidence.Module.Certificate != "CMVP #5247" {
				t.Errorf("module %+v", evidence.Module)
			}
			if evidence.Mode != test.mode || evidence.Integrity != "verified at start" || evidence.SelfTest != "passed" {
				t.Errorf("mode %q, integrity %q, self-test %q", evidence.Mode, evidence.Integrity, evidence.SelfTest)
			}
			if !strings.HasPrefix(evidence.Build.GOFIPS140, "v1.0.0-") || evidence.Build.CGOEnabled != "0" {
				t.Errorf("build %+v", evidence.Build)
			}
			if evidence.Profile != fips.Strict {
				t.Errorf("profile %v", evidence.Profile)
			}
		})
	}
}

func TestGuardRefusesSettings(t *testing.T) {
	probe := install(t, certified(t))
	for name, test := range map[string]struct{ godebug, want string }{
		"FIPS mode off":               {"fips140=off", "GODEBUG=fips140=off"},
		"off among other settings":    {"http2debug=1,fips140=off", "GODEBUG=fips140=off"},
		"caller's random numbers":     {"cryptocustomrand=1", "GODEBUG=cryptocustomrand=1"},
		"no extended master secret":   {"fips140ems=0", "GODEBUG=fips140ems=0"},
		"SHA-1 in TLS":                {"tlssha1=1", "GODEBUG=tlssha1=1"},
		"weak setting under only too": {"fips140=only,tls3des=1", "GODEBUG=tls3des=1"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, probe, "GODEBUG="+test.godebug).refused(t, test.want)
		})
	}
}

func TestGuardRefusesBinaryWithoutCertifiedModule(t *testing.T) {
	probe := variant(t, "off", "")
	for _, godebug := range []string{"", "fips140=on", "fips140=only", "fips140=off"} {
		t.Run("GODEBUG="+godebug, func(t *testing.T) {
			run(t, probe, "GODEBUG="+godebug).refused(t, "run `make build`")
		})
	}
}

func TestModuleAbortsOnFailedSelfTest(t *testing.T) {
	probe := install(t, certified(t))
	run(t, probe, "GODEBUG=fips140=on,failfipscast=SHA2-256").aborted(t, "FIPS 140-3 self-test failed: SHA2-256")
}

func TestModuleAbortsOnFlippedByte(t *testing.T) {
	binary := bytes.Clone(certified(t))
	flipModuleByte(t, binary)
	probe := install(t, binary)
	run(t, probe).aborted(t, "fips140: verification mismatch")
	// Switched off, the module does not look at itself; the guard refuses the process instead.
	run(t, probe, "GODEBUG=fips140=off").refused(t, "GODEBUG=fips140=off")
}

// flipModuleByte changes one byte of padding between two functions of the module, so that nothing but its checksum differs.
func flipModuleByte(t *testing.T, binary []byte) {
	t.Helper()
	file, err := elf.NewFile(bytes.NewReader(binary))
	if err != nil {
		t.Fatal(err)
	}
	start, end := symbol(t, file, "go:textfipsstart"), symbol(t, file, "go:textfipsend")
	text := file.Section(".text")
	from, to := start-text.Addr+text.Offset, end-text.Addr+text.Offset
	module := binary[from:to]
	at := len(module) - 1 // the end is aligned: padding on every processor
	if i := bytes.Index(module, []byte{0xcc, 0xcc, 0xcc, 0xcc}); i >= 0 {
		at = i // INT3 between functions on amd64
	}
	module[at] ^= 0x01
}

func symbol(t *testing.T, file *elf.File, name string) uint64 {
	t.Helper()
	symbols, err := file.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range symbols {
		if s.Name == name {
			return s.Value
		}
	}
	t.Fatalf("no symbol %q", name)
	return 0
}

// TestOpenSSLBuildFailsClosed breaks OpenSSL below the process in each way it can break. The process must not start, and
// must never fall back to the Go module.
func TestOpenSSLBuildFailsClosed(t *testing.T) {
	probe := variant(t, "v1.0.0", "openssl")
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("libcrypto.so.3", "not a library")
	write("absent.cnf", providers("fips"))
	write("base.cnf", providers("base"))
	for name, test := range map[string]struct{ env, want string }{
		"libcrypto is no library":          {"LD_LIBRARY_PATH=" + dir, `load OpenSSL backend "libcrypto.so.3"`},
		"the provider is absent":           {"OPENSSL_CONF=" + filepath.Join(dir, "absent.cnf"), "OpenSSL backend"},
		"the provider offers no algorithm": {"OPENSSL_CONF=" + filepath.Join(dir, "base.cnf"), "OpenSSL backend"},
		"the Go module is switched off":    {"GODEBUG=fips140=off", "GODEBUG=fips140=off"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, probe, "OPENSSL_MODULES="+dir, test.env).refused(t, test.want)
		})
	}
}

// providers is an OpenSSL configuration that activates one provider and thereby not the default one.
func providers(name string) string {
	return "openssl_conf = init\n[init]\nproviders = list\nalg_section = properties\n[list]\n" + name +
		" = one\n[one]\nactivate = 1\n[properties]\ndefault_properties = fips=yes\n"
}
