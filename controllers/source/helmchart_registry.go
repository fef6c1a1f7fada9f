// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/Masterminds/semver/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/chart"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/provenance"
)

// registryChart is a chart in a registry that a HelmRepository of type oci names. It is reached, and verified, as an OCIRepository
// of the same URL would be.
type registryChart struct {
	c    Config
	like *sourcev1.OCIRepository
	run  ociRun
}

// registrySupplier connects to the registry. Whom to believe is found out here, so that a key that has changed is noticed.
func (c Config) registrySupplier(ctx context.Context, obj *sourcev1.HelmChart, r *helmChartRun, repository *sourcev1.HelmRepository) (chartSupplier, error) {
	if len(obj.Spec.Chart) > 200 || !chartName.MatchString(obj.Spec.Chart) {
		return nil, fault.New(fault.Invalid, chartReferenceReason, "invalid chart reference: %.200q is not the name of a chart", obj.Spec.Chart)
	}
	like := &sourcev1.OCIRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: repository.Namespace, Name: repository.Name},
		Spec: sourcev1.OCIRepositorySpec{
			URL: strings.TrimSuffix(repository.Spec.URL, "/") + "/" + obj.Spec.Chart, SecretRef: repository.Spec.SecretRef,
			CertSecretRef: repository.Spec.CertSecretRef, Insecure: repository.Spec.Insecure, Timeout: repository.Spec.Timeout, Provider: repository.Spec.Provider,
		},
	}
	if v := obj.Spec.Verify; v != nil && !byProvenance(obj) {
		like.Spec.Verify = &sourcev1.OCIRepositoryVerification{Provider: v.Provider, SecretRef: v.SecretRef, MatchOIDCIdentity: v.MatchOIDCIdentity}
	}
	if err := c.allowed(ctx, repository, sourcev1.HelmRepositoryKind); err != nil { // a static object has no run of its own that asks
		return nil, err
	}
	r.origin.URL = transport.RedactURL(like.Spec.URL)
	s := &registryChart{c: c, like: like, run: ociRun{demand: r.demand}}
	var err error
	if byProvenance(obj) {
		s.run.trust, err = c.provenanceTrust(ctx, obj)
		s.run.demand = s.run.demand.believing(s.run.trust, err)
	}
	if err == nil {
		err = c.ociConnect(ctx, like, &s.run)
	}
	r.demand = s.run.demand
	if err != nil || obj.Spec.Verify == nil {
		return s, err
	}
	r.statement.Trust, err = verify.Trust(c.Backend, s.run.trust)
	return s, err
}

func (s *registryChart) close() {}

// resolve finds the tag: the one that is spelled, or the highest version in the range. A tag cannot hold a plus; Helm writes "_".
func (s *registryChart) resolve(ctx context.Context, obj *sourcev1.HelmChart, r *helmChartRun) error {
	tag := strings.ReplaceAll(obj.Spec.Version, "+", "_")
	if _, err := semver.StrictNewVersion(strings.TrimPrefix(obj.Spec.Version, "v")); err != nil {
		wanted, err := chart.Range(obj.Spec.Version)
		if err != nil {
			return fault.New(fault.Invalid, chartReferenceReason, "invalid chart reference: %w", err)
		}
		tags, err := s.run.client.Tags(ctx)
		if err != nil {
			return pullFault(r, err)
		}
		var ok bool
		if tag, ok = chart.Highest(tags, wanted); !ok {
			return fault.New(fault.Retry, chartPullReason, "failed to get chart version for remote reference: no tag of %q matches version '%.200s'",
				s.run.client.Repository(), obj.Spec.Version)
		}
	}
	head, err := s.run.client.Resolve(ctx, oci.Reference{Tag: tag})
	if err != nil {
		return pullFault(r, err)
	}
	s.run.head = head
	r.name, r.version = path.Base(obj.Spec.Chart), s.version()
	return nil
}

// pullFault is Flux's reason for a chart that cannot be had from a registry; what the credentials lack keeps its own.
func pullFault(r *helmChartRun, err error) error {
	if f, ok := errors.AsType[*fault.Fault](err); ok && f.Reason == sourcev1.AuthenticationFailedReason {
		return err
	}
	return fault.New(fault.Retry, chartPullReason, "chart of %q: %w", r.origin.URL, err)
}

// fetch verifies the chart's signature, if that is asked for, before a byte of the chart is pulled.
func (s *registryChart) fetch(ctx context.Context, obj *sourcev1.HelmChart, r *helmChartRun) error {
	if err := s.verify(ctx, obj, r); err != nil {
		return err
	}
	layer, err := s.run.client.Pull(ctx, s.run.head, oci.LayerSelector{MediaType: chart.ArchiveLayer})
	if err != nil {
		return pullFault(r, err)
	}
	defer layer.Close() //nolint:errcheck // what was read has been checked by its digest
	if r.archive, err = transport.ReadAll(layer, s.c.Charts.Archive); err != nil {
		return pullFault(r, fmt.Errorf("%w (--helm-chart-max-size)", err))
	}
	is, err := chart.Inspect(ctx, r.archive, s.c.Charts)
	if err == nil && (is.Name != r.name || is.Version != s.version()) {
		err = fmt.Errorf("it holds '%s' version '%s'", is.Name, is.Version)
	}
	if err != nil {
		return pullFault(r, err)
	}
	return nil
}

// verify checks what spec.verify asks for.
func (s *registryChart) verify(ctx context.Context, obj *sourcev1.HelmChart, r *helmChartRun) (err error) {
	if byProvenance(obj) {
		subject := verify.Subject{Reference: s.run.client.Repository(), Digest: s.run.head.Digest}
		r.statement, err = s.c.verifyProvenance(ctx, subject, s.run.trust, provenance.Config{
			Name: r.name, Version: s.version(), Find: provenance.InRegistry(s.run.client),
		})
		return err
	}
	err = s.c.ociVerify(ctx, s.like, &s.run)
	r.statement = s.run.statement
	return chartVerification(err)
}

// version is the one that the tag stands for.
func (s *registryChart) version() string { return strings.ReplaceAll(s.run.head.Tag, "_", "+") }

// values reads a file of the chart.
func (s *registryChart) values(r *helmChartRun, name string) ([]byte, error) {
	if r.loaded == nil {
		return nil, fs.ErrNotExist
	}
	return chartFile(r, name)
}

// helmChartWithhold takes out of service what a run that failed leaves unverified.
func (c Config) helmChartWithhold(ctx context.Context, obj *sourcev1.HelmChart, r *helmChartRun) error {
	gone, err := c.withdraw(ctx, r.origin, r.demand, obj.Status.Artifact, obj.Status.Conditions, &r.Notes)
	if gone {
		obj.Status.Artifact, obj.Status.URL = nil, ""
	}
	return err
}
