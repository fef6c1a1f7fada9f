// SPDX-License-Identifier: Apache-2.0

package sops

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/transport"
)

// metadataKey is where the metadata of a file stands.
const metadataKey = "sops"

// The bounds of the key groups.
const (
	maxGroups    = 32
	maxGroupKeys = 64
)

// Kind is a kind of key that SOPS encrypts data keys with, by the name its metadata has for it.
type Kind string

// The kinds of SOPS 3.13.
const (
	Vault     Kind = "hc_vault"
	AWSKMS    Kind = "kms"
	AzureKV   Kind = "azure_kv"
	GCPKMS    Kind = "gcp_kms"
	HuaweiKMS Kind = "hckms"
	Age       Kind = "age"
	PGP       Kind = "pgp"
)

// kinds lists all of them.
func kinds() []Kind { return []Kind{Vault, AWSKMS, AzureKV, GCPKMS, HuaweiKMS, Age, PGP} }

// Key is one entry of a key group: a data key, or a share of one, encrypted with somebody's key. Which fields are set depends
// on the kind. All of them are foreign text.
type Key struct {
	Kind Kind
	// Encrypted is the encrypted data key, as the kind writes it.
	Encrypted string
	// Fields are the other entries that are texts: arn, role, resource_id, vault_url, name, version, vault_address,
	// engine_path, key_name, recipient, fp.
	Fields map[string]string
	// Context is the encryption context of AWS.
	Context map[string]string
}

// Name says which key it is, for a message: at most 120 printable characters.
func (k Key) Name() string {
	f := k.Fields
	name := ""
	switch k.Kind {
	case Vault:
		name = strings.TrimSuffix(transport.RedactURL(f["vault_address"]), "/") + "/v1/" + f["engine_path"] + "/keys/" + f["key_name"]
	case AWSKMS:
		name = f["arn"]
	case AzureKV:
		name = transport.RedactURL(f["vault_url"]) + "/keys/" + f["name"] + "/" + f["version"]
	case GCPKMS:
		name = f["resource_id"]
	case HuaweiKMS:
		name = f["key_id"]
	case Age:
		name = f["recipient"]
	case PGP:
		name = f["fp"]
	}
	return string(k.Kind) + " " + Printable(name)
}

// Printable is what a file says, as a message may quote it.
func Printable(s string) string { return fault.Printable(s, 120) }

// metadata is what a file says about its encryption.
type metadata struct {
	mac              string
	lastModified     string
	macOnlyEncrypted bool
	rules            rules
	groups           [][]Key
	threshold        int
}

func readMetadata(m map[string]any) (metadata, error) {
	modified, err := time.Parse(time.RFC3339, text(m, "lastmodified"))
	if err != nil {
		return metadata{}, errors.New("lastmodified is no time")
	}
	md := metadata{mac: text(m, "mac"), lastModified: modified.Format(time.RFC3339)}
	if md.mac == "" {
		return metadata{}, fmt.Errorf("no mac: %w", ErrIntegrity)
	}
	if md.macOnlyEncrypted, err = flag(m, "mac_only_encrypted"); err != nil {
		return metadata{}, err
	}
	if md.rules, err = readRules(m); err != nil {
		return metadata{}, err
	}
	if md.groups, err = readGroups(m); err != nil {
		return metadata{}, err
	}
	md.threshold, err = readThreshold(m, len(md.groups))
	return md, err
}

// readThreshold says how many groups are needed. With one group there is nothing to share.
func readThreshold(m map[string]any, groups int) (int, error) {
	if groups == 1 {
		return 1, nil
	}
	n := groups
	if value := text(m, "shamir_threshold"); value != "" {
		var err error
		if n, err = strconv.Atoi(value); err != nil {
			return 0, errors.New("shamir_threshold is no number")
		}
	}
	if n < 2 || n > groups {
		return 0, fmt.Errorf("shamir_threshold %d does not fit %d key groups", n, groups)
	}
	return n, nil
}

// readGroups returns the one group that stands beside the other fields, or else those of key_groups.
func readGroups(m map[string]any) ([][]Key, error) {
	group, err := readGroup(m)
	if err != nil {
		return nil, err
	}
	if len(group) > 0 {
		return [][]Key{group}, nil
	}
	list, err := items(m, "key_groups")
	if err != nil {
		return nil, err
	}
	if len(list) > maxGroups {
		return nil, fmt.Errorf("%d key groups, at most %d are read", len(list), maxGroups)
	}
	var groups [][]Key
	for _, item := range list {
		if group, err = readGroup(item); err != nil {
			return nil, err
		}
		groups = append(groups, group)
	}
	if len(groups) == 0 {
		return nil, errors.New("no keys")
	}
	return groups, nil
}

func readGroup(m map[string]any) ([]Key, error) {
	var group []Key
	for _, kind := range kinds() {
		list, err := items(m, string(kind))
		if err != nil {
			return nil, err
		}
		for _, item := range list {
			group = append(group, readKey(kind, item))
		}
	}
	if len(group) > maxGroupKeys {
		return nil, fmt.Errorf("%d keys in a group, at most %d are read", len(group), maxGroupKeys)
	}
	return group, nil
}

func readKey(kind Kind, m map[string]any) Key {
	k := Key{Kind: kind, Encrypted: text(m, "enc"), Fields: map[string]string{}}
	for name := range m {
		if value := text(m, name); name != "enc" && value != "" {
			k.Fields[name] = value
		}
	}
	if context, ok := m["context"].(map[string]any); ok {
		k.Context = map[string]string{}
		for name := range context {
			k.Context[name] = text(context, name)
		}
	}
	return k
}

// text returns a field as text. Formats without types have nothing else.
func text(m map[string]any, name string) string {
	switch v := m[name].(type) {
	case string:
		return v
	case int:
		return strconv.Itoa(v)
	case bool:
		return strconv.FormatBool(v)
	case time.Time:
		return v.Format(time.RFC3339)
	default:
		return ""
	}
}

func flag(m map[string]any, name string) (bool, error) {
	value := text(m, name)
	if value == "" {
		return false, nil
	}
	on, err := strconv.ParseBool(value)
	if err != nil {
		return false, fmt.Errorf("%s is neither true nor false", name)
	}
	return on, nil
}

// items returns a field that is a list of mappings.
func items(m map[string]any, name string) ([]map[string]any, error) {
	switch v := m[name].(type) {
	case nil:
		return nil, nil
	case []any:
		var out []map[string]any
		for _, item := range v {
			entry, ok := item.(map[string]any)
			if !ok {
				return nil, fmt.Errorf("%s has an entry that is no mapping", name)
			}
			out = append(out, entry)
		}
		return out, nil
	default:
		return nil, fmt.Errorf("%s is no list", name)
	}
}
