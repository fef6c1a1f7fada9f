// SPDX-License-Identifier: Apache-2.0

package git

import (
	"fmt"
	"slices"
	"strings"

	"sluice.dev/sluice/internal/fips"
)

// SSHChoice narrows the algorithms of SSH (Flux's --ssh-kex-algos and --ssh-hostkey-algos). An empty list leaves all that are approved;
// what is not approved is not offered, whatever the list says.
type SSHChoice struct {
	// Kex are the key exchanges, and HostKeys the algorithms of host keys.
	Kex, HostKeys []string
}

// Validate reports a list that leaves nothing.
func (c SSHChoice) Validate() error {
	approved := fips.SSHAlgorithms()
	for _, list := range []struct {
		what             string
		chosen, approved []string
	}{{"key exchange", c.Kex, approved.Kex}, {"host key", c.HostKeys, approved.HostKeys}} {
		if len(narrow(list.approved, list.chosen)) == 0 {
			return fmt.Errorf("no SSH %s algorithm is left: of %s none is approved; approved are %s",
				list.what, strings.Join(list.chosen, ", "), strings.Join(list.approved, ", "))
		}
	}
	return nil
}

// algorithms returns what is offered.
func (c SSHChoice) algorithms() fips.SSH {
	out := fips.SSHAlgorithms()
	out.Kex, out.HostKeys = narrow(out.Kex, c.Kex), narrow(out.HostKeys, c.HostKeys)
	return out
}

// narrow returns the approved algorithms that were chosen, in the order of the choice; all of them without one.
func narrow(approved, chosen []string) []string {
	if len(chosen) == 0 {
		return approved
	}
	var out []string
	for _, name := range chosen {
		if slices.Contains(approved, name) && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}
