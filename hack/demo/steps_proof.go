// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// verifyLedger has the ledger checked, and checks that it tells of all that was played: three deliveries, the drift and the
// commit were written, and two sets were denied.
func verifyLedger(ctx context.Context, s *stage) (string, error) {
	const line = "sluice audit verify state/kustomize/ledger"
	out, err := s.do(ctx, line)
	s.screen.quote(out)
	if err != nil {
		return "", err
	}
	if out, err = s.shell.run(ctx, line+" -o json"); err != nil {
		return "", err
	}
	var report struct {
		Whole bool           `json:"whole"`
		Types map[string]int `json:"types"`
	}
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&report); err != nil {
		return "", err
	}
	intents, outcomes, denials := report.Types["apply.intent"], report.Types["apply.outcome"], report.Types["policy.decision"]
	if !report.Whole || intents < 5 || outcomes != intents || denials < 2 {
		return "", fmt.Errorf("whole: %t, %d intents, %d outcomes, %d denials; want at least 5, as many, and 2", report.Whole, intents, outcomes, denials)
	}
	return fmt.Sprintf("whole, %d changes", intents), nil
}

func askFIPS(ctx context.Context, s *stage) (string, error) {
	out, err := s.do(ctx, "sluice fips status")
	if err != nil {
		return "", err
	}
	head := strings.SplitN(out, "\n", 7)
	s.screen.quote(strings.Join(head[:len(head)-1], "\n"))
	if out, err = s.shell.run(ctx, "sluice fips status -o json"); err != nil {
		return "", err
	}
	var status struct {
		Module struct {
			Version     string `json:"version"`
			Certificate string `json:"certificate"`
		} `json:"module"`
		Mode     string `json:"mode"`
		SelfTest string `json:"selfTest"`
	}
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		return "", err
	}
	if status.Mode != "on" || status.Module.Certificate == "" || status.SelfTest != "passed" {
		return "", fmt.Errorf("mode %q, certificate %q, self-test %q", status.Mode, status.Module.Certificate, status.SelfTest)
	}
	return fmt.Sprintf("module %s, mode on", status.Module.Version), nil
}
