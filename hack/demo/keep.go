// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"path/filepath"
	"strings"
)

// explain shows what the managers had to say about a step that does not hold.
func (s *stage) explain() {
	for _, m := range s.managers {
		if words := m.lastWords(6); words != "" {
			s.screen.line("")
			s.screen.line(" the last of " + filepath.Base(m.log) + " that is about something wrong:")
			for line := range strings.SplitSeq(words, "\n") {
				s.screen.line("   " + line)
			}
		}
	}
}

// lookAround says what to do with a stage that is kept.
func (s *stage) lookAround() {
	s.screen.line("")
	s.screen.line(s.screen.paint(bold, " Everything is still running, until you press Ctrl-C here. In another terminal:"))
	s.screen.line("")
	for _, line := range []string{
		"cd " + s.dir,
		"export KUBECONFIG=$PWD/kubeconfig PATH=" + strings.Join(s.shell.path, ":") + ":$PATH",
		"",
		"sluice get all -A                                 # what was fetched and applied, and what was refused",
		"sluice tree ks app -n team-b                      # what a Kustomization manages",
		"sluice events -n team-a                           # what happened",
		"sluice audit verify state/kustomize/ledger        # is the ledger whole?",
		"kubectl get pods -A                               # as the administrator",
		"kubectl --context team-a get ks                   # as somebody of team A; --context team-b for team B",
		"tail -f kustomize-controller.log                  # and source-controller.log",
		"ls platform team-a team-b refused                 # examples/, filled in; change and apply it",
	} {
		s.screen.line("   " + line)
	}
	s.screen.line("")
	s.screen.line(" The folder stays when the demo has stopped: delete it when you are done with it.")
}

// wait returns when the demo is interrupted, or when one of the managers ends.
func (s *stage) wait(ctx context.Context) {
	ctx, release := s.alive(ctx)
	defer release()
	<-ctx.Done()
	s.screen.line("")
	s.screen.line(" stopping")
}
