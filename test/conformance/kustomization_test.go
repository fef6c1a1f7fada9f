// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"testing"
)

// TestKustomizations holds the Kustomization controller to its rows of the specification, on one installation. Tests that
// wait longest go first; the last ones restart the controller, so they have it for themselves.
func TestKustomizations(t *testing.T) {
	b := newKsBed(t)
	t.Run("shared", func(t *testing.T) {
		for _, tc := range []struct {
			name string
			run  func(*testing.T, *ksBed)
		}{
			{"a deployment that cannot run is waited for until the timeout", ksHealthTimesOut},
			{"flags that are not the default", ksOtherFlags},
			{"no ServiceAccount to delete with leaves the objects", ksAccountGone},
			{"a remote cluster", ksRemote},
			{"manifests of podinfo", ksPodinfo},
			{"the first run and the next revision", ksFirstRun},
			{"a set that breaks keeps the last good state", ksBrokenSets},
			{"what no set should name is refused", ksRefusedSets},
			{"a forged source status is refused", ksForgedStatus},
			{"a damaged artifact is mended, not applied", ksDamagedArtifact},
			{"secrets stay secret", ksSecretsStaySecret},
			{"fields of the spec reach the objects", ksSpecReachesObjects},
			{"variables are read as the tenant", ksVariables},
			{"what SOPS has encrypted", ksDecrypt},
			{"keys that are no Secret of the object", ksLogin},
			{"what a diff shows is what a commit brings", ksPreview},
			{"a change of variables is followed", ksConfigWatch},
			{"variables may be watched by name", ksConfigWatchByName},
			{"what kubectl has left is taken over", ksTakeover},
			{"drift is put back", ksDrift},
			{"what may not be watched is put back at the interval", ksUnwatched},
			{"garbage is collected", ksPrune},
			{"annotations leave objects alone", ksObjectPolicies},
			{"force replaces what cannot be changed", ksForce},
			{"stages come in order", ksStages},
			{"dependencies are waited for", ksDependencies},
			{"a cycle stalls its members", ksCycle},
			{"expressions of dependencies", ksReadyExpr},
			{"references stay in the namespace", ksReferences},
			{"a source that is not there yet is waited for", ksSourceArrives},
			{"failures are tried again", ksRetries},
			{"suspension", ksSuspend},
			{"deletion follows the policy", ksDeletionPolicies},
			{"a deletion that is refused is tried again", ksDeletionRefused},
			{"objects are acted for by their ServiceAccount", ksIdentity},
			{"health of everything", ksHealthOfEverything},
			{"a failed job fails fast", ksHealthFailsFast},
			{"health of named objects", ksHealthChecks},
			{"health by expressions", ksHealthExprs},
			{"health by expressions of what may not be watched", ksHealthExprsRead},
			{"health by expressions that are none", ksHealthExprsInvalid},
			{"ignored fields are left to others", ksIgnore},
			{"rules to ignore that cannot work", ksIgnoreInvalid},
			{"the revision of the origin", ksOrigin},
			{"a layer that was copied", ksCopiedLayer},
			{"a run without change costs next to nothing", ksNoChange},
		} {
			t.Run(tc.name, func(t *testing.T) {
				t.Parallel()
				tc.run(t, b)
			})
		}
	})
	t.Run("dependants start within a second", func(t *testing.T) { ksDependantsStart(t, b) })
	t.Run("a restart writes nothing", func(t *testing.T) { ksRestart(t, b) })
}
