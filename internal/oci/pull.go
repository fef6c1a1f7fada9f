// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/transport"
)

// Manifest is a manifest or an index as the registry stores it.
type Manifest struct {
	// Digest is "sha256:<hex>" of Raw.
	Digest string
	// MediaType is what the registry says it is.
	MediaType string
	// Raw is the document. A manifest asked for by digest has been checked against it.
	Raw []byte
}

// Entry is one element of a manifest, an index or a list of referrers.
type Entry struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Platform     *Platform         `json:"platform,omitempty"`
}

// Platform is what an entry of an index runs on.
type Platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
}

// Document is a parsed manifest or index; which one it is shows in which list is filled.
type Document struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType,omitempty"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        *Entry            `json:"config,omitempty"`
	Layers        []Entry           `json:"layers,omitempty"`
	Manifests     []Entry           `json:"manifests,omitempty"`
	Subject       *Entry            `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// Parse reads the document.
func (m Manifest) Parse() (Document, error) {
	var d Document
	if err := json.Unmarshal(m.Raw, &d); err != nil {
		return Document{}, fmt.Errorf("manifest %q is no valid JSON", m.Digest)
	}
	return d, nil
}

// Manifest fetches a manifest by digest or by tag. A missing one wraps ErrNotFound.
func (c *Client) Manifest(ctx context.Context, id string) (Manifest, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	return c.manifest(ctx, id)
}

func (c *Client) manifest(ctx context.Context, id string) (Manifest, error) {
	var got *remote.Descriptor
	var err error
	switch {
	case IsDigest(id):
		got, err = c.session.puller.Get(ctx, c.repo.Digest(id))
	case tagName.MatchString(id):
		got, err = c.session.puller.Get(ctx, c.repo.Tag(id))
	default:
		return Manifest{}, fmt.Errorf("%q is neither a tag nor sha256:<hex>", clip(id))
	}
	if err != nil {
		return Manifest{}, c.clean(ctx, err)
	}
	return Manifest{Digest: got.Digest.String(), MediaType: string(got.MediaType), Raw: got.Manifest}, nil
}

// Blob reads a whole blob of at most limit bytes, checked against its digest. It is for signatures and other small things;
// use Pull for layers. A missing one wraps ErrNotFound.
func (c *Client) Blob(ctx context.Context, digest string, limit int64) ([]byte, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	rc, err := c.blob(ctx, digest)
	if err != nil {
		return nil, err
	}
	defer rc.Close() // read to its end, or given up
	data, err := transport.ReadAll(rc, limit)
	if err != nil {
		return nil, c.clean(ctx, err)
	}
	return data, nil
}

// blob opens a blob. The library checks the digest inside the read: the last Read fails when it does not match. The
// manifest's own list of URLs for a layer is never followed, it could point anywhere.
func (c *Client) blob(ctx context.Context, digest string) (io.ReadCloser, error) {
	if !IsDigest(digest) {
		return nil, fmt.Errorf("blob %q is not named by sha256:<hex>", clip(digest))
	}
	layer, err := c.session.puller.Layer(ctx, c.repo.Digest(digest))
	if err != nil {
		return nil, c.clean(ctx, err)
	}
	rc, err := layer.Compressed()
	if err != nil {
		return nil, c.clean(ctx, err)
	}
	return rc, nil
}

// Referrers lists what names the digest as its subject, from the referrers API or from the fallback tag where a registry
// has no such API. The list is the registry's word: each entry is fetched by its digest and says itself what it is.
func (c *Client) Referrers(ctx context.Context, digest string) ([]Entry, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	if !IsDigest(digest) {
		return nil, fmt.Errorf("subject %q is not named by sha256:<hex>", clip(digest))
	}
	index, err := remote.Referrers(c.repo.Digest(digest), remote.Reuse(c.session.puller), remote.WithContext(ctx))
	if err != nil {
		return nil, c.clean(ctx, err)
	}
	raw, err := index.RawManifest()
	if err != nil {
		return nil, c.clean(ctx, err)
	}
	var d Document
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, errors.New("list of referrers is no valid JSON")
	}
	if len(d.Manifests) > c.limits.Referrers {
		d.Manifests = d.Manifests[:c.limits.Referrers]
	}
	return d.Manifests, nil
}

// LayerSelector chooses the layer of an artifact. The zero value takes the first one (spec row S-53).
type LayerSelector struct {
	// MediaType takes the first layer of this media type.
	MediaType string
}

// Layer is an open layer. Its bytes are to be believed when Read has returned io.EOF, no earlier: only then has the digest
// been checked. Close it, also after an error.
type Layer struct {
	io.Reader
	// MediaType, Digest and Size are the manifest's word for the layer.
	MediaType string
	Digest    string
	Size      int64
	// Annotations are those of the manifest, for artifact.metadata.
	Annotations map[string]string

	close func() error
}

// Close ends the download.
func (l *Layer) Close() error { return l.close() }

// maxAnnotations bounds the manifest's annotations in bytes: they are copied into an object's status.
const maxAnnotations = 64 << 10

// Pull opens the selected layer of an artifact. The manifest is fetched by the descriptor's digest and checked; where that
// is an index, its linux/amd64 manifest is taken, as Flux does. The context bounds the reading too.
func (c *Client) Pull(ctx context.Context, d Descriptor, sel LayerSelector) (*Layer, error) {
	ctx, cancel := c.bound(ctx)
	layer, err := c.pull(ctx, d, sel)
	if err != nil {
		cancel()
		return nil, err
	}
	closeBody := layer.close
	layer.close = func() error {
		defer cancel()
		return closeBody()
	}
	return layer, nil
}

func (c *Client) pull(ctx context.Context, d Descriptor, sel LayerSelector) (*Layer, error) {
	if !IsDigest(d.Digest) {
		return nil, fault.New(fault.Retry, reasonPull, "pull from %q: no digest", c.Repository())
	}
	doc, err := c.image(ctx, d.Digest)
	if err != nil {
		return nil, fault.New(fault.Retry, reasonPull, "pull %q from %q: %w", d.Revision(), c.Repository(), err)
	}
	chosen, err := c.choose(doc, sel)
	if err != nil {
		return nil, fault.New(fault.Retry, reasonLayer, "artifact %q of %q: %w", d.Revision(), c.Repository(), err)
	}
	rc, err := c.blob(ctx, chosen.Digest)
	if err != nil {
		return nil, fault.New(fault.Retry, reasonLayer, "layer %q of %q: %w", chosen.Digest, c.Repository(), err)
	}
	return &Layer{
		Reader: &sized{c: c, ctx: ctx, r: rc, left: chosen.Size}, MediaType: clip(chosen.MediaType), Digest: chosen.Digest, Size: chosen.Size,
		Annotations: doc.Annotations, close: rc.Close,
	}, nil
}

// image returns the manifest with the layers, one step below an index at most.
func (c *Client) image(ctx context.Context, digest string) (Document, error) {
	m, err := c.manifest(ctx, digest)
	if err != nil {
		return Document{}, err
	}
	doc, err := m.Parse()
	if err != nil {
		return Document{}, err
	}
	if !types.MediaType(m.MediaType).IsIndex() {
		return doc, nil
	}
	for _, entry := range doc.Manifests {
		if entry.Platform == nil || (entry.Platform.OS == "linux" && entry.Platform.Architecture == "amd64") {
			child, err := c.manifest(ctx, entry.Digest)
			if err != nil {
				return Document{}, err
			}
			return child.Parse()
		}
	}
	return Document{}, errors.New("index has no manifest for linux/amd64")
}

// choose is pure.
func (c *Client) choose(doc Document, sel LayerSelector) (Entry, error) {
	size := 0
	for key, value := range doc.Annotations {
		size += len(key) + len(value)
	}
	if size > maxAnnotations {
		return Entry{}, fmt.Errorf("annotations are larger than %d bytes", maxAnnotations)
	}
	for _, layer := range doc.Layers {
		if sel.MediaType != "" && layer.MediaType != sel.MediaType {
			continue
		}
		switch {
		case !IsDigest(layer.Digest):
			return Entry{}, fmt.Errorf("layer digest %q is not sha256:<hex>", clip(layer.Digest))
		case layer.Size < 0 || layer.Size > c.limits.Layer:
			return Entry{}, fmt.Errorf("layer has %d bytes, more than %d are not accepted", layer.Size, c.limits.Layer)
		}
		return layer, nil
	}
	if sel.MediaType != "" {
		return Entry{}, fmt.Errorf("no layer has media type %q", sel.MediaType)
	}
	return Entry{}, errors.New("manifest has no layers")
}

// sized holds a layer to the size its manifest gives, and makes errors fit for a message.
type sized struct {
	c    *Client
	ctx  context.Context //nolint:containedctx // the context of the download, which lives as long as this reader
	r    io.Reader
	left int64
}

// Read implements io.Reader.
func (s *sized) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.left -= int64(n)
	switch {
	case s.left < 0:
		return 0, fault.New(fault.Retry, reasonLayer, "layer from %q is larger than its manifest says", s.c.Repository())
	case errors.Is(err, io.EOF) && s.left > 0:
		return n, fault.New(fault.Retry, reasonLayer, "layer from %q is smaller than its manifest says", s.c.Repository())
	case errors.Is(err, io.EOF):
		return n, io.EOF
	case err != nil:
		return n, fault.New(fault.Retry, reasonLayer, "read layer from %q: %w", s.c.Repository(), s.c.clean(s.ctx, err))
	}
	return n, nil
}

// digestOfBytes names bytes for a manifest of our own. The hash is the library's, which the registry checks again.
func digestOfBytes(data []byte) (string, error) {
	hash, _, err := v1.SHA256(bytes.NewReader(data))
	if err != nil {
		return "", fmt.Errorf("digest: %w", err)
	}
	return hash.String(), nil
}
