// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// change is one file that is not as derived. A nil body means that nothing derives the file any more.
type change struct {
	path string
	body []byte
}

// compare says what has to change for the YAML files in dir to be exactly want, sorted by path.
func compare(dir string, want map[string][]byte) ([]change, error) {
	var changes []change
	for name, body := range want {
		path := filepath.Join(dir, name)
		have, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if !bytes.Equal(have, body) {
			changes = append(changes, change{path: path, body: body})
		}
	}
	present, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	for _, path := range present {
		if _, ok := want[filepath.Base(path)]; !ok {
			changes = append(changes, change{path: path})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return strings.Compare(a.path, b.path) })
	return changes, nil
}

// stale turns differences into the error that tells how to remove them.
func stale(changes []change) error {
	if len(changes) == 0 {
		return nil
	}
	paths := make([]string, 0, len(changes))
	for _, c := range changes {
		paths = append(paths, c.path)
	}
	return fmt.Errorf("not as generated, run `go run ./hack/gen`: %s", strings.Join(paths, ", "))
}

// write carries the changes out.
func write(changes []change) error {
	for _, c := range changes {
		if err := writeOne(c); err != nil {
			return err
		}
		fmt.Println(c.path)
	}
	return nil
}

func writeOne(c change) error {
	if c.body == nil {
		return os.Remove(c.path)
	}
	if err := os.MkdirAll(filepath.Dir(c.path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(c.path, c.body, 0o644)
}
