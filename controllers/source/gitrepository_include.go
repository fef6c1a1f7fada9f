// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/controllers/internal/status"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/verify"
)

const (
	// reasonNotFound and reasonNoArtifact are Flux's reasons of IncludeUnavailable, reasonCopy that of content that does not fit together.
	reasonNotFound   = "NotFound"
	reasonNoArtifact = "NoArtifact"
	reasonCopy       = "CopyFailure"

	// maxIncludes bounds the includes of a repository, and maxIncludeDepth how many of them may stand in one another.
	maxIncludes     = 64
	maxIncludeDepth = 64
)

// included is content of another repository that is to be part of this one's.
type included struct {
	verify.Included

	key      artifact.Key
	artifact meta.Artifact
}

// gitInclude finds what the repository includes: artifacts of its namespace that are in our own store (spec row S-41). What is not there yet
// is watched.
func (c Config) gitInclude(ctx context.Context, obj *sourcev1.GitRepository, r *gitRun) error {
	if len(obj.Spec.Include) > maxIncludes {
		return includeFault(fault.Invalid, sourcev1.InvalidPathReason, "spec.include has more than %d entries", maxIncludes)
	}
	if err := c.checkCycle(ctx, obj); err != nil {
		return err
	}
	for _, include := range obj.Spec.Include {
		found, err := c.include(ctx, obj, include)
		if err != nil {
			return err
		}
		r.includes = append(r.includes, found)
	}
	return nil
}

func (c Config) include(ctx context.Context, obj *sourcev1.GitRepository, include sourcev1.GitRepositoryInclude) (included, error) {
	name := include.GitRepositoryRef.Name
	key := types.NamespacedName{Namespace: obj.Namespace, Name: name}
	out := included{
		Included: verify.Included{Name: name, From: cleanPath(include.GetFromPath()), To: cleanPath(include.GetToPath())},
		key:      artifact.Key{Kind: sourcev1.GitRepositoryKind, Namespace: obj.Namespace, Name: name},
	}
	if out.To == "." {
		return out, includeFault(fault.Invalid, sourcev1.InvalidPathReason, "include '%s': spec.include.toPath is the root, which is the repository's own", name)
	}
	var other sourcev1.GitRepository
	switch err := c.Cache.Get(ctx, key, &other); {
	case apierrors.IsNotFound(err):
		return out, includeFault(fault.Wait, reasonNotFound, "could not get resource for include '%s': GitRepository '%s' not found", name, key)
	case err != nil:
		return out, includeFault(fault.Retry, reasonNotFound, "could not get resource for include '%s': %w", name, err)
	}
	var held bool
	if out.artifact, held = c.Store.Current(out.key); !held {
		return out, includeFault(fault.Wait, reasonNoArtifact, "no artifact available for include '%s'", name)
	}
	claim, proven := c.claimed(ctx, out.artifact, gitOrigin(&other))
	if !proven {
		return out, includeFault(fault.Wait, reasonNoArtifact, "no artifact available for include '%s': the one in store is another object's", name)
	}
	out.Digest, out.Revision, out.Verified = claim.Digest, claim.Revision, claim.Verified()
	if obj.Spec.Verification != nil && !out.Verified {
		return out, fault.NewOn(sourcev1.SourceVerifiedCondition, fault.Denied, sourcev1.VerificationError,
			"include '%s': its revision %s is not verified, and spec.verify asks for that: set spec.verify of the included GitRepository too", name, claim.Revision)
	}
	return out, nil
}

// cleanPath returns a path inside the tree, whatever it says: ".." leads nowhere (CVE-2026-47680 and its kin).
func cleanPath(name string) string {
	clean := strings.TrimPrefix(path.Clean("/"+strings.ReplaceAll(name, "\\", "/")), "/")
	if clean == "" {
		return "."
	}
	return clean
}

func includeFault(kind fault.Kind, reason, format string, args ...any) error {
	return fault.NewOn(sourcev1.IncludeUnavailableCondition, kind, reason, format, args...)
}

// checkCycle refuses a repository that would include itself: with each run it would grow by what it was before.
func (c Config) checkCycle(ctx context.Context, obj *sourcev1.GitRepository) error {
	seen := map[string]bool{}
	var visit func(way []string, includes []sourcev1.GitRepositoryInclude) error
	visit = func(way []string, includes []sourcev1.GitRepositoryInclude) error {
		for _, include := range includes {
			name := include.GitRepositoryRef.Name
			switch {
			case name == obj.Name:
				return includeFault(fault.Invalid, meta.DependencyNotReadyReason, "spec.include is a cycle: %s", strings.Join(append(way, name), " -> "))
			case seen[name] || len(way) > maxIncludeDepth:
				continue
			}
			seen[name] = true
			var other sourcev1.GitRepository
			if c.Cache.Get(ctx, types.NamespacedName{Namespace: obj.Namespace, Name: name}, &other) != nil {
				continue // which is told when it is looked for
			}
			if err := visit(append(way, name), other.Spec.Include); err != nil {
				return err
			}
		}
		return nil
	}
	return visit([]string{obj.Name}, obj.Spec.Include)
}

// claims are the includes as the statement tells them.
func (r *gitRun) claims() []verify.Included {
	var out []verify.Included
	for _, i := range r.includes {
		out = append(out, i.Included)
	}
	return out
}

// gitCompose returns the commit's files with the included ones among them. Close is to be called after.
func (c Config) gitCompose(ctx context.Context, r *gitRun) (tree fs.FS, done func(), err error) {
	var contents []*artifact.Content
	done = func() {
		for _, content := range contents {
			_ = content.Close() // it is read only
		}
	}
	var mounts []mount
	for _, i := range r.includes {
		content, err := c.Store.Unpack(ctx, i.key, i.Digest, c.TempDir)
		if err != nil {
			done()
			return nil, nil, includeFault(fault.Retry, reasonCopy, "include '%s': %w", i.Name, err)
		}
		contents = append(contents, content)
		if _, err := fs.Stat(content, i.From); err != nil {
			done()
			return nil, nil, includeFault(fault.Retry, reasonCopy, "include '%s': revision %s has no '%s'", i.Name, i.Revision, i.From)
		}
		mounts = append(mounts, mount{at: i.To, tree: content, from: i.From})
	}
	tree = r.content.FS()
	if len(mounts) == 0 {
		return tree, done, nil
	}
	if tree, err = compose(tree, mounts); err != nil {
		done()
		return nil, nil, includeFault(fault.Retry, reasonCopy, "spec.include: %w", err)
	}
	return tree, done, nil
}

// noteIncludes puts into the status what was included.
func (r *gitRun) noteIncludes(obj *sourcev1.GitRepository) {
	obj.Status.ObservedInclude, obj.Status.IncludedArtifacts = obj.Spec.Include, nil
	for _, i := range r.includes {
		obj.Status.IncludedArtifacts = append(obj.Status.IncludedArtifacts, i.artifact.DeepCopy())
	}
}

// byInclude is the index of GitRepositories by the names of those that they include.
const byInclude = "spec.include"

// watchIncludes starts a repository when one that it includes comes, goes, or has another artifact (weakness W26).
func watchIncludes(m manager.Manager, b *builder.Builder) error {
	index := func(obj client.Object) []string {
		var out []string
		if repo, ok := obj.(*sourcev1.GitRepository); ok {
			for _, include := range repo.Spec.Include {
				out = append(out, include.GitRepositoryRef.Name)
			}
		}
		return out
	}
	ctx := context.Background() //nolint:forbidigo // nobody waits: the index is filled when the manager runs
	if err := m.GetFieldIndexer().IndexField(ctx, &sourcev1.GitRepository{}, byInclude, index); err != nil {
		return fmt.Errorf("index includes: %w", err)
	}
	who := func(ctx context.Context, obj client.Object) []reconcile.Request {
		var list sourcev1.GitRepositoryList
		if err := m.GetClient().List(ctx, &list, client.InNamespace(obj.GetNamespace()), client.MatchingFields{byInclude: obj.GetName()}); err != nil {
			return nil // the cache is closing
		}
		var out []reconcile.Request
		for i := range list.Items {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
		return out
	}
	b.Watches(&sourcev1.GitRepository{}, handler.EnqueueRequestsFromMapFunc(who), builder.WithPredicates(predicate.Funcs{UpdateFunc: moved}))
	return nil
}

// moved reports whether something has changed that matters to who includes the object: its artifact, whether that is verified, or what
// it includes itself.
func moved(e event.UpdateEvent) bool {
	before, ok := e.ObjectOld.(*sourcev1.GitRepository)
	after, same := e.ObjectNew.(*sourcev1.GitRepository)
	if !ok || !same {
		return false
	}
	verified := func(obj *sourcev1.GitRepository) bool {
		return status.Is(obj.Status.Conditions, sourcev1.SourceVerifiedCondition, metav1.ConditionTrue)
	}
	a, b := before.Status.Artifact, after.Status.Artifact
	return (a == nil) != (b == nil) || a != nil && (a.Digest != b.Digest || a.Revision != b.Revision) ||
		before.UID != after.UID || verified(before) != verified(after) || !slices.Equal(before.Spec.Include, after.Spec.Include)
}
