// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"sluice.dev/sluice/internal/fips"
)

// PayloadInToto is the payload type of an in-toto statement.
const PayloadInToto = "application/vnd.in-toto+json"

// Bounds of an envelope.
const (
	// MaxEnvelope bounds an encoded envelope in bytes.
	MaxEnvelope = 1 << 20
	// MaxSignatures bounds the signatures of an envelope.
	MaxSignatures = 16
)

// Envelope is a DSSE envelope, version 1. It proves nothing until Verify says so, and then exactly its payload and its
// payload type.
type Envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     []byte      `json:"payload"`
	Signatures  []Signature `json:"signatures"`
}

// Signature is one signature of an envelope. KeyID is a hint that nothing signs.
type Signature struct {
	KeyID string `json:"keyid,omitempty"`
	Sig   []byte `json:"sig"`
}

// PAE is the byte string that DSSE signs (the protocol's pre-authentication encoding).
func PAE(payloadType string, payload []byte) []byte {
	var b bytes.Buffer
	b.WriteString("DSSEv1 ")
	b.WriteString(strconv.Itoa(len(payloadType)))
	b.WriteByte(' ')
	b.WriteString(payloadType)
	b.WriteByte(' ')
	b.WriteString(strconv.Itoa(len(payload)))
	b.WriteByte(' ')
	b.Write(payload)
	return b.Bytes()
}

// Seal signs a payload.
func Seal(key *Key, payloadType string, payload []byte) (Envelope, error) {
	if key == nil {
		return Envelope{}, errors.New("no signing key")
	}
	return seal(key, key.public.Algorithm, payloadType, payload)
}

func seal(key *Key, alg fips.Algorithm, payloadType string, payload []byte) (Envelope, error) {
	sig, err := key.sign(alg, PAE(payloadType, payload))
	if err != nil {
		return Envelope{}, err
	}
	return Envelope{
		PayloadType: payloadType, Payload: payload, Signatures: []Signature{{KeyID: key.public.Fingerprint, Sig: sig}},
	}, nil
}

// Marshal encodes the envelope.
func (e Envelope) Marshal() ([]byte, error) {
	encoded, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode envelope: %w", err)
	}
	if len(encoded) > MaxEnvelope {
		return nil, fmt.Errorf("envelope is larger than %d bytes", MaxEnvelope)
	}
	return encoded, nil
}

// ParseEnvelope decodes an envelope within the bounds.
func ParseEnvelope(encoded []byte) (Envelope, error) {
	if len(encoded) > MaxEnvelope {
		return Envelope{}, fmt.Errorf("envelope is larger than %d bytes", MaxEnvelope)
	}
	var e Envelope
	if err := json.Unmarshal(encoded, &e); err != nil {
		return Envelope{}, errors.New("envelope is no valid JSON")
	}
	switch {
	case e.PayloadType == "" || len(e.Payload) == 0:
		return Envelope{}, errors.New("envelope has no payload")
	case len(e.Signatures) == 0:
		return Envelope{}, errors.New("envelope has no signature")
	case len(e.Signatures) > MaxSignatures:
		return Envelope{}, fmt.Errorf("envelope has more than %d signatures", MaxSignatures)
	}
	return e, nil
}

// Verify returns nil if one of the signatures is by the key under alg, which is the caller's choice and never the
// envelope's. It returns fips.ErrSignature if none is.
func (e Envelope) Verify(signatures fips.Signatures, alg fips.Algorithm, key PublicKey) error {
	message := PAE(e.PayloadType, e.Payload)
	err := fmt.Errorf("envelope without a signature: %w", fips.ErrSignature)
	for _, s := range e.Signatures[:min(len(e.Signatures), MaxSignatures)] {
		if err = signatures.Verify(alg, key.Key, bytes.NewReader(message), s.Sig); err == nil {
			return nil
		}
	}
	return err
}
