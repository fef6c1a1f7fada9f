// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"fmt"
	"io"
)

// TooLargeError says that a body went beyond its bound. Find it with errors.As.
type TooLargeError struct {
	// Limit is the bound in bytes.
	Limit int64
}

// Error names the bound.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("more than %d bytes", e.Limit)
}

// LimitBody passes at most n bytes of body through and then fails with a *TooLargeError, unlike io.LimitReader, whose
// silent end would pass a cut body off as whole.
func LimitBody(body io.ReadCloser, n int64) io.ReadCloser {
	return &limited{ReadCloser: body, limit: n, left: n}
}

// LimitReader is LimitBody for a reader that needs no closing.
func LimitReader(r io.Reader, n int64) io.Reader {
	return LimitBody(io.NopCloser(r), n)
}

// ReadAll reads r to its end, or fails with a *TooLargeError after n bytes.
func ReadAll(r io.Reader, n int64) ([]byte, error) {
	return io.ReadAll(LimitReader(r, n))
}

type limited struct {
	io.ReadCloser
	limit int64
	left  int64
}

// Read asks for one byte beyond the bound, so that a body of exactly the bound ends with io.EOF.
func (l *limited) Read(p []byte) (int, error) {
	if l.left < 0 {
		return 0, &TooLargeError{Limit: l.limit}
	}
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.ReadCloser.Read(p)
	l.left -= int64(n)
	if l.left < 0 {
		return n - 1, &TooLargeError{Limit: l.limit}
	}
	return n, err
}
