// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/duration"

	"sluice.dev/sluice/distro/cli/internal/cluster"
	"sluice.dev/sluice/distro/cli/internal/terminal"
)

// eventOptions are the flags of events.
type eventOptions struct {
	allNamespaces, watch bool
	about                string
	types                []string
}

func (p *program) eventsCommand() *cobra.Command {
	options := eventOptions{}
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Print events about Flux objects",
		Long: "Print Kubernetes events about Flux objects, oldest first. With --for KIND/NAME, events about the source of a Kustomization are " +
			"printed too.",
		Example: "  # What happened to a Kustomization and its source\n  sluice events --for Kustomization/podinfo -n team-a\n\n" +
			"  # Follow what goes wrong, anywhere\n  sluice events -A --types Warning -w",
		Args: noArguments,
	}
	cmd.Flags().BoolVarP(&options.allNamespaces, "all-namespaces", "A", false, "Look into all namespaces")
	cmd.Flags().BoolVarP(&options.watch, "watch", "w", false, "Print each new event after the list")
	cmd.Flags().StringVar(&options.about, "for", "", "Print events about a `KIND[/NAME]` only")
	cmd.Flags().StringSliceVar(&options.types, "types", nil, "Print events of these types only: Normal, Warning")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		types, err := eventTypes(options.types)
		if err != nil {
			return usage(err)
		}
		kind, name, err := parseAbout(options.about)
		if err != nil {
			return usage(err)
		}
		s, err := p.connect(cmd)
		if err != nil {
			return err
		}
		ctx, cancel := p.bounded(cmd)
		defer cancel()
		query := eventQuery{types: types, allNamespaces: options.allNamespaces}
		if err := query.locate(ctx, s, kind, name); err != nil {
			return err
		}
		if options.watch {
			return p.watchEvents(cmd.Context(), s, query)
		}
		return p.listEvents(ctx, s, query)
	}
	return cmd
}

// eventTypes returns the types in the cluster's spelling.
func eventTypes(names []string) ([]string, error) {
	var types []string
	for _, name := range names {
		switch {
		case strings.EqualFold(name, corev1.EventTypeNormal):
			types = append(types, corev1.EventTypeNormal)
		case strings.EqualFold(name, corev1.EventTypeWarning):
			types = append(types, corev1.EventTypeWarning)
		default:
			return nil, fmt.Errorf("--types %q: there are %s and %s", name, corev1.EventTypeNormal, corev1.EventTypeWarning)
		}
	}
	return types, nil
}

// parseAbout reads KIND or KIND/NAME. An empty kind means any.
func parseAbout(s string) (kind cluster.Kind, name string, err error) {
	if s == "" {
		return cluster.Kind{}, "", nil
	}
	word, name, named := strings.Cut(s, "/")
	kind, ok := cluster.FindKind(word)
	if !ok || named && name == "" {
		return cluster.Kind{}, "", fmt.Errorf("--for %q is not KIND or KIND/NAME of %s", s, kindNames())
	}
	return kind, name, nil
}

func kindNames() string {
	var names []string
	for _, kind := range cluster.Kinds() {
		names = append(names, kind.Name)
	}
	return strings.Join(names, ", ")
}

// eventQuery says which events are printed.
type eventQuery struct {
	types         []string
	allNamespaces bool
	// places are where to look, and for what.
	places []eventPlace
}

// eventPlace is one list of events. An empty namespace means all.
type eventPlace struct {
	namespace string
	selector  fields.Set
}

// locate decides where to look.
func (q *eventQuery) locate(ctx context.Context, s session, kind cluster.Kind, name string) error {
	place := eventPlace{namespace: s.namespace, selector: fields.Set{}}
	if q.allNamespaces {
		place.namespace = ""
	}
	if kind.Name != "" {
		place.selector["involvedObject.kind"] = kind.Name
	}
	if name != "" {
		place.selector["involvedObject.name"] = name
	}
	q.places = append(q.places, place)
	if name == "" || q.allNamespaces || kind.Source {
		return nil
	}
	o, err := s.Get(ctx, kind, s.namespace, name)
	if err != nil {
		return err
	}
	sourceKind, sourceNamespace, source := o.Source()
	q.places = append(q.places, eventPlace{
		namespace: sourceNamespace,
		selector:  fields.Set{"involvedObject.kind": sourceKind, "involvedObject.name": source},
	})
	return nil
}

// showNamespace reports whether events of several namespaces are printed.
func (q *eventQuery) showNamespace() bool {
	return q.allNamespaces || slices.ContainsFunc(q.places, func(p eventPlace) bool { return p.namespace != q.places[0].namespace })
}

func (q *eventQuery) table() *terminal.Table {
	header := []string{"LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"}
	if q.showNamespace() {
		header = append([]string{"NAMESPACE"}, header...)
	}
	return &terminal.Table{Header: header}
}

func (q *eventQuery) matches(e corev1.Event) bool {
	gv, err := schema.ParseGroupVersion(e.InvolvedObject.APIVersion)
	return err == nil && strings.HasSuffix(gv.Group, fluxGroups) && (len(q.types) == 0 || slices.Contains(q.types, e.Type))
}

func (q *eventQuery) row(e corev1.Event, now time.Time) []string {
	row := []string{lastSeen(e, now), e.Type, e.Reason, e.InvolvedObject.Kind + "/" + e.InvolvedObject.Name, e.Message}
	if q.showNamespace() {
		row = append([]string{e.Namespace}, row...)
	}
	return row
}

func eventsResource() schema.GroupVersionResource {
	return corev1.SchemeGroupVersion.WithResource("events")
}

func (p eventPlace) options() metav1.ListOptions {
	return metav1.ListOptions{FieldSelector: p.selector.AsSelector().String()}
}

func (p *program) listEvents(ctx context.Context, s session, q eventQuery) error {
	var events []corev1.Event
	for _, place := range q.places {
		_, err := s.Each(ctx, eventsResource(), place.namespace, place.options(), func(raw *unstructured.Unstructured) error {
			var e corev1.Event
			if err := cluster.Decode(raw, &e); err != nil {
				return err
			}
			if q.matches(e) {
				events = append(events, e)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(events) == 0 {
		p.log.Failure("no events found %s", view{allNamespaces: q.allNamespaces}.where(s))
		return nil
	}
	slices.SortStableFunc(events, func(a, b corev1.Event) int { return eventTime(a).Compare(eventTime(b)) })
	rows := make([][]string, 0, len(events))
	for _, e := range events {
		rows = append(rows, q.row(e, p.now()))
	}
	return q.table().Print(p.streams.Out, rows)
}

// watchEvents prints events as they come. Each place is watched for itself, because a person may be allowed to see events in
// two namespaces but not in all.
func (p *program) watchEvents(ctx context.Context, s session, q eventQuery) error {
	table := q.table()
	var printing sync.Mutex
	group, watching := errgroup.WithContext(ctx)
	for _, place := range q.places {
		group.Go(func() error {
			return s.Follow(watching, eventsResource(), place.namespace, place.options(), func(change cluster.Change) (bool, error) {
				var e corev1.Event
				if change.Deleted {
					return false, nil // events expire; that is no news
				}
				if err := cluster.Decode(change.Object, &e); err != nil || !q.matches(e) {
					return false, err
				}
				printing.Lock()
				defer printing.Unlock()
				return false, table.Print(p.streams.Out, [][]string{q.row(e, p.now())})
			})
		})
	}
	return endOfWatch(ctx, group.Wait())
}

// eventTime is when the event happened last. Which field says so depends on who wrote it.
func eventTime(e corev1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	case !e.EventTime.IsZero():
		return e.EventTime.Time
	default:
		return e.CreationTimestamp.Time
	}
}

// lastSeen says how long ago that was, and how often it happened since when.
func lastSeen(e corev1.Event, now time.Time) string {
	ago := duration.HumanDuration(now.Sub(eventTime(e)))
	count, first := e.Count, e.FirstTimestamp.Time
	if e.Series != nil {
		count, first = e.Series.Count, e.EventTime.Time
	}
	if count <= 1 || first.IsZero() {
		return ago
	}
	return fmt.Sprintf("%s (x%d over %s)", ago, count, duration.HumanDuration(now.Sub(first)))
}
