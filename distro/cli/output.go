// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// The formats of --output.
const (
	formatText = "text"
	formatJSON = "json"
	formatYAML = "yaml"
)

// formatFlag is the flag --output, limited to what the command can print.
type formatFlag struct {
	format string
	known  []string
}

// bindFormat defines --output on cmd. The first of the known formats is the default; "" stands for a command's own layout
// and cannot be asked for.
func bindFormat(cmd *cobra.Command, known ...string) *formatFlag {
	f := &formatFlag{format: known[0]}
	for _, format := range known {
		if format != "" {
			f.known = append(f.known, format)
		}
	}
	cmd.Flags().VarP(f, "output", "o", "Format of what is printed: "+strings.Join(f.known, " or "))
	return f
}

// String implements pflag.Value.
func (f *formatFlag) String() string { return f.format }

// Type implements pflag.Value.
func (f *formatFlag) Type() string { return "format" }

// Set implements pflag.Value.
func (f *formatFlag) Set(format string) error {
	if !slices.Contains(f.known, format) {
		return fmt.Errorf("must be %s", strings.Join(f.known, " or "))
	}
	f.format = format
	return nil
}

// printValue prints v as JSON or YAML.
func printValue(out io.Writer, format string, v any) error {
	body, err := marshal(format, v)
	if err != nil {
		return fmt.Errorf("print %s: %w", format, err)
	}
	if _, err := out.Write(body); err != nil {
		return fmt.Errorf("print %s: %w", format, err)
	}
	return nil
}

func marshal(format string, v any) ([]byte, error) {
	if format == formatYAML {
		return yaml.Marshal(v)
	}
	body, err := json.MarshalIndent(v, "", "  ")
	return append(body, '\n'), err
}
