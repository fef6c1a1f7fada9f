// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/policy/parameters"
	"sluice.dev/sluice/test/bench/content"
)

func TestExpand(t *testing.T) {
	p := newPlace("/repo", "/run")
	port, err := p.port("PX")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		in, want string
		bad      bool
	}{
		"files":                {in: "${ROOT}/bin ${DIR}/data ${KUBECONFIG} ${PARAMETERS}", want: "/repo/bin /run/data kc /run/policy-parameters.yaml"},
		"nothing":              {in: "--flag=1", want: "--flag=1"},
		"an unknown variable":  {in: "${HOME}", bad: true},
		"a variable by number": {in: "$1", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := p.expand(tc.in, "kc")
			if (err != nil) != tc.bad {
				t.Fatalf("error is %v", err)
			}
			if diff := cmp.Diff(tc.want, got); !tc.bad && diff != "" {
				t.Error(diff)
			}
		})
	}
	again, err := p.expandAll([]string{"${PX}"}, "")
	if now, portErr := p.port("PX"); err != nil || portErr != nil || now != port || len(again[0]) < 4 {
		t.Errorf("port was %d and is %d in %q: %v", port, now, again, err)
	}
}

func TestSetups(t *testing.T) {
	for _, name := range []string{"sluice.json", "bare.json", "reference.example.json"} {
		s, err := LoadSetup(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		p := newPlace("/repo", "/run")
		for _, c := range s.Controllers {
			if _, err := p.expandAll(append([]string{c.Bin, c.Ready, s.StoragePort}, c.Args...), ""); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestBareDiffersInItsProgramOnly(t *testing.T) {
	ours, err := LoadSetup(filepath.Join("..", "sluice.json"))
	if err != nil {
		t.Fatal(err)
	}
	bare, err := LoadSetup(filepath.Join("..", "bare.json"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"GODEBUG=fips140=off"}, bare.Controllers[0].Env); diff != "" {
		t.Error(diff)
	}
	bare.Name, bare.Controllers[0].Bin, bare.Controllers[0].Env = ours.Name, ours.Controllers[0].Bin, nil
	if diff := cmp.Diff(ours, bare); diff != "" {
		t.Error(diff)
	}
}

func TestWorkloadFlags(t *testing.T) {
	for pods, want := range map[int][]string{
		0: {"--without", "controller-manager,scheduler,kwok"}, 1: {"--nodes", "1"}, podsPerNode: {"--nodes", "1"}, podsPerNode + 1: {"--nodes", "2"},
	} {
		if pods > 0 {
			want = append(want, "--ready-after", "5s")
		}
		if diff := cmp.Diff(want, workloadFlags(Options{Pods: pods, ReadyAfter: 5 * time.Second})); diff != "" {
			t.Errorf("%d pods: %s", pods, diff)
		}
	}
}

func TestLoadSetupRefuses(t *testing.T) {
	const head = `{"name":"x","crds":["y"],"controllers":[`
	for name, text := range map[string]string{
		"no JSON":                        "{",
		"no controllers":                 `{"name":"x","crds":["y"]}`,
		"no binary":                      head + `{"name":"z"}]}`,
		"two who cannot be told apart":   head + `{"name":"a","bin":"b","roles":["r"],"userAgents":["m/"]},{"name":"b","bin":"b","roles":["r"],"userAgents":["m/"]}]}`,
		"everybody's requests":           head + `{"name":"a","bin":"b","roles":["r"],"userAgents":[""]}]}`,
		"one who passes for the harness": head + `{"name":"a","bin":"b","roles":["r"],"userAgents":["sluice-bench/1"]}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "setup.json")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := LoadSetup(file); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestOwners(t *testing.T) {
	r := &Rig{setup: Setup{Controllers: []Controller{{Name: "kustomize-controller"}, {Name: "sluice", UserAgents: []string{"sluice-manager/"}}}}}
	want := map[string]string{"sluice-manager/0.1": "sluice", "kustomize-controller/v1": "kustomize-controller", "sluice-bench/1": harness, "kubectl/1": ""}
	got := map[string]string{}
	for agent := range want {
		got[agent], _ = r.owners().Process(agent)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPolicyParametersAreValid(t *testing.T) {
	p, err := parameters.Parse([]byte(policyParameters(map[string]int{git: 8080, oci: 5000}, 2)))
	if err != nil {
		t.Fatal(err)
	}
	if tenant := p.For(content.Namespace(1)); len(tenant.Sources) != 1 || tenant.Profile != parameters.Restricted {
		t.Errorf("a tenant is granted %+v", tenant)
	}
	grant := p.For(Namespace)
	if diff := cmp.Diff([]string{"127.0.0.1:8080", "127.0.0.1:5000"}, grant.PlainHTTP); diff != "" {
		t.Error(diff)
	}
	if grant.Profile != parameters.Restricted || len(grant.Registries) != 1 || !strings.HasPrefix(content.Registry, grant.Registries[0].Host) {
		t.Errorf("granted is %+v", grant)
	}
}
