// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"sluice.dev/sluice/internal/sign"
)

func writeElsewhere(ctx context.Context, s *stage) (string, error) {
	s.screen.say("team A pushes a set, signed as it should be, with a ConfigMap in namespace team-b")
	if err := s.push(ctx, "other-namespace", "refused/other-namespace", s.keys.teamA); err != nil {
		return "", err
	}
	return s.deniedByRule(ctx, "other-namespace", "sluice-8", configMap(teamB, "from-team-a"))
}

func deliverPrivileged(ctx context.Context, s *stage) (string, error) {
	s.screen.say("team A pushes a set, signed as it should be, with a ConfigMap and a Pod that is root on its node")
	if err := s.push(ctx, "privileged", "refused/privileged", s.keys.teamA); err != nil {
		return "", err
	}
	return s.deniedByRule(ctx, "privileged", "sluice-18", configMap(teamA, "harmless"), pod(teamA, "root-on-the-node"))
}

// deniedByRule applies refused/<name>.yaml and expects a denial that names the rule, and nothing written.
func (s *stage) deniedByRule(ctx context.Context, name, rule string, absent ...ref) (string, error) {
	if err := s.apply(ctx, teamA, "refused/"+name+".yaml"); err != nil {
		return "", err
	}
	ks, err := s.kube.refusal(ctx, kustomization(teamA, name), "PolicyDenied")
	if err != nil {
		return "", err
	}
	s.showOutcome(ks)
	if message := conditionOf(ks).Message; !strings.Contains(message, rule) {
		return "", fmt.Errorf("the denial does not name %s", rule)
	}
	if err := s.nothingApplied(ctx, ks, absent...); err != nil {
		return "", err
	}
	return "refused by " + rule, nil
}

// showOutcome shows the condition Ready as outcome and reason.
func (s *stage) showOutcome(obj *unstructured.Unstructured) {
	c := conditionOf(obj)
	s.screen.fact("outcome", fmt.Sprintf("%s %s: Ready=%s, %s", obj.GetKind(), obj.GetName(), c.Status, c.Reason))
	s.screen.fact("reason", c.Message)
}

// nothingApplied checks that no object exists and that the inventory is empty.
func (s *stage) nothingApplied(ctx context.Context, ks *unstructured.Unstructured, absent ...ref) error {
	entries, _, err := unstructured.NestedSlice(ks.Object, "status", "inventory", "entries")
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("the inventory has %d entries, want none", len(entries))
	}
	var names []string
	for _, r := range absent {
		found, err := s.kube.exists(ctx, r)
		if err != nil {
			return err
		}
		if found {
			return fmt.Errorf("%s was written", r)
		}
		names = append(names, r.String())
	}
	s.screen.fact("absent", strings.Join(names, ", "))
	return nil
}

func deliverUnsigned(ctx context.Context, s *stage) (string, error) {
	s.screen.say("team A pushes an artifact and signs nothing")
	return s.deliverUntrusted(ctx, "unsigned", nil)
}

func deliverWronglySigned(ctx context.Context, s *stage) (string, error) {
	s.screen.say("team A pushes an artifact, and signs it with a key that tenants.yaml does not name")
	return s.deliverUntrusted(ctx, "wrongly-signed", s.keys.strangerA)
}

// deliverUntrusted expects that the source has no artifact, so that there is nothing to apply.
func (s *stage) deliverUntrusted(ctx context.Context, name string, key *sign.Key) (string, error) {
	if err := s.push(ctx, name, "refused/planted", key); err != nil {
		return "", err
	}
	if err := s.apply(ctx, teamA, "refused/"+name+".yaml"); err != nil {
		return "", err
	}
	source, err := s.kube.refusal(ctx, ociRepository(teamA, name), "VerificationError")
	if err != nil {
		return "", err
	}
	s.showOutcome(source)
	if digest := field(source, "status", "artifact", "digest"); digest != "" {
		return "", errors.New("there is an artifact")
	}
	ks, err := s.kube.refusal(ctx, kustomization(teamA, name), "ArtifactFailed")
	if err != nil {
		return "", err
	}
	if err := s.nothingApplied(ctx, ks, configMap(teamA, "planted")); err != nil {
		return "", err
	}
	return "refused, no artifact", nil
}

func nameNoAccount(ctx context.Context, s *stage) (string, error) {
	if err := s.apply(ctx, teamA, "refused/no-account.yaml"); err != nil {
		return "", err
	}
	ks, err := s.kube.refusal(ctx, kustomization(teamA, "no-account"), "AccessDenied", "PolicyDenied")
	if err != nil {
		return "", err
	}
	s.showOutcome(ks)
	if err := s.nothingApplied(ctx, ks); err != nil {
		return "", err
	}
	return "refused, " + conditionOf(ks).Reason, nil
}

// forgeStatus has team A, who may write the status of its sources, point one at team B's artifact.
func forgeStatus(ctx context.Context, s *stage) (string, error) {
	if err := s.apply(ctx, teamA, "refused/forged-status.yaml"); err != nil {
		return "", err
	}
	victim, err := s.kube.get(ctx, gitRepository(teamB, "app"))
	if err != nil {
		return "", err
	}
	artifact, _, err := unstructured.NestedMap(victim.Object, "status", "artifact")
	if err != nil {
		return "", err
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"artifact": artifact}})
	if err != nil {
		return "", err
	}
	s.screen.say("team A copies status.artifact of team B's GitRepository, with URL, digest and revision")
	line := "kubectl --context team-a patch ocirepository forged-status --subresource status --type merge -p "
	s.screen.command(line + "\"$FORGED\"")
	if _, err := s.shell.run(ctx, line+"'"+string(patch)+"'"); err != nil {
		return "", err
	}
	digest := field(victim, "status", "artifact", "revision")
	ks, err := s.kube.until(ctx, kustomization(teamA, "forged-status"), func(o *unstructured.Unstructured) bool {
		return conditionOf(o).Status == "False" && field(o, "status", "lastAttemptedRevision") == digest
	})
	if err != nil {
		return "", err
	}
	s.showOutcome(ks)
	if err := s.nothingApplied(ctx, ks); err != nil {
		return "", err
	}
	return "refused, " + conditionOf(ks).Reason, nil
}
