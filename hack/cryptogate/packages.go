// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"debug/elf"
	"debug/gosym"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// listDeps returns every package the commands compile, as the toolchain lists them for the release build.
func listDeps(ctx context.Context, module, tags string, commands []string) ([]string, error) {
	args := append([]string{"list", "-deps", "-tags", tags, "-f", "{{.ImportPath}}"}, commands...)
	cmd := exec.CommandContext(ctx, "go", args...)
	// The snapshot's name without its suffix is what GOFIPS140 takes. GODEBUG is dropped: under fips140=only the go command
	// itself would fail.
	version, _, _ := strings.Cut(module, "-")
	cmd.Env = append(withoutGODEBUG(os.Environ()), "CGO_ENABLED=0", "GOFIPS140="+version)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return strings.Fields(string(out)), nil
}

func withoutGODEBUG(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(entry string) bool { return strings.HasPrefix(entry, "GODEBUG=") })
}

// binaryPackages returns every package with a function in the binary. It reads the function table, which stripping keeps:
// the runtime needs it for stack traces.
func binaryPackages(path string) ([]string, error) {
	file, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open binary: %w", err)
	}
	defer file.Close() //nolint:errcheck // opened for reading only
	table, err := functionTable(file)
	if err != nil {
		return nil, fmt.Errorf("binary %q: %w", path, err)
	}
	packages := map[string]bool{}
	for i := range table.Funcs {
		if pkg := packageOf(table.Funcs[i].Name); pkg != "" {
			packages[pkg] = true
		}
	}
	if len(packages) == 0 {
		return nil, fmt.Errorf("binary %q: the function table names no package", path)
	}
	return slices.Sorted(maps.Keys(packages)), nil
}

func functionTable(file *elf.File) (*gosym.Table, error) {
	section := file.Section(".gopclntab")
	if section == nil {
		section = file.Section(".data.rel.ro.gopclntab") // position-independent executables
	}
	text := file.Section(".text")
	if section == nil || text == nil {
		return nil, errors.New("no function table: not a Go binary, or one made by an unknown linker")
	}
	data, err := section.Data()
	if err != nil {
		return nil, err
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(data, text.Addr))
	if err != nil {
		return nil, err
	}
	return table, nil
}

// packageOf takes the import path from a function's name. The linker writes dots of the last path element as %2e.
func packageOf(function string) string {
	name, _, _ := strings.Cut(function, "[") // type arguments contain paths of their own
	if strings.HasPrefix(name, "type:") || strings.HasPrefix(name, "go:") {
		return "" // generated equality and hash functions
	}
	slash := strings.LastIndex(name, "/") + 1
	dot := strings.Index(name[slash:], ".")
	if dot < 0 {
		return ""
	}
	pkg := name[:slash+dot]
	if plain, err := url.PathUnescape(pkg); err == nil {
		return plain
	}
	return pkg
}
