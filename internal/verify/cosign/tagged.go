// SPDX-License-Identifier: Apache-2.0

package cosign

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/internal/verify/attached"
)

// Annotations of a layer in the older scheme that carry what a certificate needs.
const (
	certificateAnnotation = "dev.sigstore.cosign/certificate"
	logAnnotation         = "dev.sigstore.cosign/bundle"
	timestampAnnotation   = "dev.sigstore.cosign/rfc3161timestamp"
)

// maxAnnotation bounds one annotation in bytes.
const maxAnnotation = 256 << 10

// tagged goes through the image of the older scheme.
func (r *run) tagged(ctx context.Context) error {
	m, err := r.verifier.config.Registry.Manifest(ctx, sign.SignatureTag(r.subject.Digest))
	switch {
	case errors.Is(err, oci.ErrNotFound):
		return nil
	case attached.IsContent(err):
		r.refuse(err)
		return nil
	case err != nil:
		return fmt.Errorf("signature tag: %w", err)
	}
	doc, err := m.Parse()
	if err != nil {
		r.refuse(err)
		return nil
	}
	for _, layer := range doc.Layers {
		if layer.MediaType != sign.SimpleSigningType {
			continue
		}
		if !r.take() {
			return nil
		}
		if err := r.taggedLayer(ctx, layer); err != nil {
			return err
		}
		if r.found != nil {
			return nil
		}
	}
	return nil
}

// taggedLayer looks at one signature. Its error is the registry's.
func (r *run) taggedLayer(ctx context.Context, layer oci.Entry) error {
	s, err := readAnnotations(layer.Annotations)
	if err != nil {
		r.refuse(err)
		return nil
	}
	if !oci.IsDigest(layer.Digest) {
		r.refuse(errors.New("signature is not named by sha256:<hex>"))
		return nil
	}
	s.payload, err = r.verifier.config.Registry.Blob(ctx, layer.Digest, sign.MaxSimpleSigning)
	switch {
	case attached.IsContent(err):
		r.refuse(err)
		return nil
	case err != nil:
		return fmt.Errorf("signature payload: %w", err)
	}
	r.settle(s)
	return nil
}

// simple is a signature of the older scheme.
type simple struct {
	material
	payload   []byte
	signature []byte
}

// material is what a layer of the older scheme has its signature verified with.
type material struct{ certificate, log, timestamp []byte }

func readMaterial(annotations map[string]string) (material, error) {
	for _, name := range []string{certificateAnnotation, logAnnotation, timestampAnnotation} {
		if len(annotations[name]) > maxAnnotation {
			return material{}, fmt.Errorf("annotation %q of a signature is too large", name)
		}
	}
	return material{
		certificate: []byte(annotations[certificateAnnotation]), log: []byte(annotations[logAnnotation]), timestamp: []byte(annotations[timestampAnnotation]),
	}, nil
}

func readAnnotations(annotations map[string]string) (s simple, err error) {
	if s.material, err = readMaterial(annotations); err != nil {
		return simple{}, err
	}
	encoded := annotations[sign.SignatureAnnotation]
	if len(encoded) > maxAnnotation {
		return simple{}, fmt.Errorf("annotation %q of a signature is too large", sign.SignatureAnnotation)
	}
	if s.signature, err = base64.StdEncoding.DecodeString(encoded); err != nil || len(s.signature) == 0 {
		return simple{}, errors.New("signature layer carries no base64 signature")
	}
	return s, nil
}

// certified reports whether a certificate goes with the signature.
func (m material) certified() bool { return len(m.certificate) > 0 }

// about checks that the signed payload is a signature of the digest. It is called with a payload that has been verified.
func (s simple) about(digest string) error {
	var payload sign.SimpleSigning
	if err := json.Unmarshal(s.payload, &payload); err != nil {
		return errors.New("signed payload is no valid JSON")
	}
	switch {
	case payload.Critical.Type != sign.SimpleSigningKind:
		return fmt.Errorf("signed payload is of type %.64q, which is no signature", payload.Critical.Type)
	case payload.Critical.Image.Digest != digest:
		return fmt.Errorf("signature is over another digest, %.80q", payload.Critical.Image.Digest)
	}
	return nil
}

// bundle writes the signature as a bundle, for sigstore-go.
func (s simple) bundle(payloadSum []byte) ([]byte, error) {
	return s.material.bundle("messageSignature", map[string]any{
		"messageDigest": map[string]any{"algorithm": "SHA2_256", "digest": payloadSum}, "signature": s.signature,
	})
}

// bundle writes what was signed as a bundle v0.1, which sigstore-go can check: certificate, log entry with the log's promise and
// timestamp. A chain that comes with the certificate is left out, the trusted root has it.
func (m material) bundle(kind string, content any) ([]byte, error) {
	block, _ := pem.Decode(m.certificate)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("certificate of a signature is no PEM certificate")
	}
	with := map[string]any{"certificate": map[string]any{"rawBytes": block.Bytes}}
	if len(m.log) > 0 {
		entry, err := m.logEntry()
		if err != nil {
			return nil, err
		}
		with["tlogEntries"] = []any{entry}
	}
	if len(m.timestamp) > 0 {
		var stamp struct {
			Signed []byte `json:"SignedRFC3161Timestamp"`
		}
		if err := json.Unmarshal(m.timestamp, &stamp); err != nil {
			return nil, errors.New("timestamp of a signature is no valid JSON")
		}
		with["timestampVerificationData"] = map[string]any{"rfc3161Timestamps": []any{map[string]any{"signedTimestamp": stamp.Signed}}}
	}
	return json.Marshal(map[string]any{
		"mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1", "verificationMaterial": with, kind: content,
	})
}

// logEntry translates cosign's own form of a Rekor entry.
func (m material) logEntry() (map[string]any, error) {
	var offline struct {
		SignedEntryTimestamp []byte
		Payload              struct {
			Body           []byte `json:"body"`
			IntegratedTime int64  `json:"integratedTime"`
			LogIndex       int64  `json:"logIndex"`
			LogID          string `json:"logID"`
		}
	}
	if err := json.Unmarshal(m.log, &offline); err != nil {
		return nil, errors.New("log entry of a signature is no valid JSON")
	}
	var kind struct {
		Kind    string `json:"kind"`
		Version string `json:"apiVersion"`
	}
	if err := json.Unmarshal(offline.Payload.Body, &kind); err != nil {
		return nil, errors.New("body of a log entry is no valid JSON")
	}
	logID, err := hex.DecodeString(offline.Payload.LogID)
	if err != nil {
		return nil, errors.New("log id of a log entry is no hex")
	}
	return map[string]any{
		"logIndex": offline.Payload.LogIndex, "logId": map[string]any{"keyId": logID}, "integratedTime": offline.Payload.IntegratedTime,
		"kindVersion":       map[string]any{"kind": kind.Kind, "version": kind.Version},
		"inclusionPromise":  map[string]any{"signedEntryTimestamp": offline.SignedEntryTimestamp},
		"canonicalizedBody": offline.Payload.Body,
	}, nil
}
