// SPDX-License-Identifier: Apache-2.0

package git

import "cmp"

// Limits bounds what a server can make us read, hold and go through. Zero fields take the defaults.
type Limits struct {
	// AdvertisedBytes bounds the list of references, which is held in memory. Default 32 MiB, some 400 000 references.
	AdvertisedBytes int64
	// PackBytes bounds what is downloaded into a temporary file. Default 512 MiB.
	PackBytes int64
	// Objects bounds the number of objects in the pack. Default 1 000 000; each takes some 300 bytes of memory.
	Objects int64
	// ObjectBytes bounds one object, which is held in memory while it is resolved. Default 64 MiB.
	ObjectBytes int64
	// InflatedBytes bounds the sum of all objects, that is the work of indexing. Default 8 GiB.
	InflatedBytes int64
	// Files bounds the files and directories of the commit. Default 200 000.
	Files int64
	// TotalBytes bounds the bytes of its files. Default 1 GiB.
	TotalBytes int64
	// Depth bounds the nesting of directories. Default 64.
	Depth int64
}

func (l Limits) withDefaults() Limits {
	return Limits{
		AdvertisedBytes: cmp.Or(l.AdvertisedBytes, 32<<20),
		PackBytes:       cmp.Or(l.PackBytes, 512<<20),
		Objects:         cmp.Or(l.Objects, 1_000_000),
		ObjectBytes:     cmp.Or(l.ObjectBytes, 64<<20),
		InflatedBytes:   cmp.Or(l.InflatedBytes, 8<<30),
		Files:           cmp.Or(l.Files, 200_000),
		TotalBytes:      cmp.Or(l.TotalBytes, 1<<30),
		Depth:           cmp.Or(l.Depth, 64),
	}
}
