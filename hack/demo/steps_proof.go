// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

func verifyLedger(ctx context.Context, s *stage) (string, error) {
	out, err := s.do(ctx, "sluice audit verify state/kustomize/ledger")
	s.screen.quote(out)
	if err != nil {
		return "", err
	}
	return "whole", nil
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
