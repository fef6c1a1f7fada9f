// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"regexp"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/internal/chart"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/provenance"
)

// indexedChart is a chart by its name in the index of a HelmRepository.
type indexedChart struct {
	c          Config
	repository *sourcev1.HelmRepository
	version    chart.Version
	trust      verify.Policy // empty unless verification is asked for
}

func (s *indexedChart) close() {}

// chartName is a name as it may stand in an index or a registry.
var chartName = regexp.MustCompile(`^([-a-z0-9A-Z_]+/?\.?)+$`) // compiled once, never changed

// resolve looks into the index, which is parsed once for all charts of the repository.
func (s *indexedChart) resolve(_ context.Context, obj *sourcev1.HelmChart, r *helmChartRun) error {
	if len(obj.Spec.Chart) > 200 || !chartName.MatchString(obj.Spec.Chart) {
		return fault.New(fault.Invalid, chartReferenceReason, "invalid chart reference: %.200q is not the name of a chart", obj.Spec.Chart)
	}
	index, err := s.index(r.from.Digest)
	if err != nil {
		return err
	}
	if s.version, err = index.Find(obj.Spec.Chart, obj.Spec.Version); err != nil {
		return fault.New(fault.Invalid, chartReferenceReason, "invalid chart reference: failed to get chart version for remote reference: %w", err)
	}
	r.name, r.version = s.version.Name, s.version.Version
	return nil
}

// index returns the repository's index of a digest.
func (s *indexedChart) index(digest string) (*chart.Index, error) {
	index, err := s.c.Indexes.get(indexUser{repository: client.ObjectKeyFromObject(s.repository)}, digest, func() ([]byte, error) {
		return s.c.Store.Content(artifact.KeyOf(helmOrigin(s.repository)), digest)
	})
	switch {
	case gone(err):
		return nil, waiting(noSourceArtifactReason, "no artifact available for HelmRepository source '%s'", s.repository.Name)
	case err != nil:
		return nil, fault.New(fault.Retry, chartPullReason, "could not load repository index for remote chart reference: %w", err)
	}
	return index, nil
}

// fetch downloads the archive and holds it against what the index says of it, and against its provenance file if that is asked for.
func (s *indexedChart) fetch(ctx context.Context, obj *sourcev1.HelmChart, r *helmChartRun) error {
	d, err := s.c.download(ctx, s.repository, s.version)
	if err != nil {
		return err
	}
	defer d.remote.Close()
	subject := verify.Subject{Reference: transport.RedactURL(d.from.String()), Digest: d.digest}
	r.archive, r.statement = d.archive, verify.Statement{Subject: subject, Method: verify.None}
	if obj.Spec.Verify == nil {
		return nil
	}
	there := chart.ProvenanceOf(d.from)
	if err := s.c.allowedAt(ctx, s.repository, there); err != nil {
		return err
	}
	r.statement, err = s.c.verifyProvenance(ctx, subject, s.trust, provenance.Config{
		Name: s.version.Name, Version: s.version.Version, Find: provenanceAt(d.remote, there),
	})
	return err
}

// provenanceAt fetches a provenance file from where the archive beside it came.
func provenanceAt(remote *chart.Repository, there *url.URL) provenance.Find {
	return func(ctx context.Context, subject verify.Subject) (string, []byte, error) {
		file, err := remote.Provenance(ctx, there)
		if errors.Is(err, chart.ErrNoProvenance) {
			err = fmt.Errorf("%w: %w", err, verify.ErrNotVerified)
		}
		return subject.Digest, file, err
	}
}

// values reads a file of the chart.
func (s *indexedChart) values(r *helmChartRun, name string) ([]byte, error) {
	return chartFile(r, name)
}

// chartFile reads a file of the chart that is being built.
func chartFile(r *helmChartRun, name string) ([]byte, error) {
	text, ok := r.loaded.Files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return text, nil
}

// download is an archive, its digest "sha256:<hex>", and where it came from, of which more can be asked until remote is closed.
type download struct {
	archive []byte
	digest  string
	from    *url.URL
	remote  *chart.Repository
}

// download fetches a version of a chart as a repository's index names it. The index digest is checked where there is one, and the
// archive has to be the chart it is listed as. Its remote is the caller's to close.
func (c Config) download(ctx context.Context, repository *sourcev1.HelmRepository, v chart.Version) (_ download, err error) {
	failed := func(err error) (download, error) {
		f, ok := errors.AsType[*fault.Fault](err)
		if ok && f.Kind != fault.Retry || ok && f.Reason == sourcev1.AuthenticationFailedReason {
			return download{}, err
		}
		return download{}, fault.New(fault.Retry, chartPullReason, "failed to download chart '%s' version '%s': %w", v.Name, v.Version, err)
	}
	if len(v.URLs) == 0 {
		return failed(errors.New("the index has no URL for it"))
	}
	remote, err := c.helmRemote(ctx, repository)
	if err != nil {
		return failed(err)
	}
	defer func() {
		if err != nil {
			remote.Close()
		}
	}()
	from, err := remote.Locate(v.URLs[0])
	if err != nil {
		return failed(err)
	}
	if err := c.allowedAt(ctx, repository, from); err != nil {
		return download{}, err
	}
	archive, err := remote.Download(ctx, from)
	if err != nil {
		return failed(err)
	}
	sum, err := fips.Sum(c.Backend, crypto.SHA256, archive)
	if err != nil {
		return download{}, err
	}
	if want := strings.TrimPrefix(v.Digest, "sha256:"); want != "" && !strings.EqualFold(want, hex.EncodeToString(sum)) {
		return failed(fault.New(fault.Retry, chartPullReason, "its digest is sha256:%x, and the index says %.100q", sum, v.Digest))
	}
	is, err := chart.Inspect(ctx, archive, c.Charts)
	if err != nil {
		return failed(err)
	}
	if is.Name != v.Name || is.Version != v.Version {
		return failed(fault.New(fault.Retry, chartPullReason, "the archive holds '%s' version '%s'", is.Name, is.Version))
	}
	return download{archive: archive, digest: "sha256:" + hex.EncodeToString(sum), from: from, remote: remote}, nil
}

// allowedAt asks policy about a place that an index leads to as if the repository were there: an index must not lead where its
// namespace's sources may not come from.
func (c Config) allowedAt(ctx context.Context, repository *sourcev1.HelmRepository, from *url.URL) error {
	there := repository.DeepCopy()
	there.Spec.URL = transport.RedactURL(from.String())
	return c.allowed(ctx, there, sourcev1.HelmRepositoryKind)
}
