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
type table []byte

// row is one object of a pack.
type row struct {
	id     plumbing.Hash
	base   plumbing.Hash       // the object it is a delta against; zero for a whole one
	kind   plumbing.ObjectType // of its content
	chain  int                 // how many deltas lie between it and a whole object
	offset int64               // of what is stored, in the pack
	length int64               // of what is stored
	stored int64               // the size of that when inflated
	size   int64               // of the content
}

// rowBytes is the length of a row: two names, 4 bytes for kind and chain, and 20 for place and sizes.
const rowBytes = 64

func (r row) isDelta() bool { return !r.base.IsZero() }

// newTable sorts rows. Of two objects of one name the one with the shorter chain counts, so that every base is nearer to a whole
// object than what rests on it.
func newTable(rows []row) table {
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(bytes.Compare(a.id[:], b.id[:]), cmp.Compare(a.chain, b.chain))
	})
	rows = slices.CompactFunc(rows, func(a, b row) bool { return a.id == b.id })
	t := make(table, 0, len(rows)*rowBytes)
	for _, r := range rows {
		t = append(append(t, r.id[:]...), r.base[:]...)
		t = binary.BigEndian.AppendUint16(t, uint16(r.kind))  // below 8
		t = binary.BigEndian.AppendUint16(t, uint16(r.chain)) // at most maxChain
		t = binary.BigEndian.AppendUint64(t, uint64(r.offset))
		for _, n := range []int64{r.length, r.stored, r.size} {
			t = binary.BigEndian.AppendUint32(t, uint32(n)) // at most maxObject
		}
	}
	return t
}

// maxObject is what a row can hold, far beyond any sane Limits.ObjectBytes.
const maxObject = 1<<32 - 1

func (t table) len() int { return len(t) / rowBytes }

// at returns the row at a place.
func (t table) at(i int) row {
	b := t[i*rowBytes : (i+1)*rowBytes]
	r := row{
		kind: plumbing.ObjectType(binary.BigEndian.Uint16(b[40:])), chain: int(binary.BigEndian.Uint16(b[42:])),
		offset: int64(binary.BigEndian.Uint64(b[44:])), length: int64(binary.BigEndian.Uint32(b[52:])),
		stored: int64(binary.BigEndian.Uint32(b[56:])), size: int64(binary.BigEndian.Uint32(b[60:])),
	}
	copy(r.id[:], b)
	copy(r.base[:], b[20:])
	return r
}

// find returns the row of a name.
func (t table) find(id plumbing.Hash) (row, bool) {
	i := sort.Search(t.len(), func(i int) bool { return bytes.Compare(t[i*rowBytes:i*rowBytes+len(id)], id[:]) >= 0 })
	if i == t.len() || !bytes.Equal(t[i*rowBytes:i*rowBytes+len(id)], id[:]) {
		return row{}, false
	}
	return t.at(i), true
}

// errTable is about a table that was not written by newTable.
var errTable = errors.New("the index of a pack is damaged")

// check refuses a table with rows that lead out of a pack of a size, or that announce more than an object may have. That its bytes
// are the ones written is checked by digest.
func (t table) check(packBytes int64, limits Limits) error {
	if len(t)%rowBytes != 0 {
		return errTable
	}
	for i := range t.len() {
		if r := t.at(i); r.offset < 0 || r.offset > packBytes-r.length || max(r.stored, r.size) > limits.ObjectBytes {
			return fmt.Errorf("%w: object %s", errTable, r.id)
		}
	}
	return nil
}
