// SPDX-License-Identifier: Apache-2.0

package sops

import (
	"bytes"
	"errors"
	"strings"

	"gopkg.in/ini.v1"
)

// iniTree is an INI file, read and written by the library that SOPS uses. Values are decrypted in place.
type iniTree struct{ file *ini.File }

func parseINI(data []byte) (tree, map[string]any, error) {
	file, err := ini.LoadSources(ini.LoadOptions{AllowNonUniqueSections: true}, data)
	if err != nil {
		return nil, nil, errMalformed(INI) // the parser's text quotes the file
	}
	t := &iniTree{file}
	sections, err := file.SectionsByName(metadataKey)
	if err != nil || len(sections) == 0 {
		return t, nil, nil //nolint:nilerr // no such section: not encrypted
	}
	if len(sections) > 1 {
		return nil, nil, errors.New("the SOPS metadata occurs twice")
	}
	flat := map[string]string{}
	for _, key := range sections[0].Keys() {
		flat[key.Name()] = strings.ReplaceAll(key.Value(), `\n`, "\n")
	}
	file.DeleteSection(metadataKey)
	fields, err := unflatten(flat)
	return t, fields, err
}

func (t *iniTree) walk(visit visitor) error {
	for _, section := range t.file.Sections() {
		w := iniWalk{visit: visit, section: section.Name()}
		if err := w.comment(&section.Comment); err != nil {
			return err
		}
		for _, key := range section.Keys() {
			if err := w.key(key); err != nil {
				return err
			}
		}
	}
	return nil
}

type iniWalk struct {
	visit    visitor
	section  string
	comments []string
}

// key visits a value and then its comment: SOPS has them in this order.
func (w *iniWalk) key(key *ini.Key) error {
	plain, err := w.visit(place{path: []string{w.section, key.Name()}, comments: [][]string{w.comments}}, key.Value())
	if err != nil {
		return err
	}
	key.SetValue(plainText(plain))
	w.comments = nil
	return w.comment(&key.Comment)
}

func (w *iniWalk) comment(field *string) error {
	if *field == "" {
		return nil
	}
	text := *field
	for _, mark := range []string{";", "#"} {
		if strings.HasPrefix(text, mark) {
			text = strings.TrimLeft(text, mark+" ")
			break
		}
	}
	w.comments = append(w.comments, text)
	plain, err := w.visit(place{path: []string{w.section}, comments: [][]string{w.comments}, comment: true}, text)
	*field = plainText(plain)
	return err
}

func (t *iniTree) emit() ([]byte, error) {
	var out bytes.Buffer
	if _, err := t.file.WriteTo(&out); err != nil {
		return nil, errMalformed(INI)
	}
	return out.Bytes(), nil
}
