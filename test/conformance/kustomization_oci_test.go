// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
