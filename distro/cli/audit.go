// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sluice.dev/sluice/compliance/ledger"
	"sluice.dev/sluice/distro/cli/internal/terminal"
	"sluice.dev/sluice/internal/fips"
)

func (p *program) auditCommand() *cobra.Command {
	return p.group(&cobra.Command{
		Use:   "audit",
		Short: "Check the evidence ledger",
		Long:  "Check the ledger of what controllers intended to write and what came of it.",
	}, p.auditVerifyCommand())
}

func (p *program) auditVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify PATH",
		Short: "Check that a ledger is whole",
		Long: "Check the hash chain of a ledger, a folder or one file, without a cluster: that no entry was changed, removed or put elsewhere, and " +
			"that each outcome has an intent before it. The exit status is 1 when that does not hold; the first entry that is wrong is named by " +
			"its number. Intents without an outcome are warned of. A ledger whose end was cut off cleanly looks whole: compare the head that " +
			"is printed with one noted earlier.",
		Example: "  # The ledger below a controller's --state-dir\n  sluice audit verify DIR\n\n  # A copy, for a program\n  sluice audit verify ledger.jsonl -o json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(errors.New("one folder or file is needed"))
			}
			return nil
		},
	}
	format := bindFormat(cmd, formatText, formatJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		report, err := verifyLedger(cmd.Context(), args[0])
		var broken *ledger.BrokenError
		if err != nil && !errors.As(err, &broken) {
			return err
		}
		if err := printReport(p.streams.Out, format.format, report, broken); err != nil {
			return err
		}
		p.warnOfLedger(report)
		if err == nil {
			err = report.Err()
		}
		if err != nil {
			return err
		}
		p.log.Success("the ledger is whole: %d entries", report.Entries)
		return nil
	}
	return cmd
}

func verifyLedger(ctx context.Context, path string) (ledger.Report, error) {
	digests, err := fips.New()
	if err != nil {
		return ledger.Report{}, fmt.Errorf("start the cryptographic backend: %w", err)
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		report, err := ledger.VerifyDir(ctx, path, digests)
		if errors.Is(err, fs.ErrNotExist) {
			return report, fmt.Errorf("there is no ledger in folder %q", path)
		}
		return report, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ledger.Report{}, fmt.Errorf("there is no ledger at %q", path)
	}
	if err != nil {
		return ledger.Report{}, fmt.Errorf("open the ledger: %w", err)
	}
	defer f.Close()
	return ledger.Verify(ctx, f, digests)
}

// verdict is a report with what broke the chain, for programs.
type verdict struct {
	Whole bool `json:"whole"`
	ledger.Report
	Broken *breach `json:"broken,omitempty"`
}

type breach struct {
	Seq     uint64 `json:"seq"`
	Offset  int64  `json:"offset"`
	Problem string `json:"problem"`
}

func printReport(out io.Writer, format string, report ledger.Report, broken *ledger.BrokenError) error {
	if format == formatJSON {
		v := verdict{Whole: broken == nil && report.Err() == nil, Report: report}
		if broken != nil {
			v.Broken = &breach{Seq: broken.Seq, Offset: broken.Offset, Problem: broken.Problem}
		}
		return printValue(out, format, v)
	}
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	line := func(key, value string) { fmt.Fprintf(table, "%s\t%s\n", key, value) }
	line("Entries", fmt.Sprint(report.Entries))
	line("Head", fmt.Sprintf("%d %s", report.Head.Seq, report.Head.Hash))
	if report.Entries > 0 {
		line("First", report.First.UTC().Format(time.RFC3339))
		line("Last", report.Last.UTC().Format(time.RFC3339))
	}
	for _, t := range slices.Sorted(maps.Keys(report.Types)) {
		line(terminal.Clean(string(t)), fmt.Sprint(report.Types[t]))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	return nil
}

// warnOfLedger says what a whole ledger may still have to explain.
func (p *program) warnOfLedger(report ledger.Report) {
	for _, seq := range report.Open {
		p.log.Warning("entry %d: an intent without an outcome, from a run under way or one that was killed", seq)
	}
	for _, seq := range report.Interrupted {
		p.log.Warning("entry %d: an intent whose run was killed; what it wrote is in the cluster's own audit log", seq)
	}
	if report.Torn > 0 {
		p.log.Warning("the last line is incomplete (%d bytes): a writer at work, or a crash", report.Torn)
	}
}
