// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/controllers/kustomize/preview"
	"sluice.dev/sluice/distro/cli/internal/cluster"
	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/self"
	"sluice.dev/sluice/internal/fips"
)

const (
	// maxKustomizationFile bounds --kustomization-file.
	maxKustomizationFile = 4 << 20
	// maxRecursion bounds how deep Kustomizations may apply Kustomizations.
	maxRecursion = 32
)

// buildOptions are the flags that build and diff have in common. Names and meaning are upstream's.
type buildOptions struct {
	path, file   string
	ignorePaths  []string
	strict       bool
	recursive    bool
	localSources map[string]string
	inMemory     bool
	offline      bool
	// needsLive says that the Kustomization in the cluster is needed even where a file has the spec, for its inventory;
	// mayBeNew excuses its absence.
	needsLive, mayBeNew bool
}

func (o *buildOptions) bind(flags *pflag.FlagSet) {
	flags.StringVar(&o.path, "path", "", "Local folder that stands for spec.path; required")
	flags.StringVar(&o.file, "kustomization-file", "", "Local file with the Kustomization, instead of the one in the cluster")
	flags.StringSliceVar(&o.ignorePaths, "ignore-paths", nil, "Files below --path that are left out, in .gitignore format")
	flags.BoolVar(&o.strict, "strict-substitute", true, "Refuse a variable without value and default, as the controller does; with build --dry-run only when it is set")
	flags.BoolVarP(&o.recursive, "recursive", "r", false, "Go on to the Kustomizations among the objects; their sources come from --local-sources")
	flags.StringToStringVar(&o.localSources, "local-sources", nil, "Local folders of sources, as Kind/namespace/name=path")
	flags.BoolVar(&o.inMemory, "in-memory-build", false, "Has no effect: builds always happen in memory")
}

// workbench builds Kustomizations from local folders.
type workbench struct {
	*program
	options   buildOptions
	namespace string
	previewer *preview.Previewer
	digests   fips.Digests
	// cluster and client are those of the user, unset when offline.
	cluster *cluster.Cluster
	client  impersonation.Client
	folders []*os.Root
}

// workbench checks the options and connects to the cluster.
func (p *program) workbench(ctx context.Context, cmd *cobra.Command, o buildOptions) (*workbench, error) {
	switch info, err := os.Stat(o.path); {
	case o.path == "":
		return nil, usage(errors.New("--path is missing: name the folder that stands for spec.path"))
	case err != nil:
		return nil, usage(fmt.Errorf("--path: %w", err))
	case !info.IsDir():
		return nil, usage(fmt.Errorf("--path %q is no folder", o.path))
	case o.offline && o.file == "":
		return nil, usage(errors.New("--dry-run needs --kustomization-file: without a cluster, the Kustomization has to come from somewhere"))
	}
	digests, err := fips.New()
	if err != nil {
		return nil, err
	}
	w := &workbench{program: p, options: o, digests: digests}
	if w.previewer, err = preview.New(digests); err != nil {
		return nil, err
	}
	if o.offline {
		if !cmd.Flags().Changed("strict-substitute") {
			w.options.strict = false
		}
		if w.namespace, err = p.flags.Namespace(cmd.Flags().Changed("namespace")); err != nil {
			return nil, usage(err)
		}
		return w, nil
	}
	return w, w.connect(ctx, cmd)
}

func (w *workbench) connect(ctx context.Context, cmd *cobra.Command) error {
	s, err := w.program.connect(cmd)
	if err != nil {
		return err
	}
	w.cluster, w.namespace = s.Cluster, s.namespace
	scheme, err := preview.Scheme()
	if err != nil {
		return err
	}
	if w.client, err = self.Client(ctx, s.config, scheme); err != nil {
		return s.Explain(err)
	}
	return nil
}

func (w *workbench) close() {
	for _, folder := range w.folders {
		folder.Close()
	}
}

// job is one Kustomization to be built.
type job struct {
	preview.Unit
	source preview.Source
}

// String returns Kustomization/namespace/name.
func (j job) String() string { return kustomization(j.Object.Namespace, j.Object.Name).String() }

// job finds the Kustomization that the command line names, and its folder.
func (w *workbench) job(ctx context.Context, name string) (job, error) {
	var j job
	var err error
	if w.options.file != "" {
		if j.Object, err = readKustomization(w.options.file, w.namespace, name); err != nil {
			return j, err
		}
	}
	if j.Object == nil || w.options.needsLive {
		if err := w.readLive(ctx, name, &j); err != nil {
			return j, err
		}
	}
	root, at, err := splitFolder(w.options.path, j.Object.Spec.Path)
	if err != nil {
		return j, err
	}
	return w.fill(ctx, j, root, at, w.options.ignorePaths)
}

// readLive takes the Kustomization of the cluster: its spec unless a file has it, and its status.
func (w *workbench) readLive(ctx context.Context, name string, j *job) error {
	o, err := w.cluster.Get(ctx, cluster.Kustomization(), w.namespace, name)
	var absent *cluster.NotFoundError
	if errors.As(err, &absent) && j.Object != nil && w.options.mayBeNew {
		return nil
	} else if err != nil {
		return err
	}
	live := &kustomizev1.Kustomization{}
	if err := o.Decode(live); err != nil {
		return err
	}
	j.adopt(live)
	return nil
}

// adopt takes over what the cluster knows of a Kustomization.
func (j *job) adopt(live *kustomizev1.Kustomization) {
	if j.Object == nil {
		j.Object = live
		return
	}
	j.Object.Status, j.Object.UID = live.Status, live.UID
}

// fill adds what a build needs beside the Kustomization.
func (w *workbench) fill(ctx context.Context, j job, root, at string, ignorePaths []string) (job, error) {
	folder, err := os.OpenRoot(root)
	if err != nil {
		return j, fmt.Errorf("%s: %w", j, err)
	}
	w.folders = append(w.folders, folder)
	j.Path, j.Strict = at, w.options.strict
	if !w.options.offline {
		if j.source, err = preview.ReadSource(ctx, w.client, j.Object); err != nil {
			return j, err
		}
		if j.Variables, err = preview.ReadVariables(ctx, w.client, j.Object); err != nil {
			return j, fmt.Errorf("%s: %w", j, err)
		}
	} else if post := j.Object.Spec.PostBuild; post != nil && len(post.SubstituteFrom) > 0 {
		w.log.Warning("%s: variables of spec.postBuild.substituteFrom are left out with --dry-run", j)
	}
	j.Tree, err = preview.NewTree(ctx, folder.FS(), preview.TreeOptions{SourceIgnore: j.source.Ignore, IgnorePaths: ignorePaths, At: at})
	if err != nil {
		return j, fmt.Errorf("%s: %w", j, err)
	}
	return j, nil
}

// visitor is called with the objects of each Kustomization, outer before inner.
type visitor func(ctx context.Context, j job, objs []*unstructured.Unstructured) error

// walk builds a Kustomization, and with --recursive those among its objects.
func (w *workbench) walk(ctx context.Context, j job, visit visitor) error {
	return w.descend(ctx, j, visit, map[string]bool{}, 0)
}

func (w *workbench) descend(ctx context.Context, j job, visit visitor, seen map[string]bool, depth int) error {
	if seen[j.String()] {
		return nil
	}
	if depth > maxRecursion {
		return fmt.Errorf("%s: Kustomizations apply each other more than %d deep", j, maxRecursion)
	}
	seen[j.String()] = true
	objs, err := w.previewer.Build(ctx, j.Unit)
	if err != nil {
		return fmt.Errorf("%s: %w", j, err)
	}
	if err := visit(ctx, j, objs); err != nil {
		return err
	}
	if !w.options.recursive {
		return nil
	}
	for _, obj := range objs {
		if !isKustomization(obj) {
			continue
		}
		inner, err := w.inner(ctx, j, obj)
		if err != nil {
			return err
		}
		if err := w.descend(ctx, inner, visit, seen, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func isKustomization(obj *unstructured.Unstructured) bool {
	gvk := obj.GroupVersionKind()
	return gvk.Group == kustomizev1.GroupVersion.Group && gvk.Kind == kustomizev1.KustomizationKind
}

// inner prepares a Kustomization that another one applies. Its spec is the rendered one, which the cluster is about to get.
func (w *workbench) inner(ctx context.Context, outer job, obj *unstructured.Unstructured) (job, error) {
	var j job
	j.Object = &kustomizev1.Kustomization{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, j.Object); err != nil {
		return j, fmt.Errorf("Kustomization %q: %w", obj.GetName(), err)
	}
	if j.Object.Namespace == "" {
		j.Object.Namespace = outer.Object.Namespace
	}
	if j.String() == outer.String() {
		return outer, nil
	}
	ref := j.Object.Spec.SourceRef
	if ref.Namespace == "" {
		ref.Namespace = j.Object.Namespace
	}
	source := ref.Kind + "/" + ref.Namespace + "/" + ref.Name
	root, found := w.options.localSources[source]
	if !found {
		return j, fmt.Errorf("%s: no folder for its source: add --local-sources %s=PATH", j, source)
	}
	if !w.options.offline {
		live := &kustomizev1.Kustomization{}
		err := w.client.Kube().Get(ctx, types.NamespacedName{Namespace: j.Object.Namespace, Name: j.Object.Name}, live)
		if client.IgnoreNotFound(err) != nil {
			return j, fmt.Errorf("%s: %w", j, err)
		} else if err == nil {
			j.adopt(live)
		}
	}
	return w.fill(ctx, j, root, j.Object.Spec.Path, nil)
}

// readKustomization finds a Kustomization in a file of YAML or JSON documents. One without a namespace counts for any.
func readKustomization(file, namespace, name string) (*kustomizev1.Kustomization, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("--kustomization-file: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKustomizationFile+1))
	if err != nil {
		return nil, fmt.Errorf("--kustomization-file: %w", err)
	}
	if len(data) > maxKustomizationFile {
		return nil, fmt.Errorf("--kustomization-file %q is larger than %d bytes", file, maxKustomizationFile)
	}
	documents := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		var obj unstructured.Unstructured
		if err := documents.Decode(&obj.Object); errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("--kustomization-file %q has no Kustomization %q of namespace %q", file, name, namespace)
		} else if err != nil {
			return nil, fmt.Errorf("--kustomization-file %q: %w", file, err)
		}
		if !isKustomization(&obj) || obj.GetName() != name || obj.GetNamespace() != "" && obj.GetNamespace() != namespace {
			continue
		}
		k := &kustomizev1.Kustomization{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, k); err != nil {
			return nil, fmt.Errorf("--kustomization-file %q: %w", file, err)
		}
		k.Namespace, k.Status = namespace, kustomizev1.KustomizationStatus{}
		return k, nil
	}
}

// splitFolder finds the folder that stands for the artifact, which nothing leads out of, and where in it the folder to build
// is. Where the path does not end in spec.path, it is the Git work tree, or the working directory, that the folder is in.
func splitFolder(folder, specPath string) (root, at string, err error) {
	abs, err := filepath.Abs(folder)
	if err != nil {
		return "", "", err
	}
	if at = strings.TrimPrefix(path.Clean("/"+specPath), "/"); at == "" {
		return abs, ".", nil
	}
	if before, ok := strings.CutSuffix(filepath.ToSlash(abs), "/"+at); ok && before != "" {
		return filepath.FromSlash(before), at, nil
	}
	root = workTree(abs)
	if root == "" {
		if root, err = os.Getwd(); err != nil {
			return "", "", err
		}
	}
	at, err = filepath.Rel(root, abs)
	if err != nil || !filepath.IsLocal(at) {
		return abs, ".", nil //nolint:nilerr // it lies elsewhere
	}
	return root, filepath.ToSlash(at), nil
}

// workTree returns the nearest folder upwards that Git keeps, or nothing.
func workTree(folder string) string {
	for {
		if _, err := os.Lstat(filepath.Join(folder, ".git")); err == nil {
			return folder
		}
		up := filepath.Dir(folder)
		if up == folder {
			return ""
		}
		folder = up
	}
}
