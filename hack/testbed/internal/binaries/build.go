// SPDX-License-Identifier: Apache-2.0

package binaries

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// builder makes one set.
type builder struct {
	modules  []module
	source   string
	into     string
	progress *progress
}

// run counts first what there is to do, so that the progress can tell what is left, and then does it.
func (b *builder) run(ctx context.Context) error {
	versions := map[string]string{}
	compile := map[string]int{}
	for _, m := range b.modules {
		version, err := goOutput(ctx, b.dir(m), "list", "-m", "-f", "{{.Version}}", m.path)
		if err != nil {
			return err
		}
		versions[m.folder] = version
		b.progress.say("looking at %s %s", m.path, version)
		if compile[m.folder], err = b.stale(ctx, m, version); err != nil {
			return err
		}
	}
	b.progress.expect(b.modules, compile)
	for _, m := range b.modules {
		for _, p := range m.programs {
			if err := b.build(ctx, m, p, versions[m.folder]); err != nil {
				return err
			}
		}
	}
	b.progress.finish()
	return b.copyStages(ctx)
}

func (b *builder) dir(m module) string { return filepath.Join(b.source, "servers", m.folder) }

// stale counts the packages of a module's programs that Go's build cache lacks. Its first run downloads modules.
func (b *builder) stale(ctx context.Context, m module, version string) (int, error) {
	args := append([]string{"list", "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}"}, m.flags(version)...)
	for _, p := range m.programs {
		args = append(args, p.pkg)
	}
	out, err := goOutput(ctx, b.dir(m), args...)
	return len(strings.Fields(out)), err
}

// build makes one program. With -v the go command names each package as it compiles it, and that is the progress.
func (b *builder) build(ctx context.Context, m module, p program, version string) error {
	args := append([]string{"build", "-v", "-o", filepath.Join(b.into, "bin", p.name)}, m.flags(version)...)
	cmd := exec.CommandContext(ctx, "go", append(args, p.pkg)...)
	cmd.Dir = b.dir(m)
	cmd.Env = environment()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	b.progress.begin(p.name)
	if err := cmd.Start(); err != nil {
		return err
	}
	var last []string
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		b.progress.line(lines.Text())
		last = append(last, lines.Text())
		last = last[max(0, len(last)-20):]
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %s: %w", p.name, strings.Join(last, "\n"), err)
	}
	return nil
}

// stageFolders are those stages of KWOK that make nodes and pods work at once: a node keeps its lease, a pod gets
// Ready, one of a Job completes, one that is deleted goes.
func stageFolders() []string {
	return []string{"kustomize/stage/node/fast", "kustomize/stage/node/heartbeat-with-lease", "kustomize/stage/pod/fast"}
}

// copyStages takes the stages from the very module that KWOK was built from, in a set that has it.
func (b *builder) copyStages(ctx context.Context) error {
	kwok := slices.IndexFunc(b.modules, func(m module) bool { return m.folder == "kwok" })
	if kwok < 0 {
		return nil
	}
	m := b.modules[kwok]
	dir, err := goOutput(ctx, b.dir(m), "list", "-m", "-f", "{{.Dir}}", m.path)
	if err != nil {
		return err
	}
	into := filepath.Join(b.into, "stages")
	if err := os.MkdirAll(into, 0o755); err != nil {
		return err
	}
	for _, folder := range stageFolders() {
		files, err := filepath.Glob(filepath.Join(dir, folder, "*.yaml"))
		if err != nil {
			return err
		}
		if err := copyFiles(files, into); err != nil {
			return err
		}
	}
	return nil
}

// copyFiles leaves out kustomization.yaml, which only lists its neighbours.
func copyFiles(files []string, into string) error {
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		body, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(into, filepath.Base(file)), body, 0o644); err != nil {
			return err
		}
	}
	return nil
}
