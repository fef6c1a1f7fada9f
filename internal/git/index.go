// SPDX-License-Identifier: Apache-2.0

package git

import (
	"cmp"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// indexer finds the objects of a pack and their names in one pass, and refuses what is beyond the limits before it is
// inflated. go-git's own parser, which trusts announced sizes and inflates each object twice, is not used.
type indexer struct {
	pack   *pack
	format objectFormat
	limits Limits
	held   *objects // what earlier packs have
	read   *objects // the pack itself, read by place
	scan   *scanner
	total  int64

	rows []object // in the order of their offsets
	ids  map[objectID]int
	// deltas are the objects that can be resolved once their base, the key, is.
	deltas map[int][]int
	// waiting are deltas whose base is known by name alone and has not been seen.
	waiting map[objectID][]int
}

// object is one object of a pack while it is indexed.
type object struct {
	row
	at    int64 // where its header begins
	below int   // the object of the pack that it is a delta against, or noBase
}

// noBase is the base of an object that is no delta, or one against an object of an earlier pack.
const noBase = -1

// maxChain is how many deltas may lie between an object and a whole one: what Git itself can make (pack-objects.h,
// OE_DEPTH_BITS).
const maxChain = 4095

// The complaints about a pack; packError adds that it is damaged.
var (
	errShort = errors.New("an object is not as long as announced")
	errKind  = errors.New("an object is of no known type")
	errDelta = errors.New("a delta has no sizes")
	errBase  = errors.New("a delta is against an object that is not there")
	errChain = errors.New("a chain of deltas is too long")
)

func newIndexer(file *os.File, format objectFormat, limits Limits, held *objects) (*indexer, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	p := &pack{file: file, size: info.Size()}
	return &indexer{
		pack: p, format: format, limits: limits, held: held, read: newObjects(held.ctx, limits, p),
		scan: newScanner(&interruptible{ctx: held.ctx, r: io.NewSectionReader(file, 0, info.Size())}, format),
		ids:  map[objectID]int{}, deltas: map[int][]int{}, waiting: map[objectID][]int{},
	}, nil
}

// run reads the pack from its beginning.
func (x *indexer) run() error {
	count, err := x.scan.start()
	if err != nil {
		return err
	}
	if count > x.limits.Objects {
		return &LimitError{What: "the number of objects", Limit: x.limits.Objects}
	}
	for range count {
		if err := x.next(); err != nil {
			return err
		}
	}
	if err := x.scan.end(); err != nil {
		return err
	}
	if err := x.resolve(); err != nil {
		return err
	}
	x.ids, x.deltas, x.waiting = nil, nil, nil // makes room
	x.pack.table = newTable(x.format, x.rows)
	return nil
}

// next reads one object.
func (x *indexer) next() error {
	h, err := x.scan.next()
	if err != nil {
		return err
	}
	if h.size > x.limits.ObjectBytes || h.size > maxObject {
		return x.tooLarge()
	}
	o := object{row: row{offset: x.scan.offset(), stored: h.size, size: h.size}, at: h.at, below: noBase}
	switch h.kind {
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
		return x.whole(o, h)
	case plumbing.OFSDeltaObject, plumbing.REFDeltaObject:
		return x.delta(o, h)
	default:
		return errKind
	}
}

func (x *indexer) tooLarge() error {
	return &LimitError{What: "the size of an object in bytes", Limit: x.limits.ObjectBytes}
}

// whole takes an object that is stored in full, and names it while it is inflated into nothing.
func (x *indexer) whole(o object, h header) error {
	namer, err := x.format.newNamer(h.kind, h.size)
	if err != nil {
		return err
	}
	if err := x.pass(&o, h, namer.hash); err != nil {
		return err
	}
	id, err := namer.sum()
	if err != nil {
		return err
	}
	o.kind = h.kind
	x.rows = append(x.rows, o)
	x.name(len(x.rows)-1, id)
	return x.count(o.size)
}

// delta takes an object that is stored as the difference to another.
func (x *indexer) delta(o object, h header) error {
	var start prefix
	if err := x.pass(&o, h, &start); err != nil {
		return err
	}
	result, ok := deltaResult(start.kept)
	if !ok {
		return errDelta
	}
	if result > uint64(x.limits.ObjectBytes) || result > maxObject { // the limit is positive
		return x.tooLarge()
	}
	o.size = int64(result)
	x.rows = append(x.rows, o)
	if err := x.stack(len(x.rows)-1, h); err != nil {
		return err
	}
	return x.count(max(o.size, o.stored))
}

// pass inflates the next object into w and notes how much of the pack it takes.
func (x *indexer) pass(o *object, h header, w io.Writer) error {
	err := x.scan.object(h, w)
	if o.length = x.scan.offset() - o.offset; err == nil && o.length > maxObject {
		return errHeader
	}
	return err
}

// count bounds the sum of all objects.
func (x *indexer) count(size int64) error {
	if x.total += size; x.total > x.limits.InflatedBytes {
		return &LimitError{What: "the size of all objects in bytes", Limit: x.limits.InflatedBytes}
	}
	return nil
}

// stack puts a delta upon its base, or where it waits for it.
func (x *indexer) stack(i int, h header) error {
	if h.kind == plumbing.REFDeltaObject {
		if base, ok := x.ids[h.name]; ok {
			x.attach(i, base)
			return nil
		}
		x.waiting[h.name] = append(x.waiting[h.name], i)
		return nil
	}
	base, ok := slices.BinarySearchFunc(x.rows[:i], h.at-h.back, func(o object, at int64) int { return cmp.Compare(o.at, at) })
	if !ok {
		return errBase
	}
	x.attach(i, base)
	return nil
}

func (x *indexer) attach(i, base int) {
	x.rows[i].below = base
	x.deltas[base] = append(x.deltas[base], i)
}

// name gives an object its name and lets go on what waited for it. Of two objects of one name the first counts.
func (x *indexer) name(i int, id objectID) {
	x.rows[i].id = id
	if _, twice := x.ids[id]; twice {
		return
	}
	x.ids[id] = i
	for _, delta := range x.waiting[id] {
		x.attach(delta, i)
	}
	delete(x.waiting, id)
}

// resolve names the deltas, each right after its base, whose content is still in hand then. Only what rests on a whole
// object is come to, so deltas in a circle are left over.
func (x *indexer) resolve() error {
	left := 0
	for _, o := range x.rows {
		if o.kind == plumbing.InvalidObject {
			left++
		}
	}
	for i := range x.rows {
		if x.rows[i].kind == plumbing.InvalidObject || x.rows[i].chain > 0 {
			continue
		}
		n, err := x.settle(x.take(i))
		if left -= n; err != nil {
			return err
		}
	}
	if left > 0 && len(x.held.packs) > 0 {
		n, err := x.settleOnHeld()
		if left -= n; err != nil {
			return err
		}
	}
	if left > 0 {
		return errBase
	}
	return nil
}

// settle names deltas whose bases are known, and all that rests on them.
func (x *indexer) settle(ready []int) (n int, err error) {
	for ; len(ready) > 0; n++ {
		last := len(ready) - 1
		next := ready[last]
		if err := x.apply(next); err != nil {
			return n, err
		}
		ready = append(ready[:last], x.take(next)...)
	}
	return n, nil
}

// settleOnHeld names the deltas that are against an object of an earlier pack: a thin pack has such. What has been settled may
// be what another waits for, so names are taken in turn until none is left that is held.
func (x *indexer) settleOnHeld() (n int, err error) {
	for again := true; again; {
		again = false
		for id, waiting := range x.waiting {
			base, ok := x.held.locate(id, maxChain)
			if !ok {
				continue
			}
			again = true
			delete(x.waiting, id)
			for _, i := range waiting {
				if err := x.applyHeld(i, base); err != nil {
					return n, err
				}
				settled, err := x.settle(x.take(i))
				if n += settled + 1; err != nil {
					return n, err
				}
			}
		}
	}
	return n, nil
}

// take returns the deltas against an object.
func (x *indexer) take(base int) []int {
	taken := x.deltas[base]
	delete(x.deltas, base)
	return taken
}

// apply names one delta against an object of the pack.
func (x *indexer) apply(i int) error {
	base := x.rows[x.rows[i].below]
	content, err := x.content(x.rows[i].below)
	if err != nil {
		return err
	}
	return x.finish(i, base.row, content)
}

// applyHeld names one delta against an object of an earlier pack.
func (x *indexer) applyHeld(i int, base place) error {
	content, err := x.held.content(base)
	if err != nil {
		return err
	}
	if err := checkName(base.id.String(), base.kind, content); err != nil {
		return err
	}
	return x.finish(i, base.row, content)
}

// finish names a delta whose base has a content, and keeps its own for what may rest on it.
func (x *indexer) finish(i int, base row, content []byte) error {
	o := &x.rows[i]
	if o.kind, o.chain, o.base = base.kind, base.chain+1, base.id; o.chain > maxChain {
		return errChain
	}
	stored, err := x.read.inflate(place{row: o.row})
	if err != nil {
		return err
	}
	if content, err = packfile.PatchDelta(content, stored); err != nil {
		return err
	}
	if int64(len(content)) != o.size {
		return errShort
	}
	id, err := x.format.nameOf(o.kind, content)
	if err != nil {
		return err
	}
	if x.name(i, id); len(x.deltas[i]) > 0 {
		x.read.bases.Put(o.offset, content)
	}
	return nil
}

// content returns that of an object of the pack which has been named.
func (x *indexer) content(i int) ([]byte, error) {
	var chain []int
	var content []byte
	for at := i; ; at = x.rows[at].below {
		o := x.rows[at]
		if held, ok := x.read.bases.Get(o.offset); ok {
			content = held
			break
		}
		chain = append(chain, at)
		if o.below != noBase {
			continue
		}
		if o.isDelta() { // upon an earlier pack
			base, ok := x.held.locate(o.base, o.chain)
			if !ok {
				return nil, errBase
			}
			var err error
			if content, err = x.held.content(base); err != nil {
				return nil, err
			}
		}
		break
	}
	for _, at := range slices.Backward(chain) {
		o := x.rows[at]
		stored, err := x.read.inflate(place{row: o.row})
		if err != nil {
			return nil, err
		}
		if o.isDelta() {
			if stored, err = packfile.PatchDelta(content, stored); err != nil {
				return nil, err
			}
		}
		content = stored
		x.read.bases.Put(o.offset, content)
	}
	return content, nil
}
