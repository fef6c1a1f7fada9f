// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"maps"
	"path"
	"slices"
	"time"
)

const (
	recordFile      = "record.json"
	statementSuffix = ".dsse.json"
	// maxRecord bounds a record file when it is read back.
	maxRecord = 4 << 20
)

// record is what the store knows about one source object. Records are replaced, never changed in place.
type record struct {
	// Entries are the artifacts, oldest first. The last one is current.
	Entries []entry `json:"entries"`
	// Latest is a second name of the current artifact, "latest.tar.gz" where Flux has one.
	Latest string `json:"latest,omitempty"`
}

// entry is one artifact of a source object.
type entry struct {
	File     string            `json:"file"`
	Sum      string            `json:"sha256"`
	Size     int64             `json:"size"`
	Revision string            `json:"revision"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Updated  time.Time         `json:"updated"`
	// Statement is the file of the statement, in the object's folder. The same content may be there under two revisions, with
	// a statement each.
	Statement string `json:"statement"`
	// Superseded is when another artifact became current.
	Superseded time.Time `json:"superseded,omitzero"`
	// Kept is what the source remembers about the artifact; see Store.Keep.
	Kept map[string]string `json:"kept,omitempty"`
}

// same reports whether two entries are one artifact, whatever their statements and times.
func (e entry) same(o entry) bool {
	return e.Sum == o.Sum && e.File == o.File && e.Revision == o.Revision && maps.Equal(e.Metadata, o.Metadata)
}

// current returns the last entry.
func (r record) current() (entry, bool) {
	if len(r.Entries) == 0 {
		return entry{}, false
	}
	return r.Entries[len(r.Entries)-1], true
}

// file returns the newest entry of a file name.
func (r record) file(name string) (entry, bool) {
	if r.Latest != "" && name == r.Latest {
		return r.current()
	}
	return r.newest(func(e entry) bool { return e.File == name })
}

// content returns the newest entry of a digest and a revision. Where no entry has both, it is the newest of the digest: the
// statement of that says more to who asks than its absence.
func (r record) content(sum, revision string) (entry, bool) {
	if e, ok := r.newest(func(e entry) bool { return e.Sum == sum && e.Revision == revision }); ok {
		return e, true
	}
	return r.newest(func(e entry) bool { return e.Sum == sum })
}

func (r record) newest(is func(entry) bool) (entry, bool) {
	for _, e := range slices.Backward(r.Entries) {
		if is(e) {
			return e, true
		}
	}
	return entry{}, false
}

// names reports whether an entry has this statement.
func (r record) names(statement string) bool {
	return slices.ContainsFunc(r.Entries, func(e entry) bool { return e.Statement == statement })
}

// with returns the record after e has become current. An older entry of the same content and revision gives way.
func (r record) with(e entry, now time.Time) record {
	next := record{Latest: r.Latest}
	for i, old := range r.Entries {
		if old.Sum == e.Sum && old.Revision == e.Revision {
			continue
		}
		if i == len(r.Entries)-1 {
			old.Superseded = now
		}
		next.Entries = append(next.Entries, old)
	}
	next.Entries = append(next.Entries, e)
	return next
}

// without returns the record without the superseded entries that drop chooses.
func (r record) without(drop func(entry) bool) record {
	next := record{Latest: r.Latest}
	for i, e := range r.Entries {
		if i == len(r.Entries)-1 || !drop(e) {
			next.Entries = append(next.Entries, e)
		}
	}
	return next
}

func objectPath(k Key) string { return path.Join(objectDir, k.path()) }

func recordPath(k Key) string { return path.Join(objectPath(k), recordFile) }

func statementPath(k Key, name string) string { return path.Join(objectPath(k), name) }
