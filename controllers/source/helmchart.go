// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/controllers/internal/events"
	"sluice.dev/sluice/controllers/internal/harness"
	"sluice.dev/sluice/internal/chart"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/verify"
)

// The reasons of HelmChart that Flux's API module does not name (spec row S-10).
const (
	sourceUnavailableReason = "SourceUnavailable"
	noSourceArtifactReason  = "NoSourceArtifact"
	chartReferenceReason    = "InvalidChartReference"
	chartPullReason         = "ChartPullError"
	chartMetadataReason     = "MetadataPatchError"
	valuesFilesReason       = "ValuesFilesError"
	chartPackageReason      = "ChartPackageError"
	chartVerificationReason = "ChartVerificationError"
)

// helmChartRun is what the stages of one run hand on.
type helmChartRun struct {
	harness.Notes

	origin verify.Origin
	demand demand
	supply chartSupplier
	from   verify.Material // the source's artifact; none where the source is a registry
	held   meta.Artifact
	claim  verify.Claim
	whole  bool // held is in store as it was published

	name      string // of the chart, as its source has it
	version   string // as it is published, with build metadata
	statement verify.Statement
	archive   []byte
	loaded    *chart.Chart // where the archive has to be packed anew
	used      []string     // the values files that were merged
	packed    bool
	remote    bool // some dependencies came from elsewhere than the source
}

// chartSupplier gets charts from one kind of source.
type chartSupplier interface {
	// resolve finds out which chart is meant, and sets name and version as the source has them.
	resolve(ctx context.Context, obj *sourcev1.HelmChart, r *helmChartRun) error
	// fetch brings the chart: archive, or loaded where it has to be packed, and the statement about it.
	fetch(ctx context.Context, obj *sourcev1.HelmChart, r *helmChartRun) error
	// values reads a values file by its clean path.
	values(r *helmChartRun, name string) ([]byte, error)
	// close releases what is held.
	close()
}

// close lets go of the source.
func (r *helmChartRun) close() {
	if r.supply != nil {
		r.supply.close()
	}
}

// HelmCharts returns the loop of HelmChart.
func (c Config) HelmCharts() harness.Loop[*sourcev1.HelmChart, helmChartRun] {
	return harness.Loop[*sourcev1.HelmChart, helmChartRun]{
		Kind: sourcev1.HelmChartKind,
		New:  func() *sourcev1.HelmChart { return &sourcev1.HelmChart{} },
		Fields: func(obj *sourcev1.HelmChart) harness.Fields {
			return harness.Fields{Suspended: obj.Spec.Suspend, ObservedGeneration: &obj.Status.ObservedGeneration, Request: &obj.Status.ReconcileRequestStatus}
		},
		Close: (*helmChartRun).close,
		Stages: withholding([]harness.Stage[*sourcev1.HelmChart, helmChartRun]{
			{Name: "admit", Reason: meta.FailedReason, Run: c.helmChartAdmit},
			{Name: "source", Fails: sourcev1.FetchFailedCondition, Reason: sourceUnavailableReason, Run: c.helmChartSource},
			{Name: "resolve", Fails: sourcev1.FetchFailedCondition, Reason: chartReferenceReason, Run: c.helmChartResolve},
			{Name: "fetch", Phase: helmChartPhase, Fails: sourcev1.FetchFailedCondition, Reason: chartPullReason, Run: helmChartFetch},
			{Name: "build", Fails: sourcev1.BuildFailedCondition, Reason: chartPackageReason, Run: c.helmChartBuild},
			{Name: "publish", Fails: sourcev1.StorageOperationFailedCondition, Reason: sourcev1.ArchiveOperationFailedReason, Run: c.helmChartPublish},
		}, c.helmChartWithhold),
		Success: helmChartSuccess,
		Finalize: func(_ context.Context, obj *sourcev1.HelmChart, _ *harness.Notes) error {
			return c.remove(sourcev1.HelmChartKind, obj)
		},
		Record: func(ctx context.Context, obj *sourcev1.HelmChart, failure error) error {
			return c.refusals(sourcev1.HelmChartKind).Record(ctx, obj, failure)
		},
	}
}

// helmChartAdmit refuses what policy does not allow.
func (c Config) helmChartAdmit(ctx context.Context, obj *sourcev1.HelmChart, r *helmChartRun) error {
	r.origin = originOf(sourcev1.HelmChartKind, obj, "")
	r.demand = c.demands(obj.Namespace, obj.Spec.Verify != nil)
	return c.allowed(ctx, obj, sourcev1.HelmChartKind)
}

// What is kept about a chart for the next run: what it was made from and how, and what was said of it.
const (
	keptInputs     = "inputs"
	keptGeneration = "generation"
	keptChart      = "chart"
	keptPacked     = "packed"
	keptValues     = "values"
	keptRemote     = "remote"
)

// helmChartSource finds the source. Where neither its artifact nor the spec has changed since the chart in store was made, nothing
// has to be read to know that it is still the one.
func (c Config) helmChartSource(ctx context.Context, obj *sourcev1.HelmChart, r *helmChartRun) (err error) {
	c.collect(ctx, r.origin)
	r.held, r.claim, r.whole = c.current(ctx, r.origin, &r.Notes)
	if r.supply, err = c.chartSupplier(ctx, obj, r); err != nil {
		return err
	}
	if !r.whole {
		r.NewWork()
	}
	if r.whole && r.from != (verify.Material{}) && c.Store.Kept(artifact.KeyOf(r.origin))[keptInputs] == inputs(obj, r) && c.met(r.demand, r.claim) {
		return c.unchangedChart(obj, r)
	}
	return nil
}

// inputs identifies what a chart is made of, but for what a registry holds.
func inputs(obj *sourcev1.HelmChart, r *helmChartRun) string {
	return fmt.Sprintf("%d %s %s %s", obj.Generation, r.from.Kind, r.from.Name, r.from.Digest)
}

// unchangedChart ends a run that finds the chart in store to be the one that is wanted.
func (c Config) unchangedChart(obj *sourcev1.HelmChart, r *helmChartRun) error {
	key := artifact.KeyOf(r.origin)
	kept := c.Store.Kept(key)
	r.name, r.version, r.packed, r.remote = kept[keptChart], r.held.Revision, kept[keptPacked] != "", kept[keptRemote] != ""
	if kept[keptValues] != "" {
		r.used = strings.Split(kept[keptValues], "\n")
	}
	r.statement = r.claim.Statement
	if r.demand.asked && !c.met(r.demand, r.claim) {
		return fault.New(fault.Retry, chartVerificationReason, "the chart in store is not verified by today's trust")
	}
	if err := c.keepChart(obj, r); err != nil {
		return err
	}
	c.chartStatus(obj, r, &r.held)
	return harness.ErrUnchanged
}

func (c Config) keepChart(obj *sourcev1.HelmChart, r *helmChartRun) error {
	kept := map[string]string{
		keptInputs: inputs(obj, r), keptGeneration: strconv.FormatInt(obj.Generation, 10), keptChart: r.name, keptValues: strings.Join(r.used, "\n"),
	}
	if r.packed {
		kept[keptPacked] = "yes"
	}
	if r.remote {
		kept[keptRemote] = "yes"
	}
	if err := c.Store.Keep(artifact.KeyOf(r.origin), kept); err != nil {
		return fault.New(fault.Retry, sourcev1.ArchiveOperationFailedReason, "%w", err)
	}
	return nil
}

// helmChartResolve finds out which version is meant, and notices when it is the one in store: a new artifact is made for a new
// version only (spec row S-92), which the build metadata of reconcileStrategy Revision and of values files are part of.
func (c Config) helmChartResolve(ctx context.Context, obj *sourcev1.HelmChart, r *helmChartRun) error {
	if err := r.supply.resolve(ctx, obj, r); err != nil {
		return err
	}
	if build := buildMetadata(obj, r); build != "" {
		with, err := chart.WithBuild(r.version, build)
		if err != nil {
			return fault.NewOn(sourcev1.BuildFailedCondition, fault.Invalid, chartMetadataReason, "%w", err)
		}
		r.version = with
	}
	kept := c.Store.Kept(artifact.KeyOf(r.origin))
	if r.whole && r.held.Revision == r.version && kept[keptChart] == r.name && kept[keptGeneration] == strconv.FormatInt(obj.Generation, 10) &&
		(r.claim.Statement.Trust == r.statement.Trust || kept[keptRemote] != "") {
		return c.unchangedChart(obj, r)
	}
	r.NewWork()
	return nil
}

// buildMetadata is what a version gets so that consumers notice a change that the chart's own version does not tell of: the source's
// revision, in twelve characters because the version stands in labels, and the generation that chose the values files.
func buildMetadata(obj *sourcev1.HelmChart, r *helmChartRun) string {
	var parts []string
	if obj.Spec.ReconcileStrategy == sourcev1.ReconcileStrategyRevision && r.from.Kind != sourcev1.HelmRepositoryKind && r.from.Revision != "" {
		hash := r.from.Revision[strings.LastIndex(r.from.Revision, ":")+1:]
		parts = append(parts, hash[:min(12, len(hash))])
	}
	if len(valuesFiles(obj)) > 0 {
		parts = append(parts, strconv.FormatInt(obj.Generation, 10))
	}
	return strings.Join(parts, ".")
}

// valuesFiles are those of the spec; the chart's own values.yaml alone is nothing to merge.
func valuesFiles(obj *sourcev1.HelmChart) []string {
	if files := obj.Spec.ValuesFiles; len(files) != 1 || strings.TrimPrefix(files[0], "./") != chart.ValuesFile {
		return files
	}
	return nil
}

func helmChartPhase(_ *sourcev1.HelmChart, r *helmChartRun) string {
	return fmt.Sprintf("building artifact: new '%s' chart with version '%s'", r.name, r.version)
}

func helmChartFetch(ctx context.Context, obj *sourcev1.HelmChart, r *helmChartRun) error {
	return r.supply.fetch(ctx, obj, r)
}

// helmChartBuild packs the chart anew where its values, its version or its source ask for that. An archive that is right as it is
// stays as it is, byte by byte.
func (c Config) helmChartBuild(ctx context.Context, obj *sourcev1.HelmChart, r *helmChartRun) (err error) {
	files := valuesFiles(obj)
	if r.loaded == nil && len(files) == 0 && buildMetadata(obj, r) == "" {
		return nil
	}
	if r.loaded == nil {
		if r.loaded, err = chart.Read(ctx, r.archive, c.Charts); err != nil {
			return fault.New(fault.Retry, chartPackageReason, "chart '%s': %w", r.name, err)
		}
	}
	if len(files) > 0 {
		if err := mergeValues(obj, r, files); err != nil {
			return fault.New(fault.Invalid, valuesFilesReason, "%w", err)
		}
	}
	if err := r.loaded.SetVersion(r.version); err != nil {
		return fault.New(fault.Invalid, chartMetadataReason, "%w", err)
	}
	if r.archive, err = r.loaded.Pack(); err != nil {
		return fault.New(fault.Retry, chartPackageReason, "chart '%s': %w", r.name, err)
	}
	if _, err := chart.Inspect(ctx, r.archive, c.Charts); err != nil { // nobody gets what this program would not take
		return fault.New(fault.Retry, chartPackageReason, "packed chart '%s': %w", r.name, err)
	}
	r.packed = true
	return nil
}

func mergeValues(obj *sourcev1.HelmChart, r *helmChartRun, files []string) error {
	missing := chart.RefuseMissing
	if obj.Spec.IgnoreMissingValuesFiles {
		missing = chart.SkipMissing
	}
	merged, used, err := chart.MergeValues(files, missing, func(name string) ([]byte, error) { return r.supply.values(r, name) })
	if err != nil {
		return err
	}
	if r.used = used; len(used) == 0 {
		return nil // all were missing: the chart keeps its own
	}
	return r.loaded.SetValues(merged)
}

// helmChartPublish makes the archive the artifact.
func (c Config) helmChartPublish(ctx context.Context, obj *sourcev1.HelmChart, r *helmChartRun) error {
	blob, err := c.Store.Copy(ctx, bytes.NewReader(r.archive))
	if err != nil {
		return fault.New(fault.Retry, sourcev1.ArchiveOperationFailedReason, "store chart: %w", err)
	}
	defer blob.Release()
	published, err := c.publish(ctx, blob, product{
		origin: r.origin, statement: r.statement, file: r.name + "-" + r.version + ".tgz", latest: latestFile, revision: r.version, from: r.from,
	})
	if err != nil {
		return err
	}
	if err := c.keepChart(obj, r); err != nil {
		return err
	}
	c.chartStatus(obj, r, published)
	return nil
}

// chartStatus says in the status what the artifact is, and of what it was made.
func (c Config) chartStatus(obj *sourcev1.HelmChart, r *helmChartRun, a *meta.Artifact) {
	s := &obj.Status
	s.Artifact, s.URL, s.ObservedChartName, s.ObservedSourceArtifactRevision = a, latestURL(a), r.name, r.from.Revision
	s.ObservedValuesFiles = slices.Clone(r.used)
	noteArtifact(&r.Notes, r.statement, obj.Spec.Verify != nil, chartSummary(r))
	r.SetCondition(sourcev1.ArtifactInStorageCondition, metav1.ConditionTrue, chartReason(r), chartSummary(r))
}

// chartSummary and chartReason are what Ready says of a chart in store.
func chartSummary(r *helmChartRun) string {
	action := "pulled"
	if r.packed {
		action = "packaged"
	}
	text := fmt.Sprintf("%s '%s' chart with version '%s'", action, r.name, r.version)
	if len(r.used) > 0 {
		text += fmt.Sprintf(" and merged values files %v", r.used)
	}
	return text
}

func chartReason(r *helmChartRun) string {
	if r.packed {
		return sourcev1.ChartPackageSucceededReason
	}
	return sourcev1.ChartPullSucceededReason
}

func helmChartSuccess(obj *sourcev1.HelmChart, r *helmChartRun) harness.Success {
	group, a := sourcev1.GroupVersion.Group, obj.Status.Artifact
	return harness.Success{
		Reason: chartReason(r), Message: chartSummary(r),
		Event: &events.Event{
			Reason: chartReason(r), Message: chartSummary(r),
			Metadata: map[string]string{group + "/revision": a.Revision, group + "/digest": a.Digest},
		},
	}
}
