// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/transport"
)

// pack is a file with the bytes of objects, and where each of them is. It never changes.
type pack struct {
	file  *os.File
	table table
	size  int64
}

// close releases the file.
func (p *pack) close() error { return p.file.Close() }

// scratch returns a new temporary file whose name is gone already: whatever ends the process, nothing stays behind.
func scratch(dir string) (*os.File, error) {
	file, err := os.CreateTemp(dir, "pack-*")
	if err != nil {
		return nil, fmt.Errorf("temporary file for the pack: %w", err)
	}
	if err := os.Remove(file.Name()); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("temporary file for the pack: %w", err)
	}
	return file, nil
}

// download copies a pack into a file, bounded and interruptible.
func download(ctx context.Context, file *os.File, stream io.Reader, limit int64) error {
	if _, err := io.Copy(file, &interruptible{ctx: ctx, r: transport.LimitReader(stream, limit)}); err != nil {
		return fmt.Errorf("download of the pack: %w", err)
	}
	return nil
}

// interruptible ends a read loop when its context ends.
type interruptible struct {
	ctx context.Context //nolint:containedctx // io.Reader has no context; lives as long as one copy
	r   io.Reader
}

// Read implements io.Reader.
func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}

// indexPack finds the objects of a downloaded pack. Deltas in it may be against objects that are held already. The pack closes
// the file; after an error the caller does.
func indexPack(file *os.File, format objectFormat, limits Limits, held *objects) (*pack, error) {
	x, err := newIndexer(file, format, limits, held)
	if err != nil {
		return nil, packError(err)
	}
	if format == sha1Format {
		// sha1cd is no part of the module and not stopped by fips140=only; the exemption is for the record.
		fips.Exempt(fips.GitObjectID, func() { err = x.run() })
	} else {
		err = x.run()
	}
	if err != nil {
		return nil, packError(err)
	}
	return x.pack, nil
}

// packError keeps our own errors and drops the parser's detail, which names offsets nobody can use.
func packError(err error) error {
	if _, ok := errors.AsType[*LimitError](err); ok || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("the pack is damaged (%s): %w", remoteText(err.Error(), nil), errProtocol)
}
