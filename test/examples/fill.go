// SPDX-License-Identifier: Apache-2.0

package examples

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// placeholder is a value to fill in, <name>, either a part of a scalar or, after a colon, the whole of one.
var placeholder = regexp.MustCompile(`(: )?<([a-z][a-z0-9-]*)>`)

// Fill returns a YAML text with its placeholders replaced. One that is a whole value becomes a quoted string, so that keys and
// certificates of several lines stay what they are. A placeholder without a value is an error.
func Fill(text string, values map[string]string) (string, error) {
	var missing []string
	filled := placeholder.ReplaceAllStringFunc(text, func(found string) string {
		m := placeholder.FindStringSubmatch(found)
		value, ok := values[m[2]]
		if !ok {
			missing = append(missing, m[2])
			return found
		}
		if m[1] == "" {
			return value
		}
		quoted, err := json.Marshal(value)
		if err != nil {
			missing = append(missing, m[2])
			return found
		}
		return m[1] + string(quoted)
	})
	if len(missing) > 0 {
		return "", fmt.Errorf("no value for %s", strings.Join(missing, ", "))
	}
	return filled, nil
}

// Copy writes the YAML files below from to the folder to, filled in.
func Copy(from fs.FS, to string, values map[string]string) error {
	return fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".yaml" {
			return err
		}
		text, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		filled, err := Fill(string(text), values)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		target := filepath.Join(to, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return err
		}
		return os.WriteFile(target, []byte(filled), 0o600)
	})
}

// Files returns the files below a folder, by slash-separated path: what a team commits or pushes.
func Files(folder fs.FS) (map[string]string, error) {
	files := map[string]string{}
	err := fs.WalkDir(folder, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(folder, name)
		files[name] = string(text)
		return err
	})
	return files, err
}
