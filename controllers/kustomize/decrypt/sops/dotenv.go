// SPDX-License-Identifier: Apache-2.0

package sops

import (
	"errors"
	"fmt"
	"strings"
)

// flatPrefix begins the keys of the metadata of a dotenv file.
const flatPrefix = metadataKey + "_"

// dotenvTree is the lines of a dotenv file.
type dotenvTree struct{ lines []dotenvLine }

type dotenvLine struct {
	key     string
	value   any
	comment bool
}

func parseDotenv(data []byte) (tree, map[string]any, error) {
	t, flat := &dotenvTree{}, map[string]string{}
	number := 0
	for line := range strings.SplitSeq(string(data), "\n") {
		number++
		if line == "" {
			continue
		}
		if line[0] == '#' {
			t.lines = append(t.lines, dotenvLine{value: line[1:], comment: true})
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, nil, fmt.Errorf("line %d has no =", number)
		}
		value = strings.ReplaceAll(value, `\n`, "\n")
		name, isMetadata := strings.CutPrefix(key, flatPrefix)
		if !isMetadata {
			t.lines = append(t.lines, dotenvLine{key: key, value: value})
			continue
		}
		if _, twice := flat[name]; twice {
			return nil, nil, errors.New("a line of the SOPS metadata occurs twice")
		}
		flat[name] = value
	}
	if len(flat) == 0 {
		return t, nil, nil
	}
	fields, err := unflatten(flat)
	return t, fields, err
}

func (t *dotenvTree) walk(visit visitor) error {
	var comments []string
	for i := range t.lines {
		line := &t.lines[i]
		at := place{comment: line.comment}
		if line.comment {
			comments = append(comments, plainText(line.value))
		} else {
			at.path = []string{line.key}
		}
		at.comments = [][]string{comments}
		var err error
		if line.value, err = visit(at, line.value); err != nil {
			return err
		}
		if !line.comment {
			comments = nil
		}
	}
	return nil
}

func (t *dotenvTree) emit() ([]byte, error) {
	var out strings.Builder
	for _, line := range t.lines {
		value := plainText(line.value)
		if text, ok := line.value.(string); ok && !line.comment {
			value = strings.ReplaceAll(text, "\n", `\n`)
		}
		if line.comment {
			out.WriteString("#" + value + "\n")
			continue
		}
		out.WriteString(line.key + "=" + value + "\n")
	}
	return []byte(out.String()), nil
}
