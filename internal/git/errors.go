// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/transport"
)

// The condition reasons of this package's faults (spec row S-10).
const (
	ReasonURLInvalid           = "URLInvalid"
	ReasonAuthenticationFailed = "AuthenticationFailed"
	ReasonOperationFailed      = "GitOperationFailed"
	ReasonEmptyRepository      = "EmptyGitRepository"
)

// ErrEmptyRepository is wrapped by errors about a repository without any reference.
var ErrEmptyRepository = errors.New("the repository is empty")

// ErrNotFound is wrapped by errors about a reference or commit that the repository does not have.
var ErrNotFound = errors.New("not found in the repository")

// errAuth is wrapped by errors of the sessions when the server did not accept us, or we did not accept the server.
var errAuth = errors.New("authentication failed")

// LimitError says which bound of Limits a repository went beyond. Find it with errors.As.
type LimitError struct {
	// What names the bound, for example "pack size".
	What string
	// Limit is its value.
	Limit int64
}

// Error names the bound and its value.
func (e *LimitError) Error() string {
	return fmt.Sprintf("the repository is too large: %s is over the limit of %d", e.What, e.Limit)
}

// operation turns an error of a session into a fault with the right reason. subject is the redacted URL.
func operation(ctx context.Context, subject, doing string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Fault](err); ok {
		return err
	}
	reason := ReasonOperationFailed
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.New(fault.Retry, reason, "%s %q: timed out: %w", doing, subject, context.DeadlineExceeded)
	case ctx.Err() != nil:
		return fault.New(fault.Retry, reason, "%s %q: %w", doing, subject, ctx.Err())
	case errors.Is(err, errAuth):
		reason = ReasonAuthenticationFailed
	case errors.Is(err, ErrEmptyRepository):
		reason = ReasonEmptyRepository
	}
	return fault.New(fault.Retry, reason, "%s %q: %w", doing, subject, transport.Cause(err))
}

// remoteText makes text of a server fit for a message: printable, short, and without the secrets we sent it.
func remoteText(text string, secrets []string) string {
	const limit = 200
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	return fault.Printable(strings.Join(strings.Fields(text), " "), limit)
}
