// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// build makes a stripped binary as releases are.
func build(t *testing.T, dir, module string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), filepath.Base(dir))
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, dir)
	cmd.Env = append(withoutGODEBUG(os.Environ()), "CGO_ENABLED=0", "GOFIPS140="+module)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", dir, err, text)
	}
	return out
}

func gate(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	code = run(t.Context(), append([]string{"-policy", "crypto-policy.yaml"}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

func TestGatePassesAGuardedBinary(t *testing.T) {
	binary := build(t, "./testdata/guarded", "v1.0.0")
	code, out, errs := gate(t, "-commands", "./testdata/guarded", binary)
	if code != exitOK || strings.Contains(out, "FAIL") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	code, out, _ = gate(t, "-fail-stale", binary)
	if code != exitProblems || !strings.Contains(out, "FAIL: entry of crypto/rc4 is stale") {
		t.Errorf("with -fail-stale: exit %d\n%s", code, out)
	}
}

func TestGateFailsANewPackageAndAMissingGuard(t *testing.T) {
	binary := build(t, "./testdata/twofish", "v1.0.0")
	code, out, _ := gate(t, binary)
	if code != exitProblems {
		t.Errorf("exit %d, want %d", code, exitProblems)
	}
	for _, want := range []string{
		"FAIL: new package golang.org/x/crypto/twofish (in " + binary + ")",
		"FIPS mode switched off: exit status 0, want 78",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
}

func TestGateFailsANewPackageInTheDependencies(t *testing.T) {
	code, out, errs := gate(t, "-commands", "./testdata/twofish")
	if code != exitProblems || !strings.Contains(out, "new package golang.org/x/crypto/twofish (in go list)") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	code, out, _ = gate(t, "-update-list", "-commands", "./testdata/twofish")
	if code != exitOK || out != skeleton([]string{"golang.org/x/crypto/twofish"}) {
		t.Errorf("update list: exit %d\n%s", code, out)
	}
}

func TestGateFailsABinaryWithoutTheModule(t *testing.T) {
	code, out, _ := gate(t, build(t, "./testdata/guarded", "off"))
	if code != exitProblems {
		t.Errorf("exit %d, want %d", code, exitProblems)
	}
	for _, want := range []string{`GOFIPS140 is ""`, "fips140=, want on", "has no entry in the policy"} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
}

func TestGateRejectsWhatItCannotRead(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		code int
	}{
		"nothing to do":      {nil, exitUsage},
		"an unknown flag":    {[]string{"-nonsense"}, exitUsage},
		"an unknown backend": {[]string{"-backend", "boring", "x"}, exitUsage},
		"a missing policy":   {[]string{"-policy", "absent.yaml", "x"}, exitUsage},
		"a missing binary":   {[]string{filepath.Join(t.TempDir(), "absent")}, exitProblems},
		"a script":           {[]string{text}, exitProblems},
		"an unknown command": {[]string{"-commands", "./testdata/absent"}, exitProblems},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := gate(t, test.args...)
			if code != test.code || errs == "" {
				t.Errorf("exit %d, want %d\n%s%s", code, test.code, out, errs)
			}
		})
	}
}
