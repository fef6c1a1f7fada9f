// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Provenance returns what Helm signs of a chart: its metadata, and the digests of files by their names.
func Provenance(metadata string, files map[string][]byte) string {
	var out strings.Builder
	out.WriteString(strings.TrimSpace(metadata) + "\n\n...\nfiles:\n")
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&out, "  %s: sha256:%x\n", name, sha256.Sum256(files[name]))
	}
	return out.String()
}

// Signing is how a message is signed; a test may sign badly too.
type Signing struct {
	Key  *openpgp.Entity
	Hash crypto.Hash
	At   time.Time
	// Document signs it as bytes, which nobody does with a text, and Times is how often it is signed, once unless set.
	Document bool
	Times    int
}

// ClearSign signs a text as `gpg --clearsign` does, with the primary key.
func ClearSign(text string, s Signing) ([]byte, error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	signed := strings.Join(lines, "\r\n")
	var out bytes.Buffer
	out.WriteString("-----BEGIN PGP SIGNED MESSAGE-----\nHash: " + strings.ReplaceAll(s.Hash.String(), "-", "") + "\n\n")
	for _, line := range lines {
		if strings.HasPrefix(line, "-") {
			line = "- " + line
		}
		out.WriteString(line + "\n")
	}
	w, err := armor.Encode(&out, openpgp.SignatureType, nil)
	if err != nil {
		return nil, err
	}
	kind := packet.SigTypeText
	if s.Document {
		kind = packet.SigTypeBinary
	}
	key := s.Key.PrivateKey
	for range max(s.Times, 1) {
		signature := &packet.Signature{
			Version: key.Version, SigType: kind, PubKeyAlgo: key.PubKeyAlgo, Hash: s.Hash, CreationTime: s.At,
			IssuerKeyId: &key.KeyId, IssuerFingerprint: key.Fingerprint,
		}
		hash := s.Hash.New()
		hash.Write([]byte(signed))
		if err := errors.Join(signature.Sign(hash, key, nil), signature.Serialize(w)); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// Armor returns the public half of a key as `gpg --armor --export` does.
func Armor(key *openpgp.Entity) ([]byte, error) {
	var out bytes.Buffer
	w, err := armor.Encode(&out, openpgp.PublicKeyType, nil)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(key.Serialize(w), w.Close()); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
