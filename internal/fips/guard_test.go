// SPDX-License-Identifier: Apache-2.0

package fips

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestModuleState(t *testing.T) {
	for name, test := range map[string]struct {
		state moduleState
		want  string // part of the message; empty when the process may run
	}{
		"the certified version in FIPS mode may run": {
			state: moduleState{version: "v1.0.0", enabled: true},
		},
		"harmless settings do not matter": {
			state: moduleState{version: "v1.0.0", enabled: true, godebug: map[string]string{"fips140": "debug", "tls3des": "0", "http2debug": "1"}},
		},
		"a binary without a frozen module": {
			state: moduleState{version: "latest", enabled: true},
			want:  "run `make build`",
		},
		"a binary without a frozen module, switched off": {
			state: moduleState{version: "latest"},
			want:  "run `make build`",
		},
		"a frozen module without a certificate": {
			state: moduleState{version: "v1.26.0", enabled: true},
			want:  "run `make build`",
		},
		"the certified module switched off": {
			state: moduleState{version: "v1.0.0", godebug: map[string]string{"fips140": "off"}},
			want:  "GODEBUG=fips140=off",
		},
		"custom randomness": {
			state: moduleState{version: "v1.0.0", enabled: true, godebug: map[string]string{"cryptocustomrand": "1"}},
			want:  "GODEBUG=cryptocustomrand=1",
		},
		"TLS 1.2 without extended master secret": {
			state: moduleState{version: "v1.0.0", enabled: true, godebug: map[string]string{"fips140ems": "0"}},
			want:  "GODEBUG=fips140ems=0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.state.check()
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want a message with %q", err, test.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("message has more than one line: %q", err)
			}
		})
	}
}

func TestGuardExitsOnceWithOneLine(t *testing.T) {
	var stderr bytes.Buffer
	var codes []int
	exit := func(code int) { codes = append(codes, code) }
	guard(&stderr, exit, func() error { return nil })
	guard(&stderr, exit, func() error { return errors.New("no module") })
	if diff := cmp.Diff([]int{ExitRefused}, codes); diff != "" {
		t.Errorf("exit codes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("sluice: refusing to start: no module\n", stderr.String()); diff != "" {
		t.Errorf("standard error (-want +got):\n%s", diff)
	}
}

func TestMergeGODEBUG(t *testing.T) {
	got := map[string]string{}
	mergeGODEBUG(got, "fips140=on,tls3des=0")
	mergeGODEBUG(got, "tls3des=0,nonsense,tls3des=1#7,=x")
	want := map[string]string{"fips140": "on", "tls3des": "1", "": "x"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestGoModuleStatus(t *testing.T) {
	for name, test := range map[string]struct{ version, mode, want string }{
		"certified, on":    {"v1.0.0", modeOn, "validated version (FIPS 140-3, CMVP #5247), operating in its FIPS mode"},
		"certified, only":  {"v1.0.0", modeOnly, "validated version (FIPS 140-3, CMVP #5247), operating in its FIPS mode"},
		"certified, off":   {"v1.0.0", modeOff, "validated version (FIPS 140-3, CMVP #5247), but switched off"},
		"in review":        {"v1.26.0", modeOn, "not a validated version"},
		"toolchain's tree": {"latest", modeOn, "not a validated version"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, goModuleStatus(test.version, test.mode)); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDescribeProvider(t *testing.T) {
	const text = "OpenSSL 3.0.19 27 Jan 2026"
	fipsProvider := func(version string) provider {
		return provider{known: true, name: "OpenSSL FIPS Provider", version: version, selfTest: true}
	}
	for name, test := range map[string]struct {
		fipsDefault bool
		provider    provider
		name        string
		certificate string
		status      string
	}{
		"no FIPS provider":             {false, provider{}, "OpenSSL", "", "not a validated version: libcrypto runs without"},
		"loaded but not the default":   {false, fipsProvider("3.1.2"), "OpenSSL FIPS Provider", "", "not a validated version: libcrypto runs without"},
		"default, version not known":   {true, provider{}, "OpenSSL", "", "not shown to be a validated version"},
		"default, version off list":    {true, fipsProvider("3.0.20"), "OpenSSL FIPS Provider", "", "not a validated version: the FIPS provider"},
		"default, version on the list": {true, fipsProvider("3.1.2"), "OpenSSL FIPS Provider", "CMVP #4985", "version on the list"},
	} {
		t.Run(name, func(t *testing.T) {
			got := describeProvider(text, test.fipsDefault, test.provider)
			if got.Name != test.name || got.Certificate != test.certificate || !strings.HasPrefix(got.Status, test.status) {
				t.Errorf("got %+v", got)
			}
		})
	}
}
