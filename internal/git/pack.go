// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/pjbgf/sha1cd"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/transport"
)

// pack is a downloaded pack file, checked against the limits and indexed. Several goroutines may use it; they take turns.
type pack struct {
	file *packFile

	mu      sync.Mutex // guards the scanner, which has one place in the file
	scanner *packfile.Scanner
	objects []object // in the order of their offsets
	ids     map[plumbing.Hash]int
	bases   *cache.BufferLRU // the content of objects that others are deltas against, by offset
}

// object is one object of a pack. What ids does not name has not been resolved.
type object struct {
	offset int64               // of its header
	size   int64               // of its content
	base   int                 // the object it is a delta against, or noBase
	chain  int                 // how many deltas lie between it and a whole object
	kind   plumbing.ObjectType // of its content; the zero type while that is unknown
	isBase bool                // others are deltas against it
}

// noBase is the base of an object that is no delta.
const noBase = -1

// download copies the pack into a new temporary file, bounded and interruptible. The caller closes and removes the file.
func download(ctx context.Context, dir string, stream io.Reader, limit int64) (*os.File, error) {
	file, err := os.CreateTemp(dir, "pack-*")
	if err != nil {
		return nil, fmt.Errorf("temporary file for the pack: %w", err)
	}
	// The name goes at once: whatever ends the process, nothing stays behind.
	if err := os.Remove(file.Name()); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("temporary file for the pack: %w", err)
	}
	_, err = io.Copy(file, &interruptible{ctx: ctx, r: transport.LimitReader(stream, limit)})
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("download of the pack: %w", err)
	}
	return file, nil
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

// openPack indexes a pack. The pack closes the file.
func openPack(ctx context.Context, file *os.File, limits Limits) (*pack, error) {
	source := &packFile{File: file, ctx: ctx}
	if _, err := source.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read the pack: %w", err)
	}
	// Any one base fits, or a great one would be inflated again for each small delta against it.
	bases := cache.NewBufferLRU(max(32*cache.MiByte, cache.FileSize(limits.ObjectBytes)))
	p := &pack{file: source, scanner: packfile.NewScanner(source), ids: map[plumbing.Hash]int{}, bases: bases}
	var err error
	// sha1cd is no part of the module and not stopped by fips140=only; the exemption is for the record.
	fips.Exempt(fips.GitObjectID, func() { err = newIndexer(p, limits).run() })
	if err != nil {
		return nil, packError(err)
	}
	return p, nil
}

// close releases the file, whose name is gone already.
func (p *pack) close() error { return p.file.Close() }

// packError keeps our own errors and drops the parser's detail, which names offsets nobody can use.
func packError(err error) error {
	if _, ok := errors.AsType[*LimitError](err); ok || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("the pack is damaged (%s): %w", remoteText(err.Error(), nil), errProtocol)
}

// has reports whether the pack holds an object.
func (p *pack) has(hash string) bool {
	_, ok := p.ids[plumbing.NewHash(hash)]
	return ok
}

// find returns where an object of a kind is.
func (p *pack) find(hash string, want plumbing.ObjectType) (int, error) {
	i, ok := p.ids[plumbing.NewHash(hash)]
	if !ok {
		return 0, fmt.Errorf("object %s: %w", hash, ErrNotFound)
	}
	if kind := p.objects[i].kind; kind != want {
		return 0, fmt.Errorf("object %s is a %s, want a %s: %w", hash, kind, want, errProtocol)
	}
	return i, nil
}

// size returns how many bytes an object has, which the index knows.
func (p *pack) size(hash string, want plumbing.ObjectType) (int64, error) {
	i, err := p.find(hash, want)
	if err != nil {
		return 0, err
	}
	return p.objects[i].size, nil
}

// read returns an object after checking that its content bears the name it was asked for by. A second hash over what the
// index says costs little and means that a fault of the index cannot put foreign content under a signed name. The caller
// does not change the content.
func (p *pack) read(hash string, want plumbing.ObjectType) ([]byte, error) {
	i, err := p.find(hash, want)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	content, err := p.content(i)
	if err != nil {
		return nil, packError(err)
	}
	return content, checkName(hash, want, content)
}

// content inflates an object. Of a chain of deltas, one is held at a time beside what it changes and what it makes.
func (p *pack) content(i int) ([]byte, error) {
	var content []byte
	var chain []int
	for at := i; at != noBase; at = p.objects[at].base {
		held, ok := p.bases.Get(p.objects[at].offset)
		if ok {
			content = held
			break
		}
		chain = append(chain, at)
	}
	for _, at := range slices.Backward(chain) {
		o := p.objects[at]
		stored, err := p.inflate(o.offset)
		if err != nil {
			return nil, err
		}
		if o.base != noBase {
			if stored, err = packfile.PatchDelta(content, stored); err != nil {
				return nil, err
			}
		}
		if content = stored; o.isBase {
			p.bases.Put(o.offset, content)
		}
	}
	return content, nil
}

// inflate returns what is stored at an offset, whose announced size the indexer has found to be true and within the limit.
func (p *pack) inflate(offset int64) ([]byte, error) {
	header, err := p.scanner.SeekObjectHeader(offset)
	if err != nil {
		return nil, err
	}
	var stored bytes.Buffer
	stored.Grow(int(header.Length))
	n, _, err := p.scanner.NextObject(&stored)
	if err == nil && n != header.Length {
		err = errShort
	}
	return stored.Bytes(), err
}

// checkName hashes an object as Git does and refuses a collision attack.
func checkName(hash string, kind plumbing.ObjectType, content []byte) error {
	state, ok := sha1cd.New().(sha1cd.CollisionResistantHash)
	if !ok {
		return errors.New("no collision detection for object ids")
	}
	state.Write([]byte(kind.String() + " " + strconv.Itoa(len(content)) + "\x00"))
	state.Write(content)
	sum, collision := state.CollisionResistantSum(nil)
	if collision {
		return fmt.Errorf("object %s was made to collide with another: %w", hash, errProtocol)
	}
	if hex.EncodeToString(sum) != hash {
		return fmt.Errorf("object %s has other content than its name says: %w", hash, errProtocol)
	}
	return nil
}

// packFile is a file whose reads and seeks end with a context, so that resolving a long chain of deltas does.
type packFile struct {
	*os.File
	ctx context.Context //nolint:containedctx // io.Reader and io.Seeker have no context; lives as long as the content of one fetch
}

// Seek implements io.Seeker.
func (f *packFile) Seek(offset int64, whence int) (int64, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	return f.File.Seek(offset, whence)
}

// Read implements io.Reader.
func (f *packFile) Read(p []byte) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}
