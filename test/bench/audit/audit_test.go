// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func owners() Owners {
	return Owners{"sluice-manager/": "sluice", "bench/": "harness", "bench/probe": "probe"}
}

func TestClassAndRequest(t *testing.T) {
	for name, tc := range map[string]struct {
		line    string
		class   Class
		request string
		counts  bool
	}{
		"an apply": {
			line:  `{"stage":"ResponseComplete","verb":"patch","requestURI":"/api/v1/namespaces/a/configmaps/b?fieldManager=x","objectRef":{"resource":"configmaps"},"responseStatus":{"code":200}}`,
			class: Work, request: "patch configmaps", counts: true,
		},
		"a dry run that is refused": {
			line:  `{"stage":"ResponseComplete","verb":"patch","requestURI":"/api/v1/namespaces/a/configmaps/b?dryRun=All","objectRef":{"resource":"configmaps"},"responseStatus":{"code":409}}`,
			class: Work, request: "patch configmaps dry 409", counts: true,
		},
		"a status": {
			line:  `{"stage":"ResponseComplete","verb":"patch","objectRef":{"resource":"kustomizations","subresource":"status"},"responseStatus":{"code":200}}`,
			class: Work, request: "patch kustomizations/status", counts: true,
		},
		"a lease": {
			line:  `{"stage":"ResponseComplete","verb":"update","objectRef":{"resource":"leases","apiGroup":"coordination.k8s.io"},"responseStatus":{"code":200}}`,
			class: Lease, request: "update leases", counts: true,
		},
		"a token": {
			line:  `{"stage":"ResponseComplete","verb":"create","objectRef":{"resource":"serviceaccounts","subresource":"token"},"responseStatus":{"code":201}}`,
			class: Token, request: "create serviceaccounts/token", counts: true,
		},
		"a watch counts when it starts": {
			line:  `{"stage":"ResponseStarted","verb":"watch","objectRef":{"resource":"pods"},"responseStatus":{"code":200}}`,
			class: Watch, request: "watch pods", counts: true,
		},
		"a watch does not count again when it ends": {
			line:  `{"stage":"ResponseComplete","verb":"watch","objectRef":{"resource":"pods"},"responseStatus":{"code":200}}`,
			class: Watch, request: "watch pods",
		},
		"a watch that was refused": {
			line:  `{"stage":"ResponseComplete","verb":"watch","objectRef":{"resource":"pods"},"responseStatus":{"code":403}}`,
			class: Watch, request: "watch pods 403", counts: true,
		},
		"discovery": {
			line:  `{"stage":"ResponseComplete","verb":"get","requestURI":"/apis/apps/v1?timeout=32s","responseStatus":{"code":200}}`,
			class: Work, request: "get discovery", counts: true,
		},
		"another path": {
			line:  `{"stage":"ResponseComplete","verb":"get","requestURI":"/metrics","responseStatus":{"code":200}}`,
			class: Work, request: "get nonresource", counts: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := Parse([]byte(tc.line))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]any{tc.class, tc.request, tc.counts}, []any{e.Class(), e.Request(), e.Counts()}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for name, line := range map[string]string{"no JSON": "{", "no verb": `{"stage":"ResponseComplete"}`, "no stage": `{"verb":"get"}`} {
		if _, err := Parse([]byte(line)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// line is a request that changes a ConfigMap.
func line(agent, user, impersonated string) string {
	return `{"stage":"ResponseComplete","verb":"patch","userAgent":"` + agent + `","user":{"username":"` + user +
		`"},"impersonatedUser":{"username":"` + impersonated + `"},"objectRef":{"resource":"configmaps"},"responseStatus":{"code":200},` +
		`"stageTimestamp":"2026-01-02T03:04:05Z"}` + "\n"
}

func TestAttribution(t *testing.T) {
	const account = "system:serviceaccount:flux-system:sluice-platform"
	for name, tc := range map[string]struct {
		lines []string
		want  []Count
		bad   bool
	}{
		"a process acts as itself, with a token and by impersonation": {
			lines: []string{
				line("sluice-manager/1", "sluice", ""), line("sluice-manager/1", account, ""), line("sluice-manager/2", "sluice", account),
			},
			want: []Count{
				{Process: "sluice", Class: Work, Request: "patch configmaps", As: account, N: 2},
				{Process: "sluice", Class: Work, Request: "patch configmaps", As: "sluice", N: 1},
			},
		},
		"the longest beginning decides": {
			lines: []string{line("bench/probe/1", "admin", "")},
			want:  []Count{{Process: "probe", Class: Work, Request: "patch configmaps", As: "admin", N: 1}},
		},
		"an unknown User-Agent under a known user": {lines: []string{line("Go-http-client/2.0", "sluice", "")}, bad: true},
		"no User-Agent":                    {lines: []string{line("", "sluice", "")}, bad: true},
		"a User-Agent that ends too early": {lines: []string{line("sluice-manager", "sluice", "")}, bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			tally := NewTally(owners())
			for _, l := range tc.lines {
				e, err := Parse([]byte(l))
				if err != nil {
					t.Fatal(err)
				}
				tally.Add(e)
			}
			if err := tally.Unattributed(); (err != nil) != tc.bad {
				t.Errorf("error is %v", err)
			}
			if diff := cmp.Diff(tc.want, tally.Counts()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLogFollows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write := func(text string) {
		t.Helper()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	write(line("of-before/1", "x", ""))
	log, err := Follow(path, owners())
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	whole := line("sluice-manager/1", strings.Repeat("long", 1<<19), "")
	write(whole[:1000])
	if got := log.Counts(); len(got) != 0 {
		t.Fatalf("counted %v before the line was whole", got)
	}
	write(whole[1000:])
	before := log.Counts()
	write(line("sluice-manager/1", "sluice", ""))
	want := []Count{{Process: "sluice", Class: Work, Request: "patch configmaps", As: "sluice", N: 1}}
	if diff := cmp.Diff(want, log.Since(before)); diff != "" {
		t.Error(diff)
	}
	if last := log.LastWork([]string{"sluice"}); last.Year() != 2026 {
		t.Errorf("last seen at work at %v", last)
	}
	if err := log.Err(); err != nil {
		t.Error(err)
	}
	write("half a thought\n")
	if log.Err() == nil {
		t.Error("a line that cannot be read is no error")
	}
}
