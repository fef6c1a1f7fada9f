// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"errors"
	"fmt"
)

// ErrLocked is wrapped when another process writes the ledger.
var ErrLocked = errors.New("another process writes this ledger")

// ErrClosed is returned for a ledger that was closed.
var ErrClosed = errors.New("the ledger is closed")

// ErrTooLarge is wrapped for an entry over MaxEntry.
var ErrTooLarge = errors.New("the entry is too large")

// ErrNoIntent is wrapped for an outcome without an open intent before it.
var ErrNoIntent = errors.New("no open intent for this outcome")

// ErrStorage is wrapped when the disk did not take an entry. The entry is not in the ledger.
var ErrStorage = errors.New("the ledger could not be written")

// BrokenError says where a chain does not hold.
type BrokenError struct {
	// Seq is the number the entry should have.
	Seq uint64
	// Offset is where its line begins in the file.
	Offset int64
	// Problem says what is wrong.
	Problem string
}

// Error returns the message.
func (e *BrokenError) Error() string {
	return fmt.Sprintf("the ledger is broken at entry %d (byte %d): %s", e.Seq, e.Offset, e.Problem)
}
