// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"fmt"
	"maps"
	"net"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/test/gitserver"
	"sluice.dev/sluice/test/platform"
)

// await waits until a source is as check wants it.
func (b *sourceBed) await(t *testing.T, obj source, check func(source) error) {
	t.Helper()
	platform.Wait(t, b.Platform, obj, check)
}

// testGitAccess reads one repository in every way there is (S-20, S-30, S-31, S-32).
func testGitAccess(t *testing.T, b *sourceBed) {
	repo := b.repo(t, map[string]string{"a.yaml": "a: b\n"})
	ca := b.authority.CA
	basic := map[string][]byte{"username": []byte(sourceUser), "password": []byte(sourcePassword), "ca.crt": ca}
	for name, tc := range map[string]struct {
		url    string
		secret map[string][]byte
	}{
		"plain http, anonymously":    {url: b.gits.open.URL},
		"basic and an authority":     {url: b.gits.basic.URL, secret: basic},
		"an authority as caFile":     {url: b.gits.basic.URL, secret: map[string][]byte{"username": basic["username"], "password": basic["password"], "caFile": ca}},
		"a bearer token":             {url: b.gits.bearer.URL, secret: map[string][]byte{"bearerToken": []byte(sourceToken), "ca.crt": ca}},
		"a client certificate":       {url: b.gits.mutual.URL, secret: map[string][]byte{"tls.crt": b.cert, "tls.key": b.key, "ca.crt": ca}},
		"ssh":                        {url: b.gits.ssh.URL, secret: b.sshSecret()},
		"ca.crt goes before caFile":  {url: b.gits.basic.URL, secret: map[string][]byte{"username": basic["username"], "password": basic["password"], "caFile": []byte("x"), "ca.crt": ca}},
		"an unused entry is no harm": {url: b.gits.open.URL, secret: map[string][]byte{"something": []byte("else")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj := b.git(repo, func(s *sourcev1.GitRepositorySpec) {
				s.URL = tc.url + "/" + repo.Name
				if tc.secret != nil {
					s.SecretRef = ref(b.secret(t, tc.secret))
				}
			})
			b.Create(t, obj)
			b.await(t, obj, ready)
			if diff := cmp.Diff(map[string]string{"a.yaml": "a: b\n"}, b.download(t, obj.Status.Artifact)); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
			if want := "stored artifact for revision '" + obj.Status.Artifact.Revision + "'"; readyMessage(obj) != want {
				t.Errorf("message %q, want %q", readyMessage(obj), want)
			}
			if err := condition(obj, sourcev1.ArtifactInStorageCondition, metav1.ConditionTrue, meta.SucceededReason); err != nil {
				t.Error(err)
			}
		})
	}
}

func (b *sourceBed) sshSecret() map[string][]byte {
	return map[string][]byte{"identity": b.gits.sshKey.Private, "known_hosts": b.gits.ssh.KnownHosts}
}

// closedAddress is an address that refuses connections.
func closedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// testGitFailures: each failure has a condition that names the object and the remedy (S-07 to S-10, S-30 to S-32, S-45).
func testGitFailures(t *testing.T, b *sourceBed) {
	repo, empty := b.repo(t, map[string]string{"a.yaml": "a: b\n"}), b.repo(t, nil)
	stranger, err := gitserver.NewSSHKey()
	if err != nil {
		t.Fatal(err)
	}
	const (
		auth  = sourcev1.AuthenticationFailedReason
		fetch = sourcev1.GitOperationFailedReason
	)
	spec := func(url string, secret map[string][]byte) func(t *testing.T) *sourcev1.GitRepository {
		return func(t *testing.T) *sourcev1.GitRepository {
			return b.git(repo, func(s *sourcev1.GitRepositorySpec) {
				s.URL = url + "/" + repo.Name
				if secret != nil {
					s.SecretRef = ref(b.secret(t, secret))
				}
			})
		}
	}
	with := func(change func(*sourcev1.GitRepositorySpec)) func(t *testing.T) *sourcev1.GitRepository {
		return func(*testing.T) *sourcev1.GitRepository { return b.git(repo, change) }
	}
	reference := func(r sourcev1.GitRepositoryRef) func(t *testing.T) *sourcev1.GitRepository {
		return with(func(s *sourcev1.GitRepositorySpec) { s.Reference = &r })
	}
	failed := func(reason string, says ...string) failure {
		return failure{reason: reason, condition: sourcev1.FetchFailedCondition, says: says}
	}
	stalled := func(reason string, says ...string) failure {
		f := failed(reason, says...)
		f.stalled = true
		return f
	}
	ca := b.authority.CA
	gone := closedAddress(t)
	for name, tc := range map[string]struct {
		make func(t *testing.T) *sourcev1.GitRepository
		want failure
	}{
		"a wrong password": {
			spec(b.gits.basic.URL, map[string][]byte{"username": []byte(sourceUser), "password": []byte(wrongPassword), "ca.crt": ca}),
			failed(auth, b.gits.basic.URL, "401"),
		},
		"no credentials where some are wanted": {spec(b.gits.basic.URL, map[string][]byte{"ca.crt": ca}), failed(auth, b.gits.basic.URL, "credentials")},
		"a wrong token": {
			spec(b.gits.bearer.URL, map[string][]byte{"bearerToken": []byte(wrongPassword), "ca.crt": ca}), failed(auth, b.gits.bearer.URL, "401"),
		},
		"an unknown authority":   {spec(b.gits.basic.URL, nil), failed(fetch, b.gits.basic.URL, "unknown authority")},
		"no client certificate":  {spec(b.gits.mutual.URL, map[string][]byte{"ca.crt": ca}), failed(fetch, b.gits.mutual.URL, "certificate")},
		"an unreadable identity": {spec(b.gits.ssh.URL, map[string][]byte{"identity": []byte("x"), "known_hosts": b.gits.ssh.KnownHosts}), failed(auth, `"identity"`)},
		"a user without a password": {
			spec(b.gits.basic.URL, map[string][]byte{"username": []byte(sourceUser), "ca.crt": ca}), failed(auth, `"username"`, `"password"`),
		},
		"a token beside a user": {
			spec(b.gits.basic.URL, map[string][]byte{"username": []byte(sourceUser), "password": []byte(sourcePassword), "bearerToken": []byte(sourceToken)}),
			failed(auth, `"bearerToken"`, "keep one"),
		},
		"an authority that is none": {spec(b.gits.basic.URL, map[string][]byte{"ca.crt": []byte("x")}), failed(auth, `"ca.crt"`)},
		"an ssh key that the server does not know": {
			spec(b.gits.ssh.URL, map[string][]byte{"identity": stranger.Private, "known_hosts": b.gits.ssh.KnownHosts}), failed(auth, b.gits.ssh.URL[len("ssh://git@"):], "ssh key"),
		},
		"an ssh server that nobody knows": {
			spec(b.gits.ssh.URL, map[string][]byte{"identity": b.gits.sshKey.Private, "known_hosts": []byte("other.example " + string(stranger.Authorized))}),
			failed(auth, "known_hosts"),
		},
		"an ssh server with another key": {
			spec(b.gits.ssh.URL, map[string][]byte{"identity": b.gits.sshKey.Private, "known_hosts": b.impostor(stranger)}), failed(auth, "host key"),
		},
		"no known_hosts":       {spec(b.gits.ssh.URL, map[string][]byte{"identity": b.gits.sshKey.Private}), failed(auth, `"known_hosts"`)},
		"ssh without a key":    {spec(b.gits.ssh.URL, map[string][]byte{"known_hosts": b.gits.ssh.KnownHosts}), failed(auth, `"identity"`)},
		"ssh without a Secret": {spec(b.gits.ssh.URL, nil), failed(auth, `"identity"`)},
		"a Secret that is missing": {
			with(func(s *sourcev1.GitRepositorySpec) { s.SecretRef = ref("nowhere") }), failed(auth, b.ns+"/nowhere", "create it"),
		},
		"a server that does not answer": {spec("https://"+gone, nil), failed(fetch, gone, "refused")},
		"a server that is too slow": {
			with(func(s *sourcev1.GitRepositorySpec) {
				s.URL, s.Timeout = b.gits.open.URL+"/slow.git", &metav1.Duration{Duration: 300 * time.Millisecond}
			}),
			failed(fetch, "/slow.git", "timed out"),
		},
		"no repository":       {with(func(s *sourcev1.GitRepositorySpec) { s.URL = b.gits.open.URL + "/none.git" }), failed(fetch, "/none.git")},
		"an empty repository": {func(*testing.T) *sourcev1.GitRepository { return b.git(empty) }, failed("EmptyGitRepository", empty.Name, "empty")},
		"no such branch":      {reference(sourcev1.GitRepositoryRef{Branch: "none"}), failed(fetch, repo.Name, "refs/heads/none")},
		"no branch master":    {with(func(s *sourcev1.GitRepositorySpec) { s.Reference = nil }), failed(fetch, repo.Name, "refs/heads/master")},
		"no such tag":         {reference(sourcev1.GitRepositoryRef{Tag: "v9"}), failed(fetch, repo.Name, "refs/tags/v9")},
		"no such name":        {reference(sourcev1.GitRepositoryRef{Name: "refs/pull/9/head"}), failed(fetch, repo.Name, "refs/pull/9/head")},
		"no version in range": {reference(sourcev1.GitRepositoryRef{SemVer: ">=9"}), failed(fetch, repo.Name, ">=9")},
		"no such commit":      {reference(sourcev1.GitRepositoryRef{Commit: "0123456789012345678901234567890123456789"}), failed(fetch, repo.Name, "0123456789")},
		"no version range":    {reference(sourcev1.GitRepositoryRef{SemVer: "no range"}), stalled(fetch, "no range")},
		"half a commit":       {reference(sourcev1.GitRepositoryRef{Commit: "01234567"}), stalled(fetch, "40 hex")},
		"a password in the URL": {
			with(func(s *sourcev1.GitRepositorySpec) {
				s.URL = "https://" + sourceUser + ":" + sourcePassword + "@git.example/app"
			}),
			stalled(sourcev1.URLInvalidReason, "git.example/app", "secretRef"),
		},
		"a URL without a host": {with(func(s *sourcev1.GitRepositorySpec) { s.URL = "https:///app" }), stalled(sourcev1.URLInvalidReason, "host")},
		"plain http, unlisted": {
			with(func(s *sourcev1.GitRepositorySpec) { s.URL = "http://git.example/app" }),
			failure{reason: "PolicyDenied", says: []string{"sluice-5", "git.example"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj := tc.make(t)
			b.Create(t, obj)
			b.await(t, obj, tc.want.check)
			b.event(t, obj, "Warning", tc.want.reason, readyMessage(obj)[:20])
			if obj.Status.Artifact != nil {
				t.Errorf("artifact %+v", obj.Status.Artifact)
			}
			observed := tc.want.stalled || tc.want.reason == "PolicyDenied"
			if got := obj.Status.ObservedGeneration == obj.Generation; got != observed {
				t.Errorf("observedGeneration %d of %d", obj.Status.ObservedGeneration, obj.Generation)
			}
		})
	}
}

// impostor is a known_hosts with another key for our server.
func (b *sourceBed) impostor(other gitserver.SSHKey) []byte {
	return regexp.MustCompile(` .*`).ReplaceAll(b.gits.ssh.KnownHosts, append([]byte(" "), other.Authorized...))
}

// testGitReferences: which commit is taken, and how its revision and file are written (S-35, S-36).
func testGitReferences(t *testing.T, b *sourceBed) {
	repo := b.repo(t, nil)
	commitOf := func(o gitserver.CommitOptions, content string) string {
		o.Files = map[string]string{"content": content}
		id, err := repo.Commit(o)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	tag := func(name, target string) {
		if _, err := repo.Tag(gitserver.TagOptions{Name: name, Target: target}); err != nil {
			t.Fatal(err)
		}
	}
	first := commitOf(gitserver.CommitOptions{}, "first")
	tag("v1.0.0", first)
	second := commitOf(gitserver.CommitOptions{}, "second")
	tag("v1.1.0", second)
	if err := repo.SetRef("refs/tags/1.2.0-rc.1", first); err != nil { // a lightweight tag
		t.Fatal(err)
	}
	main := commitOf(gitserver.CommitOptions{}, "main")
	master := commitOf(gitserver.CommitOptions{Branch: "master"}, "master")
	team := commitOf(gitserver.CommitOptions{Branch: "team/feature"}, "feature")
	pull := commitOf(gitserver.CommitOptions{Ref: "refs/pull/1/head"}, "pull")
	for name, tc := range map[string]struct {
		ref  *sourcev1.GitRepositoryRef
		want string // the revision
		id   string
	}{
		"nothing is master":         {nil, "master@sha1:" + master, master},
		"a branch":                  {&sourcev1.GitRepositoryRef{Branch: "main"}, "main@sha1:" + main, main},
		"a branch with a slash":     {&sourcev1.GitRepositoryRef{Branch: "team/feature"}, "team/feature@sha1:" + team, team},
		"an annotated tag":          {&sourcev1.GitRepositoryRef{Tag: "v1.0.0"}, "v1.0.0@sha1:" + first, first},
		"a lightweight tag":         {&sourcev1.GitRepositoryRef{Tag: "1.2.0-rc.1"}, "1.2.0-rc.1@sha1:" + first, first},
		"a range of versions":       {&sourcev1.GitRepositoryRef{SemVer: "1.x"}, "v1.1.0@sha1:" + second, second},
		"a range with prereleases":  {&sourcev1.GitRepositoryRef{SemVer: ">=1.0.0-0"}, "1.2.0-rc.1@sha1:" + first, first},
		"a branch by name":          {&sourcev1.GitRepositoryRef{Name: "refs/heads/main"}, "refs/heads/main@sha1:" + main, main},
		"a tag by name":             {&sourcev1.GitRepositoryRef{Name: "refs/tags/v1.0.0"}, "refs/tags/v1.0.0@sha1:" + first, first},
		"a pull request by name":    {&sourcev1.GitRepositoryRef{Name: "refs/pull/1/head"}, "refs/pull/1/head@sha1:" + pull, pull},
		"a commit":                  {&sourcev1.GitRepositoryRef{Commit: first}, "sha1:" + first, first},
		"a commit of a branch":      {&sourcev1.GitRepositoryRef{Branch: "main", Commit: second}, "main@sha1:" + second, second},
		"tag goes before branch":    {&sourcev1.GitRepositoryRef{Branch: "main", Tag: "v1.0.0"}, "v1.0.0@sha1:" + first, first},
		"version goes before tag":   {&sourcev1.GitRepositoryRef{Tag: "v1.0.0", SemVer: "1.x"}, "v1.1.0@sha1:" + second, second},
		"name goes before version":  {&sourcev1.GitRepositoryRef{SemVer: "1.x", Name: "refs/heads/main"}, "refs/heads/main@sha1:" + main, main},
		"commit goes before a name": {&sourcev1.GitRepositoryRef{Name: "refs/heads/main", Commit: first}, "sha1:" + first, first},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj := b.git(repo, func(s *sourcev1.GitRepositorySpec) { s.Reference = tc.ref })
			b.Create(t, obj)
			b.await(t, obj, ready)
			a := obj.Status.Artifact
			if a.Revision != tc.want {
				t.Errorf("revision %q, want %q", a.Revision, tc.want)
			}
			if want := fmt.Sprintf("gitrepository/%s/%s/%s.tar.gz", obj.Namespace, obj.Name, tc.id); a.Path != want {
				t.Errorf("path %q, want %q", a.Path, want)
			}
			b.download(t, a)
		})
	}
	t.Run("a commit of another branch", func(t *testing.T) {
		t.Parallel()
		obj := b.git(repo, func(s *sourcev1.GitRepositorySpec) {
			s.Reference = &sourcev1.GitRepositoryRef{Branch: "main", Commit: pull}
		})
		b.Create(t, obj)
		b.await(t, obj, failure{reason: sourcev1.GitOperationFailedReason, condition: sourcev1.FetchFailedCondition, says: []string{pull}}.check)
	})
}

// testGitIgnore: what an artifact leaves out, and that a change of the rules makes a new one (S-13, S-18).
func testGitIgnore(t *testing.T, b *sourceBed) {
	kept := map[string]string{"app/a.yaml": "a", "app/run.sh": "x", "deep/er/b.yaml": "b"}
	rare := map[string]string{"logo.png": "p", "x.zip": "z", ".github/ci.yaml": "c", ".travis.yml": "t", "app/.sops.yaml": "s"}
	git := map[string]string{".gitignore": "g", ".gitattributes": "", ".gitmodules": ""}
	all := func(more map[string]string) map[string]string { return joined(kept, rare, git, more) }
	for name, tc := range map[string]struct {
		files  map[string]string
		ignore string
		want   map[string]string
	}{
		"by default": {files: all(nil), want: kept},
		"with a .sourceignore, the defaults go": {
			files: all(map[string]string{".sourceignore": "*.sh\n"}),
			want:  without(joined(kept, rare, map[string]string{".sourceignore": "*.sh\n"}), "app/run.sh"),
		},
		"a .sourceignore below counts there": {
			files: all(map[string]string{"deep/.sourceignore": "*.yaml\n"}),
			want:  without(joined(kept, rare, map[string]string{"deep/.sourceignore": "*.yaml\n"}), "deep/er/b.yaml"),
		},
		"the spec has the last word": {
			files: all(map[string]string{".sourceignore": "*.sh\n"}), ignore: "!app/run.sh\n/deep\n",
			want: without(joined(kept, rare, map[string]string{".sourceignore": "*.sh\n"}), "deep/er/b.yaml"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj := b.git(b.repo(t, tc.files), func(s *sourcev1.GitRepositorySpec) {
				if tc.ignore != "" {
					s.Ignore = &tc.ignore
				}
			})
			b.Create(t, obj)
			b.await(t, obj, ready)
			if diff := cmp.Diff(tc.want, b.download(t, obj.Status.Artifact)); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(obj.Spec.Ignore, obj.Status.ObservedIgnore); diff != "" {
				t.Errorf("observedIgnore (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("equal content has an equal digest", func(t *testing.T) {
		t.Parallel()
		one, other := b.git(b.repo(t, kept)), b.git(b.repo(t, all(nil)))
		b.Create(t, one, other)
		b.await(t, one, ready)
		b.await(t, other, ready)
		if one.Status.Artifact.Digest != other.Status.Artifact.Digest || one.Status.Artifact.Revision == other.Status.Artifact.Revision {
			t.Errorf("%+v\n%+v", one.Status.Artifact, other.Status.Artifact)
		}
	})
	t.Run("a change makes a new artifact of the same revision", func(t *testing.T) {
		t.Parallel()
		obj := b.git(b.repo(t, kept))
		b.Create(t, obj)
		b.await(t, obj, ready)
		before := *obj.Status.Artifact
		b.change(t, obj, `{"ignore":"/deep\n"}`)
		b.await(t, obj, ready)
		after := obj.Status.Artifact
		if after.Revision != before.Revision || after.Digest == before.Digest || obj.Status.ObservedIgnore == nil || *obj.Status.ObservedIgnore != "/deep\n" {
			t.Errorf("before %+v\nafter %+v\nobserved %v", before, after, obj.Status.ObservedIgnore)
		}
		if diff := cmp.Diff(without(joined(kept), "deep/er/b.yaml"), b.download(t, after)); diff != "" {
			t.Errorf("content (-want +got):\n%s", diff)
		}
	})
}

// joined returns all files.
func joined(sets ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, set := range sets {
		maps.Copy(out, set)
	}
	return out
}

// without takes a file away.
func without(files map[string]string, name string) map[string]string {
	delete(files, name)
	return files
}
