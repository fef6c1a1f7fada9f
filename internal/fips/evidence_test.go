// SPDX-License-Identifier: Apache-2.0

package fips

import (
	"context"
	"crypto/fips140"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestCollect(t *testing.T) {
	backend, err := New()
	if err != nil {
		t.Fatal(err)
	}
	tls := &TLS{MinVersion: "1.2", CipherSuites: []string{"TLS_AES_128_GCM_SHA256"}, Groups: []string{"P-256"}}
	evidence := Collect(t.Context(), Inputs{Backend: backend, Profile: Standard, TLS: tls})
	if evidence.Module.Version != fips140.Version() || evidence.SelfTest != "passed" || evidence.Backend != BackendName {
		t.Errorf("module %+v, self-test %q, backend %q", evidence.Module, evidence.SelfTest, evidence.Backend)
	}
	if (evidence.OpenSSL != nil) != (BackendName == "openssl") {
		t.Errorf("OpenSSL section: %+v", evidence.OpenSSL)
	}
	if evidence.Environment.OS == "" || evidence.Environment.Kernel == "" {
		t.Errorf("environment %+v", evidence.Environment)
	}
	text, err := json.Marshal(evidence)
	if err != nil {
		t.Fatal(err)
	}
	var back Evidence
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(evidence, back); diff != "" {
		t.Errorf("JSON round trip (-want +got):\n%s", diff)
	}
	for _, want := range []string{
		"Certificate", evidence.Module.Status, evidence.Environment.Statement, "git-object-id", "standard", "at least 1.2",
	} {
		if !strings.Contains(evidence.Text(), want) {
			t.Errorf("text lacks %q:\n%s", want, evidence.Text())
		}
	}
}

func TestCollectReportsAFailedSelfTest(t *testing.T) {
	backend, err := New()
	if err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if got := Collect(cancelled, Inputs{Backend: backend}).SelfTest; got != "failed: "+context.Canceled.Error() {
		t.Errorf("self-test: %q", got)
	}
	if got := Collect(t.Context(), Inputs{}).SelfTest; got != "not run: no backend" {
		t.Errorf("self-test: %q", got)
	}
}

func TestTextNeverClaimsMore(t *testing.T) {
	evidence := Collect(t.Context(), Inputs{})
	evidence.Module = Module{Name: goModuleName, Version: "latest", Status: goModuleStatus("latest", modeOn)}
	text := evidence.Text()
	for _, forbidden := range []string{"FIPS certified", "FIPS 140-3 compliant", "validated version (FIPS", "all cryptography"} {
		if strings.Contains(text, forbidden) {
			t.Errorf("text contains %q", forbidden)
		}
	}
}

func TestReadEnvironment(t *testing.T) {
	root := func(release, kernel string) fstest.MapFS {
		return fstest.MapFS{
			"etc/os-release":            {Data: []byte(release)},
			"proc/sys/kernel/osrelease": {Data: []byte(kernel)},
		}
	}
	for name, test := range map[string]struct {
		files      fstest.MapFS
		os, kernel string
	}{
		"Debian":           {root("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n", "6.1.0\n"), "Debian GNU/Linux 12 (bookworm)", "6.1.0"},
		"single quotes":    {root("PRETTY_NAME='Alpine'", "6"), "Alpine", "6"},
		"no files":         {fstest.MapFS{}, "unknown", "unknown"},
		"no pretty name":   {root("NAME=x", ""), "unknown", "unknown"},
		"an endless line":  {root("PRETTY_NAME="+strings.Repeat("A", 1<<20), "6"), strings.Repeat("A", 64) + "...", "6"},
		"terminal control": {root("PRETTY_NAME=\x1b[31mred", "6"), "?[31mred", "6"},
	} {
		t.Run(name, func(t *testing.T) {
			got := readEnvironment(test.files, Module{Certificate: "CMVP #5247"})
			want := Environment{OS: test.os, Kernel: test.kernel, Arch: got.Arch, Statement: got.Statement}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("environment (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEnvironmentStatement(t *testing.T) {
	for name, test := range map[string]struct{ certificate, goos, goarch, want string }{
		"Linux on amd64":        {"CMVP #5247", "linux", "amd64", "vendor affirmed, not a tested environment"},
		"Linux on arm64":        {"CMVP #5247", "linux", "arm64", "vendor affirmed, not a tested environment"},
		"Linux on riscv64":      {"CMVP #5247", "linux", "riscv64", "neither tested nor vendor affirmed"},
		"macOS":                 {"CMVP #5247", "darwin", "arm64", "neither tested nor vendor affirmed"},
		"without a certificate": {"", "linux", "amd64", "no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			got := environmentStatement(test.certificate, test.goos, test.goarch)
			if !strings.HasPrefix(got, test.want) {
				t.Errorf("got %q, want prefix %q", got, test.want)
			}
		})
	}
}

func TestSelfTestFindsABrokenBackend(t *testing.T) {
	good, err := New()
	if err != nil {
		t.Fatal(err)
	}
	for name, broken := range map[string]Backend{
		"digests":        brokenDigests{good},
		"signatures":     acceptsAll{good},
		"random numbers": constantRand{good},
	} {
		t.Run(name, func(t *testing.T) {
			if err := selfTest(t.Context(), broken); err == nil || errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want a failed self-test", err)
			}
		})
	}
}
