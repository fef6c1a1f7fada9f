// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"sluice.dev/sluice/distro/cli/internal/cluster"
	"sluice.dev/sluice/internal/build"
)

// partOf selects what an installation consists of, as Flux labels it.
const partOf = "app.kubernetes.io/part-of=flux"

func (p *program) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of the program and of what is installed",
		Long: "Print the version of this program, of the API server, and of each controller that runs in the namespace, by the tag of its " +
			"image, or its digest where there is no tag.",
		Example: "  # Program, API server and controllers\n  sluice version\n\n  # The program alone, without a cluster\n  sluice version --client -o json",
		Args:    noArguments,
	}
	client := cmd.Flags().Bool("client", false, "Print the program's own version only")
	format := bindFormat(cmd, formatYAML, formatJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		versions := programVersion(build.Read())
		if !*client {
			if err := p.serverVersions(cmd, versions); err != nil {
				return err
			}
		}
		return printValue(p.streams.Out, format.format, versions)
	}
	return cmd
}

// programVersion is flat, as upstream prints it: one key for each part.
func programVersion(info build.Info) map[string]string {
	versions := map[string]string{programName: info.Version, "go": info.Go, "platform": info.Platform}
	if info.Commit != "" {
		versions["commit"] = info.Commit
		if info.Modified {
			versions["commit"] += "-modified"
		}
	}
	return versions
}

func (p *program) serverVersions(cmd *cobra.Command, versions map[string]string) error {
	ctx, cancel := p.bounded(cmd)
	defer cancel()
	s, err := p.connect(cmd)
	if err != nil {
		return err
	}
	server, err := s.Version(ctx)
	if err != nil {
		return err
	}
	versions["kubernetes"] = server.GitVersion
	deployments, err := s.deployments(ctx)
	if err != nil {
		return err
	}
	if len(deployments) == 0 {
		p.log.Warning("no Deployment labelled %s in namespace %q: controllers elsewhere cannot be seen from here", partOf, s.namespace)
	}
	for _, deployment := range deployments {
		for _, container := range deployment.Spec.Template.Spec.Containers {
			name, version := splitImage(container.Image)
			versions[name] = version
		}
	}
	return nil
}

// deployments returns the Deployments of the installation.
func (s session) deployments(ctx context.Context) ([]appsv1.Deployment, error) {
	var list []appsv1.Deployment
	_, err := s.Each(ctx, appsv1.SchemeGroupVersion.WithResource("deployments"), s.namespace, metav1.ListOptions{LabelSelector: partOf},
		func(raw *unstructured.Unstructured) error {
			var deployment appsv1.Deployment
			if err := cluster.Decode(raw, &deployment); err != nil {
				return err
			}
			list = append(list, deployment)
			return nil
		})
	return list, err
}

// splitImage returns the last part of an image's name and its tag, or its digest when it has no tag.
func splitImage(image string) (name, version string) {
	image, digest, _ := strings.Cut(image, "@")
	name, version = image[strings.LastIndexByte(image, '/')+1:], digest
	if base, tag, ok := strings.Cut(name, ":"); ok {
		name, version = base, tag
	}
	if version == "" {
		version = "latest" // what a container runtime pulls for a name alone
	}
	return name, version
}
