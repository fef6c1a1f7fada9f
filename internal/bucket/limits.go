// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"cmp"
	"fmt"
)

// Limits bounds what a server can make us read, hold and go through. Zero fields take the defaults.
type Limits struct {
	// Pages bounds the requests of a listing. Default 2000; a page has up to 1000 objects, and Azure's up to 5000.
	Pages int
	// PageBytes bounds one page, which is held in memory. Default 8 MiB: 1000 of the longest keys, all escaped.
	PageBytes int64
	// Listed bounds the objects of a listing, ignored ones included. Default 250 000.
	Listed int
	// NameBytes bounds the sum of the lengths of their keys. Default 32 MiB.
	NameBytes int64
	// Objects bounds those that are not ignored. Default 100 000, as many as an artifact has files.
	Objects int
	// ObjectBytes bounds the size of one object. Default 512 MiB.
	ObjectBytes int64
	// TotalBytes bounds the sum of the sizes of those that are not ignored. Default 2 GiB.
	TotalBytes int64
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Pages:       cmp.Or(l.Pages, 2000),
		PageBytes:   cmp.Or(l.PageBytes, 8<<20),
		Listed:      cmp.Or(l.Listed, 250_000),
		NameBytes:   cmp.Or(l.NameBytes, 32<<20),
		Objects:     cmp.Or(l.Objects, 100_000),
		ObjectBytes: cmp.Or(l.ObjectBytes, 512<<20),
		TotalBytes:  cmp.Or(l.TotalBytes, 2<<30),
	}
}

// LimitError says which bound of Limits a bucket went beyond. Find it with errors.As.
type LimitError struct {
	// What names the bound, for example "the number of objects".
	What string
	// Limit is its value.
	Limit int64
}

// Error names the bound and its value.
func (e *LimitError) Error() string {
	return fmt.Sprintf("the bucket is too large: %s is over the limit of %d", e.What, e.Limit)
}
