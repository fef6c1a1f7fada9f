// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"sigs.k8s.io/yaml"

	"sluice.dev/sluice/internal/transport"
)

// The media types of a chart's archive in a registry, and of its provenance file.
const (
	ArchiveLayer    = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	ProvenanceLayer = "application/vnd.cncf.helm.chart.provenance.v1.prov"
)

// MaxProvenance bounds a provenance file in bytes: a chart's metadata, a digest and a signature.
const MaxProvenance = 256 << 10

// ErrNoProvenance is about a chart beside which there is no provenance file, or none of a size that one has.
var ErrNoProvenance = errors.New("no provenance file")

// Provenance is what a provenance file says. Helm writes it beside an archive when it signs one.
type Provenance struct {
	Metadata Metadata
	// Files are digests, "sha256:<hex>", by the names of files.
	Files map[string]string
}

// ParseProvenance reads the text of a provenance file, without the signature: the chart's metadata and what else belongs to it, as two
// YAML documents.
func ParseProvenance(text []byte) (Provenance, error) {
	metadata, sums, ok := bytes.Cut(text, []byte("\n...\n"))
	if !ok {
		return Provenance{}, errors.New("the provenance file does not hold a chart's metadata and a list of files")
	}
	is, err := ParseMetadata(metadata)
	if err != nil {
		return Provenance{}, fmt.Errorf("the provenance file's %w", err)
	}
	var list struct {
		Files  map[string]string `json:"files"`
		Images map[string]string `json:"images"`
	}
	if _, err = parseYAML(sums); err == nil { // which refuses a second document
		err = yaml.UnmarshalStrict(sums, &list)
	}
	if err != nil {
		return Provenance{}, fmt.Errorf("the provenance file's list of files: %w", yamlError(err))
	}
	return Provenance{Metadata: is, Files: list.Files}, nil
}

// ProvenanceOf returns where the provenance file of an archive is.
func ProvenanceOf(archive *url.URL) *url.URL {
	const suffix = ".prov"
	u := *archive
	if u.Path += suffix; u.RawPath != "" {
		u.RawPath += suffix
	}
	return &u
}

// Provenance fetches a provenance file. One that is not there, or too large, is ErrNoProvenance.
func (r *Repository) Provenance(ctx context.Context, u *url.URL) ([]byte, error) {
	answer, err := r.get(ctx, u, http.Header{"Accept-Encoding": {"identity"}})
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusNotFound || answer.StatusCode == http.StatusGone {
		return nil, fmt.Errorf("%q answered %d: %w", transport.RedactURL(u.String()), answer.StatusCode, ErrNoProvenance)
	}
	if err := r.refused(u, answer.StatusCode); err != nil {
		return nil, err
	}
	body, err := r.read(ctx, u, answer, MaxProvenance)
	if large, ok := errors.AsType[*transport.TooLargeError](err); ok {
		return nil, fmt.Errorf("%q is larger than %d bytes: %w", transport.RedactURL(u.String()), large.Limit, ErrNoProvenance)
	}
	return body, err
}
