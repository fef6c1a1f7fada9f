// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"slices"
	"strings"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/provenance"
)

// provenanceProvider is the provider of spec.verify that Flux does not have: a chart's provenance file.
const provenanceProvider = "helm-provenance"

// byProvenance reports whether a chart is to be verified by its provenance file.
func byProvenance(obj *sourcev1.HelmChart) bool {
	return obj.Spec.Verify != nil && obj.Spec.Verify.Provider == provenanceProvider
}

// provenanceTrust reads the key rings of spec.verify.secretRef, which has the form of a GitRepository's.
func (c Config) provenanceTrust(ctx context.Context, obj *sourcev1.HelmChart) (verify.Policy, error) {
	if len(obj.Spec.Verify.MatchOIDCIdentity) > 0 {
		return verify.Policy{}, fault.New(fault.Invalid, chartVerificationReason,
			"spec.verify.matchOIDCIdentity: provider %q knows keys only: name them in spec.verify.secretRef", provenanceProvider)
	}
	return c.trust(obj.Namespace, ringKeys, func() (verify.Policy, error) {
		data, err := c.secretData(ctx, obj.Namespace, obj.Spec.Verify.SecretRef)
		if err != nil {
			return verify.Policy{}, err
		}
		all := slices.DeleteFunc(keys(data, ""), func(k verify.Key) bool { return strings.HasSuffix(k.Name, sshEntry) })
		if len(all) == 0 {
			return verify.Policy{}, untrusting("spec.verify names nobody to believe: give a Secret with OpenPGP key rings, as `gpg --armor --export` writes them")
		}
		return verify.Policy{Keys: all}, nil
	})
}

// verifyProvenance checks a chart by its provenance file.
func (c Config) verifyProvenance(ctx context.Context, s verify.Subject, trust verify.Policy, config provenance.Config) (verify.Statement, error) {
	config.Digests, config.FIPS, config.Now = c.Backend, c.FIPS, c.Now
	v, err := provenance.New(config)
	if err != nil {
		return verify.Statement{}, err
	}
	found, err := v.Verify(ctx, s, trust)
	return found, chartVerification(err)
}

// chartVerification makes Flux's words of an error of a verifier.
func chartVerification(err error) error {
	if err == nil {
		return nil
	}
	f := fault.Of(verificationFault(err, chartVerificationReason))
	f.Reason, f.Condition = chartVerificationReason, sourcev1.SourceVerifiedCondition
	return f
}
