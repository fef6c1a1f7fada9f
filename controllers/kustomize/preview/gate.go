// SPDX-License-Identifier: Apache-2.0

package preview

import (
	"context"
	"fmt"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/gate"
	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/rbac"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/policy"
	"sluice.dev/sluice/policy/engine"
	"sluice.dev/sluice/policy/parameters"
)

// GateOptions are what the manager is configured with.
type GateOptions struct {
	// Parameters is the file of tenant parameters.
	Parameters string
	// PlatformNamespaces are the controllers' own namespace and those of --platform-namespaces.
	PlatformNamespaces []string
	// DefaultServiceAccount is as whom a Kustomization of a tenant acts that names none.
	DefaultServiceAccount string
	// Digests are the program's.
	Digests fips.Digests
}

// Gate asks policy what a controller would ask.
type Gate struct {
	decider  policy.Decider
	lockdown impersonation.Lockdown
}

// NewGate reads the parameters and compiles the rules.
func NewGate(ctx context.Context, o GateOptions) (*Gate, error) {
	lockdown := impersonation.Lockdown{
		PlatformNamespaces: o.PlatformNamespaces, PlatformServiceAccount: impersonation.DefaultPlatformServiceAccount,
		DefaultServiceAccount: o.DefaultServiceAccount,
	}
	for _, c := range rbac.Controllers() {
		lockdown.ControllerServiceAccounts = append(lockdown.ControllerServiceAccounts, c.Account())
	}
	if err := lockdown.Validate(); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	grants, err := parameters.Load(o.Parameters)
	if err != nil {
		return nil, err
	}
	decider, err := engine.New(ctx, engine.Config{Digests: o.Digests, Parameters: grants})
	if err != nil {
		return nil, err
	}
	return &Gate{decider: decider, lockdown: lockdown}, nil
}

// Verdict is what policy says.
type Verdict struct {
	// Allowed says that the controller would go on.
	Allowed bool
	// Identity is as whom it would.
	Identity string
	// Message names each rule that is broken, what breaks it, and the remedy.
	Message string
}

// tenanted shows a Kustomization to impersonation.Resolve.
type tenanted struct{ *kustomizev1.Kustomization }

// ServiceAccountName returns spec.serviceAccountName.
func (t tenanted) ServiceAccountName() string { return t.Spec.ServiceAccountName }

// Judge asks policy about the Kustomization itself and about the set that was compared. The source's next artifact is taken to
// be verified if its present one is. An error means that there is no verdict.
func (g *Gate) Judge(ctx context.Context, u Unit, source Source, compared Comparison) (Verdict, error) {
	identity, err := impersonation.Resolve(tenanted{u.Object}, g.lockdown)
	if err != nil {
		return Verdict{Message: err.Error()}, nil //nolint:nilerr // that is the verdict
	}
	verdict := Verdict{Identity: identity.String()}
	content, err := gate.Object(u.Object, kustomizev1.GroupVersion.WithKind(kustomizev1.KustomizationKind))
	if err != nil {
		return verdict, err
	}
	q := policy.Query{
		Stage: policy.Spec, Platform: g.lockdown.Platform(u.Object.Namespace), Identity: identity.String(), Object: content,
		OwnNamespaces: g.lockdown.PlatformNamespaces,
	}
	_, err = gate.Check(ctx, g.decider, q)
	if err == nil {
		q.Stage, q.Source = policy.Render, source.provenance()
		for _, m := range compared.set.Members() {
			q.Set = append(q.Set, policy.Member{Object: m.Object, Namespaced: m.Namespaced})
		}
		_, err = gate.Check(ctx, g.decider, q)
	}
	switch f := fault.Of(err); {
	case err == nil:
		verdict.Allowed = true
	case f.Kind == fault.Denied:
		verdict.Message = f.Error()
	default:
		return verdict, err
	}
	return verdict, nil
}
