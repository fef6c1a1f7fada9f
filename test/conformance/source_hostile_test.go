// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/test/gitserver"
)

// testHostile: archives, repositories and servers that mean harm are refused by name, nothing is published, and memory stays
// bounded.
func testHostile(t *testing.T, b *sourceBed) {
	t.Run("layers", func(t *testing.T) { hostileLayers(t, b) })
	t.Run("servers", func(t *testing.T) { hostileServers(t, b) })
	t.Run("repositories", func(t *testing.T) { hostileRepositories(t, b) })
	// The largest object that is read as a whole may have 64 MiB (internal/git.Limits), and several runs go on at once.
	peak := b.PeakMemory(t, rbac.Source) >> 20
	t.Logf("the controller has held %d MiB", peak)
	if peak > 400 {
		t.Error("that is too much")
	}
}

// hostileLayers: what an archive may not hold (S-13, S-53).
func hostileLayers(t *testing.T, b *sourceBed) {
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644} }
	refused := func(says string) failure {
		return failure{reason: sourcev1.OCILayerOperationFailedReason, condition: sourcev1.FetchFailedCondition, says: []string{says}}
	}
	small := func(tar.Header) int64 { return 1 }
	for name, tc := range map[string]struct {
		entries []tar.Header
		size    func(tar.Header) int64
		raw     []byte
		want    failure
		files   map[string]string // what is taken when nothing is refused
	}{
		"a path that leaves the archive": {entries: []tar.Header{file("a"), file("x/../../../../etc/cron.d/evil")}, want: refused("leaves the archive")},
		"an absolute path":               {entries: []tar.Header{file("/etc/cron.d/evil")}, want: refused("no safe name")},
		"a file twice":                   {entries: []tar.Header{file("a"), file("a")}, want: refused("there twice")},
		"a file as a directory":          {entries: []tar.Header{file("a"), file("a/b")}, want: refused("there twice")},
		"links and devices are left out": {
			entries: []tar.Header{
				file("a"),
				{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
				{Name: "hard", Typeflag: tar.TypeLink, Linkname: "a"},
				{Name: "disk", Typeflag: tar.TypeBlock, Devmajor: 8},
				{Name: "tty", Typeflag: tar.TypeChar},
				{Name: "pipe", Typeflag: tar.TypeFifo},
			},
			files: map[string]string{"a": "\x00"},
		},
		"a file through a link":    {entries: []tar.Header{{Name: "etc", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, file("etc/evil")}, files: map[string]string{"etc/evil": "\x00"}},
		"a bomb":                   {entries: []tar.Header{file("bomb")}, size: func(tar.Header) int64 { return 256 << 20 }, want: refused("times larger")},
		"a directory far too deep": {entries: []tar.Header{file(strings.Repeat("d/", 100) + "a")}, want: refused("directories")},
		"no archive":               {raw: []byte("this is no archive"), want: refused("archive")},
		"half an archive":          {raw: tarball(t, map[string]string{"a": strings.Repeat("random", 100)})[:60], want: refused("unexpected EOF")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.size == nil {
				tc.size = small
			}
			if tc.raw == nil {
				tc.raw = pack(t, func(h *tar.Header) io.Reader { return io.LimitReader(zeros{}, h.Size) }, tc.size, tc.entries)
			}
			repository := b.name("layer")
			if _, err := b.pusher(t, repository).PushArtifact(t.Context(), "latest", tc.raw, nil); err != nil {
				t.Fatal(err)
			}
			obj := b.oci(repository)
			b.Create(t, obj)
			if tc.files != nil {
				b.await(t, obj, ready)
				if diff := cmp.Diff(tc.files, b.download(t, obj.Status.Artifact)); diff != "" {
					t.Errorf("content (-want +got):\n%s", diff)
				}
				return
			}
			b.await(t, obj, tc.want.check)
			if obj.Status.Artifact != nil {
				t.Errorf("artifact %+v", obj.Status.Artifact)
			}
			b.gone(t, obj) // or it would be tried again and again beside the other tests
		})
	}
}

// zeros is an endless file.
type zeros struct{}

// Read implements io.Reader.
func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// hostileServers: what a registry says is held against the digest.
func hostileServers(t *testing.T, b *sourceBed) {
	for _, operation := range []string{sourcev1.OCILayerExtract, sourcev1.OCILayerCopy} {
		t.Run("a registry that sends other bytes to "+operation, func(t *testing.T) {
			t.Parallel()
			plain, err := gzip.NewReader(bytes.NewReader(tarball(t, map[string]string{"a": "honest"}))) // whose checksum would notice too
			if err != nil {
				t.Fatal(err)
			}
			archive, err := io.ReadAll(plain)
			if err != nil {
				t.Fatal(err)
			}
			repository := "lying/" + operation
			if _, err := b.pusher(t, repository).PushArtifact(t.Context(), "latest", archive, nil); err != nil {
				t.Fatal(err)
			}
			obj := b.oci(repository, func(s *sourcev1.OCIRepositorySpec) {
				s.LayerSelector = &sourcev1.OCILayerSelector{Operation: operation}
			})
			b.Create(t, obj)
			b.await(t, obj, failure{reason: sourcev1.OCILayerOperationFailedReason, condition: sourcev1.FetchFailedCondition, says: []string{"sha256 checksum"}}.check)
			if obj.Status.Artifact != nil {
				t.Errorf("artifact %+v", obj.Status.Artifact)
			}
		})
	}
}

// hostileRepositories: trees and objects that no honest client writes.
func hostileRepositories(t *testing.T, b *sourceBed) {
	refused := func(says ...string) failure {
		return failure{reason: sourcev1.GitOperationFailedReason, condition: sourcev1.FetchFailedCondition, says: says}
	}
	for name, tc := range map[string]struct {
		entries map[string]gitserver.Entry
		want    failure
		files   map[string]string
	}{
		"a file above the root": {entries: map[string]gitserver.Entry{"..": {Content: "evil"}}, want: refused(`".."`)},
		"a hook":                {entries: map[string]gitserver.Entry{".git/hooks/post-checkout": {Content: "evil", Mode: "100755"}}, want: refused(`".git"`)},
		"an object that is far too large": {
			entries: map[string]gitserver.Entry{"a": {Content: string(bytes.Repeat([]byte{0}, 65<<20))}}, want: refused("too large"),
		},
		"a link is left out": {
			entries: map[string]gitserver.Entry{"a": {Content: "a"}, "link": {Content: "/etc/passwd", Mode: "120000"}}, files: map[string]string{"a": "a"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repo := b.repo(t, nil)
			if _, err := repo.Commit(gitserver.CommitOptions{Entries: tc.entries}); err != nil {
				t.Fatal(err)
			}
			obj := b.git(repo)
			b.Create(t, obj)
			if tc.files != nil {
				b.await(t, obj, ready)
				if diff := cmp.Diff(tc.files, b.download(t, obj.Status.Artifact)); diff != "" {
					t.Errorf("content (-want +got):\n%s", diff)
				}
				return
			}
			b.await(t, obj, tc.want.check)
			if obj.Status.Artifact != nil {
				t.Errorf("artifact %+v", obj.Status.Artifact)
			}
			b.gone(t, obj) // or it would be tried again and again beside the other tests
		})
	}
}
