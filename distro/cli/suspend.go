// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.dev/sluice/distro/cli/internal/cluster"
)

// maxWaits bounds how many objects are watched at once.
const maxWaits = 50

// change is what suspend and resume do to the objects they are given.
type change func(ctx context.Context, s session, objects []cluster.Object) error

func (p *program) suspendCommand() *cobra.Command {
	all := new(bool)
	cmd := p.switchGroup("suspend", "Suspend", func(kind cluster.Kind) *cobra.Command {
		cmd := p.switchKindCommand("suspend", kind, all, p.suspend)
		cmd.Short = fmt.Sprintf("Suspend a %s", kind.Name)
		cmd.Long = fmt.Sprintf("Have the controller leave each %s named alone until it is resumed. What was applied stays.", kind.Name)
		return cmd
	})
	cmd.PersistentFlags().BoolVar(all, "all", false, "Suspend all objects of the kind in the namespace")
	return cmd
}

func (p *program) resumeCommand() *cobra.Command {
	all, oneByOne := new(bool), new(bool)
	resume := func(ctx context.Context, s session, objects []cluster.Object) error {
		return p.resume(ctx, s, objects, *oneByOne)
	}
	cmd := p.switchGroup("resume", "Resume", func(kind cluster.Kind) *cobra.Command {
		cmd := p.switchKindCommand("resume", kind, all, resume)
		cmd.Short = fmt.Sprintf("Resume a %s", kind.Name)
		cmd.Long = fmt.Sprintf("Take the suspension off each %s named, and watch it until it has been reconciled.", kind.Name)
		return cmd
	})
	cmd.PersistentFlags().BoolVar(all, "all", false, "Resume all objects of the kind in the namespace")
	cmd.PersistentFlags().BoolVar(oneByOne, "wait", false, "Wait for one object before resuming the next")
	return cmd
}

func (p *program) switchGroup(verb, title string, command func(cluster.Kind) *cobra.Command) *cobra.Command {
	var direct, sources []*cobra.Command
	for _, kind := range cluster.Kinds() {
		switch {
		case kind.Passive:
		case kind.Source:
			sources = append(sources, command(kind))
		default:
			direct = append(direct, command(kind))
		}
	}
	return p.group(&cobra.Command{
		Use:   verb,
		Short: title + " the reconciliation of objects",
		Long:  title + " objects by name, or all of a kind in a namespace.",
	}, append(direct, p.group(&cobra.Command{
		Use:   "source",
		Short: title + " sources",
		Long:  title + " sources by name, or all of a kind in a namespace.",
	}, sources...))...)
}

func (p *program) switchKindCommand(verb string, kind cluster.Kind, all *bool, do change) *cobra.Command {
	cmd := &cobra.Command{
		Use:     kind.Command + " [NAME...]",
		Aliases: aliases(kind, kind.Command),
		Example: fmt.Sprintf("  # Two by name\n  sluice %[1]s podinfo web -n team-a\n\n  # All of the namespace\n  sluice %[1]s --all -n team-a",
			kind.Path(verb)),
		Args:              namesOrAll(kind, all),
		ValidArgsFunction: p.completeNames(kind),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := p.bounded(cmd)
		defer cancel()
		s, err := p.connect(cmd)
		if err != nil {
			return err
		}
		objects, err := s.choose(ctx, kind, args)
		if err != nil {
			return err
		}
		if len(objects) == 0 {
			p.log.Failure("no %s found in namespace %q", kind.Name, s.namespace)
			return nil
		}
		return do(ctx, s, objects)
	}
	return cmd
}

func namesOrAll(kind cluster.Kind, all *bool) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) == 0 && !*all:
			return usage(fmt.Errorf("the name of a %s is missing, or --all", kind.Name))
		case len(args) > 0 && *all:
			return usage(errors.New("names and --all exclude each other"))
		default:
			return nil
		}
	}
}

// choose reads the named objects, or all of the kind. It reads all of them before anything is changed, so that a mistyped
// name changes nothing.
func (s session) choose(ctx context.Context, kind cluster.Kind, names []string) ([]cluster.Object, error) {
	if len(names) == 0 {
		return s.List(ctx, kind, s.namespace, metav1.ListOptions{})
	}
	objects := make([]cluster.Object, 0, len(names))
	for _, name := range names {
		o, err := s.Get(ctx, kind, s.namespace, name)
		if err != nil {
			return nil, err
		}
		objects = append(objects, o)
	}
	return objects, nil
}

func (p *program) suspend(ctx context.Context, s session, objects []cluster.Object) error {
	for _, o := range objects {
		if o.Suspended() {
			p.log.Success("%s is suspended already", o)
			continue
		}
		if _, err := s.SetSuspend(ctx, o, true); err != nil {
			return fmt.Errorf("suspend %s: %w", o, err)
		}
		p.log.Success("%s suspended", o)
	}
	return nil
}

// resume resumes the objects and waits for all of them; one by one, it waits for each before it resumes the next.
func (p *program) resume(ctx context.Context, s session, objects []cluster.Object, oneByOne bool) error {
	var waits errgroup.Group
	waits.SetLimit(maxWaits)
	for _, o := range objects {
		if !o.Suspended() {
			p.log.Success("%s is not suspended", o)
			continue
		}
		resumed, err := s.SetSuspend(ctx, o, false)
		if err != nil {
			waits.Go(func() error { return p.reported(fmt.Errorf("resume %s: %w", o, err)) })
			continue
		}
		p.log.Success("%s resumed", o)
		if resumed.Static() {
			continue
		}
		waits.Go(func() error { return p.reported(p.await(ctx, s, resumed, "")) })
		if oneByOne {
			_ = waits.Wait() // an error stays with the group until the last Wait
		}
	}
	return waits.Wait()
}

// reported prints the error of one of several objects, and returns what ends the command.
func (p *program) reported(err error) error {
	if err == nil {
		return nil
	}
	p.log.Failure("%s", err)
	return errReported
}
