// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Table prints rows under a header in the layout of Flux's tables: cells are padded and separated by tabs, so that both a
// reader and cut -f find the columns. The zero Table prints no header.
type Table struct {
	// Header names the columns. Empty prints none.
	Header []string

	widths  []int
	started bool
}

// Print writes the rows. Later calls on the same Table, as a watch makes them, keep the columns at least as wide as before
// and do not repeat the header.
func (t *Table) Print(out io.Writer, rows [][]string) error {
	lines := make([][]string, 0, len(rows)+1)
	if !t.started && len(t.Header) > 0 {
		lines = append(lines, t.Header)
	}
	t.started = true
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = Clean(cell)
		}
		lines = append(lines, cells)
	}
	for _, line := range lines {
		t.widen(line)
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(out, t.format(line)); err != nil {
			return fmt.Errorf("print table: %w", err)
		}
	}
	return nil
}

func (t *Table) widen(cells []string) {
	for i, cell := range cells {
		if i == len(t.widths) {
			t.widths = append(t.widths, 0)
		}
		t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell))
	}
}

func (t *Table) format(cells []string) string {
	var line strings.Builder
	for i, cell := range cells {
		if i > 0 {
			line.WriteByte('\t')
		}
		line.WriteString(cell)
		if i < len(cells)-1 {
			line.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(cell)))
		}
	}
	return line.String()
}
