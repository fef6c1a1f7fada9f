// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Errors that callers tell apart.
var (
	// ErrTooLarge is wrapped when content exceeds a limit.
	ErrTooLarge = errors.New("content exceeds a limit")
	// ErrUnsafe is wrapped when an archive holds something that a source may not hold: a path out of its root, a link, a
	// device, or the same file twice.
	ErrUnsafe = errors.New("archive is not safe to extract")
	// ErrDigest is wrapped when bytes are not the ones that were asked for.
	ErrDigest = errors.New("digest does not match")
	// ErrMissing is wrapped when the store or the server does not have what was asked for.
	ErrMissing = errors.New("artifact not found")
)

// Limits bound untrusted content. Each zero field has the default in its comment.
type Limits struct {
	// Compressed is the size of an archive or a layer in bytes: 512 MiB.
	Compressed int64
	// Extracted is the sum of the sizes of its files in bytes: 2 GiB.
	Extracted int64
	// Files is the number of files and directories: 100 000.
	Files int
	// Depth is how many directories a path may have: 64.
	Depth int
	// Ratio is how many times larger than its archive the content may be, once it is larger than 64 MiB: 200.
	Ratio int64
	// Links says what to do with symbolic links, hard links and devices: refuse the archive, or leave them out as Flux
	// does with the layers of an image.
	Links LinkMode
}

// LinkMode says what happens to what is neither a file nor a directory. The zero LinkMode refuses.
type LinkMode int

const (
	// RefuseLinks refuses the whole archive.
	RefuseLinks LinkMode = iota
	// SkipLinks leaves them out.
	SkipLinks
)

// ratioFrom is the size from which on the ratio counts: small manifests compress well.
const ratioFrom = 64 << 20

// withDefaults fills in the documented zero values.
func (l Limits) withDefaults() Limits {
	if l.Compressed == 0 {
		l.Compressed = 512 << 20
	}
	if l.Extracted == 0 {
		l.Extracted = 2 << 30
	}
	if l.Files == 0 {
		l.Files = 100_000
	}
	if l.Depth == 0 {
		l.Depth = 64
	}
	if l.Ratio == 0 {
		l.Ratio = 200
	}
	return l
}

// bounded reads at most limit bytes, counts them, and ends with the context.
type bounded struct {
	ctx   context.Context //nolint:containedctx // a reader has no other way to learn that its caller gave up
	r     io.Reader
	limit int64
	n     int64
}

// Read implements io.Reader. More than limit bytes are an error, never a silent end.
func (b *bounded) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, context.Cause(b.ctx)
	}
	if left := b.limit - b.n + 1; int64(len(p)) > left {
		p = p[:left]
	}
	n, err := b.r.Read(p)
	b.n += int64(n)
	if b.n > b.limit {
		return n, fmt.Errorf("more than %d bytes: %w", b.limit, ErrTooLarge)
	}
	return n, err
}
