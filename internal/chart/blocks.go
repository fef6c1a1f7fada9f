// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"strings"

	"go.yaml.in/yaml/v3"
)

// normalizeBlocks is Normalize for an index as Helm writes it, one chart after the other: the tree of a whole large index would
// take ten times its size. Whatever does not look like that is left to the reader of any YAML, by ok false; so is what it has to
// say about a mistake.
//
// A line is the key of an entry when it is indented as the first key below "entries" is, and no deeper. YAML indents everything
// else that belongs to an entry further, but for the dashes of its list, which may stand below the key.
func normalizeBlocks(index []byte) (out []byte, ok bool) {
	if bytes.ContainsAny(index, "\t\r") || bytes.Contains(index, []byte("\n---")) || bytes.Contains(index, []byte("\n...")) {
		return nil, false // tabs, other line ends and documents: rare, and not worth being clever about
	}
	head, body, tail, ok := cutEntries(index)
	if !ok {
		return nil, false
	}
	outer, err := parseYAML(append(head, tail...))
	if err != nil || outer.Kind != yaml.MappingNode || value(outer, "entries") != nil {
		return nil, false
	}
	w := &jsonWriter{limit: maxYAMLGrow*len(index) + 1<<20}
	if w.node(outer, 0) != nil {
		return nil, false
	}
	w.out.Truncate(w.out.Len() - 1) // the brace
	if len(outer.Content) > 0 {
		w.out.WriteByte(',')
	}
	w.out.WriteString(`"entries":{`)
	seen := map[string]bool{}
	for len(body) > 0 {
		var block []byte
		block, body = nextEntry(body)
		parsed, err := parseYAML(block)
		if err != nil || parsed.Kind != yaml.MappingNode || len(parsed.Content) != 2 || seen[parsed.Content[0].Value] {
			return nil, false
		}
		if len(seen) > 0 {
			w.out.WriteByte(',')
		}
		seen[parsed.Content[0].Value] = true
		start := w.out.Len()
		if w.mapping(parsed, 2) != nil {
			return nil, false
		}
		written := w.out.Bytes()[start:]
		copy(written, written[1:len(written)-1]) // without its braces
		w.out.Truncate(w.out.Len() - 2)
	}
	w.out.WriteString("}}")
	return w.out.Bytes(), true
}

// cutEntries returns what stands before "entries:", its lines, and what stands after them.
func cutEntries(index []byte) (head, body, tail []byte, ok bool) {
	const key = "entries:\n"
	at := 0
	if !bytes.HasPrefix(index, []byte(key)) {
		i := bytes.Index(index, []byte("\n"+key))
		if i < 0 {
			return nil, nil, nil, false
		}
		at = i + 1
	}
	head, body = index[:at:at], index[at+len(key):]
	for end := 0; end < len(body); end += lineLength(body[end:]) {
		if c := body[end]; c != ' ' && c != '\n' && c != '#' {
			return head, body[:end], body[end:], end > 0
		}
	}
	return head, body, nil, len(body) > 0
}

// nextEntry cuts the first entry off: from its key up to the next line that is indented as the key is and begins neither a list
// item nor a comment.
func nextEntry(body []byte) (block, rest []byte) {
	indent := -1
	for end := 0; end < len(body); end += lineLength(body[end:]) {
		line := body[end : end+lineLength(body[end:])]
		text := strings.TrimLeft(string(line[:min(len(line), 200)]), " ")
		if text == "" || text[0] == '\n' || text[0] == '#' {
			continue
		}
		switch n := len(line) - len(bytes.TrimLeft(line, " ")); {
		case indent < 0:
			indent = n
		case n <= indent && text[0] != '-':
			return body[:end], body[end:]
		}
	}
	return body, nil
}

func lineLength(text []byte) int {
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		return i + 1
	}
	return len(text)
}

// value returns what a mapping has under a key, or nil.
func value(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}
