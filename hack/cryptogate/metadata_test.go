// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMetadataProblems(t *testing.T) {
	module := moduleRow{Version: "v1.0.0-c2097c7c"}
	with := func(overrides ...string) *debug.BuildInfo {
		settings := map[string]string{"GOFIPS140": "v1.0.0-c2097c7c", "CGO_ENABLED": "0", "DefaultGODEBUG": "fips140=on"}
		for i := 0; i < len(overrides); i += 2 {
			settings[overrides[i]] = overrides[i+1]
		}
		info := &debug.BuildInfo{GoVersion: "go1.26.8"}
		for key, value := range settings {
			info.Settings = append(info.Settings, debug.BuildSetting{Key: key, Value: value})
		}
		return info
	}
	patched := with()
	patched.GoVersion = "go1.26.8-vendor X:boringcrypto"
	for name, test := range map[string]struct {
		info *debug.BuildInfo
		want backend
		part string // of the one problem; empty for none
	}{
		"a release binary":            {with(), nativeBackend, ""},
		"the OpenSSL build":           {with("-tags", "openssl,netgo", "CGO_ENABLED", "1"), opensslBackend, ""},
		"no module":                   {with("GOFIPS140", ""), nativeBackend, "GOFIPS140"},
		"the toolchain's own tree":    {with("GOFIPS140", "latest"), nativeBackend, "GOFIPS140"},
		"cgo":                         {with("CGO_ENABLED", "1"), nativeBackend, "CGO_ENABLED"},
		"boringcrypto":                {with("GOEXPERIMENT", "boringcrypto"), nativeBackend, "GOEXPERIMENT"},
		"a patched toolchain":         {patched, nativeBackend, "unmodified"},
		"mode only by default":        {with("DefaultGODEBUG", "fips140=only"), nativeBackend, "fips140=only"},
		"no mode by default":          {with("DefaultGODEBUG", "http2debug=1"), nativeBackend, "want on"},
		"a weak default":              {with("DefaultGODEBUG", "tls10server=1,fips140=on"), nativeBackend, "tls10server=1"},
		"a default set by the linker": {with("-ldflags", "-X=runtime.godebugDefault=fips140=on"), nativeBackend, "linker flags"},
		"purego":                      {with("-tags", "purego"), nativeBackend, "purego"},
		"OpenSSL in a default binary": {with("-tags", "openssl"), nativeBackend, "backend"},
		"no OpenSSL where promised":   {with(), opensslBackend, "backend"},
	} {
		t.Run(name, func(t *testing.T) {
			got := metadataProblems(test.info, module, test.want)
			if test.part == "" {
				if len(got) > 0 {
					t.Errorf("problems: %q", got)
				}
				return
			}
			if len(got) != 1 || !strings.Contains(got[0], test.part) {
				t.Errorf("problems %q, want one with %q", got, test.part)
			}
		})
	}
}

func TestCheckArchive(t *testing.T) {
	// SHA-256 of "module".
	const sum = "120970d812836f19888625587a4606a5ad23cef31c8684e601771552548fc6b9"
	module := moduleRow{Version: "v1", ZipSHA256: sum}
	for name, test := range map[string]struct {
		zip, list string
		want      int
	}{
		"as published":      {"module", "# comment\nv1.zip " + sum + "\n", 0},
		"another archive":   {"modulo", "v1.zip " + sum + "\n", 2},
		"not in the list":   {"module", "v2.zip " + sum + "\n", 1},
		"with another list": {"module", "v1.zip " + strings.Repeat("0", 64) + "\n", 1},
	} {
		t.Run(name, func(t *testing.T) {
			goroot := t.TempDir()
			dir := filepath.Join(goroot, "lib", "fips140")
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			for file, text := range map[string]string{"v1.zip": test.zip, "fips140.sum": test.list} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := checkArchive(goroot, module); len(got) != test.want {
				t.Errorf("problems %q, want %d", got, test.want)
			}
		})
	}
	if got := checkArchive(t.TempDir(), module); len(got) != 1 {
		t.Errorf("no archive: problems %q, want one", got)
	}
}

func TestLimitedWriterKeepsTheBeginning(t *testing.T) {
	var kept strings.Builder
	w := &limitedWriter{to: &kept, left: 5}
	for _, part := range []string{"abc", "def", "ghi"} {
		if n, err := w.Write([]byte(part)); n != 3 || err != nil {
			t.Fatalf("wrote %d, %v", n, err)
		}
	}
	if diff := cmp.Diff("abcde", kept.String()); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
}
