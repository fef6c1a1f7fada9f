// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"io/fs"
	"path"
)

func walkDir(root fs.FS, dir string, f func(name string, data []byte)) error {
	return fs.WalkDir(root, dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := path.Base(name); base == ".git" || base == "bin" || base == "testdata" {
				return fs.SkipDir
			}
			return nil
		}
		if ext := path.Ext(name); ext != ".go" && ext != ".mod" {
			return nil
		}
		data, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		f(name, data)
		return nil
	})
}
