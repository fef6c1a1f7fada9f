// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/go-git/go-git/v5/plumbing"
)

// table says where each object of a pack is, in rows of equal length that are sorted by name: it is searched as it stands, in
// memory and after a restart alike.
type table struct {
	format objectFormat
	rows   []byte
}

// row is one object of a pack.
type row struct {
	id     objectID
	base   objectID            // the object it is a delta against; none for a whole one
	kind   plumbing.ObjectType // of its content
	chain  int                 // how many deltas lie between it and a whole object
	offset int64               // of what is stored, in the pack
	length int64               // of what is stored
	stored int64               // the size of that when inflated
	size   int64               // of the content
}

// width is the length of a row: two names, 4 bytes for kind and chain, and 20 for place and sizes.
func (t table) width() int { return 2*t.format.size() + 24 }

func (r row) isDelta() bool { return !r.base.isZero() }

// newTable sorts objects. Of two objects of one name the one with the shorter chain counts, so that every base is nearer to a whole
// object than what rests on it.
func newTable(format objectFormat, rows []object) table {
	slices.SortFunc(rows, func(a, b object) int {
		return cmp.Or(a.id.compare(&b.id), cmp.Compare(a.chain, b.chain))
	})
	rows = slices.CompactFunc(rows, func(a, b object) bool { return a.id == b.id })
	size := format.size()
	t := table{format: format}
	b := make([]byte, 0, len(rows)*t.width())
	for _, r := range rows {
		b = append(append(b, r.id.sum[:size]...), r.base.sum[:size]...)
		b = binary.BigEndian.AppendUint16(b, uint16(r.kind))  // below 8
		b = binary.BigEndian.AppendUint16(b, uint16(r.chain)) // at most maxChain
		b = binary.BigEndian.AppendUint64(b, uint64(r.offset))
		for _, n := range []int64{r.length, r.stored, r.size} {
			b = binary.BigEndian.AppendUint32(b, uint32(n)) // at most maxObject
		}
	}
	t.rows = b
	return t
}

// maxObject is what a row can hold, far beyond any sane Limits.ObjectBytes.
const maxObject = 1<<32 - 1

func (t table) len() int { return len(t.rows) / t.width() }

// at returns the row at a place.
func (t table) at(i int) row {
	size := t.format.size()
	names := t.rows[i*t.width():]
	r := t.measures(i)
	r.id, r.base = newID(names[:size]), newID(names[size:2*size])
	return r
}

// measures returns a row without its names.
func (t table) measures(i int) row {
	b := t.rows[i*t.width()+2*t.format.size():]
	return row{
		kind: plumbing.ObjectType(binary.BigEndian.Uint16(b)), chain: int(binary.BigEndian.Uint16(b[2:])),
		offset: int64(binary.BigEndian.Uint64(b[4:])), length: int64(binary.BigEndian.Uint32(b[12:])),
		stored: int64(binary.BigEndian.Uint32(b[16:])), size: int64(binary.BigEndian.Uint32(b[20:])),
	}
}

// find returns the row of a name.
func (t table) find(id objectID) (row, bool) {
	i := sort.Search(t.len(), func(i int) bool { return bytes.Compare(t.id(i), id.bytes()) >= 0 })
	if i == t.len() || !bytes.Equal(t.id(i), id.bytes()) {
		return row{}, false
	}
	return t.at(i), true
}

// id returns the name of the object at a place.
func (t table) id(i int) []byte { return t.rows[i*t.width():][:t.format.size()] }

// errTable is about a table that was not written by newTable.
var errTable = errors.New("the index of a pack is damaged")

// check refuses a table with rows that lead out of a pack of a size, or that announce more than an object may have. That its bytes
// are the ones written is checked by digest.
func (t table) check(packBytes int64, limits Limits) error {
	if len(t.rows)%t.width() != 0 {
		return errTable
	}
	for i := range t.len() {
		if r := t.measures(i); r.offset < 0 || r.offset > packBytes-r.length || max(r.stored, r.size) > limits.ObjectBytes {
			return fmt.Errorf("%w: object %s", errTable, t.at(i).id)
		}
	}
	return nil
}
