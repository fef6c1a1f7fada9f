// SPDX-License-Identifier: Apache-2.0

package sops

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yamlIndent is SOPS' indentation.
const yamlIndent = 4

// yamlTree is the documents of a YAML file. Values are decrypted in place, so that comments stay where they are.
type yamlTree []*yaml.Node

func parseYAML(data []byte) (tree, map[string]any, error) {
	var docs yamlTree
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, errMalformed(YAML) // the parser's text quotes the file
		}
		if err := checkYAML(&doc, 0); err != nil {
			return nil, nil, err
		}
		docs = append(docs, &doc)
	}
	fields, err := docs.takeMetadata()
	return docs, fields, err
}

// checkYAML refuses what SOPS never writes: aliases, which could also unfold to any size, duplicate keys, of which the MAC
// counts both and a reader only one, and keys that are no text.
func checkYAML(n *yaml.Node, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return fmt.Errorf("line %d: an encrypted file has no anchors and aliases", n.Line)
	}
	if n.Kind == yaml.DocumentNode && !holdsMapping(n) {
		return errors.New("an encrypted YAML document is a mapping")
	}
	if n.Kind == yaml.MappingNode {
		if err := checkKeys(n); err != nil {
			return err
		}
	}
	for _, child := range n.Content {
		if err := checkYAML(child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// holdsMapping reports whether a document is a mapping, or empty.
func holdsMapping(doc *yaml.Node) bool {
	if len(doc.Content) != 1 {
		return false
	}
	root := doc.Content[0]
	return root.Kind == yaml.MappingNode || root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null"
}

func checkKeys(mapping *yaml.Node) error {
	seen := map[string]bool{}
	for i := 0; i < len(mapping.Content); i += 2 {
		key := mapping.Content[i]
		switch {
		case key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str":
			return fmt.Errorf("line %d: a key is no text", key.Line)
		case seen[key.Value]:
			return fmt.Errorf("line %d: a key occurs twice", key.Line)
		}
		seen[key.Value] = true
	}
	return nil
}

// takeMetadata takes the metadata out of every document, and returns that of the first: SOPS writes the same into all.
func (t yamlTree) takeMetadata() (map[string]any, error) {
	var fields map[string]any
	for n, doc := range t {
		root := doc.Content[0]
		for i := 0; i < len(root.Content); i += 2 {
			if root.Content[i].Value != metadataKey {
				continue
			}
			if n == 0 {
				if err := root.Content[i+1].Decode(&fields); err != nil {
					return nil, errors.New("the SOPS metadata is no mapping")
				}
			}
			keepComments(root, i)
			root.Content = slices.Delete(root.Content, i, i+2)
			break
		}
	}
	return fields, nil
}

// keepComments saves the comments above the entry at i, which is about to go: a file's last comment stands above the metadata.
func keepComments(mapping *yaml.Node, i int) {
	comments := mapping.Content[i].HeadComment
	switch {
	case comments == "":
	case i+2 < len(mapping.Content):
		next := mapping.Content[i+2]
		next.HeadComment = joined(comments, next.HeadComment)
	case i > 0:
		last := mapping.Content[i-2]
		last.FootComment = joined(last.FootComment, comments)
	default:
		mapping.FootComment = joined(comments, mapping.FootComment)
	}
}

// joined puts comments below each other.
func joined(comments ...string) string {
	return strings.Join(slices.DeleteFunc(comments, func(c string) bool { return c == "" }), "\n")
}

func (t yamlTree) walk(visit visitor) error {
	w := yamlWalk{visit: visit}
	for _, doc := range t {
		w.comments = [][]string{nil}
		if err := w.document(doc); err != nil {
			return err
		}
	}
	return nil
}

// yamlWalk visits values and comments in the order in which SOPS reads them: comments before a key, then the value, then
// what stands below. The comments that apply to a value are those since the last value, on its level and on those above.
type yamlWalk struct {
	visit    visitor
	path     []string
	comments [][]string
}

func (w *yamlWalk) document(doc *yaml.Node) error {
	if err := w.comment(&doc.HeadComment, &doc.LineComment); err != nil {
		return err
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode { // an empty document
		*root = yaml.Node{Kind: yaml.MappingNode, HeadComment: root.HeadComment, LineComment: root.LineComment, FootComment: root.FootComment}
	}
	if err := w.mapping(root, true); err != nil {
		return err
	}
	return w.comment(&doc.FootComment)
}

// mapping visits the entries of a mapping on the current level of comments.
func (w *yamlWalk) mapping(n *yaml.Node, ownComments bool) error {
	n.Style, n.Tag = 0, ""
	if ownComments {
		if err := w.comment(&n.HeadComment, &n.LineComment); err != nil {
			return err
		}
	}
	for i := 0; i < len(n.Content); i += 2 {
		if err := w.entry(n.Content[i], n.Content[i+1]); err != nil {
			return err
		}
	}
	if !ownComments {
		return nil
	}
	return w.comment(&n.FootComment)
}

func (w *yamlWalk) entry(key, value *yaml.Node) error {
	scalar := value.Kind == yaml.ScalarNode
	above := []*string{&key.HeadComment, &key.LineComment}
	if scalar {
		above = append(above, &value.HeadComment)
	}
	if err := w.comment(above...); err != nil {
		return err
	}
	if scalar {
		if err := w.inline(&value.LineComment, &key.HeadComment); err != nil {
			return err
		}
	}
	name := key.Value
	if err := encode(key, name); err != nil {
		return err
	}
	w.path = append(w.path, name)
	err := w.value(value, !scalar)
	w.path = w.path[:len(w.path)-1]
	if err != nil {
		return err
	}
	w.comments[len(w.comments)-1] = nil
	if scalar {
		if err := w.comment(&value.FootComment); err != nil {
			return err
		}
	}
	return w.comment(&key.FootComment)
}

func (w *yamlWalk) value(n *yaml.Node, ownComments bool) error {
	if n.Kind == yaml.ScalarNode {
		return w.scalar(n)
	}
	w.comments = append(w.comments, nil)
	defer func() { w.comments = w.comments[:len(w.comments)-1] }()
	if n.Kind == yaml.SequenceNode {
		return w.sequence(n, ownComments)
	}
	return w.mapping(n, ownComments)
}

func (w *yamlWalk) sequence(n *yaml.Node, ownComments bool) error {
	n.Style, n.Tag = 0, ""
	if ownComments {
		if err := w.comment(&n.HeadComment, &n.LineComment); err != nil {
			return err
		}
	}
	for _, item := range n.Content {
		if err := w.comment(&item.HeadComment); err != nil {
			return err
		}
		if err := w.inline(&item.LineComment, &item.HeadComment); err != nil {
			return err
		}
		if err := w.value(item, false); err != nil {
			return err
		}
		w.comments[len(w.comments)-1] = nil
		if err := w.comment(&item.FootComment); err != nil {
			return err
		}
	}
	if !ownComments {
		return nil
	}
	return w.comment(&n.FootComment)
}

func (w *yamlWalk) scalar(n *yaml.Node) error {
	var value any
	if err := n.Decode(&value); err != nil {
		return fmt.Errorf("line %d: a value that cannot be read", n.Line)
	}
	if value == nil {
		return encode(n, nil)
	}
	value, err := w.visit(place{path: w.path, comments: w.comments}, value)
	if err != nil {
		return err
	}
	return encode(n, value)
}

// encode writes a value into a node in the style that YAML prefers for it, as SOPS does.
func encode(n *yaml.Node, value any) error {
	var fresh yaml.Node
	if err := fresh.Encode(value); err != nil {
		return errMalformed(YAML)
	}
	n.Kind, n.Style, n.Tag, n.Value = fresh.Kind, fresh.Style, fresh.Tag, fresh.Value
	return nil
}

// comment visits comments line by line.
func (w *yamlWalk) comment(fields ...*string) error {
	for _, field := range fields {
		if *field == "" {
			continue
		}
		var lines []string
		for line := range strings.SplitSeq(*field, "\n") {
			if line == "" {
				continue
			}
			last := len(w.comments) - 1
			w.comments[last] = append(w.comments[last], line[1:])
			plain, err := w.visit(place{path: w.path, comments: w.comments, comment: true}, line[1:])
			if err != nil {
				return err
			}
			lines = append(lines, "#"+strings.ReplaceAll(plainText(plain), "\n", "\n#"))
		}
		*field = strings.Join(lines, "\n")
	}
	return nil
}

// inline visits a comment beside a value. One that was encrypted moves above it: that it stood beside is lost in the encryption.
func (w *yamlWalk) inline(field, above *string) error {
	before := *field
	if err := w.comment(field); err != nil || *field == before {
		return err
	}
	*above, *field = joined(*above, *field), ""
	return nil
}

func (t yamlTree) emit() ([]byte, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(yamlIndent)
	for _, doc := range t {
		if err := encoder.Encode(doc); err != nil {
			return nil, errMalformed(YAML)
		}
	}
	err := encoder.Close()
	return out.Bytes(), err
}
