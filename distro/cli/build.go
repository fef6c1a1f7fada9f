// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"sluice.dev/sluice/controllers/kustomize/preview"
	"sluice.dev/sluice/distro/cli/internal/cluster"
)

func (p *program) buildCommand() *cobra.Command {
	return p.group(&cobra.Command{
		Use:   "build",
		Short: "Print what an object would apply",
		Long:  "Render a Flux object from a local folder, with the controller's own code, and print what it would apply.",
	}, p.buildKustomizationCommand())
}

func (p *program) buildKustomizationCommand() *cobra.Command {
	kind := cluster.Kustomization()
	cmd := &cobra.Command{
		Use:     kind.Command + " NAME",
		Aliases: aliases(kind, kind.Command),
		Short:   "Print what a Kustomization would apply",
		Long: "Build a Kustomization from a local folder as the controller would from an artifact, and print its objects as YAML. The spec is that of " +
			"the Kustomization in the cluster, or of a local file; variables are read from the cluster with the rights of the user. Nothing is " +
			"written, neither to the cluster nor to the folder. Values of Secrets are masked: the output is for reading.",
		Example: "  # A folder as the Kustomization in the cluster would build it\n  sluice build ks podinfo --path ./deploy\n\n" +
			"  # Without a cluster; variables from ConfigMaps and Secrets are left out\n  sluice build ks podinfo --path ./deploy --kustomization-file podinfo.yaml --dry-run\n\n" +
			"  # With the Kustomizations it applies\n  sluice build ks apps --path ./apps --recursive --local-sources GitRepository/flux-system/podinfo=./podinfo",
		Args:              oneName(kind),
		ValidArgsFunction: p.completeNames(kind),
	}
	options := &buildOptions{}
	options.bind(cmd.Flags())
	cmd.Flags().BoolVar(&options.offline, "dry-run", false, "Do without a cluster: needs --kustomization-file, and leaves out variables from ConfigMaps and Secrets")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := p.bounded(cmd)
		defer cancel()
		w, err := p.workbench(ctx, cmd, *options)
		if err != nil {
			return err
		}
		defer w.close()
		return p.build(ctx, w, args[0])
	}
	return cmd
}

func (p *program) build(ctx context.Context, w *workbench, name string) error {
	j, err := w.job(ctx, name)
	if err != nil {
		return err
	}
	var all []*unstructured.Unstructured
	err = w.walk(ctx, j, func(_ context.Context, _ job, objs []*unstructured.Unstructured) error {
		all = append(all, objs...)
		return nil
	})
	if err != nil {
		return err
	}
	masked, secrets := preview.Mask(all)
	if secrets > 0 {
		p.log.Warning("the values of Secrets are masked (%d): do not apply this output", secrets)
	}
	return printObjects(p.streams.Out, masked)
}

// printObjects prints YAML documents, each ended as in upstream's output.
func printObjects(out io.Writer, objs []*unstructured.Unstructured) error {
	for _, obj := range objs {
		body, err := yaml.Marshal(obj.Object)
		if err == nil {
			_, err = out.Write(append(body, "---\n"...))
		}
		if err != nil {
			return fmt.Errorf("print %s %q: %w", obj.GetKind(), obj.GetName(), err)
		}
	}
	return nil
}
