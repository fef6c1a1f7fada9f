// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/gitserver"
)

// testGitSparse: only the directories asked for, and a change of them makes a new artifact (S-40).
func testGitSparse(t *testing.T, b *sourceBed) {
	files := map[string]string{"app/a.yaml": "a", "app/deep/b.yaml": "b", "apple/c.yaml": "c", "lib/d.yaml": "d", "root.yaml": "r"}
	t.Run("a change makes a new artifact", func(t *testing.T) {
		t.Parallel()
		obj := b.git(b.repo(t, files), func(s *sourcev1.GitRepositorySpec) { s.SparseCheckout = []string{"./app"} })
		b.Create(t, obj)
		b.await(t, obj, ready)
		before := *obj.Status.Artifact
		want := map[string]string{"app/a.yaml": "a", "app/deep/b.yaml": "b"}
		if diff := cmp.Diff(want, b.download(t, obj.Status.Artifact)); diff != "" {
			t.Errorf("content (-want +got):\n%s", diff)
		}
		b.change(t, obj, `{"sparseCheckout":["app/deep","lib"]}`)
		b.await(t, obj, func(obj source) error {
			if err := ready(obj); err != nil {
				return err
			}
			git := obj.(*sourcev1.GitRepository)
			if diff := cmp.Diff(git.Spec.SparseCheckout, git.Status.ObservedSparseCheckout); diff != "" {
				return fmt.Errorf("observedSparseCheckout (-want +got):\n%s", diff)
			}
			return nil
		})
		if after := obj.Status.Artifact; after.Revision != before.Revision || after.Digest == before.Digest {
			t.Errorf("before %+v\nafter %+v", before, after)
		}
		want = map[string]string{"app/deep/b.yaml": "b", "lib/d.yaml": "d"}
		if diff := cmp.Diff(want, b.download(t, obj.Status.Artifact)); diff != "" {
			t.Errorf("content (-want +got):\n%s", diff)
		}
		b.change(t, obj, `{"sparseCheckout":null}`)
		b.await(t, obj, func(obj source) error {
			if observed := obj.(*sourcev1.GitRepository).Status.ObservedSparseCheckout; observed != nil {
				return fmt.Errorf("observedSparseCheckout %q", observed)
			}
			return ready(obj)
		})
		if diff := cmp.Diff(files, b.download(t, obj.Status.Artifact)); diff != "" {
			t.Errorf("content (-want +got):\n%s", diff)
		}
	})
	t.Run("files elsewhere are not fetched", func(t *testing.T) {
		t.Parallel()
		large := map[string]string{"app/a.yaml": "a", "lib/d.yaml": "d"}
		for i := range 20 {
			noise := make([]byte, 50_000)
			if _, err := rand.Read(noise); err != nil {
				t.Fatal(err)
			}
			large[fmt.Sprintf("large/%d", i)] = string(noise)
		}
		repo := b.repo(t, large)
		var sent atomic.Int64
		cert, key, err := b.authority.Issue("server")
		if err != nil {
			t.Fatal(err)
		}
		server, err := gitserver.NewHTTP(gitserver.HTTPOptions{
			Root: b.root, TLS: transport.ServerTLSOptions{Cert: cert, Key: key}, AllowAnyCommit: true, AllowFilter: true, Wrap: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(&counting{w, &sent}, r) })
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Close() })
		obj := gitRepository(b.ns, b.name("git"), server.URL+"/"+repo.Name)
		obj.Spec.SecretRef = ref(b.secret(t, map[string][]byte{"ca.crt": b.authority.CA}))
		obj.Spec.SparseCheckout = []string{"app"}
		const few = 100_000 // of a million
		expect := func(want map[string]string, least, most int64) {
			t.Helper()
			if diff := cmp.Diff(want, b.download(t, obj.Status.Artifact)); diff != "" {
				t.Errorf("content (-want +got):\n%.2000s", diff)
			}
			if n := sent.Swap(0); n < least || n > most {
				t.Errorf("%d bytes from the server, want %d to %d", n, least, most)
			}
		}
		b.Create(t, obj)
		b.await(t, obj, ready)
		expect(map[string]string{"app/a.yaml": "a"}, 1, few)
		b.change(t, obj, `{"sparseCheckout":["app","lib"]}`)
		b.await(t, obj, ready)
		expect(map[string]string{"app/a.yaml": "a", "lib/d.yaml": "d"}, 1, few)
		b.change(t, obj, `{"sparseCheckout":null}`)
		b.await(t, obj, ready)
		expect(large, 20*50_000, 20*50_000+few)
	})
	t.Run("a directory that is missing", func(t *testing.T) {
		t.Parallel()
		repo := b.repo(t, files)
		obj := b.git(repo, func(s *sourcev1.GitRepositorySpec) { s.SparseCheckout = []string{"app", "none"} })
		b.Create(t, obj)
		b.await(t, obj, failure{
			reason: sourcev1.GitOperationFailedReason, condition: sourcev1.FetchFailedCondition, says: []string{`"none"`, "sparseCheckout"},
		}.check)
		commit(t, repo, joined(files, map[string]string{"none/x": "x"}))
		b.annotate(t, obj, "again")
		b.await(t, obj, ready)
	})
}

// counting counts the bytes of answers.
type counting struct {
	http.ResponseWriter
	n *atomic.Int64
}

// Write implements http.ResponseWriter.
func (c *counting) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

// testGitSubmodules: other repositories, as the one that names them may be read (S-39).
func testGitSubmodules(t *testing.T, b *sourceBed) {
	lib := b.repo(t, nil)
	tip, err := lib.Commit(gitserver.CommitOptions{Files: map[string]string{"lib.yaml": "l"}})
	if err != nil {
		t.Fatal(err)
	}
	parent := func(t *testing.T, url string) *gitserver.Repo {
		t.Helper()
		repo := b.repo(t, nil)
		_, err := repo.Commit(gitserver.CommitOptions{Files: map[string]string{"a.yaml": "a"}, Entries: map[string]gitserver.Entry{
			"vendor/lib": {Mode: "160000", Hash: tip}, ".gitmodules": {Content: "[submodule \"l\"]\n\tpath = vendor/lib\n\turl = " + url + "\n"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return repo
	}
	recurse := func(s *sourcev1.GitRepositorySpec) { s.RecurseSubmodules = true }
	basic := map[string][]byte{"username": []byte(sourceUser), "password": []byte(sourcePassword), "ca.crt": b.authority.CA}
	whole := map[string]string{"a.yaml": "a", "vendor/lib/lib.yaml": "l"}
	for name, tc := range map[string]struct {
		module string
		server string
		secret map[string][]byte
	}{
		"beside it":                    {module: "../" + lib.Name, server: b.gits.open.URL},
		"with the same credentials":    {module: "../" + lib.Name, server: b.gits.basic.URL, secret: basic},
		"over ssh":                     {module: "../" + lib.Name, server: b.gits.ssh.URL, secret: b.sshSecret()},
		"on another server, as nobody": {module: b.gits.open.URL + "/" + lib.Name, server: b.gits.basic.URL, secret: basic},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repo := parent(t, tc.module)
			obj := b.git(repo, recurse, func(s *sourcev1.GitRepositorySpec) {
				if s.URL = tc.server + "/" + repo.Name; tc.secret != nil {
					s.SecretRef = ref(b.secret(t, tc.secret))
				}
			})
			b.Create(t, obj)
			b.await(t, obj, ready)
			if diff := cmp.Diff(whole, b.download(t, obj.Status.Artifact)); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
			if !obj.Status.ObservedRecurseSubmodules {
				t.Error("observedRecurseSubmodules is not set")
			}
			b.change(t, obj, `{"recurseSubmodules":false}`)
			b.await(t, obj, func(obj source) error {
				if obj.(*sourcev1.GitRepository).Status.ObservedRecurseSubmodules {
					return fmt.Errorf("observedRecurseSubmodules is still set")
				}
				return ready(obj)
			})
			if diff := cmp.Diff(map[string]string{"a.yaml": "a"}, b.download(t, obj.Status.Artifact)); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
		})
	}
	for name, tc := range map[string]struct {
		module string
		want   failure
	}{
		"a server that wants credentials": {
			b.gits.basic.URL + "/" + lib.Name,
			failure{reason: sourcev1.GitOperationFailedReason, condition: sourcev1.FetchFailedCondition, says: []string{`"vendor/lib"`}},
		},
		"a host that policy does not let be read": {
			"http://git.example/lib", failure{reason: "PolicyDenied", says: []string{"sluice-5", "git.example", `"vendor/lib"`}},
		},
		"none there": {
			"../none.git", failure{reason: sourcev1.GitOperationFailedReason, condition: sourcev1.FetchFailedCondition, says: []string{`"vendor/lib"`, "404"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj := b.git(parent(t, tc.module), recurse)
			b.Create(t, obj)
			b.await(t, obj, tc.want.check)
			if obj.Status.Artifact != nil {
				t.Errorf("artifact %+v", obj.Status.Artifact)
			}
		})
	}
}
