// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commandLine and flag find the command lines and the flags that the page shows.
var (
	commandLine = regexp.MustCompile(`(?m)^    (?:source <\()?(sluice [^)\n]+)`)
	flag        = regexp.MustCompile("`(--[a-z-]+)`")
)

// sections returns the page's sections by their titles.
func sections(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, part := range strings.Split(string(page), "\n## ")[1:] {
		title, text, _ := strings.Cut(part, "\n")
		found[title] = text
	}
	return found
}

func rootForTest() *cobra.Command {
	return newProgram(Streams{Out: io.Discard, Err: io.Discard}).root()
}

func leaves(cmd *cobra.Command) []*cobra.Command {
	if !cmd.HasSubCommands() {
		return []*cobra.Command{cmd}
	}
	var all []*cobra.Command
	for _, child := range cmd.Commands() {
		all = append(all, leaves(child)...)
	}
	return all
}

func visibleFlags(sets ...*pflag.FlagSet) []string {
	var names []string
	for _, set := range sets {
		set.VisitAll(func(f *pflag.Flag) {
			if name := "--" + f.Name; !f.Hidden && !slices.Contains(names, name) && name != "--help" && name != "--version" {
				names = append(names, name)
			}
		})
	}
	return names
}

func TestDocumentShowsEveryCommandAndFlag(t *testing.T) {
	page, root := sections(t), rootForTest()
	for _, top := range root.Commands() {
		section, ok := page[top.CommandPath()]
		if !ok {
			t.Errorf("docs/cli.md has no section %q", top.CommandPath())
			continue
		}
		var own []string
		for _, leaf := range leaves(top) {
			if !strings.Contains(section, "    "+leaf.CommandPath()) && !strings.Contains(section, "("+leaf.CommandPath()) {
				t.Errorf("section %q has no example of %q", top.CommandPath(), leaf.CommandPath())
			}
			own = append(own, visibleFlags(leaf.NonInheritedFlags())...)
		}
		own = append(own, visibleFlags(top.PersistentFlags())...)
		compareFlags(t, top.CommandPath(), section, own)
	}
	for title := range page {
		if name, ok := strings.CutPrefix(title, programName+" "); ok {
			if cmd, _, err := root.Find([]string{name}); err != nil || cmd == root {
				t.Errorf("docs/cli.md describes %q, which does not exist", title)
			}
		}
	}
	compareFlags(t, programName, page["Every command"], append(visibleFlags(root.PersistentFlags()), "--help", "--version"))
}

// compareFlags wants the flags shown in the section to be exactly those of the command.
func compareFlags(t *testing.T, command, section string, want []string) {
	t.Helper()
	var shown []string
	for _, match := range flag.FindAllStringSubmatch(section, -1) {
		shown = append(shown, match[1])
	}
	for _, name := range want {
		if !slices.Contains(shown, name) {
			t.Errorf("section of %q does not show %s", command, name)
		}
	}
	for _, name := range shown {
		if !slices.Contains(want, name) {
			t.Errorf("section of %q shows %s, which the command has not", command, name)
		}
	}
}

func TestExamplesAreCommandLines(t *testing.T) {
	var lines []string
	for _, section := range sections(t) {
		for _, match := range commandLine.FindAllStringSubmatch(section, -1) {
			lines = append(lines, match[1])
		}
	}
	for _, leaf := range leaves(rootForTest()) {
		if leaf.Example == "" && leaf.Parent().Name() != "completion" {
			t.Errorf("%q has no example", leaf.CommandPath())
		}
		for line := range strings.Lines(leaf.Example) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, programName+" ") {
				lines = append(lines, line)
			}
		}
	}
	if len(lines) < 40 {
		t.Fatalf("only %d examples found", len(lines))
	}
	for _, line := range lines {
		cmd, args, err := rootForTest().Find(strings.Fields(line)[1:])
		if err != nil || !cmd.Runnable() || cmd.HasSubCommands() {
			t.Errorf("%q is no command: %v", line, err)
			continue
		}
		if err := cmd.ParseFlags(args); err != nil {
			t.Errorf("%q: %v", line, err)
		} else if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestHelpIsComplete(t *testing.T) {
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		if cmd.Short == "" || cmd.Long == "" {
			t.Errorf("%q has no short or no long help", cmd.CommandPath())
		}
		for _, child := range cmd.Commands() {
			check(child)
		}
	}
	check(rootForTest())
}
