// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"sluice.dev/sluice/controllers/kustomize/preview"
	"sluice.dev/sluice/distro/cli/internal/cluster"
)

// Exit statuses of diff, beside exitOK for no difference and exitFailure for differences.
const (
	exitNotCompared = 2
	exitDenied      = 3
)

// diffOptions are the flags of diff.
type diffOptions struct {
	buildOptions
	progress                          bool
	parameters, defaultServiceAccount string
	platformNamespaces                []string
}

func (p *program) diffCommand() *cobra.Command {
	return p.group(&cobra.Command{
		Use:   "diff",
		Short: "Print what a change would do",
		Long:  "Render a Flux object from a local folder, and print what applying it would change in the cluster.",
	}, p.diffKustomizationCommand())
}

func (p *program) diffKustomizationCommand() *cobra.Command {
	kind := cluster.Kustomization()
	cmd := &cobra.Command{
		Use:     kind.Command + " NAME",
		Aliases: aliases(kind, kind.Command),
		Short:   "Print what applying a Kustomization would change",
		Long: "Build a Kustomization from a local folder as the controller would, and have the API server rehearse it: print what would be created, " +
			"what would change and in which fields, and what would be pruned. Nothing is written. The API server is asked as the user, so the " +
			"rights of the Kustomization's ServiceAccount are tried with --as only. Exit status 0 when there is no difference, 1 when there is one, " +
			"2 when it cannot be found out, 3 when policy denies it.",
		Example: "  # What the local folder would change\n  sluice diff ks podinfo --path ./deploy\n\n" +
			"  # As the tenant's ServiceAccount, and with the platform's policy\n  sluice diff ks app -n team-a --path ./app --as system:serviceaccount:team-a:deployer " +
			"--policy-parameters tenants.yaml\n\n" +
			"  # A Kustomization that is not in the cluster yet\n  sluice diff ks app -n team-a --path ./app --kustomization-file app.yaml --ignore-not-found",
		Args:              oneName(kind),
		ValidArgsFunction: p.completeNames(kind),
	}
	options := &diffOptions{}
	flags := cmd.Flags()
	options.bind(flags)
	flags.BoolVar(&options.mayBeNew, "ignore-not-found", false, "Accept that the Kustomization is not in the cluster; needs --kustomization-file")
	flags.BoolVar(&options.progress, "progress-bar", true, "Say on standard error what is being done")
	flags.StringVar(&options.parameters, "policy-parameters", "", "File of tenant parameters, to ask policy as the controller would")
	flags.StringSliceVar(&options.platformNamespaces, "platform-namespaces", []string{cluster.DefaultNamespace}, "Namespaces that are the platform's, for policy; all others are tenants'")
	flags.StringVar(&options.defaultServiceAccount, "default-service-account", "", "ServiceAccount of Kustomizations that name none, for policy")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := p.bounded(cmd)
		defer cancel()
		err := p.diff(ctx, cmd, *options, args[0])
		if _, own := errors.AsType[*statusError](err); own || err == nil {
			return err
		}
		return &statusError{status: exitNotCompared, err: err}
	}
	return cmd
}

func (p *program) diff(ctx context.Context, cmd *cobra.Command, o diffOptions, name string) error {
	if o.mayBeNew && o.file == "" {
		return usage(errors.New("--ignore-not-found needs --kustomization-file: the Kustomization has to come from somewhere"))
	}
	o.needsLive = true
	w, err := p.workbench(ctx, cmd, o.buildOptions)
	if err != nil {
		return err
	}
	defer w.close()
	d := differ{workbench: w, options: o}
	if o.parameters != "" {
		d.gate, err = preview.NewGate(ctx, preview.GateOptions{
			Parameters: o.parameters, PlatformNamespaces: o.platformNamespaces, DefaultServiceAccount: o.defaultServiceAccount, Digests: w.digests,
		})
		if err != nil {
			return err
		}
	}
	j, err := w.job(ctx, name)
	if err != nil {
		return err
	}
	if err := w.walk(ctx, j, d.compare); err != nil {
		return err
	}
	return d.conclude()
}

// differ compares Kustomizations with the cluster and keeps what was found.
type differ struct {
	*workbench
	options diffOptions
	gate    *preview.Gate
	// compared counts Kustomizations, differences what would change in all of them.
	compared, differences int
	denied                bool
	failed                []error
}

// compare prints what applying one Kustomization would do. What cannot be compared is kept for the end, so that the rest is
// seen.
func (d *differ) compare(ctx context.Context, j job, objs []*unstructured.Unstructured) error {
	switch {
	case j.Object.Spec.KubeConfig != nil:
		d.failed = append(d.failed, fmt.Errorf("%s applies to the cluster of its spec.kubeConfig: compare it there, with --context and a "+
			"--kustomization-file without spec.kubeConfig", j))
		return nil
	case j.Object.Spec.Suspend:
		d.log.Warning("%s is suspended: nothing is applied until it is resumed", j)
	}
	if d.options.progress {
		d.log.Waiting("%s: comparing %d objects with the cluster, as %s", j, len(objs), d.client.Identity())
	}
	comparison, err := d.previewer.Compare(ctx, d.client, j.Unit, objs)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d.failed = append(d.failed, fmt.Errorf("%s: %w", j, err))
	}
	if err := d.print(j, comparison); err != nil {
		return err
	}
	if err != nil {
		return nil //nolint:nilerr // kept above; policy would be asked about a set that cannot be applied
	}
	return d.judge(ctx, j, comparison)
}

func (d *differ) print(j job, comparison preview.Comparison) error {
	d.compared++
	var changes []preview.Difference
	for _, difference := range comparison.Differences {
		if difference.Action != preview.Skip {
			changes = append(changes, difference)
		} else if d.flags.Verbose {
			d.log.Waiting("%s is left alone: %s", difference.ID, difference.Reason)
		}
	}
	if n := len(comparison.Encrypted); n > 0 {
		d.log.Warning("encrypted values are not compared: %s", strings.Join(comparison.Encrypted, ", "))
	}
	if len(changes) == 0 {
		return nil
	}
	d.differences += len(changes)
	out := diffPrinter{out: d.streams.Out}
	if d.compared > 1 {
		out.line("📁 %s changed", j)
	}
	for _, change := range changes {
		out.difference(change)
	}
	return out.err
}

// judge says what policy makes of a set.
func (d *differ) judge(ctx context.Context, j job, comparison preview.Comparison) error {
	if d.gate == nil {
		return nil
	}
	verdict, err := d.gate.Judge(ctx, j.Unit, j.source, comparison)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", j, err)
	case !verdict.Allowed:
		d.denied = true
		d.log.Failure("%s: policy denies it: %s", j, verdict.Message)
	case j.source.Verified:
		d.log.Success("%s: policy allows it, as %s, if the next artifact of %s is verified as the present one", j, verdict.Identity, j.source)
	default:
		d.log.Success("%s: policy allows it, as %s", j, verdict.Identity)
	}
	return nil
}

// conclude returns what the exit status says.
func (d *differ) conclude() error {
	if d.gate == nil {
		d.log.Warning("policy was not asked: that needs --policy-parameters")
	}
	switch {
	case len(d.failed) > 0:
		return errors.Join(d.failed...)
	case d.denied:
		return &statusError{status: exitDenied, err: errReported}
	case d.differences > 0:
		d.log.Warning("objects that would change: %d", d.differences)
		return &statusError{status: exitFailure, err: errReported}
	default:
		d.log.Success("no difference")
		return nil
	}
}
