// SPDX-License-Identifier: Apache-2.0

package health

import (
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func checkOf(apiVersion, kind string, e Expressions) kustomize.CustomHealthCheck {
	return kustomize.CustomHealthCheck{
		APIVersion: apiVersion, Kind: kind,
		HealthCheckExpressions: kustomize.HealthCheckExpressions{Current: e.Current, InProgress: e.InProgress, Failed: e.Failed},
	}
}

func TestNewChecks(t *testing.T) {
	fine := Expressions{Current: "status.ok"}
	tests := map[string]struct {
		specs []kustomize.CustomHealthCheck
		want  string // what the error says, empty for none
	}{
		"none":                              {},
		"a kind, its group and another":     {specs: []kustomize.CustomHealthCheck{checkOf("x.io/v1", "X", fine), checkOf("x.io/v1", "", fine), checkOf("y.io/v1", "X", fine)}},
		"the core group":                    {specs: []kustomize.CustomHealthCheck{checkOf("v1", "Pod", fine)}},
		"all three":                         {specs: []kustomize.CustomHealthCheck{checkOf("x.io/v1", "X", Expressions{InProgress: "status.a", Failed: "status.b", Current: "status.c"})}},
		"a kind twice":                      {specs: []kustomize.CustomHealthCheck{checkOf("x.io/v1", "X", fine), checkOf("x.io/v1", "X", fine)}, want: `f[1]: there are expressions for kind "X" of group "x.io" already`},
		"a kind twice, in two versions":     {specs: []kustomize.CustomHealthCheck{checkOf("x.io/v1", "X", fine), checkOf("x.io/v2", "X", fine)}, want: "f[1]: "},
		"a group twice":                     {specs: []kustomize.CustomHealthCheck{checkOf("x.io/v1", "", fine), checkOf("x.io/v1", "", fine)}, want: "f[1]: "},
		"no API version":                    {specs: []kustomize.CustomHealthCheck{checkOf("a/b/c", "X", fine)}, want: "f[0].apiVersion: "},
		"nothing that says it is current":   {specs: []kustomize.CustomHealthCheck{checkOf("x.io/v1", "X", Expressions{Failed: "status.b"})}, want: "f[0].current: it is required"},
		"nothing at all":                    {specs: []kustomize.CustomHealthCheck{checkOf("x.io/v1", "X", Expressions{})}, want: "f[0].current: it is required"},
		"texts without end":                 {specs: []kustomize.CustomHealthCheck{checkOf("x.io/v1", "X", fine), checkOf("x.io/v1", "Y", Expressions{Current: strings.Repeat(" ", 33_000)})}, want: "f[1]: more than 32768 bytes"},
		"a text that is no expression":      {specs: []kustomize.CustomHealthCheck{checkOf("x.io/v1", "X", fine), checkOf("x.io/v1", "Y", Expressions{Failed: "status.", Current: "true"})}, want: "f[1].failed: "},
		"an expression that is no question": {specs: []kustomize.CustomHealthCheck{checkOf("x.io/v1", "X", Expressions{InProgress: "'yes'", Current: "true"})}, want: "f[0].inProgress: gives string, not a boolean"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := NewChecks("f", tc.specs)
			if err == nil {
				err = Validate("f", tc.specs)
			}
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestChecksFor(t *testing.T) {
	checks, err := NewChecks("f", []kustomize.CustomHealthCheck{
		checkOf("x.io/v1", "X", Expressions{Current: "status.kind"}), checkOf("x.io/v1", "", Expressions{Current: "status.group"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for gk, want := range map[schema.GroupKind]string{
		{Group: "x.io", Kind: "X"}: "status.kind", {Group: "x.io", Kind: "Y"}: "status.group", {Group: "y.io", Kind: "X"}: "", {Kind: "Pod"}: "",
	} {
		if got := checks.For(gk).Current; got != want {
			t.Errorf("%s: %q, want %q", gk, got, want)
		}
	}
	if got := Checks(nil).For(schema.GroupKind{Kind: "Pod"}); got != (Expressions{}) {
		t.Errorf("without checks: %+v", got)
	}
}

func TestExpressionsTellTheStatus(t *testing.T) {
	const thing = "{apiVersion: x.io/v1, kind: X, metadata: {name: x, generation: 2}, "
	phases := Expressions{InProgress: "status.phase == 'Working'", Failed: "status.phase == 'Broken'", Current: "status.phase in ['Done', 'Working', 'Broken']"}
	tests := map[string]struct {
		e       Expressions
		in      string
		want    Status
		message string
	}{
		"current":                      {e: phases, in: thing + "status: {phase: Done}}", want: status.CurrentStatus},
		"failed is asked before":       {e: phases, in: thing + "status: {phase: Broken}}", want: status.FailedStatus, message: "the expression failed holds"},
		"and in progress first of all": {e: Expressions{InProgress: "true", Failed: "true", Current: "true"}, in: thing + "status: {}}", want: status.InProgressStatus},
		"in progress":                  {e: phases, in: thing + "status: {phase: Working}}", want: status.InProgressStatus, message: "the expression inProgress holds"},
		"nothing holds":                {e: phases, in: thing + "status: {phase: Other}}", want: status.InProgressStatus, message: "no expression holds"},
		"a field that is not there":    {e: phases, in: thing + "status: {}}", want: status.InProgressStatus, message: "the expression inProgress cannot be told yet: no such key: phase"},
		"no status at all":             {e: phases, in: thing + "spec: {}}", want: status.InProgressStatus, message: "no such attribute"},
		"what cannot be told is not skipped": {
			e: Expressions{Failed: "status.nothing", Current: "true"}, in: thing + "status: {}}", want: status.InProgressStatus, message: "the expression failed cannot be told yet",
		},
		"the controller has yet to look": {e: phases, in: thing + "status: {phase: Done, observedGeneration: 1}}", want: status.InProgressStatus, message: "generation is 2, but its controller has observed 1"},
		"it has looked":                  {e: phases, in: thing + "status: {phase: Done, observedGeneration: 2}}", want: status.CurrentStatus},
		"on its way out": {
			e: phases, in: "{apiVersion: x.io/v1, kind: X, metadata: {name: x, deletionTimestamp: '2026-01-01T00:00:00Z'}, status: {phase: Done}}", want: status.TerminatingStatus,
		},
		"in place of kstatus": {
			e: Expressions{Current: "true"}, in: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {replicas: 1}}", want: status.CurrentStatus,
		},
		"kstatus where there are none": {in: readyDeployment, want: status.CurrentStatus},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var j *judge
			var err error
			if tc.e != (Expressions{}) {
				if j, err = newJudge(tc.e); err != nil {
					t.Fatal(err)
				}
			}
			got, message := j.of(object(t, tc.in))
			if got != tc.want || !strings.Contains(message, tc.message) {
				t.Errorf("%q (%s), want %q (%s)", got, message, tc.want, tc.message)
			}
		})
	}
}
