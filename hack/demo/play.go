// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// step is one scene of the play.
type step struct {
	title  string
	expect string
	// run plays it and returns what was seen, in a few words, or an error when that is not what was expected.
	run func(ctx context.Context, s *stage) (string, error)
	// needed is true for a step without which the following make no sense.
	needed bool
}

// outcome is what came of a step.
type outcome struct {
	step
	seen string
	err  error
	took time.Duration
}

// stepPatience bounds one step. On an idle machine the longest takes some seconds.
const stepPatience = time.Minute

// play runs the steps in order. After a needed step has failed, the rest is not played.
func play(ctx context.Context, s *stage, steps []step) []outcome {
	var outcomes []outcome
	for i, scene := range steps {
		s.screen.title(i+1, len(steps), scene.title)
		start := time.Now()
		o := outcome{step: scene}
		o.seen, o.err = playOne(ctx, s, scene)
		o.took = time.Since(start)
		s.screen.verdict(o)
		outcomes = append(outcomes, o)
		if o.err != nil && (scene.needed || ctx.Err() != nil) {
			for _, missed := range steps[i+1:] {
				outcomes = append(outcomes, outcome{step: missed, err: errNotPlayed})
			}
			break
		}
	}
	return outcomes
}

var errNotPlayed = errors.New("not played")

func playOne(ctx context.Context, s *stage, scene step) (string, error) {
	ctx, release := s.alive(ctx)
	defer release()
	bounded, cancel := context.WithTimeoutCause(ctx, stepPatience, fmt.Errorf("nothing happened within %s", stepPatience))
	defer cancel()
	seen, err := scene.run(bounded, s)
	if cause := context.Cause(bounded); err != nil && cause != nil {
		return seen, fmt.Errorf("%w: %w", err, cause)
	}
	return seen, err
}

// broken counts the steps that do not hold.
func broken(outcomes []outcome) int {
	n := 0
	for _, o := range outcomes {
		if o.err != nil {
			n++
		}
	}
	return n
}

// script is the play.
func script() []step {
	return []step{
		{"The platform team sets up the cluster", "kinds, roles, tenants exist", setUpCluster, true},
		{"The controllers start, each as its own ServiceAccount", "both run, FIPS mode on", startControllers, true},
		{"The platform delivers its baseline: Git over https, signed commits", "Ready, as sluice-platform", deliverBaseline, true},
		{"Team A delivers an OCI artifact, signed with cosign", "Ready, as team-a/deployer", deliverTeamA, true},
		{"Team B delivers from Git over ssh, commits signed with its SSH key", "Ready, as team-b/deployer", deliverTeamB, true},
		{"Team A tries to write into team B's namespace", "refused by rule 8", writeElsewhere, false},
		{"Team A delivers an artifact that nobody signed", "refused, nothing applied", deliverUnsigned, false},
		{"Team A delivers an artifact that a stranger signed", "refused, nothing applied", deliverWronglySigned, false},
		{"A set with one privileged Pod beside a harmless ConfigMap", "refused whole by rule 18", deliverPrivileged, false},
		{"A Kustomization that names no ServiceAccount", "refused, nothing applied", nameNoAccount, false},
		{"Team A forges a source's status to point at team B's artifact", "refused, nothing applied", forgeStatus, false},
		{"Somebody edits by hand what is delivered", "drift is put back", editByHand, false},
		{"Team B pushes a new signed commit", "applied", pushCommit, false},
		{"A stranger pushes a commit to team B's repository", "refused, last state kept", pushStrangersCommit, false},
		{"The auditor checks the ledger", "whole, all changes in it", verifyLedger, false},
		{"The auditor asks for the state of cryptography", "validated module, mode on", askFIPS, false},
	}
}
