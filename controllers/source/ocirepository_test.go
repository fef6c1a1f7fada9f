// SPDX-License-Identifier: Apache-2.0

package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/policy/parameters"
	"sluice.dev/sluice/test/registry"
)

// puller is a controller with a store, and a registry with one artifact of a layer of some size.
func puller(t testing.TB, size int) (Config, *ociRun) {
	t.Helper()
	backend, err := fips.New()
	if err != nil {
		t.Fatal(err)
	}
	store, err := artifact.Open(t.TempDir(), artifact.Config{Digests: backend, AdvertisedAddress: "source"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	server, err := registry.Start(registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	repository, err := oci.ParseURL(server.URL() + "/app")
	if err != nil {
		t.Fatal(err)
	}
	pool := oci.NewPool(oci.PoolConfig{})
	t.Cleanup(pool.Close)
	client, err := pool.Client(oci.Config{Repository: repository, Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	digest, err := client.PushArtifact(t.Context(), "latest", layer(t, size), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Store: store, TempDir: t.TempDir(), Backend: backend, Registries: pool}
	return c, &ociRun{client: client, head: oci.Descriptor{Digest: digest}}
}

// layer is an archive of manifests, of about the size before and half of it after compression.
func layer(t testing.TB, size int) []byte {
	t.Helper()
	var out bytes.Buffer
	zip, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(zip)
	random := rand.New(rand.NewPCG(1, 2))
	for i := 0; size > 0; i++ {
		var file bytes.Buffer
		fmt.Fprintf(&file, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app-%d\ndata:\n", i)
		for file.Len() < 64<<10 {
			fmt.Fprintf(&file, "  key-%d: %016x\n", file.Len(), random.Uint64())
		}
		size -= file.Len()
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("app/%d.yaml", i), Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(file.Len())}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, &file); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func withOperation(operation string) *sourcev1.OCIRepository {
	return &sourcev1.OCIRepository{Spec: sourcev1.OCIRepositorySpec{LayerSelector: &sourcev1.OCILayerSelector{Operation: operation}}}
}

// TestPullIsStreamed: an artifact ten times as large takes no more memory.
func TestPullIsStreamed(t *testing.T) {
	const small, large = 3 << 20, 30 << 20
	for _, operation := range []string{sourcev1.OCILayerExtract, sourcev1.OCILayerCopy} {
		t.Run(operation, func(t *testing.T) {
			allocated := func(size int) int64 {
				c, run := puller(t, size)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				if err := c.ociPull(t.Context(), withOperation(operation), run); err != nil {
					t.Fatal(err)
				}
				runtime.ReadMemStats(&after)
				t.Cleanup(run.close)
				return int64(after.TotalAlloc - before.TotalAlloc)
			}
			first := allocated(small)
			if second := allocated(large); second > first+4<<20 {
				t.Errorf("%d KiB for %d MiB, %d KiB for %d MiB", first>>10, small>>20, second>>10, large>>20)
			}
		})
	}
}

func BenchmarkPull(b *testing.B) {
	for _, operation := range []string{sourcev1.OCILayerExtract, sourcev1.OCILayerCopy} {
		b.Run(operation, func(b *testing.B) {
			const size = 50 << 20
			c, run := puller(b, size)
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if err := c.ociPull(b.Context(), withOperation(operation), run); err != nil {
					b.Fatal(err)
				}
				run.close()
			}
		})
	}
}

// TestTenantsDoNotChooseTheirJudge: in a tenant's namespace the platform's trust policy counts, and no Secret is read.
func TestTenantsDoNotChooseTheirJudge(t *testing.T) {
	grants, err := parameters.Parse([]byte(`apiVersion: policy.sluice.dev/v1alpha1
kind: PolicyParameters
namespaces:
  team-a:
    verification:
      notation: {trustPolicy: '{"version":"1.0"}', certificates: [{name: ca.crt, certificate: "-----BEGIN CERTIFICATE-----"}]}
  team-b: {}
`))
	if err != nil {
		t.Fatal(err)
	}
	c := Config{IsPlatform: func(string) bool { return false }, Grants: func() parameters.Parameters { return grants }}
	asked := &sourcev1.OCIRepositoryVerification{Provider: "notation", SecretRef: &meta.LocalObjectReference{Name: "mine"}}
	want := verify.Policy{
		TrustPolicy: []byte(`{"version":"1.0"}`), Keys: []verify.Key{{Name: "ca.crt", Data: []byte("-----BEGIN CERTIFICATE-----")}},
	}
	got, err := c.ociTrust(t.Context(), "team-a", asked)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("trust of team-a: %v (-want +got):\n%s", err, diff)
	}
	if _, err := c.ociTrust(t.Context(), "team-b", asked); fault.Of(err).Kind != fault.Denied {
		t.Errorf("trust of team-b: %v", err)
	}
}

// TestCloudLoginsStayPrivate: the login of a cloud is not sent in clear, whatever policy allows the host.
func TestCloudLoginsStayPrivate(t *testing.T) {
	for provider, host := range map[string]string{
		"aws": "123456789012.dkr.ecr.eu-central-1.amazonaws.com", "azure": "shop.azurecr.io", "gcp": "europe-docker.pkg.dev",
	} {
		obj := &sourcev1.OCIRepository{Spec: sourcev1.OCIRepositorySpec{Provider: provider, Insecure: true}}
		_, err := Config{}.ociKeychain(t.Context(), obj, host, transport.Proxy{})
		if f := fault.Of(err); err == nil || f.Kind != fault.Invalid || f.Reason != sourcev1.InvalidProviderConfigurationReason {
			t.Errorf("%s: %v", provider, err)
		}
	}
}
