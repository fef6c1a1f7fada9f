// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/internal/chart"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/verify"
)

// treeChart is a chart by its path in the files of a GitRepository or a Bucket.
type treeChart struct {
	c       Config
	from    artifact.Key
	claim   verify.Claim // about the source's artifact
	content *artifact.Content
	packed  []byte // where the chart lies in the source as an archive
	loaded  *chart.Chart
}

func (s *treeChart) close() {
	if s.content != nil {
		_ = s.content.Close() // only read from
	}
}

// resolve looks at the chart. The version in the spec is not looked at (spec row S-90). What was verified of the source holds for what is
// made of it. Most changes of a source leave the chart's version alone, and then nothing is made anew: its metadata tells that before
// anything is unpacked.
func (s *treeChart) resolve(ctx context.Context, obj *sourcev1.HelmChart, r *helmChartRun) error {
	r.statement = s.claim.Statement
	if r.whole {
		if is, ok := s.peek(ctx, obj, r); ok {
			r.name, r.version = is.Name, is.Version
			return nil
		}
	}
	return s.open(ctx, obj, r)
}

// peek reads the metadata of a chart that lies in the source as a folder. Whatever is wrong with it, open has words for.
func (s *treeChart) peek(ctx context.Context, obj *sourcev1.HelmChart, r *helmChartRun) (is chart.Metadata, ok bool) {
	err := s.c.Store.Read(s.from, r.from.Digest, func(archive io.Reader) error {
		text, err := artifact.ReadFile(ctx, archive, path.Join(obj.Spec.Chart, chart.MetadataFile), s.c.Charts.File)
		if err == nil {
			is, err = chart.ParseMetadata(text)
		}
		return err
	})
	return is, err == nil
}

// open unpacks the source's artifact and reads the chart.
func (s *treeChart) open(ctx context.Context, obj *sourcev1.HelmChart, r *helmChartRun) (err error) {
	err = s.c.Store.Read(s.from, r.from.Digest, func(archive io.Reader) (err error) {
		s.content, err = artifact.Extract(ctx, archive, s.c.TempDir, s.c.Backend, artifact.Limits{})
		return err
	})
	switch {
	case gone(err):
		return waiting(noSourceArtifactReason, "no artifact available for %s source '%s'", r.from.Kind, r.from.Name)
	case err != nil:
		return fault.New(fault.Retry, chartPullReason, "unpack the artifact of %s '%s': %w", r.from.Kind, r.from.Name, err)
	}
	s.loaded, s.packed, err = chart.Open(ctx, s.content, obj.Spec.Chart, s.c.Charts)
	if errors.Is(err, chart.ErrNoChart) {
		return fault.New(fault.Invalid, chartReferenceReason, "invalid chart reference: %w", err)
	}
	if err != nil {
		return fault.New(fault.Retry, chartPackageReason, "chart '%s': %w", obj.Spec.Chart, err)
	}
	r.name = s.loaded.Metadata.Name
	if r.version == "" { // else with the build metadata that resolve's caller has given it
		r.version = s.loaded.Metadata.Version
	}
	return nil
}

// fetch hands the chart on, with its dependencies where it is a folder.
func (s *treeChart) fetch(ctx context.Context, obj *sourcev1.HelmChart, r *helmChartRun) error {
	if s.content == nil {
		if err := s.open(ctx, obj, r); err != nil {
			return err
		}
	}
	if s.packed != nil {
		r.archive = s.packed
		return nil
	}
	r.loaded = s.loaded
	d := dependencies{c: s.c, namespace: obj.Namespace, source: s.content}
	if err := d.complete(ctx, s.loaded, obj.Spec.Chart, 0); err != nil {
		f, ok := errors.AsType[*fault.Fault](err)
		if ok && f.Kind == fault.Denied {
			return err
		}
		return fault.NewOn(sourcev1.BuildFailedCondition, fault.Retry, dependencyReason, "dependency build error: %w", err)
	}
	if r.remote = d.remote; !r.remote {
		return nil
	}
	if r.demand.asked {
		return fault.NewOn(sourcev1.SourceVerifiedCondition, fault.Denied, chartVerificationReason,
			"chart '%s' has dependencies from elsewhere than its source, and nobody vouches for them: "+
				"add them to its charts/ folder (helm dependency build) and sign that", obj.Spec.Chart)
	}
	r.statement = verify.Statement{Subject: r.statement.Subject, Method: verify.None} // who signed the source has not seen these bytes
	return nil
}

// values reads a file of the source.
func (s *treeChart) values(_ *helmChartRun, name string) ([]byte, error) {
	text, err := fs.ReadFile(s.content, name)
	if err == nil && int64(len(text)) > s.c.Charts.File {
		return nil, fmt.Errorf("larger than %d bytes", s.c.Charts.File)
	}
	return text, err
}
