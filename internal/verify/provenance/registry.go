// SPDX-License-Identifier: Apache-2.0

package provenance

import (
	"context"
	"fmt"

	"sluice.dev/sluice/internal/chart"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/attached"
)

// InRegistry finds provenance files in a registry. The subject is a chart's manifest; the archive is the one of its layers that Helm takes
// for it.
func InRegistry(r attached.Registry) Find {
	return func(ctx context.Context, s verify.Subject) (archive string, file []byte, err error) {
		if s.Reference != r.Repository() {
			return "", nil, fmt.Errorf("the registry is asked for %q, not for %q", r.Repository(), s.Reference)
		}
		m, err := r.Manifest(ctx, s.Digest)
		if err != nil {
			return "", nil, absent("manifest", err)
		}
		doc, err := m.Parse()
		if err != nil {
			return "", nil, fmt.Errorf("%w: %w", err, verify.ErrNotVerified)
		}
		archive, err = layer(doc, chart.ArchiveLayer, "archives")
		if err != nil {
			return "", nil, err
		}
		signed, err := layer(doc, chart.ProvenanceLayer, "provenance files")
		if err != nil {
			return "", nil, err
		}
		if file, err = r.Blob(ctx, signed, chart.MaxProvenance); err != nil {
			return "", nil, absent("provenance file", err)
		}
		return archive, file, nil
	}
}

// layer returns the digest of the one layer of a media type.
func layer(doc oci.Document, mediaType, what string) (string, error) {
	var found []string
	for _, l := range doc.Layers {
		if l.MediaType == mediaType {
			found = append(found, l.Digest)
		}
	}
	if len(found) != 1 || !oci.IsDigest(found[0]) {
		return "", fmt.Errorf("the manifest has %d %s, want one: %w", len(found), what, verify.ErrNotVerified)
	}
	return found[0], nil
}

// absent tells what a registry does not hold from one that does not answer.
func absent(what string, err error) error {
	if attached.IsContent(err) {
		return fmt.Errorf("%s: %w: %w", what, err, verify.ErrNotVerified)
	}
	return fmt.Errorf("%s: %w", what, err)
}
