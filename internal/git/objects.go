// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/klauspost/compress/zlib"
)

// objects are those of some packs, the oldest first: a delta of a later pack may be against an object of an earlier one. Several
// goroutines may use them.
type objects struct {
	ctx   context.Context //nolint:containedctx // reads are behind fs.FS, which has none; lives as long as the content of one fetch
	packs []*pack
	bases *cache.BufferLRU // the content of objects that others are deltas against
	idle  sync.Pool        // of inflaters
}

// place is where an object is.
type place struct {
	row
	pack int
}

// newObjects takes over the packs: close closes them.
func newObjects(ctx context.Context, limits Limits, packs ...*pack) *objects {
	// Any one base fits, or a great one would be inflated again for each small delta against it.
	bases := cache.NewBufferLRU(max(32*cache.MiByte, cache.FileSize(limits.ObjectBytes)))
	return &objects{ctx: ctx, packs: packs, bases: bases}
}

// with returns objects of one more pack, with the same context.
func (o *objects) with(p *pack, limits Limits) *objects {
	return newObjects(o.ctx, limits, append(slices.Clone(o.packs), p)...)
}

// close releases the packs.
func (o *objects) close() error {
	var errs []error
	for _, p := range o.packs {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

// has reports whether an object is there.
func (o *objects) has(hash string) bool {
	_, ok := o.locate(parseID(hash), maxChain+1)
	return ok
}

// locate finds an object whose chain is shorter than given.
func (o *objects) locate(id objectID, chain int) (place, bool) {
	for i, p := range slices.Backward(o.packs) {
		if r, ok := p.table.find(id); ok && r.chain < chain {
			return place{r, i}, true
		}
	}
	return place{}, false
}

// find returns where an object of a kind is.
func (o *objects) find(hash string, want plumbing.ObjectType) (place, error) {
	at, ok := o.locate(parseID(hash), maxChain+1)
	if !ok {
		return place{}, fmt.Errorf("object %s: %w", hash, ErrNotFound)
	}
	if at.kind != want {
		return place{}, fmt.Errorf("object %s is a %s, want a %s: %w", hash, at.kind, want, errProtocol)
	}
	return at, nil
}

// size returns how many bytes an object has, which the index knows.
func (o *objects) size(hash string, want plumbing.ObjectType) (int64, error) {
	at, err := o.find(hash, want)
	return at.size, err
}

// read returns an object after checking that its content bears the name it was asked for by. A second hash over what the
// index says costs little and means that neither a fault of the index nor a damaged disk can put foreign content under a signed
// name. The caller does not change the content.
func (o *objects) read(hash string, want plumbing.ObjectType) ([]byte, error) {
	at, err := o.find(hash, want)
	if err != nil {
		return nil, err
	}
	content, err := o.content(at)
	if err != nil {
		return nil, packError(err)
	}
	return content, checkName(hash, want, content)
}

// content inflates an object. Of a chain of deltas, one is held at a time beside what it changes and what it makes.
func (o *objects) content(at place) ([]byte, error) {
	var content []byte
	chain := []place{at}
	for at.isDelta() {
		base, ok := o.locate(at.base, at.chain)
		if !ok {
			return nil, errBase
		}
		if held, ok := o.bases.Get(base.key()); ok {
			content = held
			break
		}
		chain = append(chain, base)
		at = base
	}
	for i, at := range slices.Backward(chain) {
		stored, err := o.inflate(at)
		if err != nil {
			return nil, err
		}
		if at.isDelta() {
			if stored, err = packfile.PatchDelta(content, stored); err != nil {
				return nil, err
			}
		}
		if content = stored; i > 0 {
			o.bases.Put(at.key(), content)
		}
	}
	return content, nil
}

// key names an object in the cache.
func (p place) key() int64 {
	const shift = 44 // no pack has 16 TiB
	return int64(p.pack)<<shift | p.offset
}

// inflate returns what is stored of an object. The index knows its sizes, which were found to be true and within the limits.
func (o *objects) inflate(at place) ([]byte, error) {
	if err := o.ctx.Err(); err != nil {
		return nil, err
	}
	in := make([]byte, at.length)
	if _, err := o.packs[at.pack].file.ReadAt(in, at.offset); err != nil {
		return nil, noEOF(err)
	}
	z, err := o.inflater(bytes.NewReader(in))
	if err != nil {
		return nil, err
	}
	defer o.idle.Put(z)
	stored := make([]byte, at.stored)
	if _, err := io.ReadFull(z, stored); err != nil {
		return nil, noEOF(err)
	}
	// The checksum comes with the end.
	if n, err := z.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		return nil, errors.Join(errShort, err)
	}
	return stored, nil
}

// inflater returns an idle reader, or a new one.
func (o *objects) inflater(r io.Reader) (io.Reader, error) {
	if z, ok := o.idle.Get().(zlib.Resetter); ok {
		if err := z.Reset(r, nil); err != nil {
			return nil, err
		}
		return z.(io.Reader), nil
	}
	return zlib.NewReader(r)
}
