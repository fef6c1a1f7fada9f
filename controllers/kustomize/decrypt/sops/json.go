// SPDX-License-Identifier: Apache-2.0

package sops

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
)

// object is a JSON object with its members in their order, which the MAC depends on.
type object struct{ members []member }

type member struct {
	key   string
	value any // *object, *array, string, int, float64, bool or nil
}

type array struct{ items []any }

// jsonTree is a JSON file. binary says that the file is an envelope around one text.
type jsonTree struct {
	root   *object
	binary bool
}

func parseJSON(data []byte) (tree, map[string]any, error) {
	root, fields, err := readJSON(data)
	return &jsonTree{root: root}, fields, err
}

func parseBinary(data []byte) (tree, map[string]any, error) {
	root, fields, err := readJSON(data)
	return &jsonTree{root: root, binary: true}, fields, err
}

func readJSON(data []byte) (*object, map[string]any, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	r := jsonReader{decoder}
	value, err := r.value(0)
	if err != nil {
		return nil, nil, err
	}
	root, ok := value.(*object)
	if !ok {
		return nil, nil, errors.New("an encrypted JSON file is an object")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, nil, errMalformed(JSON)
	}
	at := slices.IndexFunc(root.members, func(m member) bool { return m.key == metadataKey })
	if at < 0 {
		return root, nil, nil
	}
	fields, ok := generic(root.members[at].value).(map[string]any)
	if !ok {
		return nil, nil, errors.New("the SOPS metadata is no object")
	}
	root.members = slices.Delete(root.members, at, at+1)
	return root, fields, nil
}

type jsonReader struct{ *json.Decoder }

func (r jsonReader) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, errDepth
	}
	token, err := r.Token()
	if err != nil {
		return nil, errMalformed(JSON)
	}
	switch v := token.(type) {
	case json.Delim:
		if v == '{' {
			return r.object(depth)
		}
		return r.array(depth)
	case json.Number:
		return number(v)
	default:
		return v, nil
	}
}

// object reads the members of an object. A key that occurs twice is refused: the MAC counts both and a reader only one.
func (r jsonReader) object(depth int) (*object, error) {
	out, seen := &object{}, map[string]bool{}
	for r.More() {
		token, err := r.Token()
		key, ok := token.(string)
		if err != nil || !ok {
			return nil, errMalformed(JSON)
		}
		if seen[key] {
			return nil, errors.New("a key of an object occurs twice")
		}
		seen[key] = true
		value, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out.members = append(out.members, member{key, value})
	}
	return out, r.end()
}

func (r jsonReader) array(depth int) (*array, error) {
	out := &array{}
	for r.More() {
		value, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out.items = append(out.items, value)
	}
	return out, r.end()
}

func (r jsonReader) end() error {
	if _, err := r.Token(); err != nil {
		return errMalformed(JSON)
	}
	return nil
}

// number is an int where that is exact, else a float64.
func number(n json.Number) (any, error) {
	if i, err := n.Int64(); err == nil {
		return int(i), nil
	}
	f, err := n.Float64()
	if err != nil {
		return nil, errMalformed(JSON)
	}
	return f, nil
}

// generic is a value as encoding/json would give it.
func generic(value any) any {
	switch v := value.(type) {
	case *object:
		out := make(map[string]any, len(v.members))
		for _, m := range v.members {
			out[m.key] = generic(m.value)
		}
		return out
	case *array:
		out := make([]any, 0, len(v.items))
		for _, item := range v.items {
			out = append(out, generic(item))
		}
		return out
	default:
		return v
	}
}

func (t *jsonTree) walk(visit visitor) error {
	_, err := walkJSON(t.root, nil, visit)
	return err
}

func walkJSON(value any, path []string, visit visitor) (any, error) {
	var err error
	switch v := value.(type) {
	case nil:
		return nil, nil
	case *object:
		for i := range v.members {
			if v.members[i].value, err = walkJSON(v.members[i].value, append(path, v.members[i].key), visit); err != nil {
				return nil, err
			}
		}
		return v, nil
	case *array:
		for i := range v.items {
			if v.items[i], err = walkJSON(v.items[i], path, visit); err != nil {
				return nil, err
			}
		}
		return v, nil
	default:
		return visit(place{path: path}, v)
	}
}

func (t *jsonTree) emit() ([]byte, error) {
	if t.binary {
		return t.content()
	}
	var flat, out bytes.Buffer
	if err := writeJSON(&flat, t.root); err != nil {
		return nil, err
	}
	if err := json.Indent(&out, flat.Bytes(), "", "\t"); err != nil {
		return nil, errMalformed(JSON)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// content is what the envelope holds.
func (t *jsonTree) content() ([]byte, error) {
	for _, m := range t.root.members {
		if text, ok := m.value.(string); ok && m.key == "data" {
			return []byte(text), nil
		}
	}
	return nil, errors.New(`the envelope of a binary file has no text "data"`)
}

func writeJSON(out *bytes.Buffer, value any) error {
	switch v := value.(type) {
	case *object:
		return writeList(out, '{', '}', v.members, func(m member) error {
			if err := writeJSON(out, m.key); err != nil {
				return err
			}
			out.WriteByte(':')
			return writeJSON(out, m.value)
		})
	case *array:
		return writeList(out, '[', ']', v.items, func(item any) error { return writeJSON(out, item) })
	default:
		text, err := json.Marshal(v)
		if err != nil {
			return errMalformed(JSON)
		}
		out.Write(text)
		return nil
	}
}

func writeList[T any](out *bytes.Buffer, begin, end byte, list []T, write func(T) error) error {
	out.WriteByte(begin)
	for i, item := range list {
		if i > 0 {
			out.WriteByte(',')
		}
		if err := write(item); err != nil {
			return err
		}
	}
	out.WriteByte(end)
	return nil
}
