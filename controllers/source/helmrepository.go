// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"context"
	"crypto"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/controllers/internal/harness"
	"sluice.dev/sluice/internal/chart"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/internal/verify"
)

// indexFile is the second name of a HelmRepository's current artifact (spec row S-14).
const indexFile = "index.yaml"

// helmRepositoryRun is what the stages of one run hand on.
type helmRepositoryRun struct {
	harness.Notes

	origin    verify.Origin
	remote    *chart.Repository
	held      meta.Artifact
	whole     bool // held is in store as it was published
	fetched   chart.Fetched
	revision  string
	document  []byte // the index as it is stored
	statement verify.Statement
}

// close ends the connections.
func (r *helmRepositoryRun) close() {
	if r.remote != nil {
		r.remote.Close()
	}
}

// HelmRepositories returns the loop of HelmRepository.
func (c Config) HelmRepositories() harness.Loop[*sourcev1.HelmRepository, helmRepositoryRun] {
	return harness.Loop[*sourcev1.HelmRepository, helmRepositoryRun]{
		Kind: sourcev1.HelmRepositoryKind,
		New:  func() *sourcev1.HelmRepository { return &sourcev1.HelmRepository{} },
		Fields: func(obj *sourcev1.HelmRepository) harness.Fields {
			return harness.Fields{Suspended: obj.Spec.Suspend, ObservedGeneration: &obj.Status.ObservedGeneration, Request: &obj.Status.ReconcileRequestStatus}
		},
		Static: isRegistry,
		Reset:  func(obj *sourcev1.HelmRepository) { obj.Status = sourcev1.HelmRepositoryStatus{} },
		Close:  (*helmRepositoryRun).close,
		Stages: []harness.Stage[*sourcev1.HelmRepository, helmRepositoryRun]{
			{Name: "admit", Reason: meta.FailedReason, Run: c.helmRepositoryAdmit},
			{Name: "connect", Fails: sourcev1.FetchFailedCondition, Reason: sourcev1.AuthenticationFailedReason, Run: c.helmRepositoryConnect},
			{Name: "fetch", Fails: sourcev1.FetchFailedCondition, Reason: meta.FailedReason, Run: c.helmRepositoryFetch},
			{Name: "index", Phase: helmRepositoryPhase, Fails: sourcev1.FetchFailedCondition, Reason: sourcev1.IndexationFailedReason, Run: c.helmRepositoryIndex},
			{Name: "publish", Fails: sourcev1.StorageOperationFailedCondition, Reason: sourcev1.ArchiveOperationFailedReason, Run: c.helmRepositoryPublish},
		},
		Success: helmRepositorySuccess,
		Finalize: func(_ context.Context, obj *sourcev1.HelmRepository, _ *harness.Notes) error {
			c.Indexes.forget(client.ObjectKeyFromObject(obj))
			return c.remove(sourcev1.HelmRepositoryKind, obj)
		},
		Record: func(ctx context.Context, obj *sourcev1.HelmRepository, failure error) error {
			return c.refusals(sourcev1.HelmRepositoryKind).Record(ctx, obj, failure)
		},
		Timeout: func(obj *sourcev1.HelmRepository) time.Duration { return timeout(obj.Spec.Timeout) },
	}
}

// isRegistry reports whether a HelmRepository only says where a registry is: its charts do all the work (spec row S-82).
func isRegistry(obj *sourcev1.HelmRepository) bool {
	return obj.Spec.Type == sourcev1.HelmRepositoryTypeOCI
}

// helmRepositoryAdmit refuses what policy does not allow.
func (c Config) helmRepositoryAdmit(ctx context.Context, obj *sourcev1.HelmRepository, r *helmRepositoryRun) error {
	r.origin = helmOrigin(obj)
	return c.allowed(ctx, obj, sourcev1.HelmRepositoryKind)
}

func helmOrigin(obj *sourcev1.HelmRepository) verify.Origin {
	return originOf(sourcev1.HelmRepositoryKind, obj, transport.RedactURL(obj.Spec.URL))
}

// helmRepositoryConnect reads credentials and authorities.
func (c Config) helmRepositoryConnect(ctx context.Context, obj *sourcev1.HelmRepository, r *helmRepositoryRun) (err error) {
	r.remote, err = c.helmRemote(ctx, obj)
	return err
}

// helmRemote returns a client of a repository, with what its Secrets hold.
func (c Config) helmRemote(ctx context.Context, obj *sourcev1.HelmRepository) (*chart.Repository, error) {
	credentials, err := c.secretData(ctx, obj.Namespace, obj.Spec.SecretRef)
	if err != nil {
		return nil, err
	}
	certificates, err := c.secretData(ctx, obj.Namespace, obj.Spec.CertSecretRef)
	if err != nil {
		return nil, err
	}
	username, password := string(credentials["username"]), string(credentials["password"])
	if (username == "") != (password == "") {
		return nil, fault.New(fault.Retry, sourcev1.AuthenticationFailedReason,
			"secret '%s/%s' has only one of username and password: give both", obj.Namespace, obj.Spec.SecretRef.Name)
	}
	return chart.OpenRepository(chart.RepositoryConfig{
		URL: obj.Spec.URL, Username: username, Password: password, PassCredentials: obj.Spec.PassCredentials,
		AllowInsecureCredentials: c.FIPS.Profile != fips.Strict, // as for Git (spec row S-38)
		TLS:                      helmTLS(obj, credentials, certificates), UserAgent: c.UserAgent, Timeout: timeout(obj.Spec.Timeout), Limits: c.Charts,
	})
}

// helmTLS takes authority and client certificate from spec.certSecretRef, or else from spec.secretRef, which Flux deprecates, and
// there under their old names too (spec row S-81).
func helmTLS(obj *sourcev1.HelmRepository, credentials, certificates map[string][]byte) transport.TLS {
	from := func(names ...string) (value []byte) {
		data := certificates
		if obj.Spec.CertSecretRef == nil {
			data = credentials
		}
		for _, name := range names {
			if value = data[name]; len(value) > 0 {
				return value
			}
		}
		return nil
	}
	if obj.Spec.CertSecretRef != nil {
		return transport.TLS{CA: from("ca.crt"), SystemRoots: true, Cert: from("tls.crt"), Key: from("tls.key")}
	}
	return transport.TLS{CA: from("ca.crt", "caFile"), SystemRoots: true, Cert: from("tls.crt", "certFile"), Key: from("tls.key", "keyFile")}
}

// What is kept about an index for the next run: the server's validators, and for which URL they are.
const (
	keptURL      = "url"
	keptETag     = "etag"
	keptModified = "lastModified"
)

// helmRepositoryFetch fetches the index unless it is still the one in store, by the server's word or by its digest (weakness W29).
func (c Config) helmRepositoryFetch(ctx context.Context, obj *sourcev1.HelmRepository, r *helmRepositoryRun) (err error) {
	c.collect(ctx, r.origin)
	if r.held, _, r.whole = c.current(ctx, r.origin, &r.Notes); !r.whole {
		r.NewWork()
	}
	key := artifact.KeyOf(r.origin)
	var validators chart.Validators
	if kept := c.Store.Kept(key); r.whole && kept[keptURL] == obj.Spec.URL {
		validators = chart.Validators{ETag: kept[keptETag], LastModified: kept[keptModified]}
	}
	if r.fetched, err = r.remote.Index(ctx, validators); err != nil {
		return err
	}
	if !r.fetched.Unchanged {
		sum, err := fips.Sum(c.Backend, crypto.SHA256, r.fetched.Index)
		if err != nil {
			return err
		}
		r.revision = "sha256:" + hex.EncodeToString(sum)
		if !r.whole || r.held.Revision != r.revision {
			r.NewWork()
			return nil
		}
		if err := c.keepValidators(obj, r); err != nil {
			return err
		}
	}
	obj.Status.Artifact, obj.Status.URL = &r.held, siblingURL(&r.held, indexFile) // the advertised address may have changed
	noteArtifact(&r.Notes, verify.Statement{}, false, storedIndex(&r.held))
	return harness.ErrUnchanged
}

// keepValidators remembers what the server gave beside the index in store. The URL may hold a secret in its query; it is kept with
// the store's own files only.
func (c Config) keepValidators(obj *sourcev1.HelmRepository, r *helmRepositoryRun) error {
	v := r.fetched.Validators
	err := c.Store.Keep(artifact.KeyOf(r.origin), map[string]string{keptURL: obj.Spec.URL, keptETag: v.ETag, keptModified: v.LastModified})
	if err != nil {
		return fault.New(fault.Retry, sourcev1.ArchiveOperationFailedReason, "%w", err)
	}
	return nil
}

// helmRepositoryIndex reads the index, so that no chart is ever asked to use one that is none.
func (c Config) helmRepositoryIndex(_ context.Context, _ *sourcev1.HelmRepository, r *helmRepositoryRun) (err error) {
	if r.document, err = chart.Normalize(r.fetched.Index); err == nil {
		_, err = chart.ParseIndex(r.document)
	}
	if err != nil {
		return fault.New(fault.Retry, sourcev1.IndexationFailedReason, "index.yaml of %q is no index of a Helm repository: %w", r.origin.URL, err)
	}
	return nil
}

// helmRepositoryPublish makes the index the artifact.
func (c Config) helmRepositoryPublish(ctx context.Context, obj *sourcev1.HelmRepository, r *helmRepositoryRun) error {
	blob, err := c.Store.Copy(ctx, bytes.NewReader(r.document))
	if err != nil {
		return fault.New(fault.Retry, sourcev1.ArchiveOperationFailedReason, "store index: %w", err)
	}
	defer blob.Release()
	r.statement = verify.Statement{Subject: verify.Subject{Reference: r.origin.URL, Digest: r.revision}, Method: verify.None}
	published, err := c.publish(ctx, blob, product{
		origin: r.origin, statement: r.statement, file: "index-" + strings.TrimPrefix(r.revision, "sha256:") + ".yaml", latest: indexFile,
		revision: r.revision,
	})
	if err != nil {
		return err
	}
	if err := c.keepValidators(obj, r); err != nil {
		return err
	}
	obj.Status.Artifact, obj.Status.URL = published, siblingURL(published, indexFile)
	noteArtifact(&r.Notes, r.statement, false, storedIndex(published))
	return nil
}

func helmRepositoryPhase(_ *sourcev1.HelmRepository, r *helmRepositoryRun) string {
	return fmt.Sprintf("building artifact: new index revision '%s'", r.revision)
}

func storedIndex(a *meta.Artifact) string { return "stored artifact: revision '" + a.Revision + "'" }

func helmRepositorySuccess(obj *sourcev1.HelmRepository, r *helmRepositoryRun) harness.Success {
	event := fmt.Sprintf("stored fetched index of size %s from '%s'", humanSize(len(r.fetched.Index)), r.origin.URL)
	return success(storedIndex(obj.Status.Artifact), event, obj.Status.Artifact)
}

// humanSize writes a size as Flux does in its events: four digits, in powers of a thousand.
func humanSize(n int) string {
	size, unit := float64(n), "B"
	for _, next := range []string{"kB", "MB", "GB"} {
		if size < 1000 {
			break
		}
		size, unit = size/1000, next
	}
	return fmt.Sprintf("%.4g", size) + unit
}
