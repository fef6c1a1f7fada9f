// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sluice.dev/sluice/internal/fips"
)

func (p *program) fipsCommand() *cobra.Command {
	return p.group(&cobra.Command{
		Use:   "fips",
		Short: "Show the cryptographic module in use",
		Long:  "Show what this process can prove about its cryptography. docs/fips.md says what is claimed, and what is not.",
	}, p.fipsStatusCommand())
}

func (p *program) fipsStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Print module, certificate, mode, self-test and exemptions",
		Long: "Print the evidence of this process: the cryptographic module with version and certificate, its mode, integrity check and " +
			"self-test, the toolchain, the environment, the feature profile and every exemption. The exit status is 1 when the self-test fails.",
		Example: "  # For people\n  sluice fips status\n\n  # For machines\n  sluice fips status -o json",
		Args:    noArguments,
	}
	format := bindFormat(cmd, formatText, formatJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		backend, err := fips.New()
		if err != nil {
			return fmt.Errorf("start the cryptographic backend: %w", err)
		}
		evidence := fips.Collect(cmd.Context(), fips.Inputs{Backend: backend, Profile: fips.Strict})
		if err := printEvidence(p.streams.Out, format.format, evidence); err != nil {
			return err
		}
		if err := backend.SelfTest(cmd.Context()); err != nil {
			return fmt.Errorf("self-test of the cryptographic backend: %w", err)
		}
		return nil
	}
	return cmd
}

func printEvidence(out io.Writer, format string, evidence fips.Evidence) error {
	if format == formatJSON {
		return printValue(out, format, evidence)
	}
	if _, err := io.WriteString(out, evidence.Text()); err != nil {
		return fmt.Errorf("print the evidence: %w", err)
	}
	return nil
}
