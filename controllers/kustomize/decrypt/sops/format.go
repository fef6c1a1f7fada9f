// SPDX-License-Identifier: Apache-2.0

package sops

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// Format is how a file is written.
type Format int

// The formats of SOPS. Binary is anything at all, in a JSON envelope while encrypted.
const (
	Binary Format = iota
	Dotenv
	INI
	JSON
	YAML
)

// String returns the name that SOPS gives the format.
func (f Format) String() string {
	switch f {
	case Binary:
		return "binary"
	case Dotenv:
		return "dotenv"
	case INI:
		return "ini"
	case JSON:
		return "json"
	case YAML:
		return "yaml"
	default:
		return fmt.Sprintf("Format(%d)", int(f))
	}
}

// FormatOf returns the format that a file name says; a name that says none means binary (spec row K-16).
func FormatOf(name string) Format {
	for _, known := range []struct {
		suffix string
		format Format
	}{
		{".yaml", YAML},
		{".yml", YAML},
		{".json", JSON},
		{".dockerconfigjson", JSON},
		{".env", Dotenv},
		{".ini", INI},
	} {
		if strings.HasSuffix(name, known.suffix) {
			return known.format
		}
	}
	return Binary
}

// The marks of an encrypted file: its MAC, as each format writes it.
var (
	jsonMark   = regexp.MustCompile(`"mac"\s*:\s*"ENC\[`)
	yamlMark   = regexp.MustCompile(`(?m)^[ \t]+mac: *["']?ENC\[`)
	iniMark    = regexp.MustCompile(`(?m)^[ \t]*mac[ \t]*=[ \t]*ENC\[`)
	dotenvMark = regexp.MustCompile(`(?m)^sops_mac=ENC\[`)
)

// Marked reports whether data looks like a file of this format that SOPS has encrypted. It is a cheap first look; Parse
// tells for sure.
func Marked(f Format, data []byte) bool {
	if !bytes.Contains(data, []byte("ENC[AES256_GCM,")) {
		return false
	}
	switch f {
	case Binary, JSON:
		return jsonMark.Match(data)
	case Dotenv:
		return dotenvMark.Match(data)
	case INI:
		return iniMark.Match(data)
	case YAML:
		return yamlMark.Match(data)
	default:
		return false
	}
}

// Detect returns the format of an encrypted file whose name says little, such as a key of a Secret. A JSON envelope is read
// as JSON when the name says so, as binary otherwise.
func Detect(name string, data []byte) (Format, bool) {
	for _, f := range []Format{Dotenv, YAML, INI} {
		if Marked(f, data) {
			return f, true
		}
	}
	if !Marked(JSON, data) {
		return 0, false
	}
	if FormatOf(name) == Binary {
		return Binary, true
	}
	return JSON, true
}
