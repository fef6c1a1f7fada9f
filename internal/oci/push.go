// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"sluice.dev/sluice/internal/fault"
)

// Media types of artifacts.
const (
	// FluxConfigType and FluxContentType are those of an artifact that `flux push artifact` makes.
	FluxConfigType  = "application/vnd.cncf.flux.config.v1+json"
	FluxContentType = "application/vnd.cncf.flux.content.v1.tar+gzip"
	// EmptyType is that of an empty JSON object, the config of an artifact that has none.
	EmptyType = "application/vnd.oci.empty.v1+json"
)

// Annotations of an artifact that say where it came from (spec row S-52).
const (
	AnnotationSource   = "org.opencontainers.image.source"
	AnnotationRevision = "org.opencontainers.image.revision"
	AnnotationCreated  = "org.opencontainers.image.created"
)

// Blob is content to push.
type Blob struct {
	MediaType   string
	Data        []byte
	Annotations map[string]string
}

// Artifact is a manifest to push with its content. The same artifact gives the same digest.
type Artifact struct {
	// ArtifactType is the manifest's; it may be empty.
	ArtifactType string
	// Config is the config blob; the zero Blob is the empty JSON object.
	Config Blob
	// Layers are pushed in order.
	Layers []Blob
	// Annotations are the manifest's.
	Annotations map[string]string
	// Subject makes the artifact a referrer of another one; nil for none.
	Subject *Entry
}

// PushArtifact pushes a gzipped tarball as `flux push artifact` would, under a tag, and returns the manifest's digest.
// Annotations carry source, revision and creation time; without them equal content gives equal digests.
func (c *Client) PushArtifact(ctx context.Context, tag string, tarGz []byte, annotations map[string]string) (string, error) {
	return c.Push(ctx, tag, Artifact{
		Config:      Blob{MediaType: FluxConfigType, Data: []byte("{}")},
		Layers:      []Blob{{MediaType: FluxContentType, Data: tarGz}},
		Annotations: annotations,
	})
}

// Push pushes an artifact under a tag, or under its digest alone when the tag is empty, and returns its digest. Where the
// registry has no referrers API, the fallback tag of the subject is updated.
func (c *Client) Push(ctx context.Context, tag string, a Artifact) (string, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	if tag != "" && !tagName.MatchString(tag) {
		return "", fault.New(fault.Invalid, reasonRead, "%q is no tag", clip(tag))
	}
	raw, blobs, err := a.build()
	if err != nil {
		return "", err
	}
	digest, err := digestOfBytes(raw)
	if err != nil {
		return "", err
	}
	// A pusher remembers every digest it has seen, so it lives for one push.
	pusher, err := remote.NewPusher(c.session.options...)
	if err != nil {
		return "", fmt.Errorf("push to %q: %w", c.Repository(), err)
	}
	for _, blob := range blobs {
		if err := pusher.Upload(ctx, c.repo, static.NewLayer(blob.Data, types.MediaType(blob.MediaType))); err != nil {
			return "", fmt.Errorf("push blob to %q: %w", c.Repository(), c.clean(ctx, err))
		}
	}
	var ref name.Reference = c.repo.Digest(digest)
	if tag != "" {
		ref = c.repo.Tag(tag)
	}
	if err := pusher.Push(ctx, ref, rawManifest(raw)); err != nil {
		return "", fmt.Errorf("push manifest to %q: %w", c.Repository(), c.clean(ctx, err))
	}
	return digest, nil
}

// build is pure: the manifest's bytes and the blobs it names.
func (a Artifact) build() ([]byte, []Blob, error) {
	config := a.Config
	if config.MediaType == "" {
		config = Blob{MediaType: EmptyType, Data: []byte("{}")}
	}
	if len(a.Layers) == 0 {
		return nil, nil, errors.New("artifact has no layers")
	}
	entry, err := config.entry()
	if err != nil {
		return nil, nil, err
	}
	doc := Document{
		SchemaVersion: 2, MediaType: string(types.OCIManifestSchema1), ArtifactType: a.ArtifactType, Config: &entry,
		Subject: a.Subject, Annotations: a.Annotations,
	}
	for _, layer := range a.Layers {
		entry, err := layer.entry()
		if err != nil {
			return nil, nil, err
		}
		doc.Layers = append(doc.Layers, entry)
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return nil, nil, fmt.Errorf("encode manifest: %w", err)
	}
	return raw, append([]Blob{config}, a.Layers...), nil
}

func (b Blob) entry() (Entry, error) {
	digest, err := digestOfBytes(b.Data)
	if err != nil {
		return Entry{}, err
	}
	return Entry{MediaType: b.MediaType, Digest: digest, Size: int64(len(b.Data)), Annotations: b.Annotations}, nil
}

// rawManifest is a manifest in the form the library pushes.
type rawManifest []byte

// RawManifest implements remote.Taggable.
func (m rawManifest) RawManifest() ([]byte, error) { return m, nil }

// MediaType tells the library what it pushes.
func (m rawManifest) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }
