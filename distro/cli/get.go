// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"sluice.dev/sluice/distro/cli/internal/cluster"
	"sluice.dev/sluice/distro/cli/internal/terminal"
)

// getOptions are the flags of get.
type getOptions struct {
	allNamespaces, watch, noHeader, showSource bool
	labels, status                             string
}

func (p *program) getCommand() *cobra.Command {
	options := &getOptions{}
	var direct, sources []*cobra.Command
	for _, kind := range cluster.Kinds() {
		if kind.Source {
			sources = append(sources, p.getKindCommand(kind, options))
		} else {
			direct = append(direct, p.getKindCommand(kind, options))
		}
	}
	sources = append(sources, p.getAllCommand("sources", options, func(k cluster.Kind) bool { return k.Source }))
	cmd := p.group(&cobra.Command{
		Use:   "get",
		Short: "Print the status of objects",
		Long:  "Print sources and Kustomizations with their revision and what their controller says of them.",
	}, append(direct,
		p.getAllCommand("objects", options, func(cluster.Kind) bool { return true }),
		p.group(&cobra.Command{
			Use: "sources", Aliases: []string{"source"},
			Short: "Print the status of sources",
			Long:  "Print sources with the revision that was fetched last.",
		}, sources...),
	)...)
	flags := cmd.PersistentFlags()
	flags.BoolVarP(&options.allNamespaces, "all-namespaces", "A", false, "Look into all namespaces")
	flags.BoolVarP(&options.watch, "watch", "w", false, "Print each change after the list")
	flags.BoolVar(&options.noHeader, "no-header", false, "Print no header")
	flags.StringVarP(&options.labels, "label-selector", "l", "", "Print objects with these labels only")
	flags.StringVar(&options.status, "status-selector", "", "Print objects with this condition only, as type=status or type!=status")
	return cmd
}

func (p *program) getKindCommand(kind cluster.Kind, options *getOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use:     kind.Plural + " [NAME]",
		Aliases: aliases(kind, kind.Plural),
		Short:   fmt.Sprintf("Print the status of each %s", kind.Name),
		Long:    fmt.Sprintf("Print each %s, or one by its name, with revision, suspension, and the condition Ready.", kind.Name),
		Example: fmt.Sprintf("  # All of the namespace\n  sluice %[1]s -n team-a\n\n  # What is not ready, anywhere\n  sluice %[1]s -A --status-selector ready!=true\n\n"+
			"  # Follow one\n  sluice %[1]s podinfo -w", kind.ListPath()),
		Args:              cobra.MatchAll(atMostOne),
		ValidArgsFunction: p.completeNames(kind),
	}
	if !kind.Source {
		cmd.Flags().BoolVar(&options.showSource, "show-source", false, "Print the source of each object")
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var name string
		if len(args) > 0 {
			name = args[0]
		}
		view, err := options.view(name)
		if err != nil {
			return usage(err)
		}
		s, err := p.connect(cmd)
		if err != nil {
			return err
		}
		if options.watch {
			return p.watchKind(cmd.Context(), s, kind, view)
		}
		ctx, cancel := p.bounded(cmd)
		defer cancel()
		return p.getKind(ctx, s, kind, view)
	}
	return cmd
}

func (p *program) getAllCommand(what string, options *getOptions, in func(cluster.Kind) bool) *cobra.Command {
	return &cobra.Command{
		Use:     "all",
		Short:   "Print the status of all " + what,
		Long:    "Print all " + what + ", one table for each kind. The kind stands before the name.",
		Example: "  # Everything, anywhere\n  sluice get all -A",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			view, err := options.view("")
			if err != nil {
				return usage(err)
			}
			if options.watch {
				return usage(errors.New("--watch needs one kind"))
			}
			ctx, cancel := p.bounded(cmd)
			defer cancel()
			s, err := p.connect(cmd)
			if err != nil {
				return err
			}
			view.kindInName = true
			return p.getAll(ctx, s, what, view, in)
		},
	}
}

func atMostOne(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usage(fmt.Errorf("unexpected argument %q: name one object, or none", args[1]))
	}
	return nil
}

// aliases are other names of a command on the kind: flux accepts singular and plural.
func aliases(kind cluster.Kind, except string) []string {
	var names []string
	for _, name := range append([]string{kind.Command, kind.Plural}, kind.Aliases...) {
		if name != except {
			names = append(names, name)
		}
	}
	return names
}

// view says which objects are shown, and which columns.
type view struct {
	name, labels                                    string
	condition                                       conditionSelector
	allNamespaces, noHeader, showSource, kindInName bool
}

// view checks the flags. A bad selector must not look like a cluster without objects.
func (o *getOptions) view(name string) (view, error) {
	if _, err := labels.Parse(o.labels); err != nil {
		return view{}, fmt.Errorf("--label-selector %q: %w", o.labels, err)
	}
	condition, err := parseConditionSelector(o.status)
	if err != nil {
		return view{}, err
	}
	return view{
		name: name, labels: o.labels, condition: condition,
		allNamespaces: o.allNamespaces, noHeader: o.noHeader, showSource: o.showSource,
	}, nil
}

func (v view) options() metav1.ListOptions {
	options := metav1.ListOptions{}
	if v.name != "" {
		options = cluster.Named(v.name)
	}
	options.LabelSelector = v.labels
	return options
}

// place is the namespace to ask for, empty for all.
func (v view) place(s session) string {
	if v.allNamespaces {
		return ""
	}
	return s.namespace
}

// where is place in words.
func (v view) where(s session) string {
	if v.allNamespaces {
		return "in any namespace"
	}
	return fmt.Sprintf("in namespace %q", s.namespace)
}

// table has the columns of a kind: what nobody can suspend shows its source instead, as in flux.
func (v view) table(kind cluster.Kind) *terminal.Table {
	if v.noHeader {
		return &terminal.Table{}
	}
	header := []string{"NAME"}
	if v.allNamespaces {
		header = []string{"NAMESPACE", "NAME"}
	}
	if v.showSource {
		header = append(header, "SOURCE")
	}
	header = append(header, "REVISION")
	if kind.Passive {
		header = append(header, "SOURCE")
	} else {
		header = append(header, "SUSPENDED")
	}
	return &terminal.Table{Header: append(header, "READY", "MESSAGE")}
}

func (v view) rows(objects []cluster.Object) [][]string {
	var rows [][]string
	for _, o := range objects {
		if v.condition.matches(o) {
			status, message := o.Ready()
			rows = append(rows, v.row(o, status, message))
		}
	}
	return rows
}

func (v view) row(o cluster.Object, status, message string) []string {
	name := o.Name()
	if v.kindInName {
		name = strings.ToLower(o.Kind.Name) + "/" + name
	}
	row := []string{name}
	if v.allNamespaces {
		row = []string{o.Namespace(), name}
	}
	if v.showSource {
		row = append(row, sourceOf(o))
	}
	fourth := "False"
	switch {
	case o.Kind.Passive:
		fourth = sourceOf(o)
	case o.Suspended():
		fourth = "True"
	}
	return append(row, terminal.ShortDigests(o.Revision()), fourth, status, terminal.ShortDigests(message))
}

// sourceOf describes the source of an object; one that a third party has made may have none.
func sourceOf(o cluster.Object) string {
	kind, namespace, name := o.Source()
	if kind == "" {
		return ""
	}
	return kind + "/" + namespace + "/" + name
}

// getKind prints one table. That nothing was found is no failure unless one object was asked for by its name.
func (p *program) getKind(ctx context.Context, s session, kind cluster.Kind, v view) error {
	objects, err := s.List(ctx, kind, v.place(s), v.options())
	if err != nil {
		return err
	}
	if len(objects) == 0 && v.name != "" {
		return fmt.Errorf("%s %q not found %s: see sluice %s -A", kind.Name, v.name, v.where(s), kind.ListPath())
	}
	rows := v.rows(objects)
	if len(rows) == 0 {
		p.log.Failure("no %s found %s%s", kind.Name, v.where(s), v.filtered())
		return nil
	}
	return v.table(kind).Print(p.streams.Out, rows)
}

func (v view) filtered() string {
	if v.labels != "" || v.condition != (conditionSelector{}) {
		return " that the selectors match"
	}
	return ""
}

// getAll prints a table for each kind that has objects.
func (p *program) getAll(ctx context.Context, s session, what string, v view, in func(cluster.Kind) bool) error {
	var tables int
	var unknown error
	for _, kind := range cluster.Kinds() {
		if !in(kind) {
			continue
		}
		objects, err := s.List(ctx, kind, v.place(s), v.options())
		if _, ok := errors.AsType[*cluster.UnknownKindError](err); ok {
			unknown = cmp.Or(unknown, err)
			p.log.Warning("%s", err)
			continue
		}
		if err != nil {
			return err
		}
		rows := v.rows(objects)
		if len(rows) == 0 {
			continue
		}
		if tables++; tables > 1 {
			fmt.Fprintln(p.streams.Out)
		}
		if err := v.table(kind).Print(p.streams.Out, rows); err != nil {
			return err
		}
	}
	if tables == 0 && unknown == nil {
		p.log.Failure("no %s found %s%s", what, v.where(s), v.filtered())
	}
	if tables == 0 && unknown != nil {
		return errReported
	}
	return nil
}

// watchKind prints a row for each object and each change, until it is interrupted.
func (p *program) watchKind(ctx context.Context, s session, kind cluster.Kind, v view) error {
	table := v.table(kind)
	err := s.Follow(ctx, kind.Resource, v.place(s), v.options(), func(change cluster.Change) (bool, error) {
		o := cluster.NewObject(kind, change.Object)
		if change.Deleted {
			return false, table.Print(p.streams.Out, [][]string{v.row(o, "False", "deleted")})
		}
		return false, table.Print(p.streams.Out, v.rows([]cluster.Object{o}))
	})
	return endOfWatch(ctx, err)
}

// endOfWatch returns nil for the interruption by which every watch ends.
func endOfWatch(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // that is how a watch ends
	}
	return err
}

// conditionSelector is --status-selector. The zero selector matches everything.
type conditionSelector struct {
	conditionType, status string
	not                   bool
}

func parseConditionSelector(s string) (conditionSelector, error) {
	if s == "" {
		return conditionSelector{}, nil
	}
	conditionType, status, ok := strings.Cut(s, "=")
	conditionType, not := strings.CutSuffix(conditionType, "!")
	if !ok || conditionType == "" || status == "" {
		return conditionSelector{}, fmt.Errorf("--status-selector %q is neither type=status nor type!=status", s)
	}
	return conditionSelector{conditionType: conditionType, status: status, not: not}, nil
}

// matches counts an absent condition as one that has no status: "ready!=true" finds what no controller has seen.
func (c conditionSelector) matches(o cluster.Object) bool {
	return c.conditionType == "" || o.ConditionIs(c.conditionType, c.status) != c.not
}
