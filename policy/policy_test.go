// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/policy"
)

func TestDecisionMessage(t *testing.T) {
	pod := policy.Ref{Kind: "Pod", Namespace: "a", Name: "shell"}
	config := policy.Ref{Kind: "ConfigMap", Namespace: "b", Name: "planted"}
	violation := func(rule string, object policy.Ref, message, remedy string) policy.Violation {
		return policy.Violation{Rule: rule, Object: object, Message: message, Remedy: remedy}
	}
	many := make([]policy.Violation, 12)
	for i := range many {
		many[i] = violation("sluice-8", policy.Ref{Kind: "ConfigMap", Name: fmt.Sprint(i)}, "no", "move it")
	}
	tests := map[string]struct {
		in   []policy.Violation
		want string
	}{
		"nothing broken": {},
		"one rule says its remedy": {
			in: []policy.Violation{violation("sluice-8", config, "is not yours", "move it")}, want: "sluice-8: ConfigMap/b/planted: is not yours (move it)",
		},
		"a rule that is broken twice says its remedy once": {
			in:   []policy.Violation{violation("sluice-18", pod, "hostPID is set", "harden it"), violation("sluice-18", pod, "c is privileged", "harden it")},
			want: "sluice-18: Pod/a/shell: hostPID is set, c is privileged (harden it)",
		},
		"two rules stay apart": {
			in:   []policy.Violation{violation("sluice-18", pod, "c is privileged", "harden it"), violation("sluice-8", config, "is not yours", "move it")},
			want: "sluice-18: Pod/a/shell: c is privileged (harden it); sluice-8: ConfigMap/b/planted: is not yours (move it)",
		},
		"many are counted": {
			in: many,
			want: "sluice-8: ConfigMap/0: no, ConfigMap/1: no, ConfigMap/2: no, ConfigMap/3: no, ConfigMap/4: no, ConfigMap/5: no, ConfigMap/6: no, " +
				"ConfigMap/7: no, ConfigMap/8: no, ConfigMap/9: no (move it); and 2 more",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, policy.Decision{Violations: tc.in}.Message()); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}
