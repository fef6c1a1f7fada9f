// SPDX-License-Identifier: Apache-2.0

package preview

import (
	"bytes"
	"encoding/base64"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	// encryptedMask stands for an encrypted value, as in upstream's output.
	encryptedMask = "**SOPS**"
	// secretMask stands for the value of a Secret. It is no base64 on purpose: in data the API server refuses it, so that
	// masked output which is applied by mistake does not replace a secret.
	secretMask = "***"
	// encryptedPrefix begins each value that SOPS encrypted.
	encryptedPrefix = "ENC["
	// sopsField holds what SOPS notes about the encryption, in objects and in files.
	sopsField = "sops"

	dockerConfigType = "kubernetes.io/dockerconfigjson"
)

// lastApplied is where kubectl keeps a copy of what it applied, values of Secrets included.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// Mask returns copies of the objects for people and logs: without the values of Secrets, and with encrypted values, and what
// SOPS notes beside them, replaced. It returns how many Secrets it masked.
func Mask(objs []*unstructured.Unstructured) (masked []*unstructured.Unstructured, secrets int) {
	for _, obj := range objs {
		obj = obj.DeepCopy()
		if isSecret(obj) {
			secrets++
			maskSecret(obj)
		}
		strip(obj, nil)
		masked = append(masked, obj)
	}
	return masked, secrets
}

func isSecret(obj *unstructured.Unstructured) bool {
	gvk := obj.GroupVersionKind()
	return gvk.Group == "" && gvk.Kind == "Secret"
}

func maskSecret(obj *unstructured.Unstructured) {
	mask := encryptedMask
	if kind, _, _ := unstructured.NestedString(obj.Object, "type"); kind == dockerConfigType {
		mask = `{"mask":"` + encryptedMask + `"}` // it has to be JSON
	}
	whole := isEncrypted(obj)
	replace(obj, "data", func(value string) string {
		if whole || encryptedFile(decoded(value)) {
			return base64.StdEncoding.EncodeToString([]byte(mask))
		}
		return secretMask
	})
	plain, _ := obj.Object["stringData"].(map[string]any)
	for key, value := range plain {
		if text, _ := value.(string); whole || encryptedFile([]byte(text)) {
			plain[key] = mask
			continue
		}
		// Where it ends up, and where the mask is refused.
		delete(plain, key)
		if err := unstructured.SetNestedField(obj.Object, secretMask, "data", key); err != nil {
			obj.Object["data"] = map[string]any{key: secretMask} // it was no map, and hence no Secret
		}
	}
	if len(plain) == 0 {
		delete(obj.Object, "stringData")
	}
	annotations := obj.GetAnnotations()
	if delete(annotations, lastApplied); len(annotations) == 0 {
		annotations = nil
	}
	obj.SetAnnotations(annotations)
}

// replace changes each value of a map. What is no string, and hence no valid value, is hidden like one.
func replace(obj *unstructured.Unstructured, field string, change func(string) string) {
	values, _ := obj.Object[field].(map[string]any)
	for key, value := range values {
		text, _ := value.(string)
		values[key] = change(text)
	}
}

// isEncrypted reports whether SOPS encrypted the object.
func isEncrypted(obj *unstructured.Unstructured) bool {
	_, found := obj.Object[sopsField]
	return found
}

// encryptedFile reports whether text is a file that SOPS encrypted, whatever its format.
func encryptedFile(text []byte) bool {
	return bytes.Contains(text, []byte(sopsField)) && bytes.Contains(text, []byte(encryptedPrefix))
}

func decoded(value string) []byte {
	raw, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return []byte(value)
	}
	return raw
}

// hasEncrypted reports whether an object holds anything that SOPS encrypted.
func hasEncrypted(obj *unstructured.Unstructured) bool {
	found := isEncrypted(obj)
	if isSecret(obj) && !found {
		look := func(file func(string) []byte) func(string) string {
			return func(value string) string {
				found = found || encryptedFile(file(value))
				return value
			}
		}
		replace(obj, "data", look(decoded))
		replace(obj, "stringData", look(func(value string) []byte { return []byte(value) }))
	}
	return found
}

// standIn puts what is in the cluster in the place of what is encrypted, so that a comparison shows everything but that: keys
// that appear and disappear, and the rest of the object. Without a live object, or the key in it, the mask stays.
func standIn(obj, live *unstructured.Unstructured) {
	if isSecret(obj) {
		standInSecret(obj, live)
	}
	strip(obj, live)
}

func standInSecret(obj, live *unstructured.Unstructured) {
	whole := isEncrypted(obj)
	data, _ := obj.Object["data"].(map[string]any)
	plain, _ := obj.Object["stringData"].(map[string]any)
	if data == nil {
		data = map[string]any{}
	}
	for key, value := range data {
		if text, _ := value.(string); whole && strings.HasPrefix(text, encryptedPrefix) || encryptedFile(decoded(text)) {
			data[key] = liveValue(live, key)
		}
	}
	for key, value := range plain {
		if text, _ := value.(string); whole && strings.HasPrefix(text, encryptedPrefix) || encryptedFile([]byte(text)) {
			data[key] = liveValue(live, key)
			delete(plain, key)
		}
	}
	obj.Object["data"] = data
}

func liveValue(live *unstructured.Unstructured, key string) any {
	if live != nil {
		if value, found, err := unstructured.NestedString(live.Object, "data", key); found && err == nil {
			return value
		}
	}
	return base64.StdEncoding.EncodeToString([]byte(encryptedMask))
}

// strip takes SOPS's notes out of an object, and puts the value at the same place of live, or else the mask, in the place of
// each encrypted value. It does nothing to an object that is not encrypted.
func strip(obj, live *unstructured.Unstructured) {
	if !isEncrypted(obj) {
		return
	}
	delete(obj.Object, sopsField)
	for key, value := range obj.Object {
		var other any
		if live != nil {
			other = live.Object[key]
		}
		obj.Object[key] = stripValue(value, other)
	}
}

func stripValue(value, live any) any {
	switch value := value.(type) {
	case map[string]any:
		other, _ := live.(map[string]any)
		for key := range value {
			value[key] = stripValue(value[key], other[key])
		}
	case []any:
		other, _ := live.([]any)
		for i := range value {
			if len(other) == len(value) {
				value[i] = stripValue(value[i], other[i])
			} else {
				value[i] = stripValue(value[i], nil)
			}
		}
	case string:
		switch {
		case !strings.HasPrefix(value, encryptedPrefix):
		case live != nil:
			return live
		default:
			return encryptedMask
		}
	}
	return value
}
