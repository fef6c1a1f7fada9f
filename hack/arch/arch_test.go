// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

type pkg struct {
	ImportPath   string
	Dir          string
	Name         string
	Doc          string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// rel returns the package's path inside the module.
func (p pkg) rel() string { return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/") }

var load = sync.OnceValues(func() ([]pkg, error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Name,Doc,GoFiles,Imports,TestImports,XTestImports", module+"/...")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var pkgs []pkg
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs, nil
		} else if err != nil {
			return nil, err
		}
		pkgs = append(pkgs, p)
	}
})

func packages(t *testing.T) []pkg {
	t.Helper()
	pkgs, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) < 5 {
		t.Fatalf("only %d packages found", len(pkgs))
	}
	return pkgs
}

func below(p, root string) bool { return p == root || strings.HasPrefix(p, root+"/") }

func belowAny(p string, roots []string) bool {
	return slices.ContainsFunc(roots, func(r string) bool { return below(p, r) })
}

// roomOf returns the innermost room a path is in.
func roomOf(p string) (room, bool) {
	var best room
	for _, r := range rooms() {
		if below(p, r.path) && len(r.path) > len(best.path) {
			best = r
		}
	}
	return best, best.path != ""
}

func TestEveryPackageIsInARoom(t *testing.T) {
	for _, p := range packages(t) {
		if _, ok := roomOf(p.rel()); !ok {
			t.Errorf("%s is in no room of hack/arch/rules.go", p.rel())
		}
	}
}

func TestRoomsImportDownwards(t *testing.T) {
	used := map[string]bool{}
	for _, p := range packages(t) {
		from, _ := roomOf(p.rel())
		for _, imp := range p.Imports {
			if !below(imp, module) {
				continue
			}
			to, _ := roomOf(strings.TrimPrefix(imp, module+"/"))
			used[from.path+" "+to.path] = true
			if from.path == to.path || slices.Contains(from.may, to.path) || slices.Equal(from.may, anything) {
				continue
			}
			t.Errorf("%s imports %s: room %q may not import room %q", p.rel(), imp, from.path, to.path)
		}
	}
}

func TestOwnedModulesHaveOneImporter(t *testing.T) {
	for _, p := range packages(t) {
		if belowAny(p.rel(), testOnly()) {
			continue
		}
		for _, imp := range p.Imports {
			if o, ok := ownerOf(imp); ok && !belowAny(p.rel(), o.by) {
				t.Errorf("%s imports %s, which belongs to %v: %s", p.rel(), imp, o.by, o.why)
			}
		}
	}
}

// ownerOf returns the innermost rule for an import.
func ownerOf(imp string) (owner, bool) {
	var best owner
	for _, o := range owners() {
		if below(imp, o.imports) && len(o.imports) > len(best.imports) {
			best = o
		}
	}
	return best, best.imports != ""
}

func TestTestRoomsStayInTests(t *testing.T) {
	for _, p := range packages(t) {
		if belowAny(p.rel(), testOnly()) {
			continue
		}
		for _, imp := range p.Imports {
			if rel := strings.TrimPrefix(imp, module+"/"); rel != imp && belowAny(rel, testOnly()) {
				t.Errorf("%s imports %s outside a test", p.rel(), imp)
			}
		}
	}
}

func TestSealsAreImportedByNameOnly(t *testing.T) {
	for _, p := range packages(t) {
		imports := slices.Concat(p.Imports, p.TestImports, p.XTestImports)
		for seal, by := range seals() {
			if slices.Contains(imports, path.Join(module, seal)) && !slices.Contains(by, p.rel()) {
				t.Errorf("%s imports %s; only %v may", p.rel(), seal, by)
			}
		}
	}
}

func TestDangersAreNamedWhereAllowed(t *testing.T) {
	walk(t, func(name string, data []byte) {
		for danger, by := range dangers() {
			in := path.Dir(name)
			if in != "hack/arch" && bytes.Contains(data, []byte(danger)) && !slices.Contains(by, in) {
				t.Errorf("%s names %s; only %v may", name, danger, by)
			}
		}
	})
}

func TestNamesSaySomething(t *testing.T) {
	for _, p := range packages(t) {
		for element := range strings.SplitSeq(p.rel(), "/") {
			if slices.Contains(emptyNames(), element) {
				t.Errorf("%s: %q says nothing about what is inside", p.rel(), element)
			}
		}
	}
}

func TestEveryPackageHasADoc(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s has no package comment", p.rel())
		}
	}
}

func TestEveryFileHasALicence(t *testing.T) {
	const want = "// SPDX-License-Identifier: Apache-2.0\n"
	walk(t, func(name string, data []byte) {
		if path.Ext(name) == ".go" && !bytes.HasPrefix(data, []byte(want)) && !bytes.HasPrefix(data, []byte("// Code generated")) {
			t.Errorf("%s does not begin with %q", name, strings.TrimSpace(want))
		}
	})
}

func TestNoInit(t *testing.T) {
	walk(t, func(name string, data []byte) {
		if path.Ext(name) == ".go" && bytes.Contains(data, []byte("\nfunc init() {")) {
			t.Errorf("%s has an init function; write a table or a constructor", name)
		}
	})
}

func TestReplaceOnlyInTheTestBed(t *testing.T) {
	walk(t, func(name string, data []byte) {
		if path.Base(name) == "go.mod" && bytes.Contains(data, []byte("\nreplace")) && !below(name, "hack/testbed") {
			t.Errorf("%s has a replace", name)
		}
	})
}

func TestEveryDirectDependencyHasItsLine(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	adr, err := os.ReadFile(filepath.Join("..", "..", "docs", "adr", "0002-dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(adr)) {
		if cell, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ := strings.Cut(cell, "`")
			listed[name] = true
		}
	}
	for line := range strings.Lines(string(mod)) {
		fields := strings.Fields(line)
		if len(fields) != 2 || !strings.HasPrefix(fields[1], "v") || !strings.HasPrefix(line, "\t") {
			continue // a direct requirement has no "// indirect" behind it
		}
		if !listed[fields[0]] {
			t.Errorf("go.mod requires %s, and docs/adr/0002-dependencies.md does not say why", fields[0])
		}
		delete(listed, fields[0])
	}
	for name := range listed {
		t.Errorf("docs/adr/0002-dependencies.md explains %s, which go.mod does not require directly", name)
	}
}

// walk calls f for every file of the repository that is no test data.
func walk(t *testing.T, f func(name string, data []byte)) {
	t.Helper()
	root := os.DirFS(filepath.Join("..", ".."))
	files := 0
	err := walkDir(root, ".", func(name string, data []byte) {
		files++
		f(name, data)
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 10 {
		t.Fatalf("only %d files found", files)
	}
}
