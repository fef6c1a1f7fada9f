// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/test/gitserver"
	"sluice.dev/sluice/test/platform"
)

// object is a Flux object with conditions.
type object interface {
	client.Object
	GetConditions() []metav1.Condition
}

// ready is content with an object whose latest spec is reconciled.
func ready[T object](obj T) error {
	return condition(obj, meta.ReadyCondition, metav1.ConditionTrue, "")
}

// condition returns an error unless the condition is there for the object's generation. An empty reason is any.
func condition(obj object, kind string, status metav1.ConditionStatus, reason string) error {
	c := apimeta.FindStatusCondition(obj.GetConditions(), kind)
	switch {
	case c == nil:
		return fmt.Errorf("no condition %s yet: %v", kind, obj.GetConditions())
	case c.Status != status || c.ObservedGeneration != obj.GetGeneration() || reason != "" && c.Reason != reason:
		return fmt.Errorf("%s is %s (%s, generation %d of %d): %s", kind, c.Status, c.Reason, c.ObservedGeneration, obj.GetGeneration(), c.Message)
	}
	return nil
}

func readyMessage(obj object) string {
	if c := apimeta.FindStatusCondition(obj.GetConditions(), meta.ReadyCondition); c != nil {
		return c.Message
	}
	return ""
}

func newGitHost(t *testing.T) *gitHost {
	t.Helper()
	root := t.TempDir()
	server, err := gitserver.NewHTTP(gitserver.HTTPOptions{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return &gitHost{HTTP: server, root: root, host: strings.TrimPrefix(server.URL, "http://")}
}

// repository makes a repository with one commit on main.
func (g *gitHost) repository(t *testing.T, name string, files map[string]string) *gitserver.Repo {
	t.Helper()
	repo, err := gitserver.InitRepo(g.root, name+".git")
	if err != nil {
		t.Fatal(err)
	}
	commit(t, repo, files)
	return repo
}

// commit makes a commit of exactly these files on main, and returns its id.
func commit(t *testing.T, repo *gitserver.Repo, files map[string]string) string {
	t.Helper()
	id, err := repo.Commit(gitserver.CommitOptions{Files: files})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func configMap(name, data string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata: {" + data + "}\n"
}

func gitRepository(namespace, name, url string) *sourcev1.GitRepository {
	return &sourcev1.GitRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: sourcev1.GitRepositorySpec{
			URL: url, Interval: metav1.Duration{Duration: time.Hour}, Reference: &sourcev1.GitRepositoryRef{Branch: "main"},
		},
	}
}

// kustomization applies everything below ./app of a source to its own namespace, as the tenant's deployer.
func kustomization(namespace, name string, source *sourcev1.GitRepository) *kustomizev1.Kustomization {
	return &kustomizev1.Kustomization{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: kustomizev1.KustomizationSpec{
			Interval: metav1.Duration{Duration: time.Hour}, Prune: true, Path: "./app", TargetNamespace: namespace,
			ServiceAccountName: platform.Deployer,
			SourceRef:          kustomizev1.CrossNamespaceSourceReference{Kind: sourcev1.GitRepositoryKind, Name: source.Name},
		},
	}
}
