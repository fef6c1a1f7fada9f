// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"sigs.k8s.io/yaml"
)

// MergeValues reads values files one after the other and returns them merged, a later one going before, with the names of those
// that were there. A missing file is an error unless skipMissing says to go on without it.
func MergeValues(names []string, skipMissing MissingFiles, read func(name string) ([]byte, error)) (merged map[string]any, used []string, err error) {
	merged = map[string]any{}
	for _, name := range names {
		clean := path.Clean(name)
		if !isPath(clean) {
			return nil, nil, fmt.Errorf("values file %.200q is no path below the source", name)
		}
		text, err := read(clean)
		if errors.Is(err, fs.ErrNotExist) {
			if skipMissing == SkipMissing {
				continue
			}
			return nil, nil, fmt.Errorf("no values file found at path '%.200s'", name)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("values file %.200q: %w", name, err)
		}
		var values map[string]any
		if err := yaml.Unmarshal(withoutMark(text), &values); err != nil {
			return nil, nil, fmt.Errorf("values file %.200q: %w", name, yamlError(err))
		}
		merge(merged, values)
		used = append(used, name)
	}
	return merged, used, nil
}

// MissingFiles says what a missing values file means.
type MissingFiles int

const (
	// RefuseMissing makes it an error.
	RefuseMissing MissingFiles = iota
	// SkipMissing goes on without it.
	SkipMissing
)

// merge puts values into a map, maps into maps, whatever else in place of what was there.
func merge(into, values map[string]any) {
	for key, v := range values {
		below, isMap := v.(map[string]any)
		if have, ok := into[key].(map[string]any); ok && isMap {
			merge(have, below)
			continue
		}
		into[key] = v
	}
}

// SetValues gives the chart other default values.
func (c *Chart) SetValues(values map[string]any) error {
	text, err := yaml.Marshal(values)
	if err != nil {
		return fmt.Errorf("write %s: %w", ValuesFile, err)
	}
	c.Files[ValuesFile] = text
	return nil
}
