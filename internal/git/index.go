// SPDX-License-Identifier: Apache-2.0

package git

import (
	"cmp"
	"errors"
	"io"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// indexer finds the objects of a pack and their names in one pass, and refuses what is beyond the limits before it is
// inflated. go-git's own parser, which trusts announced sizes and inflates each object twice, is not used.
type indexer struct {
	*pack

	limits Limits
	total  int64
	// deltas are the objects that can be resolved once their base, the key, is.
	deltas map[int][]int
	// waiting are deltas whose base is known by name alone and has not been seen.
	waiting map[plumbing.Hash][]int
}

// maxChain is how many deltas may lie between an object and a whole one: what Git itself can make (pack-objects.h,
// OE_DEPTH_BITS).
const maxChain = 4095

// The complaints about a pack; packError adds that it is damaged.
var (
	errShort = errors.New("an object is shorter than announced")
	errKind  = errors.New("an object is of no known type")
	errDelta = errors.New("a delta has no sizes")
	errBase  = errors.New("a delta is against an object that is not there")
	errChain = errors.New("a chain of deltas is too long")
)

func newIndexer(p *pack, limits Limits) *indexer {
	return &indexer{pack: p, limits: limits, deltas: map[int][]int{}, waiting: map[plumbing.Hash][]int{}}
}

// run reads the pack from its beginning.
func (x *indexer) run() error {
	_, count, err := x.scanner.Header()
	if err != nil {
		return err
	}
	if int64(count) > x.limits.Objects {
		return &LimitError{What: "the number of objects", Limit: x.limits.Objects}
	}
	for range count {
		if err := x.next(); err != nil {
			return err
		}
	}
	if _, err := x.scanner.Checksum(); err != nil {
		return err
	}
	return x.resolve()
}

// next reads one object.
func (x *indexer) next() error {
	header, err := x.scanner.NextObjectHeader()
	if err != nil {
		return err
	}
	if header.Length < 0 || header.Length > x.limits.ObjectBytes {
		return x.tooLarge()
	}
	switch header.Type {
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
		return x.whole(header)
	case plumbing.OFSDeltaObject, plumbing.REFDeltaObject:
		return x.delta(header)
	default:
		return errKind
	}
}

func (x *indexer) tooLarge() error {
	return &LimitError{What: "the size of an object in bytes", Limit: x.limits.ObjectBytes}
}

// whole takes an object that is stored in full, and names it while it is inflated into nothing.
func (x *indexer) whole(header *packfile.ObjectHeader) error {
	hasher := plumbing.NewHasher(header.Type, header.Length)
	if err := x.pass(header, hasher); err != nil {
		return err
	}
	x.objects = append(x.objects, object{offset: header.Offset, size: header.Length, base: noBase, kind: header.Type})
	x.name(len(x.objects)-1, hasher.Sum())
	return x.count(header.Length)
}

// delta takes an object that is stored as the difference to another.
func (x *indexer) delta(header *packfile.ObjectHeader) error {
	var start prefix
	if err := x.pass(header, &start); err != nil {
		return err
	}
	result, ok := deltaResult(start.kept)
	if !ok {
		return errDelta
	}
	if result > uint64(x.limits.ObjectBytes) { // the limit is positive
		return x.tooLarge()
	}
	size := int64(result)
	x.objects = append(x.objects, object{offset: header.Offset, size: size, base: noBase})
	if err := x.stack(len(x.objects)-1, header); err != nil {
		return err
	}
	return x.count(max(size, header.Length))
}

// pass inflates the next object into w.
func (x *indexer) pass(header *packfile.ObjectHeader, w io.Writer) error {
	n, _, err := x.scanner.NextObject(w)
	if err == nil && n != header.Length {
		err = errShort
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
func (x *indexer) stack(i int, header *packfile.ObjectHeader) error {
	if header.Type == plumbing.REFDeltaObject {
		if base, ok := x.ids[header.Reference]; ok {
			x.attach(i, base)
			return nil
		}
		x.waiting[header.Reference] = append(x.waiting[header.Reference], i)
		return nil
	}
	base, ok := slices.BinarySearchFunc(x.objects, header.OffsetReference, func(o object, at int64) int { return cmp.Compare(o.offset, at) })
	if !ok {
		return errBase
	}
	x.attach(i, base)
	return nil
}

func (x *indexer) attach(i, base int) {
	x.objects[i].base, x.objects[base].isBase = base, true
	x.deltas[base] = append(x.deltas[base], i)
}

// name gives an object its name and lets go on what waited for it. Of two objects of one name the first counts.
func (x *indexer) name(i int, id plumbing.Hash) {
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
	for _, o := range x.objects {
		if o.kind == plumbing.InvalidObject {
			left++
		}
	}
	for i := range x.objects {
		if x.objects[i].kind == plumbing.InvalidObject || x.objects[i].chain > 0 {
			continue
		}
		for ready := x.take(i); len(ready) > 0; left-- {
			last := len(ready) - 1
			next := ready[last]
			if err := x.apply(next); err != nil {
				return err
			}
			ready = append(ready[:last], x.take(next)...)
		}
	}
	if left > 0 {
		return errBase
	}
	return nil
}

// take returns the deltas against an object.
func (x *indexer) take(base int) []int {
	taken := x.deltas[base]
	delete(x.deltas, base)
	return taken
}

// apply names one delta.
func (x *indexer) apply(i int) error {
	o := &x.objects[i]
	base := x.objects[o.base]
	if o.kind, o.chain = base.kind, base.chain+1; o.chain > maxChain {
		return errChain
	}
	content, err := x.content(i)
	if err != nil {
		return err
	}
	x.name(i, plumbing.ComputeHash(o.kind, content))
	return nil
}

// prefix keeps the first bytes written and drops the rest: two sizes of at most ten bytes each.
type prefix struct{ kept []byte }

// Write implements io.Writer.
func (p *prefix) Write(b []byte) (int, error) {
	if room := 20 - len(p.kept); room > 0 {
		p.kept = append(p.kept, b[:min(room, len(b))]...)
	}
	return len(b), nil
}

// deltaResult reads the second of the two sizes a delta begins with (gitformat-pack, "Deltified representation").
func deltaResult(b []byte) (uint64, bool) {
	var size uint64
	for range 2 {
		size = 0
		for shift := 0; ; shift += 7 {
			if len(b) == 0 || shift > 56 {
				return 0, false
			}
			digit := b[0]
			b = b[1:]
			size |= uint64(digit&0x7f) << shift
			if digit&0x80 == 0 {
				break
			}
		}
	}
	return size, true
}
