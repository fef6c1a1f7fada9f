// SPDX-License-Identifier: Apache-2.0

package sops

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"regexp"
	"strconv"
	"strings"
	"time"

	"sluice.dev/sluice/internal/fips"
)

// dataKeySize is the size of a data key in bytes: AES-256.
const dataKeySize = 32

// nonceSize is the length of the nonce that SOPS chose. It is not the 96 bits that the module makes nonces with; opening is
// the only use of it here.
const nonceSize = 32

// sealed is the form of an encrypted value.
var sealed = regexp.MustCompile(`^ENC\[AES256_GCM,data:([^,]+),iv:([^,]+),tag:([^,]+),type:([a-z]+)\]$`)

// Encrypted reports whether a text has the form of an encrypted value.
func Encrypted(text string) bool { return sealed.MatchString(text) }

// aad is what binds a value to its place.
func aad(path []string) string { return strings.Join(path, ":") + ":" }

// opener decrypts values with one data key.
type opener struct{ aead cipher.AEAD }

func newOpener(dataKey []byte) (opener, error) {
	if len(dataKey) != dataKeySize {
		return opener{}, fmt.Errorf("the data key has %d bytes, want %d", len(dataKey), dataKeySize)
	}
	block, err := aes.NewCipher(dataKey)
	if err != nil {
		return opener{}, fmt.Errorf("data key: %w", err)
	}
	var o opener
	fips.Exempt(fips.SOPSNonce, func() { o.aead, err = cipher.NewGCMWithNonceSize(block, nonceSize) })
	return o, err
}

// value decrypts what stands at a place. A comment that does not open was never encrypted.
func (o opener) value(at place, value any) (any, error) {
	text, ok := value.(string)
	if !ok {
		return nil, fmt.Errorf("the value at %q should be encrypted, and is not: %w", strings.Join(at.path, "."), ErrIntegrity)
	}
	if text == "" {
		return "", nil // SOPS leaves an empty text as it is
	}
	plain, err := o.open(text, aad(at.path))
	switch {
	case err == nil && at.comment:
		return fmt.Sprint(plain), nil
	case err != nil && at.comment:
		return text, nil
	case err != nil:
		return nil, fmt.Errorf("the value at %q %w", strings.Join(at.path, "."), err)
	}
	return plain, nil
}

// text decrypts a value that must be a text.
func (o opener) text(value, additional string) (string, error) {
	plain, err := o.open(value, additional)
	if err != nil {
		return "", err
	}
	text, ok := plain.(string)
	if !ok {
		return "", ErrIntegrity
	}
	return text, nil
}

func (o opener) open(text, additional string) (any, error) {
	parts := sealed.FindStringSubmatch(text)
	if parts == nil {
		return nil, fmt.Errorf("should be encrypted, and is not: %w", ErrIntegrity)
	}
	var raw [3][]byte
	for i := range raw {
		var err error
		if raw[i], err = base64.StdEncoding.DecodeString(parts[i+1]); err != nil {
			return nil, fmt.Errorf("is not valid base64: %w", ErrIntegrity)
		}
	}
	data, nonce, tag := raw[0], raw[1], raw[2]
	if len(nonce) != nonceSize {
		return nil, fmt.Errorf("has a nonce of %d bytes, want %d: %w", len(nonce), nonceSize, ErrIntegrity)
	}
	plain, err := o.aead.Open(nil, nonce, append(data, tag...), []byte(additional))
	if err != nil {
		return nil, fmt.Errorf("does not decrypt: %w", ErrIntegrity)
	}
	return typed(parts[4], plain)
}

// typed gives a plaintext the type it had before it was encrypted.
func typed(name string, plain []byte) (value any, err error) {
	text := string(plain)
	switch name {
	case "str", "comment":
		return text, nil
	case "bytes":
		return plain, nil
	case "int":
		value, err = strconv.Atoi(text)
	case "float":
		value, err = strconv.ParseFloat(text, 64)
	case "bool":
		value, err = strconv.ParseBool(text)
	case "time":
		var t time.Time
		err = t.UnmarshalText(plain)
		value = t
	default:
		return nil, fmt.Errorf("has the unknown type %q", name)
	}
	if err != nil {
		return nil, fmt.Errorf("is no %s", name) // the parser's own text would quote it
	}
	return value, nil
}

// macOnlyEncryptedSeed begins the MAC of a file in which only encrypted values count, so that neither kind of MAC passes for
// the other. It is the SHA-256 of "sops".
const macOnlyEncryptedSeed = "8a3fd2ad54ce66527b1034f3d147be0b0b975b3bf44f72c6fdadec8176f27d69"

// mac is the running digest over the values of a file.
type mac struct{ state hash.Hash }

func newMAC(onlyEncrypted bool, digests fips.Digests) (*mac, error) {
	state, err := digests.Hash(crypto.SHA512)
	if err != nil {
		return nil, err
	}
	if onlyEncrypted {
		seed, err := hex.DecodeString(macOnlyEncryptedSeed)
		if err != nil {
			return nil, err
		}
		state.Write(seed) // a hash never fails
	}
	return &mac{state: state}, nil
}

func (m *mac) add(value any) error {
	text, err := canonical(value)
	if err != nil {
		return err
	}
	m.state.Write(text) // a hash never fails
	return nil
}

func (m *mac) matches(stored string) bool {
	want, err := hex.DecodeString(stored)
	return err == nil && subtle.ConstantTimeCompare(want, m.state.Sum(nil)) == 1
}

// canonical is a value as the MAC counts it. The first SOPS was written in Python, and wrote booleans that way.
func canonical(value any) ([]byte, error) {
	switch v := value.(type) {
	case string:
		return []byte(v), nil
	case []byte:
		return v, nil
	case int:
		return []byte(strconv.Itoa(v)), nil
	case float64:
		return []byte(strconv.FormatFloat(v, 'f', -1, 64)), nil
	case bool:
		if v {
			return []byte("True"), nil
		}
		return []byte("False"), nil
	case time.Time:
		return v.MarshalText()
	default:
		return nil, fmt.Errorf("a value of type %T cannot be in an encrypted file", value)
	}
}

// plainText is a value as a format without types writes it.
func plainText(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	case bool:
		return strconv.FormatBool(v)
	case float64:
		text := strconv.FormatFloat(v, 'G', -1, 64)
		if !strings.ContainsAny(text, ".E") {
			text = strconv.FormatFloat(v, 'f', 1, 64)
		}
		return text
	case time.Time:
		return v.Format(time.RFC3339)
	default:
		return fmt.Sprint(v)
	}
}

// errMalformed stands in for the messages of parsers, which quote what they read.
func errMalformed(f Format) error { return fmt.Errorf("no valid %s", f) }

var errDepth = errors.New("nested too deep")
