// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/controllers/internal/status"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/verify"
)

// chartSupplier finds the source of a chart and what it has, and notes which artifact that is.
func (c Config) chartSupplier(ctx context.Context, obj *sourcev1.HelmChart, r *helmChartRun) (chartSupplier, error) {
	key := types.NamespacedName{Namespace: obj.Namespace, Name: obj.Spec.SourceRef.Name}
	switch kind := obj.Spec.SourceRef.Kind; kind {
	case sourcev1.HelmRepositoryKind:
		repository := &sourcev1.HelmRepository{}
		if err := c.chartSource(ctx, kind, key, repository); err != nil {
			return nil, err
		}
		if isRegistry(repository) {
			return c.registrySupplier(ctx, obj, r, repository)
		}
		return c.indexSupplier(ctx, obj, r, repository)
	case sourcev1.GitRepositoryKind:
		repository := &sourcev1.GitRepository{}
		if err := c.chartSource(ctx, kind, key, repository); err != nil {
			return nil, err
		}
		withdrawn := repository.Spec.Verification != nil && repository.Status.Artifact == nil &&
			status.Is(repository.Status.Conditions, sourcev1.SourceVerifiedCondition, metav1.ConditionFalse)
		r.demand.asked, r.demand.other = r.demand.asked || withdrawn, withdrawn // what was made of it goes with it (weakness W32)
		return c.treeSupplier(ctx, r, gitOrigin(repository), c.demands(obj.Namespace, repository.Spec.Verification != nil))
	case sourcev1.BucketKind:
		bucket := &sourcev1.Bucket{}
		if err := c.chartSource(ctx, kind, key, bucket); err != nil {
			return nil, err
		}
		return c.treeSupplier(ctx, r, bucketOrigin(bucket), c.demands(obj.Namespace, false))
	default:
		return nil, fault.New(fault.Invalid, "UnsupportedSourceKind", "source kind %.100q: a chart comes from a HelmRepository, a GitRepository or a Bucket", kind)
	}
}

// indexSupplier supplies a chart by the index of a repository. Whom to believe is found out here, so that a key that has changed is
// noticed.
func (c Config) indexSupplier(ctx context.Context, obj *sourcev1.HelmChart, r *helmChartRun, repository *sourcev1.HelmRepository) (chartSupplier, error) {
	s := &indexedChart{c: c, repository: repository}
	r.origin.URL = helmOrigin(repository).URL
	if obj.Spec.Verify != nil {
		if !byProvenance(obj) {
			return nil, fault.New(fault.Invalid, meta.FeatureGateDisabledReason,
				"spec.verify.provider: %s verifies charts of a HelmRepository of type oci: use that, or provider %q", obj.Spec.Verify.Provider, provenanceProvider)
		}
		var err error
		s.trust, err = c.provenanceTrust(ctx, obj)
		r.demand = r.demand.believing(s.trust, err)
		if err != nil {
			return nil, err
		}
		if r.statement.Trust, err = verify.Trust(c.Backend, s.trust); err != nil {
			return nil, err
		}
	}
	return s, c.sourceArtifact(ctx, r, helmOrigin(repository), demand{})
}

// treeSupplier supplies a chart from the files of a source, provided that they are verified where the source or the platform asks for
// that.
func (c Config) treeSupplier(ctx context.Context, r *helmChartRun, origin verify.Origin, d demand) (chartSupplier, error) {
	r.origin.URL = origin.URL
	if err := c.sourceArtifact(ctx, r, origin, d); err != nil {
		return nil, err
	}
	held, ok := c.Store.Current(artifact.KeyOf(origin))
	if !ok || held.Digest != r.from.Digest {
		return nil, waiting(noSourceArtifactReason, "no artifact available for %s source '%s'", origin.Kind, origin.Name)
	}
	claim, _ := c.claimed(ctx, held, origin)
	return &treeChart{c: c, from: artifact.KeyOf(origin), claim: claim}, nil
}

// chartSource reads a source. One that is not there is waited for: its arrival is watched.
func (c Config) chartSource(ctx context.Context, kind string, key types.NamespacedName, into client.Object) error {
	err := c.Sources.Get(ctx, key, into)
	if apierrors.IsNotFound(err) {
		return waiting(sourceUnavailableReason, "failed to get source: %s %q not found", kind, key)
	}
	if err != nil {
		return fault.New(fault.Retry, sourceUnavailableReason, "failed to get source: %w", err)
	}
	return nil
}

// waiting is a fault about a source that is not ready to be used, which a watch tells of.
func waiting(reason, format string, args ...any) error {
	return fault.NewOn(sourcev1.FetchFailedCondition, fault.Wait, reason, format, args...)
}

// sourceArtifact notes which artifact of its source a chart is made from, as the store has it and the platform has stated. What its
// own source asks to be verified is not used before it is.
func (c Config) sourceArtifact(ctx context.Context, r *helmChartRun, origin verify.Origin, d demand) error {
	missing := func() error {
		return waiting(noSourceArtifactReason, "no artifact available for %s source '%s'", origin.Kind, origin.Name)
	}
	held, ok := c.Store.Current(artifact.KeyOf(origin))
	if !ok {
		return missing()
	}
	claim, ok := c.claimed(ctx, held, origin)
	if !ok || !c.met(d, claim) {
		return missing()
	}
	r.from = verify.Material{Kind: origin.Kind, Name: origin.Name, Revision: held.Revision, Digest: held.Digest}
	return nil
}

// gone reports whether an artifact has given way to another one while it was looked at.
func gone(err error) bool {
	return errors.Is(err, artifact.ErrMissing) || errors.Is(err, artifact.ErrDigest)
}
