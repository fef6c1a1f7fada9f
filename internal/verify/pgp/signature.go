// SPDX-License-Identifier: Apache-2.0

package pgp

import (
	"bytes"
	"errors"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"sluice.dev/sluice/internal/transport"
)

// Signature is one signature that can be checked.
type Signature struct {
	packet *packet.Signature
	raw    []byte
}

// maxSignature bounds a signature; the largest honest one, RSA with 8192 bits, needs 2 KiB.
const maxSignature = 64 << 10

// errMalformed is about an armored signature that is none.
var errMalformed = errors.New("the OpenPGP signature is malformed")

// Parse reads one armored signature over a document, as Git has it.
func Parse(armored []byte) (_ Signature, err error) {
	defer panicked(&err)
	const end = "-----END PGP SIGNATURE-----"
	_, after, ok := bytes.Cut(armored, []byte(end))
	if !ok || len(bytes.TrimSpace(after)) > 0 {
		return Signature{}, errMalformed
	}
	block, err := armor.Decode(bytes.NewReader(armored))
	if err != nil {
		return Signature{}, errMalformed
	}
	return parse(block.Body, packet.SigTypeBinary)
}

// parse reads exactly one signature packet of a type. Git refuses more than one too (gpg-interface.c): which of two signers has
// approved is anybody's guess.
func parse(body io.Reader, kind packet.SignatureType) (Signature, error) {
	raw, err := transport.ReadAll(body, maxSignature)
	if err != nil {
		return Signature{}, errMalformed
	}
	packets := packet.NewReader(bytes.NewReader(raw))
	first, err := packets.Next()
	if err != nil {
		return Signature{}, errMalformed
	}
	signature, ok := first.(*packet.Signature)
	switch {
	case !ok || signature.IssuerKeyId == nil:
		return Signature{}, errMalformed
	case signature.SigType != kind && kind == packet.SigTypeText:
		return Signature{}, errors.New("the OpenPGP signature is not over a text")
	case signature.SigType != kind:
		return Signature{}, errors.New("the OpenPGP signature is not over a document")
	}
	if _, err := packets.Next(); !errors.Is(err, io.EOF) {
		return Signature{}, errors.New("there is more than one OpenPGP signature")
	}
	return Signature{packet: signature, raw: raw}, nil
}

// Message is a clear-signed message.
type Message struct {
	// Text is what was signed, with newlines as line ends. It means nothing until the signature over Signed was checked.
	Text []byte
	// Signed is the text as it was signed.
	Signed    []byte
	Signature Signature
}

// ParseMessage reads a clear-signed message and refuses anything around it: what is not signed must not stand where somebody would
// take it for a part.
func ParseMessage(data []byte) (_ Message, err error) {
	defer panicked(&err)
	const begin = "-----BEGIN PGP SIGNED MESSAGE-----"
	if !bytes.HasPrefix(data, []byte(begin)) {
		return Message{}, errors.New("it does not begin as a clear-signed OpenPGP message")
	}
	block, rest := clearsign.Decode(data)
	switch {
	case block == nil:
		return Message{}, errors.New("it is no clear-signed OpenPGP message")
	case len(bytes.TrimSpace(rest)) > 0:
		return Message{}, errors.New("something stands after the clear-signed OpenPGP message")
	case bytes.Contains(block.Plaintext, []byte{'\r'}):
		return Message{}, errors.New("the clear-signed text has a carriage return within a line")
	}
	signature, err := parse(block.ArmoredSignature.Body, packet.SigTypeText)
	if err != nil {
		return Message{}, err
	}
	return Message{Text: block.Plaintext, Signed: block.Bytes, Signature: signature}, nil
}
