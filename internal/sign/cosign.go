// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/oci"
)

// Media types and names of cosign's two schemes. internal/verify/cosign reads what is written here.
const (
	// SimpleSigningType is the layer of the older scheme; its bytes are what is signed.
	SimpleSigningType = "application/vnd.dev.cosign.simplesigning.v1+json"
	// EnvelopeType is a layer with an attestation in the older scheme: a DSSE envelope.
	EnvelopeType = "application/vnd.dsse.envelope.v1+json"
	// SimpleSigningKind is "critical.type" in such a layer.
	SimpleSigningKind = "cosign container image signature"
	// SignatureAnnotation holds the base64 signature of such a layer.
	SignatureAnnotation = "dev.cosignproject.cosign/signature"
	// BundleType is a Sigstore bundle, version 0.3, as artifact type and as layer.
	BundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"
	// StatementType is an in-toto statement, version 1.
	StatementType = "https://in-toto.io/Statement/v1"
	// CosignPredicate says that a statement is a signature, and not an attestation of something else about the artifact.
	CosignPredicate = "https://sigstore.dev/cosign/sign/v1"
)

// MaxSimpleSigning bounds a payload of the older scheme in bytes.
const MaxSimpleSigning = 1 << 20

// SimpleSigning is the payload of the older scheme.
type SimpleSigning struct {
	Critical Critical       `json:"critical"`
	Optional map[string]any `json:"optional"`
}

// Critical is the part of the payload that a verifier must check.
type Critical struct {
	Identity struct {
		Reference string `json:"docker-reference"`
	} `json:"identity"`
	Image struct {
		Digest string `json:"docker-manifest-digest"`
	} `json:"image"`
	Type string `json:"type"`
}

// Statement is an in-toto statement with its predicate left as it is.
type Statement struct {
	Type          string          `json:"_type"`
	Subject       []Resource      `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate,omitempty"`
}

// Resource is one subject of a statement.
type Resource struct {
	Name   string            `json:"name,omitempty"`
	Digest map[string]string `json:"digest"`
}

// Bundle is the part of a Sigstore bundle that a signature by a key needs.
type Bundle struct {
	MediaType            string               `json:"mediaType"`
	VerificationMaterial VerificationMaterial `json:"verificationMaterial"`
	Envelope             *Envelope            `json:"dsseEnvelope,omitempty"`
	Message              *MessageSignature    `json:"messageSignature,omitempty"`
}

// VerificationMaterial says what a bundle is to be verified with. A bundle by a key has PublicKey alone.
type VerificationMaterial struct {
	PublicKey   *KeyHint        `json:"publicKey,omitempty"`
	Certificate json.RawMessage `json:"certificate,omitempty"`
	Chain       json.RawMessage `json:"x509CertificateChain,omitempty"`
}

// KeyHint names a key; nothing signs it.
type KeyHint struct {
	Hint string `json:"hint"`
}

// MessageSignature is a signature over the artifact itself, here over the bytes of its manifest.
type MessageSignature struct {
	Digest    MessageDigest `json:"messageDigest"`
	Signature []byte        `json:"signature"`
}

// MessageDigest is a hint that nothing signs.
type MessageDigest struct {
	Algorithm string `json:"algorithm"`
	Digest    []byte `json:"digest"`
}

// Scheme is one of cosign's ways to store a signature.
type Scheme int

const (
	// TagScheme stores it in an image tagged sha256-<hex>.sig. It is the zero Scheme because every cosign reads it.
	TagScheme Scheme = iota
	// BundleScheme stores a Sigstore bundle with a signed in-toto statement as a referrer, as cosign 3 does by default.
	BundleScheme
	// MessageScheme stores a Sigstore bundle with a signature over the manifest's bytes as a referrer.
	MessageScheme
)

// Registry is what signing needs of a registry; *oci.Client is it.
type Registry interface {
	Repository() string
	Manifest(ctx context.Context, id string) (oci.Manifest, error)
	Blob(ctx context.Context, digest string, limit int64) ([]byte, error)
	Push(ctx context.Context, tag string, a oci.Artifact) (string, error)
}

// SignatureTag is the tag of the older scheme for a digest.
func SignatureTag(digest string) string { return olderTag(digest, ".sig") }

// AttestationTag is the tag of the older scheme for attestations about a digest.
func AttestationTag(digest string) string { return olderTag(digest, ".att") }

func olderTag(digest, suffix string) string { return strings.Replace(digest, ":", "-", 1) + suffix }

// Cosign signs the artifact with the digest and pushes the signature beside it. The manifest is fetched first: what does
// not exist is not signed. Signatures that are there already stay.
func Cosign(ctx context.Context, registry Registry, digest string, key *Key, scheme Scheme) error {
	if key == nil {
		return errors.New("no signing key")
	}
	if !oci.IsDigest(digest) {
		return fmt.Errorf("sign %q: not sha256:<hex>", digest)
	}
	subject, err := registry.Manifest(ctx, digest)
	if err != nil {
		return fmt.Errorf("sign %q: %w", digest, err)
	}
	switch scheme {
	case TagScheme:
		err = pushTag(ctx, registry, digest, key)
	case BundleScheme, MessageScheme:
		err = pushBundle(ctx, registry, subject, key, scheme)
	default:
		err = fmt.Errorf("unknown scheme %d", int(scheme))
	}
	if err != nil {
		return fmt.Errorf("sign %q: %w", digest, err)
	}
	return nil
}

// pushTag adds a layer to the image with the signatures.
func pushTag(ctx context.Context, registry Registry, digest string, key *Key) error {
	layer, err := simpleSigning(registry.Repository(), digest, key)
	if err != nil {
		return err
	}
	layers, err := existing(ctx, registry, SignatureTag(digest))
	if err != nil {
		return err
	}
	layers = append(layers, layer)
	config, err := imageConfig(key.digests, layers)
	if err != nil {
		return err
	}
	_, err = registry.Push(ctx, SignatureTag(digest), oci.Artifact{
		Config: oci.Blob{MediaType: "application/vnd.oci.image.config.v1+json", Data: config}, Layers: layers,
	})
	return err
}

func simpleSigning(repository, digest string, key *Key) (oci.Blob, error) {
	payload := SimpleSigning{Critical: Critical{Type: SimpleSigningKind}}
	payload.Critical.Identity.Reference = repository
	payload.Critical.Image.Digest = digest
	data, err := json.Marshal(payload)
	if err != nil {
		return oci.Blob{}, fmt.Errorf("encode payload: %w", err)
	}
	sig, err := key.sign(SigstoreAlgorithm(key.public), data)
	if err != nil {
		return oci.Blob{}, err
	}
	return oci.Blob{
		MediaType: SimpleSigningType, Data: data,
		Annotations: map[string]string{SignatureAnnotation: base64.StdEncoding.EncodeToString(sig)},
	}, nil
}

// existing reads the signatures that are there already.
func existing(ctx context.Context, registry Registry, tag string) ([]oci.Blob, error) {
	m, err := registry.Manifest(ctx, tag)
	if errors.Is(err, oci.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	doc, err := m.Parse()
	if err != nil {
		return nil, err
	}
	if len(doc.Layers) >= MaxSignatures {
		return nil, fmt.Errorf("%q holds %d signatures already", tag, len(doc.Layers))
	}
	var blobs []oci.Blob
	for _, layer := range doc.Layers {
		data, err := registry.Blob(ctx, layer.Digest, MaxSimpleSigning)
		if err != nil {
			return nil, fmt.Errorf("signature %q: %w", layer.Digest, err)
		}
		blobs = append(blobs, oci.Blob{MediaType: layer.MediaType, Data: data, Annotations: layer.Annotations})
	}
	return blobs, nil
}

// imageConfig makes the signature image a proper image, for tools that look.
func imageConfig(digests fips.Digests, layers []oci.Blob) ([]byte, error) {
	ids := make([]string, 0, len(layers))
	for _, layer := range layers {
		sum, err := fips.Sum(digests, crypto.SHA256, layer.Data)
		if err != nil {
			return nil, err
		}
		ids = append(ids, "sha256:"+hex.EncodeToString(sum))
	}
	return json.Marshal(map[string]any{
		"architecture": "", "os": "", "config": map[string]any{}, "rootfs": map[string]any{"type": "layers", "diff_ids": ids},
	})
}

// pushBundle adds a referrer.
func pushBundle(ctx context.Context, registry Registry, subject oci.Manifest, key *Key, scheme Scheme) error {
	hint, err := hex.DecodeString(strings.TrimPrefix(key.public.Fingerprint, "sha256:"))
	if err != nil {
		return fmt.Errorf("key hint: %w", err)
	}
	bundle := Bundle{
		MediaType:            BundleType,
		VerificationMaterial: VerificationMaterial{PublicKey: &KeyHint{Hint: base64.StdEncoding.EncodeToString(hint)}},
	}
	annotations := map[string]string{"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": CosignPredicate}
	if scheme == MessageScheme {
		annotations = map[string]string{"dev.sigstore.bundle.content": "message-signature"}
		bundle.Message, err = signMessage(subject, key)
	} else {
		bundle.Envelope, err = signStatement(subject.Digest, key)
	}
	if err != nil {
		return err
	}
	data, err := json.Marshal(bundle)
	if err != nil {
		return fmt.Errorf("encode bundle: %w", err)
	}
	_, err = registry.Push(ctx, "", oci.Artifact{
		ArtifactType: BundleType, Layers: []oci.Blob{{MediaType: BundleType, Data: data}}, Annotations: annotations,
		Subject: &oci.Entry{MediaType: subject.MediaType, Digest: subject.Digest, Size: int64(len(subject.Raw))},
	})
	return err
}

func signStatement(digest string, key *Key) (*Envelope, error) {
	payload, err := json.Marshal(Statement{
		Type:          StatementType,
		Subject:       []Resource{{Digest: map[string]string{"sha256": strings.TrimPrefix(digest, "sha256:")}}},
		PredicateType: CosignPredicate,
		Predicate:     json.RawMessage(`{}`),
	})
	if err != nil {
		return nil, fmt.Errorf("encode statement: %w", err)
	}
	e, err := seal(key, SigstoreAlgorithm(key.public), PayloadInToto, payload)
	if err != nil {
		return nil, err
	}
	// Sigstore's verifiers name keys in another way and pass over a signature whose id is not theirs; cosign writes none.
	e.Signatures[0].KeyID = ""
	return &e, nil
}

func signMessage(subject oci.Manifest, key *Key) (*MessageSignature, error) {
	sig, err := key.sign(SigstoreAlgorithm(key.public), subject.Raw)
	if err != nil {
		return nil, err
	}
	sum, err := fips.Sum(key.digests, crypto.SHA256, subject.Raw)
	if err != nil {
		return nil, err
	}
	return &MessageSignature{Digest: MessageDigest{Algorithm: "SHA2_256", Digest: sum}, Signature: sig}, nil
}
