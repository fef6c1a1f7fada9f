// SPDX-License-Identifier: Apache-2.0

package sopskeys

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Entry is one key of a file: its kind, and its fields as SOPS writes them, "enc" included.
type Entry struct {
	Kind   string
	Fields map[string]string
	// Context is the encryption context of AWS; may be nil.
	Context map[string]string
}

// Rewrap gives a YAML file these keys instead of its own. The MAC does not cover the keys, so it stays valid.
func Rewrap(file []byte, entries ...Entry) ([]byte, error) {
	var out bytes.Buffer
	decoder, encoder := yaml.NewDecoder(bytes.NewReader(file)), yaml.NewEncoder(&out)
	encoder.SetIndent(4)
	for {
		var doc yaml.Node
		if err := decoder.Decode(&doc); err != nil {
			break // the end
		}
		stanza := field(doc.Content[0], "sops")
		if stanza == nil {
			return nil, errors.New("no metadata of SOPS")
		}
		if err := setKeys(stanza, entries); err != nil {
			return nil, err
		}
		if err := encoder.Encode(&doc); err != nil {
			return nil, err
		}
	}
	err := encoder.Close()
	return out.Bytes(), err
}

func field(mapping *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i+1]
		}
	}
	return nil
}

func setKeys(stanza *yaml.Node, entries []Entry) error {
	kinds := map[string][]map[string]any{}
	for _, entry := range entries {
		fields := map[string]any{}
		for name, value := range entry.Fields {
			fields[name] = value
		}
		if entry.Context != nil {
			fields["context"] = entry.Context
		}
		kinds[entry.Kind] = append(kinds[entry.Kind], fields)
	}
	var kept []*yaml.Node
	for i := 0; i+1 < len(stanza.Content); i += 2 {
		switch stanza.Content[i].Value {
		case "hc_vault", "kms", "azure_kv", "gcp_kms", "hckms", "age", "pgp", "key_groups", "shamir_threshold":
		default:
			kept = append(kept, stanza.Content[i], stanza.Content[i+1])
		}
	}
	var keys yaml.Node
	if err := keys.Encode(kinds); err != nil {
		return err
	}
	stanza.Content = append(kept, keys.Content...)
	return nil
}

// RewrapDotenv is Rewrap for a dotenv file and one key.
func RewrapDotenv(file []byte, entry Entry) []byte {
	var out strings.Builder
	for line := range strings.Lines(string(file)) {
		if !strings.Contains(line, "__list_") {
			out.WriteString(line)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(entry.Fields)) {
		fmt.Fprintf(&out, "sops_%s__list_0__map_%s=%s\n", entry.Kind, name, strings.ReplaceAll(entry.Fields[name], "\n", `\n`))
	}
	return []byte(out.String())
}
