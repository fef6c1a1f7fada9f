// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"
)

// width is how wide a line may be.
const width = 100

// screen prints the play. Errors of printing are nobody's business: a closed terminal does not make a step fail.
type screen struct {
	out    io.Writer
	colour bool
}

func newScreen(out *os.File) *screen {
	info, err := out.Stat()
	tty := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &screen{out: out, colour: tty && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// The colours that are used, by meaning.
const (
	bold  = "1"
	faint = "2"
	good  = "32"
	bad   = "31"
	blue  = "36"
)

func (s *screen) paint(code, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *screen) line(text string) { fmt.Fprintln(s.out, text) }

// title starts a step.
func (s *screen) title(n, of int, text string) {
	s.line("")
	s.line(s.paint(bold, fmt.Sprintf("[%2d/%d] %s", n, of, text)))
}

// say tells what somebody does without a command of its own.
func (s *screen) say(format string, args ...any) {
	for i, text := range wrap(fmt.Sprintf(format, args...), width-10) {
		s.line("        " + mark(i, "» ") + text)
	}
}

// command shows what is run.
func (s *screen) command(text string) {
	for i, text := range wrap(text, width-10) {
		s.line("        " + s.paint(blue, mark(i, "$ ")+text))
	}
}

// mark is the sign of a first line, and its width in spaces for the following.
func mark(line int, sign string) string {
	if line == 0 {
		return sign
	}
	return strings.Repeat(" ", utf8.RuneCountInString(sign))
}

// quote shows what a program printed. Lines that are too long are wrapped.
func (s *screen) quote(text string) {
	for text := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		lines := []string{strings.TrimRight(text, " ")}
		if utf8.RuneCountInString(text) > width-10 {
			lines = wrap(text, width-12)
		}
		for i, line := range lines {
			if i > 0 {
				line = "  " + line
			}
			s.line("          " + s.paint(faint, line))
		}
	}
}

// fact shows one property of an outcome, wrapped.
func (s *screen) fact(name, text string) {
	for i, text := range wrap(text, width-19) {
		label := ""
		if i == 0 {
			label = name
		}
		s.line(fmt.Sprintf("          %-8s %s", label, text))
	}
}

// verdict ends a step.
func (s *screen) verdict(o outcome) {
	took := fmt.Sprintf(" (%.1f s)", o.took.Seconds())
	if o.err == nil {
		s.line("        " + s.paint(good, "✓ "+o.seen) + s.paint(faint, took))
		return
	}
	for i, text := range wrap(o.err.Error(), width-10) {
		s.line("        " + s.paint(bad, mark(i, "✗ ")+text))
	}
}

// table ends the play.
func (s *screen) table(outcomes []outcome) {
	s.line("")
	s.row(" ", bold, "", "step", "expected", "seen")
	var took time.Duration
	for i, o := range outcomes {
		sign, code, seen := "✓", good, o.seen
		if o.err != nil {
			sign, code, seen = "✗", bad, o.err.Error()
		}
		s.row(sign, code, fmt.Sprintf("%2d ", i+1), o.title, o.expect, seen)
		took += o.took
	}
	s.line("")
	if n := broken(outcomes); n > 0 {
		s.line(s.paint(bad, fmt.Sprintf(" %d of %d steps do not hold (%.0f s)", n, len(outcomes), took.Seconds())))
		return
	}
	s.line(s.paint(good, fmt.Sprintf(" All %d steps hold (%.0f s)", len(outcomes), took.Seconds())))
}

// The widths of the table's columns. What was seen is told in full where the step was played.
const (
	titleWidth  = 37
	expectWidth = 27
	seenWidth   = 27
	seenLines   = 3
)

// row prints a row of the table, on as many lines as its cells need. Its number is part of the first column.
func (s *screen) row(sign, code, number, title, expect, seen string) {
	titles := wrap(title, titleWidth-len(number))
	expects := wrap(expect, expectWidth)
	seens := wrap(cut(seen, seenLines*seenWidth), seenWidth)
	for l := range max(1, len(titles), len(expects), len(seens)) {
		if l > 0 {
			sign, number = " ", strings.Repeat(" ", len(number))
		}
		line := pad(number+nth(titles, l), titleWidth) + "  " + pad(nth(expects, l), expectWidth) + "  " + nth(seens, l)
		s.line(" " + s.paint(code, sign) + " " + strings.TrimRight(line, " "))
	}
}

func nth(lines []string, n int) string {
	if n < len(lines) {
		return lines[n]
	}
	return ""
}

func pad(text string, to int) string {
	return text + strings.Repeat(" ", max(0, to-utf8.RuneCountInString(text)))
}

// cut ends a text that is too long with an ellipsis.
func cut(text string, to int) string {
	if utf8.RuneCountInString(text) <= to {
		return text
	}
	return string([]rune(text)[:to-1]) + "…"
}

// wrap breaks a text at spaces. A word that is longer than a line is broken where the line ends.
func wrap(text string, to int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		for utf8.RuneCountInString(word) > to {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			runes := []rune(word)
			lines, word = append(lines, string(runes[:to])), string(runes[to:])
		}
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= to:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
