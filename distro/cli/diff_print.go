// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"strings"

	"sigs.k8s.io/yaml"

	"sluice.dev/sluice/controllers/kustomize/preview"
	"sluice.dev/sluice/distro/cli/internal/terminal"
)

// diffPrinter prints differences: a line for each object, in upstream's words, and below it its fields. The first error ends
// it.
type diffPrinter struct {
	out io.Writer
	err error
}

func (p *diffPrinter) line(format string, args ...any) {
	if p.err != nil {
		return
	}
	if _, err := fmt.Fprintln(p.out, terminal.Clean(fmt.Sprintf(format, args...))); err != nil {
		p.err = fmt.Errorf("print differences: %w", err)
	}
}

func (p *diffPrinter) difference(d preview.Difference) {
	reason := ""
	if d.Reason != "" {
		reason = ": " + d.Reason
	}
	p.line("► %s %s%s", d.ID, happens(d), reason)
	for _, field := range d.Fields {
		p.field(field)
	}
}

// happens says what would become of an object.
func happens(d preview.Difference) string {
	switch d.Action {
	case preview.Delete:
		return "deleted"
	case preview.Replace:
		return "replaced"
	}
	if d.Exists {
		return "drifted"
	}
	return "created"
}

func (p *diffPrinter) field(f preview.FieldChange) {
	setBy := ""
	if len(f.SetBy) > 0 {
		setBy = " (set by " + strings.Join(f.SetBy, ", ") + ")"
	}
	p.line("  %s%s", f.Path, setBy)
	var before, after []string
	if f.Kind != preview.FieldAdded {
		before = valueLines(f.Before)
	}
	if f.Kind != preview.FieldRemoved {
		after = valueLines(f.After)
	}
	same := 0
	for same < min(len(before), len(after)) && before[same] == after[same] {
		same++
	}
	before, after = before[same:], after[same:]
	for len(before) > 0 && len(after) > 0 && before[len(before)-1] == after[len(after)-1] {
		before, after = before[:len(before)-1], after[:len(after)-1]
	}
	if same > 0 {
		p.line("    from line %d", same+1)
	}
	for _, line := range before {
		p.line("    - %s", line)
	}
	for _, line := range after {
		p.line("    + %s", line)
	}
}

// valueLines is a value as YAML, but for text of several lines, which is taken as it is.
func valueLines(value any) []string {
	if text, ok := value.(string); ok && (strings.Contains(text, "\n") || strings.HasPrefix(text, "***")) {
		return strings.Split(text, "\n")
	}
	body, err := yaml.Marshal(value)
	if err != nil {
		return []string{fmt.Sprint(value)} // what the API server sent can be marshalled
	}
	return strings.Split(strings.TrimRight(string(body), "\n"), "\n")
}
