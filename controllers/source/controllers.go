// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/controllers/internal/events"
	"sluice.dev/sluice/controllers/internal/evidence"
	"sluice.dev/sluice/controllers/internal/gate"
	"sluice.dev/sluice/controllers/internal/harness"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/policy"
)

// Name is the controller's name: the field manager of its statuses, its lease, and the reporter of its events.
const Name = "source-controller"

// newArtifact is the reason of the event about a new artifact.
const newArtifact = "NewArtifact"

// defaultTimeout is that of the CRDs (spec row S-02).
const defaultTimeout = time.Minute

// originOf identifies a source in statements. The URL is for people, and has no credential in it.
func originOf(kind string, obj metav1.Object, url string) verify.Origin {
	return verify.Origin{Kind: kind, Namespace: obj.GetNamespace(), Name: obj.GetName(), UID: string(obj.GetUID()), URL: url}
}

// allowed asks policy about the spec of a source. Nothing has been fetched yet.
func (c Config) allowed(ctx context.Context, obj client.Object, kind string) error {
	content, err := gate.Object(obj, sourcev1.GroupVersion.WithKind(kind))
	if err != nil {
		return err
	}
	_, err = gate.Check(ctx, c.Decider, policy.Query{
		Stage: policy.Spec, Platform: c.IsPlatform(obj.GetNamespace()), Object: content, OwnNamespaces: c.OwnNamespaces,
	})
	return err
}

// refusals keeps what was refused to sources of a kind.
func (c Config) refusals(kind string) evidence.Refusals {
	return evidence.Refusals{Ledger: c.Ledger, Kind: sourcev1.GroupVersion.WithKind(kind), Now: c.Now}
}

// Register adds a controller for every kind to a manager, and returns what makes sources run again.
func (c Config) Register(m manager.Manager, deps harness.Deps, config harness.Config, concurrent int) (Wakers, error) {
	in := installation{manager: m, deps: deps, config: config, concurrent: concurrent}
	var wakers Wakers
	for _, register := range c.kinds() {
		waker, err := register(in)
		if err != nil {
			return nil, err
		}
		wakers = append(wakers, waker)
	}
	return wakers, nil
}

// kinds are the controllers of this package, one for each kind.
func (c Config) kinds() []registration {
	return []registration{
		register("gitrepository", c.GitRepositories(), &sourcev1.GitRepositoryList{}, watchIncludes),
		register("ocirepository", c.OCIRepositories(), &sourcev1.OCIRepositoryList{}),
		register("bucket", c.Buckets(), &sourcev1.BucketList{}),
		register("helmrepository", c.HelmRepositories(), &sourcev1.HelmRepositoryList{}),
		register("helmchart", c.HelmCharts(), &sourcev1.HelmChartList{}, watchChartSources),
	}
}

func timeout(d *metav1.Duration) time.Duration {
	if d == nil || d.Duration <= 0 {
		return defaultTimeout
	}
	return d.Duration
}

// remove forgets everything kept for a deleted source (spec row S-03).
func (c Config) remove(kind string, obj metav1.Object) error {
	return c.Store.Remove(artifact.Key{Kind: kind, Namespace: obj.GetNamespace(), Name: obj.GetName()})
}

func success(message, event string, a *meta.Artifact) harness.Success {
	group := sourcev1.GroupVersion.Group
	return harness.Success{
		Reason: meta.SucceededReason, Message: message,
		Event: &events.Event{
			Reason: newArtifact, Message: event, Metadata: map[string]string{group + "/revision": a.Revision, group + "/digest": a.Digest},
		},
	}
}

// noteArtifact keeps the conditions about the artifact that Flux has beside Ready (spec row S-08).
func noteArtifact(n *harness.Notes, s verify.Statement, asked bool, message string) {
	n.SetCondition(sourcev1.ArtifactInStorageCondition, metav1.ConditionTrue, meta.SucceededReason, message)
	if !asked {
		n.RemoveCondition(sourcev1.SourceVerifiedCondition)
		return
	}
	n.SetCondition(sourcev1.SourceVerifiedCondition, metav1.ConditionTrue, meta.SucceededReason, verifiedMessage(s))
}

// verifiedMessage says what was verified, how, and whose signature it was.
func verifiedMessage(s verify.Statement) string {
	text := fmt.Sprintf("verified signature of revision %s: %s by %s", s.Subject.Digest, s.Method, s.Signer)
	if s.Fingerprint != "" {
		text += " (" + s.Fingerprint + ")"
	}
	return text
}
