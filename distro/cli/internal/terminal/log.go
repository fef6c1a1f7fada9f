// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"fmt"
	"io"
	"sync"
)

// Log prints status lines, each with the symbol Flux uses for its kind. Several goroutines may use one Log. A line that
// cannot be written is lost: standard error is where one would say so.
type Log struct {
	out io.Writer
	mu  sync.Mutex
}

// NewLog returns a Log that prints to out.
func NewLog(out io.Writer) *Log { return &Log{out: out} }

// Action says what is about to be done.
func (l *Log) Action(format string, args ...any) { l.line("►", format, args) }

// Success says that something is as it should be.
func (l *Log) Success(format string, args ...any) { l.line("✔", format, args) }

// Failure says that something is not.
func (l *Log) Failure(format string, args ...any) { l.line("✗", format, args) }

// Waiting says what is waited for.
func (l *Log) Waiting(format string, args ...any) { l.line("◎", format, args) }

// Warning says what a person should look at although nothing failed.
func (l *Log) Warning(format string, args ...any) { l.line("⚠", format, args) }

func (l *Log) line(symbol, format string, args []any) {
	text := CleanText(fmt.Sprintf(format, args...))
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(l.out, symbol, text) // nowhere else to say it
}
