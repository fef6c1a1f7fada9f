// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of a YAML document. What its aliases stand for counts as often as they stand.
const (
	maxYAMLDepth = 64
	maxYAMLGrow  = 4
)

// Normalize returns an index.yaml as JSON: the form in which an index is stored, and read again without a reader of YAML. Every
// scalar but true, false and null becomes a string, as which it is meant where it stands in an index: a version "1.10" that somebody
// forgot to quote stays what it is.
func Normalize(index []byte) ([]byte, error) {
	if trimmed := bytes.TrimSpace(index); len(trimmed) == 0 {
		return nil, errors.New("empty index.yaml file")
	} else if trimmed[0] == '{' && json.Valid(trimmed) {
		return trimmed, nil
	}
	if out, ok := normalizeBlocks(index); ok {
		return out, nil
	}
	root, err := parseYAML(index)
	if err != nil {
		return nil, err
	}
	w := &jsonWriter{limit: maxYAMLGrow*len(index) + 1<<20}
	if err := w.node(root, 0); err != nil {
		return nil, err
	}
	return w.out.Bytes(), nil
}

// parseYAML reads one document and nothing behind it.
func parseYAML(text []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	if err := decoder.Decode(&document); err != nil {
		return nil, fmt.Errorf("no YAML: %w", yamlError(err))
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one YAML document")
	}
	if document.Kind != yaml.DocumentNode || len(document.Content) != 1 {
		return nil, errors.New("no YAML document")
	}
	return document.Content[0], nil
}

// yamlError bounds what a parser quotes.
func yamlError(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	return errors.New(text)
}

// jsonWriter writes YAML nodes as JSON.
type jsonWriter struct {
	out   bytes.Buffer
	limit int
}

func (w *jsonWriter) node(n *yaml.Node, depth int) error {
	if depth > maxYAMLDepth {
		return fmt.Errorf("line %d: more than %d levels deep", n.Line, maxYAMLDepth)
	}
	if w.out.Len() > w.limit {
		return fmt.Errorf("line %d: aliases make the document more than %d times as long as it is", n.Line, maxYAMLGrow)
	}
	switch n.Kind {
	case yaml.MappingNode:
		return w.mapping(n, depth)
	case yaml.SequenceNode:
		w.out.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				w.out.WriteByte(',')
			}
			if err := w.node(item, depth+1); err != nil {
				return err
			}
		}
		w.out.WriteByte(']')
	case yaml.AliasNode:
		return w.node(n.Alias, depth+1)
	case yaml.ScalarNode:
		w.scalar(n)
	default:
		return fmt.Errorf("line %d: no value", n.Line)
	}
	return nil
}

func (w *jsonWriter) mapping(n *yaml.Node, depth int) error {
	w.out.WriteByte('{')
	seen := make(map[string]bool, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		switch {
		case key.Kind != yaml.ScalarNode:
			return fmt.Errorf("line %d: a key that is no text", key.Line)
		case key.Tag == "!!merge":
			return fmt.Errorf("line %d: merge keys have no place in an index", key.Line)
		case seen[key.Value]:
			return fmt.Errorf("line %d: key %.100q is there twice", key.Line, key.Value)
		}
		seen[key.Value] = true
		if i > 0 {
			w.out.WriteByte(',')
		}
		w.text(key.Value)
		w.out.WriteByte(':')
		if err := w.node(n.Content[i+1], depth+1); err != nil {
			return err
		}
	}
	w.out.WriteByte('}')
	return nil
}

func (w *jsonWriter) scalar(n *yaml.Node) {
	switch n.ShortTag() {
	case "!!null":
		w.out.WriteString("null")
	case "!!bool":
		w.out.WriteString(strings.ToLower(n.Value))
	default:
		w.text(n.Value)
	}
}

// text writes a JSON string. A string always has a form in JSON.
func (w *jsonWriter) text(s string) {
	encoded, _ := json.Marshal(s)
	w.out.Write(encoded)
}
