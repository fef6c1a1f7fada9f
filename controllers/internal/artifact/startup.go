// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// recover brings the folder into a state to start from.
func (s *Store) recover() error {
	root := s.disk.root
	if err := root.RemoveAll(tmpDir); err != nil {
		return err
	}
	for _, dir := range []string{tmpDir, blobDir, pieceDir, objectDir} {
		if err := s.disk.mkdirs(dir); err != nil {
			return err
		}
	}
	if err := s.loadRecords(); err != nil {
		return err
	}
	for _, dir := range []string{blobDir, pieceDir} {
		if err := s.dropUnreferred(dir); err != nil {
			return err
		}
	}
	return nil
}

// dropUnreferred removes the files of a folder that have the digest of nothing that a record refers to.
func (s *Store) dropUnreferred(dir string) error {
	files, err := fs.ReadDir(s.disk.root.FS(), dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if s.refs[f.Name()] == 0 {
			if err := s.disk.root.RemoveAll(path.Join(dir, f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// loadRecords reads objects/<kind>/<namespace>/<name>/. A folder without a sound record is removed.
func (s *Store) loadRecords() error {
	dirs, err := fs.Glob(s.disk.root.FS(), objectDir+"/*/*/*")
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		parts := strings.Split(dir, "/")
		k := Key{Kind: parts[1], Namespace: parts[2], Name: parts[3]}
		r, ok := s.loadRecord(k)
		if !ok {
			if err := s.disk.root.RemoveAll(dir); err != nil {
				return err
			}
			continue
		}
		s.records[k] = r
		for _, e := range r.Entries {
			s.refs[e.Sum]++
		}
		if err := s.dropStrays(dir, r); err != nil {
			return err
		}
	}
	return nil
}

// loadRecord reads one record back. What does not hold together is as good as absent: the source fetches again. A superseded
// artifact that is not whole is left out.
func (s *Store) loadRecord(k Key) (record, bool) {
	var r record
	data, err := s.disk.readSmall(recordPath(k), maxRecord)
	if err != nil || json.NewDecoder(bytes.NewReader(data)).Decode(&r) != nil {
		return record{}, false
	}
	if c, err := k.checked(); err != nil || c != k {
		return record{}, false
	}
	for _, e := range r.Entries {
		if !isSum(e.Sum) || checkFile(e.File) != nil || checkFile(e.Statement) != nil || !strings.HasPrefix(e.Statement, e.Sum) {
			return record{}, false
		}
	}
	if current, ok := r.current(); !ok || !s.there(k, current) {
		return record{}, false
	}
	return r.without(func(e entry) bool { return !s.there(k, e) }), true
}

// there reports whether both files of an entry are.
func (s *Store) there(k Key, e entry) bool {
	for _, name := range []string{blobPath(e.Sum), statementPath(k, e.Statement)} {
		if info, err := s.disk.root.Lstat(name); err != nil || !info.Mode().IsRegular() {
			return false
		}
	}
	return true
}

// dropStrays removes the files of an object that its record does not name.
func (s *Store) dropStrays(dir string, r record) error {
	files, err := fs.ReadDir(s.disk.root.FS(), dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		named := slices.ContainsFunc(r.Entries, func(e entry) bool { return e.Statement == f.Name() })
		if f.Name() == recordFile || named {
			continue
		}
		if err := s.disk.root.RemoveAll(path.Join(dir, f.Name())); err != nil {
			return err
		}
	}
	return nil
}
