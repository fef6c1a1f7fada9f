// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.dev/sluice/distro/cli/internal/cluster"
)

// completionTimeout is how long a person waits after pressing Tab.
const completionTimeout = 5 * time.Second

// completeNames offers the names of the kind's objects in the namespace. Errors offer nothing: a prompt is no place for
// them.
func (p *program) completeNames(kind cluster.Kind) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		s, err := p.connect(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		objects, err := s.List(ctx, kind, s.namespace, metav1.ListOptions{})
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, o := range objects {
			if strings.HasPrefix(o.Name(), typed) && !slices.Contains(args, o.Name()) {
				names = append(names, o.Name())
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
