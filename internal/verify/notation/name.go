// SPDX-License-Identifier: Apache-2.0

package notation

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// maxName bounds a distinguished name in bytes.
const maxName = 4096

// name is a distinguished name, each attribute once.
type name map[string]string

// attributes are the types that a name may have, by the last part of their object identifier below 2.5.4 (RFC 4519).
func attributes() map[int]string {
	return map[int]string{3: "CN", 5: "SERIALNUMBER", 6: "C", 7: "L", 8: "ST", 9: "STREET", 10: "O", 11: "OU", 17: "POSTALCODE"}
}

// parseName reads a name of a trust policy (RFC 4514 as far as the Notary Project takes it): C, ST or S, and O are needed, and no
// attribute stands there twice.
func parseName(text string) (name, error) {
	if len(text) > maxName {
		return nil, errors.New("too long")
	}
	known := map[string]bool{}
	for _, attribute := range attributes() {
		known[attribute] = true
	}
	n := name{}
	for _, part := range split(text) {
		key, raw, ok := strings.Cut(part, "=")
		key = strings.ToUpper(strings.TrimSpace(key))
		if key == "S" {
			key = "ST"
		}
		if !ok || !known[key] {
			return nil, fmt.Errorf("attribute %.64q is not supported", key)
		}
		value, err := unescape(raw)
		switch {
		case err != nil:
			return nil, err
		case value == "":
			return nil, fmt.Errorf("attribute %s is empty", key)
		case n[key] != "":
			return nil, fmt.Errorf("attribute %s stands there twice", key)
		}
		n[key] = value
	}
	for _, needed := range []string{"C", "ST", "O"} {
		if n[needed] == "" {
			return nil, fmt.Errorf("attribute %s is missing: C, ST and O are needed", needed)
		}
	}
	return n, nil
}

// split cuts at commas that are not escaped.
func split(text string) []string {
	var parts []string
	start := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case ',':
			parts = append(parts, text[start:i])
			start = i + 1
		}
	}
	return append(parts, text[start:])
}

// unescape reads a value. What RFC 4514 wants to be escaped is refused where it is not, and so are values in hexadecimal.
func unescape(raw string) (string, error) {
	raw = strings.TrimLeft(raw, " ")
	var out []byte
	kept := 0 // the length up to which an escape protects blanks
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c != '\\' && strings.IndexByte(`"+;<>`, c) >= 0, c == '#' && i == 0, c == 0:
			return "", fmt.Errorf("character %q has to be escaped", c)
		case c != '\\':
			out = append(out, c)
			continue
		case i+1 < len(raw) && strings.IndexByte(`"+,;<>=\# `, raw[i+1]) >= 0:
			out = append(out, raw[i+1])
			i++
		case i+2 < len(raw):
			pair, err := hex.DecodeString(raw[i+1 : i+3])
			if err != nil {
				return "", errors.New("unknown escape")
			}
			out = append(out, pair...)
			i += 2
		default:
			return "", errors.New("unknown escape")
		}
		kept = len(out)
	}
	for len(out) > kept && out[len(out)-1] == ' ' {
		out = out[:len(out)-1]
	}
	return string(out), nil
}

// nameOf returns the subject of a certificate. One that has an attribute twice could be read in two ways, so that attribute is
// nobody's.
func nameOf(subject pkix.Name) name {
	n, twice := name{}, map[string]bool{}
	below := asn1.ObjectIdentifier{2, 5, 4}
	for _, a := range subject.Names {
		if len(a.Type) != 4 || !a.Type[:3].Equal(below) {
			continue
		}
		attribute, ok := attributes()[a.Type[3]]
		if !ok {
			continue
		}
		value, text := a.Value.(string)
		twice[attribute] = twice[attribute] || n[attribute] != "" || !text
		n[attribute] = value
	}
	for attribute := range twice {
		if twice[attribute] {
			delete(n, attribute)
		}
	}
	return n
}

// covers reports whether a subject has all that the trusted name says.
func (n name) covers(subject name) bool {
	for attribute, value := range n {
		if subject[attribute] != value {
			return false
		}
	}
	return len(n) > 0
}
