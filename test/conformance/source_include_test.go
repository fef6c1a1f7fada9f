// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/test/gitserver"
)

// includes adds an include.
func includes(name, from, to string) func(*sourcev1.GitRepositorySpec) {
	return func(s *sourcev1.GitRepositorySpec) {
		s.Include = append(s.Include, sourcev1.GitRepositoryInclude{GitRepositoryRef: meta.LocalObjectReference{Name: name}, FromPath: from, ToPath: to})
	}
}

// unavailable is an include that is not there.
func unavailable(reason string, stalled bool, says ...string) func(source) error {
	return failure{reason: reason, condition: sourcev1.IncludeUnavailableCondition, stalled: stalled, says: says}.check
}

// testGitInclude: content of other repositories in one (S-41, W26).
func testGitInclude(t *testing.T, b *sourceBed) {
	apps := map[string]string{"deploy/a.yaml": "a", "deploy/sub/b.yaml": "b", "README": "c"}
	create := func(t *testing.T, files map[string]string, change ...func(*sourcev1.GitRepositorySpec)) (*gitserver.Repo, *sourcev1.GitRepository) {
		t.Helper()
		repo := b.repo(t, files)
		obj := b.git(repo, change...)
		b.Create(t, obj)
		return repo, obj
	}
	for name, tc := range map[string]struct {
		from, to string
		own      map[string]string
		want     map[string]string
		fails    func(source) error
	}{
		"all of it, by its name":   {want: map[string]string{"own": "x", "NAME/deploy/a.yaml": "a", "NAME/deploy/sub/b.yaml": "b", "NAME/README": "c"}},
		"a folder":                 {from: "./deploy", to: "./apps/shop", want: map[string]string{"own": "x", "apps/shop/a.yaml": "a", "apps/shop/sub/b.yaml": "b"}},
		"a file":                   {from: "README", to: "docs/shop.md", want: map[string]string{"own": "x", "docs/shop.md": "c"}},
		"beside what is there":     {from: "deploy/sub", to: "apps/shop", own: map[string]string{"apps/own": "y"}, want: map[string]string{"apps/own": "y", "apps/shop/b.yaml": "b"}},
		"paths that try to leave":  {from: "../../deploy/sub", to: "../../../etc", want: map[string]string{"own": "x", "etc/b.yaml": "b"}},
		"a path that is not there": {from: "nowhere", fails: unavailable("CopyFailure", false, "nowhere")},
		"a path that is taken":     {to: "own", fails: unavailable("CopyFailure", false, "own", "already")},
		"a path below a file":      {to: "own/shop", fails: unavailable("CopyFailure", false, "own", "already")},
		"the root":                 {to: "./", fails: unavailable(sourcev1.InvalidPathReason, true, "toPath")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, other := create(t, apps)
			if tc.own == nil {
				tc.own = map[string]string{"own": "x"}
			}
			_, obj := create(t, tc.own, includes(other.Name, tc.from, tc.to))
			if tc.fails != nil {
				b.await(t, obj, tc.fails)
				return
			}
			b.await(t, obj, ready)
			want := map[string]string{}
			for k, v := range tc.want {
				want[strings.Replace(k, "NAME", other.Name, 1)] = v
			}
			if diff := cmp.Diff(want, b.download(t, obj.Status.Artifact)); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
			b.await(t, other, ready)
			if got := obj.Status.IncludedArtifacts; len(got) != 1 || got[0].Digest != other.Status.Artifact.Digest || got[0].Revision != other.Status.Artifact.Revision {
				t.Errorf("included artifacts %+v", got)
			}
			if diff := cmp.Diff(obj.Spec.Include, obj.Status.ObservedInclude); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("a change of what is included is noticed at once", func(t *testing.T) {
		t.Parallel()
		lower, inner := create(t, map[string]string{"in": "1"})
		_, middle := create(t, map[string]string{"m": "m"}, includes(inner.Name, "", "inner"))
		_, outer := create(t, map[string]string{"o": "o"}, includes(middle.Name, "", "middle"))
		b.await(t, outer, ready)
		before := *outer.Status.Artifact
		version := outer.ResourceVersion
		b.ask(t, inner)
		b.ask(t, middle)
		b.await(t, outer, ready)
		if outer.ResourceVersion != version {
			t.Errorf("runs without news have written: version %s, was %s", outer.ResourceVersion, version)
		}
		commit(t, lower, map[string]string{"in": "2"})
		b.ask(t, inner)
		b.await(t, outer, func(obj source) error {
			if err := ready(obj); err != nil || obj.GetArtifact().Digest == before.Digest {
				return fmt.Errorf("artifact %+v, error %w", obj.GetArtifact(), err)
			}
			return nil
		})
		if outer.Status.Artifact.Revision != before.Revision {
			t.Errorf("revision %q, was %q", outer.Status.Artifact.Revision, before.Revision)
		}
		if got := b.download(t, outer.Status.Artifact)["middle/inner/in"]; got != "2" {
			t.Errorf("content %q", got)
		}
		b.await(t, middle, ready)
		want := []verify.Included{{
			Name: middle.Name, Revision: middle.Status.Artifact.Revision, Digest: middle.Status.Artifact.Digest, From: ".", To: "middle",
		}}
		if diff := cmp.Diff(want, b.claim(t, outer).Includes); diff != "" {
			t.Errorf("the statement's includes (-want +got):\n%s", diff)
		}
	})
	t.Run("what is not there yet is waited for", func(t *testing.T) {
		t.Parallel()
		late := b.git(b.repo(t, nil))
		_, obj := create(t, map[string]string{"own": "x"}, includes(late.Name, "", "late"))
		b.await(t, obj, unavailable("NotFound", false, late.Name))
		b.Create(t, late)
		b.await(t, obj, unavailable("NoArtifact", false, late.Name))
		b.change(t, late, `{"url":"`+b.gits.open.URL+"/"+b.repo(t, apps).Name+`"}`)
		b.await(t, obj, ready)
		if got := b.download(t, obj.Status.Artifact)["late/README"]; got != "c" {
			t.Errorf("content %q", got)
		}
	})
	t.Run("what goes is missed, and what was made of it stays", func(t *testing.T) {
		t.Parallel()
		_, other := create(t, apps)
		_, obj := create(t, map[string]string{"own": "x"}, includes(other.Name, "", "apps"))
		b.await(t, obj, ready)
		before := *obj.Status.Artifact
		if err := b.Client.Delete(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		b.await(t, obj, unavailable("NotFound", false, other.Name))
		b.keeps(t, obj, before)
		b.change(t, obj, `{"include":null}`)
		b.await(t, obj, ready)
		if len(obj.Status.IncludedArtifacts) > 0 || len(obj.Status.ObservedInclude) > 0 {
			t.Errorf("status %+v", obj.Status)
		}
	})
	t.Run("a cycle is told by its members, until it is one no longer", func(t *testing.T) {
		t.Parallel()
		_, first := create(t, map[string]string{"a": "a"})
		_, second := create(t, map[string]string{"b": "b"}, includes(first.Name, "", "first"))
		b.await(t, second, ready)
		b.change(t, first, `{"include":[{"repository":{"name":"`+second.Name+`"}}]}`)
		for _, obj := range []*sourcev1.GitRepository{first, second} {
			b.await(t, obj, unavailable(meta.DependencyNotReadyReason, true, first.Name, second.Name))
		}
		b.change(t, first, `{"include":null}`)
		b.await(t, first, ready)
		b.await(t, second, ready)
		_, self := create(t, map[string]string{"a": "a"})
		b.change(t, self, `{"include":[{"repository":{"name":"`+self.Name+`"}}]}`)
		b.await(t, self, unavailable(meta.DependencyNotReadyReason, true, self.Name+" -> "+self.Name))
	})
	testVerifiedIncludes(t, b)
}

// testVerifiedIncludes: a repository that is verified includes nothing that is not.
func testVerifiedIncludes(t *testing.T, b *sourceBed) {
	keys := newSigners(t)
	signed := func(t *testing.T, change ...func(*sourcev1.GitRepositorySpec)) *sourcev1.GitRepository {
		t.Helper()
		repo := b.repo(t, nil)
		if _, err := repo.Commit(gitserver.CommitOptions{Files: map[string]string{"a": repo.Name}, Sign: gitserver.SSHSign(keys.ssh.Signer)}); err != nil {
			t.Fatal(err)
		}
		return b.git(repo, change...)
	}
	asks := func(secret string) func(*sourcev1.GitRepositorySpec) {
		return func(s *sourcev1.GitRepositorySpec) {
			s.Verification = &sourcev1.GitRepositoryVerification{Mode: "HEAD", SecretRef: *ref(secret)}
		}
	}
	t.Run("verification is for all that is in it", func(t *testing.T) {
		t.Parallel()
		own, others := b.secret(t, map[string][]byte{sshEntry: keys.ssh.Authorized}), b.secret(t, map[string][]byte{sshEntry: keys.ssh.Authorized})
		other := signed(t)
		obj := signed(t, asks(own), includes(other.Name, "", "other"))
		b.Create(t, other)
		b.await(t, other, ready)
		b.Create(t, obj)
		b.await(t, obj, unverified(sourcev1.VerificationError, other.Name, "spec.verify").check)
		if obj.Status.Artifact != nil {
			t.Errorf("artifact %+v", obj.Status.Artifact)
		}
		b.change(t, other, `{"verify":{"mode":"HEAD","secretRef":{"name":"`+others+`"}}}`)
		b.await(t, other, verified())
		b.await(t, obj, verified())
		before := *obj.Status.Artifact
		if claim := b.claim(t, obj); !claim.Verified() || len(claim.Includes) != 1 || !claim.Includes[0].Verified {
			t.Errorf("claim %+v", claim)
		}
		// Whoever vouched for the included one is believed no longer.
		b.setSecret(t, others, map[string][]byte{sshEntry: keys.stranger.Authorized})
		b.ask(t, other)
		b.await(t, other, unverified("InvalidCommitSignature").check)
		b.await(t, obj, func(obj source) error {
			return condition(obj, meta.ReadyCondition, metav1.ConditionFalse, "NoArtifact")
		})
		b.withdrawn(t, obj, before)
	})
}

// claim is what the platform states about a source's artifact.
func (b *sourceBed) claim(t *testing.T, obj source) verify.Claim {
	t.Helper()
	a := obj.GetArtifact()
	url := strings.TrimSuffix(a.URL, a.Path) + "v1/statements/" + path.Dir(a.Path) + "/" + strings.TrimPrefix(a.Digest, "sha256:")
	code, body := b.get(t, url)
	var envelope struct{ Payload string }
	var statement struct{ Predicate verify.Claim }
	if code != http.StatusOK || json.Unmarshal(body, &envelope) != nil {
		t.Fatalf("GET %s: status %d: %s", url, code, body)
	}
	payload, err := base64.StdEncoding.DecodeString(envelope.Payload)
	if err == nil {
		err = json.Unmarshal(payload, &statement)
	}
	if err != nil {
		t.Fatal(err)
	}
	return statement.Predicate
}
