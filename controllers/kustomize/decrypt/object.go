// SPDX-License-Identifier: Apache-2.0

package decrypt

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"sluice.dev/sluice/controllers/kustomize/decrypt/sops"
)

// disabledKey is the annotation that leaves an object as it is, for a controller that decrypts by itself.
const disabledKey = "kustomize.toolkit.fluxcd.io/decrypt"

// stanza is where SOPS keeps its metadata in an object.
const stanza = "sops"

// Object decrypts an object of a build in place, and reports whether it did: the object as a whole where it has the metadata
// of SOPS, else the values of a Secret that are encrypted files.
func (s *Session) Object(ctx context.Context, obj map[string]any) (bool, error) {
	u := unstructured.Unstructured{Object: obj}
	if s == nil || strings.EqualFold(u.GetAnnotations()[disabledKey], "disabled") {
		return false, nil
	}
	if mac, _, _ := unstructured.NestedString(obj, stanza, "mac"); mac != "" { // no text is no MAC
		if err := s.whole(ctx, obj, mac); err != nil {
			return false, fmt.Errorf("%s/%s: %w", u.GetKind(), u.GetName(), err)
		}
		return true, nil
	}
	if !isSecret(&u) {
		return false, nil
	}
	changed, err := s.values(ctx, obj)
	if err != nil {
		return false, fmt.Errorf("Secret/%s: %w", u.GetName(), err)
	}
	return changed, nil
}

// StillEncrypted reports whether an object is a Secret that SOPS has encrypted and nobody has decrypted (spec row K-18).
func StillEncrypted(u *unstructured.Unstructured) bool {
	_, found := u.Object[stanza]
	return found && isSecret(u)
}

func isSecret(u *unstructured.Unstructured) bool {
	return u.GetAPIVersion() == "v1" && u.GetKind() == "Secret"
}

// whole puts the proven plaintexts in the place of the encrypted values.
func (s *Session) whole(ctx context.Context, obj map[string]any, mac string) error {
	values, err := s.provenValues(ctx, mac)
	if err != nil {
		return err
	}
	delete(obj, stanza)
	_, err = replace(obj, nil, values)
	return err
}

// replace returns a value with every encrypted text in it replaced. The path leaves out places in lists, as SOPS' does.
func replace(value any, path []string, values map[sops.Leaf]any) (any, error) {
	var err error
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if v[key], err = replace(v[key], append(path, key), values); err != nil {
				return nil, err
			}
		}
	case []any:
		for i := range v {
			if v[i], err = replace(v[i], path, values); err != nil {
				return nil, err
			}
		}
	case string:
		if !sops.Encrypted(v) {
			return v, nil
		}
		plain, ok := values[sops.Leaf{Path: strings.Join(path, ":") + ":", Text: v}]
		if !ok {
			return nil, fmt.Errorf("the encrypted value at %q is not in the file that the MAC is of: %w", strings.Join(path, "."), sops.ErrIntegrity)
		}
		return plain, nil
	}
	return value, nil
}

// values decrypts the values of a Secret that are encrypted files, such as a generator makes. A value that is no base64 is
// the API server's to refuse.
func (s *Session) values(ctx context.Context, obj map[string]any) (bool, error) {
	data, ok := obj["data"].(map[string]any)
	if !ok {
		return false, nil
	}
	changed := false
	for _, key := range slices.Sorted(maps.Keys(data)) {
		text, _ := data[key].(string)
		content, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			continue
		}
		f, encrypted := sops.Detect(key, content)
		if !encrypted {
			continue
		}
		file, err := s.open(ctx, f, content)
		if errors.Is(err, sops.ErrPlain) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("decrypt data[%q]: %w", key, err)
		}
		data[key] = base64.StdEncoding.EncodeToString(file.plain)
		changed = true
	}
	return changed, nil
}
