// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"sluice.dev/sluice/distro/cli/internal/cluster"
	"sluice.dev/sluice/distro/cli/internal/terminal"
)

// fluxGroups is how the groups of Flux's kinds end.
const fluxGroups = "toolkit.fluxcd.io"

func (p *program) treeCommand() *cobra.Command {
	return p.group(&cobra.Command{
		Use:   "tree",
		Short: "Print what an object manages",
		Long:  "Print the objects that a Flux object has applied, as a tree.",
	}, p.treeKustomizationCommand())
}

func (p *program) treeKustomizationCommand() *cobra.Command {
	kind := cluster.Kustomization()
	cmd := &cobra.Command{
		Use:     kind.Command + " NAME",
		Aliases: aliases(kind, kind.Command),
		Short:   "Print what a Kustomization manages",
		Long: "Print the inventory of a Kustomization as a tree. A Kustomization within it is expanded, each once, unless it applies to another " +
			"cluster.",
		Example:           "  # Everything\n  sluice tree ks flux-system\n\n  # Flux objects only, for a program\n  sluice tree ks flux-system --compact -o json",
		Args:              oneName(kind),
		ValidArgsFunction: p.completeNames(kind),
	}
	compact := cmd.Flags().Bool("compact", false, "Print Flux objects only")
	format := bindFormat(cmd, "", formatJSON, formatYAML)
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
		g := grower{
			read:    func(ctx context.Context, ns, name string) (cluster.Object, error) { return s.Get(ctx, kind, ns, name) },
			warn:    p.log.Warning,
			compact: *compact, seen: map[resource]bool{},
		}
		tree := g.grow(ctx, o)
		if format.format != "" {
			return printValue(p.streams.Out, format.format, tree)
		}
		return tree.print(p.streams.Out)
	}
	return cmd
}

// resource names an object in a tree. The keys are upstream's.
type resource struct {
	Namespace string    `json:"Namespace"`
	Name      string    `json:"Name"`
	GroupKind groupKind `json:"GroupKind"`
}

type groupKind struct {
	Group string `json:"Group"`
	Kind  string `json:"Kind"`
}

// String returns Kind/namespace/name, or Kind/name for an object without a namespace.
func (r resource) String() string {
	if r.Namespace == "" {
		return r.GroupKind.Kind + "/" + r.Name
	}
	return r.GroupKind.Kind + "/" + r.Namespace + "/" + r.Name
}

// node is an object and what it manages.
type node struct {
	Resource  resource `json:"resource"`
	Resources []*node  `json:"resources,omitempty"`
}

// grower makes trees of inventories.
type grower struct {
	read    func(ctx context.Context, namespace, name string) (cluster.Object, error)
	warn    func(format string, args ...any)
	compact bool
	// seen keeps what was expanded, so that Kustomizations that manage each other have an end.
	seen map[resource]bool
}

// grow returns the tree of a Kustomization. What cannot be read is warned of and left without children.
func (g *grower) grow(ctx context.Context, o cluster.Object) *node {
	root := &node{Resource: kustomization(o.Namespace(), o.Name())}
	g.seen[root.Resource] = true
	for _, entry := range o.Inventory() {
		r, err := parseID(entry.ID)
		if err != nil {
			g.warn("%s: %s", o, err)
			continue
		}
		if r == root.Resource || g.compact && !strings.HasSuffix(r.GroupKind.Group, fluxGroups) {
			continue
		}
		root.Resources = append(root.Resources, g.child(ctx, o, r))
	}
	return root
}

func (g *grower) child(ctx context.Context, parent cluster.Object, r resource) *node {
	leaf := &node{Resource: r}
	if r != kustomization(r.Namespace, r.Name) || parent.Remote() || g.seen[r] {
		return leaf
	}
	o, err := g.read(ctx, r.Namespace, r.Name)
	if err != nil {
		g.warn("not expanded: %s", err)
		return leaf
	}
	return g.grow(ctx, o)
}

func kustomization(namespace, name string) resource {
	kind := cluster.Kustomization()
	return resource{Namespace: namespace, Name: name, GroupKind: groupKind{Group: kind.Resource.Group, Kind: kind.Name}}
}

// rbacGroup is the group in whose objects' names the writer of an inventory turns each colon into two underscores.
const rbacGroup = "rbac.authorization.k8s.io"

// parseID reads <namespace>_<name>_<group>_<kind>. Whether two underscores in the name of an RBAC object were a colon cannot
// be known; they nearly always were.
func parseID(id string) (resource, error) {
	parts := strings.Split(id, "_")
	if len(parts) < 4 {
		return resource{}, fmt.Errorf("inventory id %q is not <namespace>_<name>_<group>_<kind>", id)
	}
	last := len(parts) - 1
	r := resource{
		Namespace: parts[0],
		Name:      strings.Join(parts[1:last-1], "_"),
		GroupKind: groupKind{Group: parts[last-1], Kind: parts[last]},
	}
	if r.GroupKind.Group == rbacGroup {
		r.Name = strings.ReplaceAll(r.Name, "__", ":")
	}
	if r.Name == "" || r.GroupKind.Kind == "" {
		return resource{}, fmt.Errorf("inventory id %q has no name or no kind", id)
	}
	return r, nil
}

func (n *node) print(out io.Writer) error {
	if _, err := fmt.Fprintln(out, terminal.Clean(n.Resource.String())); err != nil {
		return fmt.Errorf("print tree: %w", err)
	}
	return n.printChildren(out, "")
}

func (n *node) printChildren(out io.Writer, indent string) error {
	for i, child := range n.Resources {
		branch, below := "├── ", "│   "
		if i == len(n.Resources)-1 {
			branch, below = "└── ", "    "
		}
		if _, err := fmt.Fprintln(out, indent+branch+terminal.Clean(child.Resource.String())); err != nil {
			return fmt.Errorf("print tree: %w", err)
		}
		if err := child.printChildren(out, indent+below); err != nil {
			return err
		}
	}
	return nil
}
