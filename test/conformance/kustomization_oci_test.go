// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/test/platform"
)

// ociSource pushes files as an artifact named after the space and makes a ready OCIRepository of it.
func (x *ksSpace) ociSource(name string, files, annotations map[string]string) *sourcev1.OCIRepository {
	x.t.Helper()
	repository := x.registry.URL() + "/" + x.ns + "-" + name
	remote := ociClient(x.t, repository, oci.Config{Insecure: true})
	if _, err := remote.PushArtifact(x.t.Context(), "v1", tarball(x.t, files), annotations); err != nil {
		x.t.Fatal(err)
	}
	source := &sourcev1.OCIRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: x.ns, Name: name},
		Spec: sourcev1.OCIRepositorySpec{
			URL: repository, Insecure: true, Interval: metav1.Duration{Duration: time.Hour}, Reference: &sourcev1.OCIRepositoryRef{Tag: "v1"},
		},
	}
	x.Create(x.t, source)
	platform.Wait(x.t, x.Platform, source, ready)
	return source
}

// ksCopiedLayer is about row S-53: an archive that was stored as it came is applied like any other.
func ksCopiedLayer(t *testing.T, b *ksBed) {
	x := b.tenant(t, map[string]string{"README.md": "the content is elsewhere"})
	source := x.ociSource("app", map[string]string{"app/config.yaml": configMap("hello", "a: copied"), "logo.png": "p"}, nil)
	extracted := source.Status.Artifact.Digest
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"layerSelector":{"operation":"copy"}}}`))
	if err := x.Client.Patch(t.Context(), source, patch); err != nil {
		t.Fatal(err)
	}
	platform.Wait(t, x.Platform, source, func(obj *sourcev1.OCIRepository) error {
		if obj.Status.ObservedLayerSelector == nil || obj.Status.Artifact.Digest == extracted {
			return errors.New("the layer has not been copied")
		}
		return ready(obj)
	})
	app := x.apply("app", func(s *kustomizev1.KustomizationSpec) {
		s.SourceRef.Kind, s.SourceRef.Name = "OCIRepository", source.Name
	})
	x.until(app, applied(source.Status.Artifact.Revision))
	x.wantData(map[string]string{"hello/a": "copied"})
}
