// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"sluice.dev/sluice/distro/cli/internal/cluster"
	"sluice.dev/sluice/distro/cli/internal/terminal"
)

func (p *program) reconcileCommand() *cobra.Command {
	var direct, sources []*cobra.Command
	for _, kind := range cluster.Kinds() {
		switch {
		case kind.Passive:
		case kind.Source:
			sources = append(sources, p.reconcileKindCommand(kind))
		default:
			direct = append(direct, p.reconcileKindCommand(kind))
		}
	}
	return p.group(&cobra.Command{
		Use:   "reconcile",
		Short: "Have an object reconciled now",
		Long:  "Ask an object's controller to reconcile it now, and wait for what comes of it.",
	}, append(direct, p.group(&cobra.Command{
		Use:   "source",
		Short: "Have a source fetched now",
		Long:  "Ask a source's controller to fetch it now, and wait for what comes of it.",
	}, sources...))...)
}

func (p *program) reconcileKindCommand(kind cluster.Kind) *cobra.Command {
	cmd := &cobra.Command{
		Use:     kind.Command + " NAME",
		Aliases: aliases(kind, kind.Command),
		Short:   fmt.Sprintf("Have a %s reconciled now", kind.Name),
		Long: fmt.Sprintf("Set the annotation that asks the controller to reconcile the %s, and watch it until that request has been handled: "+
			"exit status 0 when it is ready, 1 with the condition's message when it is not.", kind.Name),
		Example:           fmt.Sprintf("  # Now, rather than at the next interval\n  sluice %s podinfo -n team-a", kind.Path("reconcile")),
		Args:              oneName(kind),
		ValidArgsFunction: p.completeNames(kind),
	}
	var withSource bool
	if kind.Made {
		cmd.Flags().BoolVar(&withSource, "with-source", false, "Reconcile the object's source first")
		cmd.Example += fmt.Sprintf("\n\n  # Fetch the source first\n  sluice %s podinfo -n team-a --with-source", kind.Path("reconcile"))
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := p.bounded(cmd)
		defer cancel()
		s, err := p.connect(cmd)
		if err != nil {
			return err
		}
		o, err := s.Get(ctx, kind, s.namespace, args[0])
		if err != nil {
			return err
		}
		if withSource {
			if err := p.reconcileSource(ctx, s, o); err != nil {
				return err
			}
		}
		return p.reconcile(ctx, s, o)
	}
	return cmd
}

// reconcileSource reconciles the source of o.
func (p *program) reconcileSource(ctx context.Context, s session, o cluster.Object) error {
	name, namespace, source := o.Source()
	kind, ok := cluster.FindKind(name)
	if !ok || !kind.Source || kind.Passive {
		return fmt.Errorf("%s has a source of kind %q, which this command cannot reconcile: leave --with-source away", o, name)
	}
	object, err := s.Get(ctx, kind, namespace, source)
	if err != nil {
		return fmt.Errorf("source of %s: %w", o, err)
	}
	return p.reconcile(ctx, s, object)
}

// reconcile asks for a reconciliation and waits for its end.
func (p *program) reconcile(ctx context.Context, s session, o cluster.Object) error {
	if o.Suspended() {
		return fmt.Errorf("%s is suspended: run sluice %s %s -n %s first", o, o.Kind.Path("resume"), o.Name(), o.Namespace())
	}
	if o.Static() {
		p.log.Success("%s is a registry: there is nothing to reconcile", o)
		return nil
	}
	p.log.Action("requesting reconciliation of %s", o)
	request := p.now().UTC().Format(time.RFC3339Nano)
	o, err := s.Request(ctx, o, request)
	if err != nil {
		return err
	}
	return p.await(ctx, s, o, request)
}

// await waits for an object and says what it has become.
func (p *program) await(ctx context.Context, s session, o cluster.Object, request string) error {
	p.log.Waiting("waiting for %s", o)
	o, err := s.Await(ctx, o, request, p.progress())
	if err != nil {
		return err
	}
	p.log.Success("%s: %s %s", o, o.Kind.Achieved, terminal.ShortDigests(o.Revision()))
	return nil
}

// progress prints what a controller says it is doing, once each, when --verbose asks for it.
func (p *program) progress() func(cluster.Object) {
	var said string
	return func(o cluster.Object) {
		if doing := o.Doing(); p.flags.Verbose && doing != said {
			said = doing
			if doing != "" {
				p.log.Waiting("%s: %s", o, doing)
			}
		}
	}
}
