// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"sluice.dev/sluice/internal/verify"
)

// Key names the source object that an artifact belongs to.
type Key struct {
	Kind      string
	Namespace string
	Name      string
}

// KeyOf returns the key of an origin.
func KeyOf(o verify.Origin) Key { return Key{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name} }

// checked returns the key as it stands in paths, with the kind in lower case, or an error if it cannot stand there.
func (k Key) checked() (Key, error) {
	k.Kind = strings.ToLower(k.Kind)
	if len(validation.IsDNS1123Label(k.Kind)) > 0 || len(validation.IsDNS1123Label(k.Namespace)) > 0 ||
		len(validation.IsDNS1123Subdomain(k.Name)) > 0 {
		return k, fmt.Errorf("%q is not the name of a source object", k.path())
	}
	return k, nil
}

func (k Key) path() string { return path.Join(k.Kind, k.Namespace, k.Name) }

// String returns "kind/namespace/name".
func (k Key) String() string { return k.path() }

const digestPrefix = "sha256:"

// parseDigest returns the hex part of "sha256:<hex>".
func parseDigest(digest string) (string, error) {
	sum, ok := strings.CutPrefix(digest, digestPrefix)
	if !ok || !isSum(sum) {
		return "", fmt.Errorf("%q is not a SHA-256 digest", digest)
	}
	return sum, nil
}

// isSum reports whether s is 64 lower case hexadecimal digits.
func isSum(s string) bool {
	if len(s) != 64 || strings.ToLower(s) != s {
		return false
	}
	_, err := hex.DecodeString(s)
	return err == nil
}

// checkFile refuses a file name that could not stand in a path or a URL as it is.
func checkFile(name string) error {
	if name == "" || len(name) > 255 || strings.HasPrefix(name, ".") {
		return errors.New("artifact's file name is empty, hidden or too long")
	}
	for _, r := range name {
		if !strings.ContainsRune("-_.+", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return fmt.Errorf("artifact's file name %q has a character that does not belong there", name)
		}
	}
	return nil
}
