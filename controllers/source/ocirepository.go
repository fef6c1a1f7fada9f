// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"k8s.io/utils/ptr"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/controllers/internal/harness"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/cosign"
	"sluice.dev/sluice/internal/verify/notation"
)

// latestFile is the second name of an OCIRepository's current artifact (spec row S-14).
const latestFile = "latest.tar.gz"

// ociRun is what the stages of one run hand on.
type ociRun struct {
	harness.Notes

	origin    verify.Origin
	trust     verify.Policy // empty unless verification is asked for
	demand    demand
	client    *oci.Client
	head      oci.Descriptor
	statement verify.Statement
	// attestations are those that are carried along.
	attestations []verify.Attestation
	blob         *artifact.Blob
	metadata     map[string]string
}

// close lets go of content that was not published.
func (r *ociRun) close() {
	if r.blob != nil {
		r.blob.Release()
	}
}

// OCIRepositories returns the loop of OCIRepository.
func (c Config) OCIRepositories() harness.Loop[*sourcev1.OCIRepository, ociRun] {
	return harness.Loop[*sourcev1.OCIRepository, ociRun]{
		Kind: sourcev1.OCIRepositoryKind,
		New:  func() *sourcev1.OCIRepository { return &sourcev1.OCIRepository{} },
		Fields: func(obj *sourcev1.OCIRepository) harness.Fields {
			return harness.Fields{Suspended: obj.Spec.Suspend, ObservedGeneration: &obj.Status.ObservedGeneration, Request: &obj.Status.ReconcileRequestStatus}
		},
		Close: (*ociRun).close,
		Stages: withholding([]harness.Stage[*sourcev1.OCIRepository, ociRun]{
			{Name: "admit", Reason: meta.FailedReason, Run: c.ociAdmit},
			{Name: "connect", Fails: sourcev1.FetchFailedCondition, Reason: sourcev1.AuthenticationFailedReason, Run: c.ociConnect},
			{Name: "resolve", Fails: sourcev1.FetchFailedCondition, Reason: sourcev1.OCIPullFailedReason, Run: c.ociResolve},
			{Name: "verify", Phase: ociPhase, Fails: sourcev1.SourceVerifiedCondition, Reason: sourcev1.VerificationError, Run: c.ociVerify},
			{Name: "pull", Fails: sourcev1.FetchFailedCondition, Reason: sourcev1.OCIPullFailedReason, Run: c.ociPull},
			{Name: "publish", Fails: sourcev1.StorageOperationFailedCondition, Reason: sourcev1.ArchiveOperationFailedReason, Run: c.ociPublish},
		}, c.ociWithhold),
		Success: ociSuccess,
		Finalize: func(_ context.Context, obj *sourcev1.OCIRepository, _ *harness.Notes) error {
			return c.remove(sourcev1.OCIRepositoryKind, obj)
		},
		Record: func(ctx context.Context, obj *sourcev1.OCIRepository, failure error) error {
			return c.refusals(sourcev1.OCIRepositoryKind).Record(ctx, obj, failure)
		},
		Timeout: func(obj *sourcev1.OCIRepository) time.Duration { return timeout(obj.Spec.Timeout) },
	}
}

// ociAdmit refuses what policy does not allow.
func (c Config) ociAdmit(ctx context.Context, obj *sourcev1.OCIRepository, r *ociRun) error {
	r.origin = originOf(sourcev1.OCIRepositoryKind, obj, obj.Spec.URL)
	r.demand = c.demands(obj.Namespace, obj.Spec.Verify != nil)
	return c.allowed(ctx, obj, sourcev1.OCIRepositoryKind)
}

// ociConnect reads credentials, authorities and trusted keys.
func (c Config) ociConnect(ctx context.Context, obj *sourcev1.OCIRepository, r *ociRun) error {
	if obj.Spec.Verify != nil {
		trust, err := c.ociTrust(ctx, obj.Namespace, obj.Spec.Verify)
		r.demand = r.demand.believing(trust, err)
		if err != nil {
			return err
		}
		r.trust = trust
	}
	repository, err := oci.ParseURL(obj.Spec.URL)
	if err != nil {
		return err
	}
	proxy, err := c.proxy(ctx, obj.Namespace, obj.Spec.ProxySecretRef)
	if err != nil {
		return err
	}
	keychain, err := c.ociKeychain(ctx, obj, repository.Host(), proxy)
	if err != nil {
		return err
	}
	certificates, err := c.secretData(ctx, obj.Namespace, obj.Spec.CertSecretRef)
	if err != nil {
		return err
	}
	config := oci.Config{
		Repository: repository, Owner: obj.Namespace, Proxy: proxy, Keychain: keychain, Insecure: obj.Spec.Insecure,
		TLS: transport.TLS{CA: certificates["ca.crt"], SystemRoots: true, Cert: certificates["tls.crt"], Key: certificates["tls.key"]},
	}
	if obj.Spec.Timeout != nil {
		config.Timeout = obj.Spec.Timeout.Duration
	}
	r.client, err = c.Registries.Client(config)
	return err
}

// ociResolve asks where the reference points, and notices when the artifact in store is what would be pulled.
func (c Config) ociResolve(ctx context.Context, obj *sourcev1.OCIRepository, r *ociRun) (err error) {
	if r.head, err = r.client.Resolve(ctx, ociReference(obj.Spec.Reference)); err != nil {
		return err
	}
	c.collect(ctx, r.origin)
	held, claim, ok := c.current(ctx, r.origin, &r.Notes)
	if !ok || held.Revision != r.head.Revision() {
		r.NewWork()
	}
	if !ok || held.Revision != r.head.Revision() || !ptr.Equal(obj.Spec.Ignore, obj.Status.ObservedIgnore) ||
		!ptr.Equal(obj.Spec.LayerSelector, obj.Status.ObservedLayerSelector) {
		return nil
	}
	trust, err := verify.Trust(c.Backend, r.trust)
	if err != nil {
		return err
	}
	wanted := obj.Spec.Verify != nil
	if wanted != claim.Statement.Verified() || wanted && claim.Statement.Trust != trust {
		return nil
	}
	r.statement = claim.Statement
	obj.Status.Artifact, obj.Status.URL = &held, latestURL(&held) // the advertised address may have changed
	noteArtifact(&r.Notes, r.statement, wanted, stored(&held))
	return harness.ErrUnchanged
}

// ociWithhold takes out of service what a run that failed leaves unverified.
func (c Config) ociWithhold(ctx context.Context, obj *sourcev1.OCIRepository, r *ociRun) error {
	gone, err := c.withdraw(ctx, r.origin, r.demand, obj.Status.Artifact, obj.Status.Conditions, &r.Notes)
	if gone {
		obj.Status.Artifact, obj.Status.URL = nil, ""
	}
	return err
}

// latestURL is where whatever is current is served; nowhere, where artifacts are served by digest only.
func latestURL(a *meta.Artifact) string { return siblingURL(a, latestFile) }

// siblingURL is where another file of an artifact's object is served; nowhere, where artifacts are served by digest only.
func siblingURL(a *meta.Artifact, file string) string {
	if !strings.HasSuffix(a.URL, a.Path) {
		return ""
	}
	return strings.TrimSuffix(a.URL, a.Path) + path.Dir(a.Path) + "/" + file
}

func ociReference(ref *sourcev1.OCIRepositoryRef) oci.Reference {
	if ref == nil {
		return oci.Reference{}
	}
	return oci.Reference{Digest: ref.Digest, SemVer: ref.SemVer, SemverFilter: ref.SemverFilter, Tag: ref.Tag}
}

// ociVerify checks the signature that spec.verify asks for, before a byte of content is pulled.
func (c Config) ociVerify(ctx context.Context, obj *sourcev1.OCIRepository, r *ociRun) error {
	subject := verify.Subject{Reference: r.client.Repository(), Digest: r.head.Digest}
	if obj.Spec.Verify == nil {
		r.statement = verify.Statement{Subject: subject, Method: verify.None}
		return nil
	}
	v, err := c.ociVerifier(obj.Spec.Verify.Provider, r.client)
	if err != nil {
		return err
	}
	if r.statement, err = v.Verify(ctx, subject, r.trust); err != nil {
		return verificationFault(err, sourcev1.VerificationError)
	}
	if a, ok := v.(attester); ok {
		if r.attestations, err = a.Attestations(ctx, subject, r.trust); err != nil {
			return verificationFault(err, sourcev1.VerificationError)
		}
	}
	return nil
}

// attester is a verifier that finds attestations too.
type attester interface {
	Attestations(ctx context.Context, s verify.Subject, p verify.Policy) ([]verify.Attestation, error)
}

// ociVerifier makes the verifier of a provider. ociTrust has refused all others.
func (c Config) ociVerifier(provider string, registry *oci.Client) (verify.Verifier, error) {
	if provider == notationProvider {
		return notation.New(notation.Config{Registry: registry, Backend: c.Backend, Now: c.Now})
	}
	return cosign.New(cosign.Config{Registry: registry, Backend: c.Backend, Now: c.Now})
}

// ociPull takes the selected layer into the store, piece by piece: what it costs in memory does not depend on its size.
func (c Config) ociPull(ctx context.Context, obj *sourcev1.OCIRepository, r *ociRun) error {
	layer, err := r.client.Pull(ctx, r.head, oci.LayerSelector{MediaType: obj.GetLayerMediaType()})
	if err != nil {
		return err
	}
	defer layer.Close() //nolint:errcheck // what was read has been checked by its digest
	r.metadata = layer.Annotations
	if obj.GetLayerOperation() == sourcev1.OCILayerCopy {
		r.blob, err = c.ociCopy(ctx, layer)
	} else {
		r.blob, err = c.ociExtract(ctx, layer, obj.Spec.Ignore)
	}
	return err
}

// ociCopy stores the layer as it is, whatever is in it (spec row S-53). Ignore rules say nothing about it.
func (c Config) ociCopy(ctx context.Context, layer *oci.Layer) (*artifact.Blob, error) {
	blob, err := c.Store.Copy(ctx, layer)
	if err == nil {
		return blob, nil
	}
	if failed, ok := errors.AsType[*fault.Fault](err); ok {
		return nil, failed // the registry's, told as by whoever asked it
	}
	return nil, unstored("store layer "+layer.Digest, err)
}

// ociExtract unpacks the layer and archives it anew, so that ignore rules hold and equal content has an equal digest.
func (c Config) ociExtract(ctx context.Context, layer *oci.Layer, rules *string) (*artifact.Blob, error) {
	content, err := artifact.Extract(ctx, layer, c.TempDir, c.Backend, artifact.Limits{Links: artifact.SkipLinks})
	if err != nil {
		return nil, fault.New(fault.Retry, sourcev1.OCILayerOperationFailedReason, "unpack layer %s: %w", layer.Digest, err)
	}
	defer content.Close() //nolint:errcheck // it is read only
	return c.archive(ctx, content, rules)
}

// ociPublish makes what was pulled the artifact.
func (c Config) ociPublish(ctx context.Context, obj *sourcev1.OCIRepository, r *ociRun) error {
	published, err := c.publish(ctx, r.blob, product{
		origin: r.origin, statement: r.statement, attestations: r.attestations, file: strings.TrimPrefix(r.head.Digest, "sha256:") + ".tar.gz", latest: latestFile,
		revision: r.head.Revision(), metadata: r.metadata,
	})
	if err != nil {
		return err
	}
	obj.Status.Artifact, obj.Status.ObservedIgnore, obj.Status.ObservedLayerSelector = published, obj.Spec.Ignore, obj.Spec.LayerSelector
	obj.Status.URL = latestURL(published)
	noteArtifact(&r.Notes, r.statement, obj.Spec.Verify != nil, stored(published))
	return nil
}

func ociPhase(_ *sourcev1.OCIRepository, r *ociRun) string {
	return fmt.Sprintf("building artifact: new upstream revision '%s'", r.head.Revision())
}

func ociSuccess(obj *sourcev1.OCIRepository, _ *ociRun) harness.Success {
	message := fmt.Sprintf("stored artifact for digest '%s'", obj.Status.Artifact.Revision)
	return success(message, message, obj.Status.Artifact)
}
