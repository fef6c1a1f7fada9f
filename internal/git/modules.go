// SPDX-License-Identifier: Apache-2.0

package git

import (
	"fmt"
	"path"
	"strings"
)

// parseModules reads the text of .gitmodules and returns the URLs of submodules by their paths. The form is that of git-config
// files, of which it knows what Git itself writes there: sections with quoted names, values with quotes, escapes and comments,
// lines that go on behind a backslash. Keys other than path and url do not matter to what is fetched.
func parseModules(text []byte) (map[string]string, error) {
	type module struct{ path, url string }
	modules := map[string]*module{}
	var order []string
	var at *module
	lines := strings.Split(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if line[0] == '[' {
			name, ok := moduleName(line)
			at = nil
			if ok {
				if modules[name] == nil {
					modules[name] = &module{}
					order = append(order, name)
				}
				at = modules[name]
			}
			continue
		}
		key, raw, _ := strings.Cut(line, "=")
		value, used, err := configValue(raw, lines[i+1:])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		i += used
		if at == nil {
			continue
		}
		switch strings.ToLower(strings.TrimSpace(key)) { // the last one counts
		case "path":
			at.path = value
		case "url":
			at.url = value
		}
	}
	urls := map[string]string{}
	for _, name := range order {
		m := modules[name]
		if clean := path.Clean(m.path); m.path != "" && m.url != "" && urls[clean] == "" {
			urls[clean] = m.url
		}
	}
	return urls, nil
}

// moduleName reads `[submodule "name"]`.
func moduleName(line string) (string, bool) {
	inner, ok := strings.CutPrefix(line, "[")
	if !ok {
		return "", false
	}
	section, rest, ok := strings.Cut(inner, `"`)
	if !ok || !strings.EqualFold(strings.TrimSpace(section), "submodule") {
		return "", false
	}
	var name strings.Builder
	for i := 0; i < len(rest); i++ {
		switch {
		case rest[i] == '"':
			return name.String(), strings.HasPrefix(strings.TrimSpace(rest[i+1:]), "]")
		case rest[i] == '\\' && i+1 < len(rest):
			i++
		}
		name.WriteByte(rest[i])
	}
	return "", false
}

// configValue reads a value, which goes on in the following lines as long as they end in a backslash; used says in how many.
func configValue(raw string, following []string) (value string, used int, err error) {
	var out strings.Builder
	quoted, solid := false, 0 // solid is the length without blanks at the end that are not quoted
	rest := strings.TrimLeft(raw, " \t")
	for i := 0; ; i++ {
		if i >= len(rest) {
			break
		}
		b := rest[i]
		switch {
		case b == '"':
			quoted = !quoted
			solid = out.Len()
			continue
		case (b == '#' || b == ';') && !quoted:
			return out.String()[:solid], used, nil
		case b == '\\' && i+1 == len(rest):
			if used == len(following) {
				return "", used, errModules
			}
			rest, i = following[used], -1
			used++
			continue
		case b == '\\':
			i++
			escaped, ok := map[byte]byte{'n': '\n', 't': '\t', 'b': '\b', '"': '"', '\\': '\\'}[rest[i]]
			if !ok {
				return "", used, errModules
			}
			out.WriteByte(escaped)
			solid = out.Len()
			continue
		}
		out.WriteByte(b)
		if quoted || b != ' ' && b != '\t' {
			solid = out.Len()
		}
	}
	if quoted {
		return "", used, errModules
	}
	return out.String()[:solid], used, nil
}

// errModules is about a value that cannot be read.
var errModules = fmt.Errorf("the value cannot be read: %w", errObject)
