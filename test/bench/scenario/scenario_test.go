// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/test/bench/kube"
	"sluice.dev/sluice/test/bench/rig"
)

func TestParseSteps(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string
		want []string
		bad  bool
	}{
		"some":                {in: "trigger,interval", want: []string{"trigger", "interval"}},
		"none":                {in: "none"},
		"one that is not":     {in: "trigger,dance", bad: true},
		"nothing is not none": {in: "", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseSteps(tc.in)
			if (err != nil) != tc.bad {
				t.Fatalf("error is %v", err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEveryKustomizationActsAsTheSameServiceAccount(t *testing.T) {
	spec, _ := kustomization(rig.Namespace, "app-0001", "./apps/app-0001", "10m", false)["spec"].(kube.Object)
	if spec["serviceAccountName"] != rig.ServiceAccount {
		t.Errorf("acts as %v", spec["serviceAccountName"])
	}
}

func TestBehind(t *testing.T) {
	at := time.Unix(100, 0)
	up := map[string]time.Time{"app-0000/app": at, "app-0001/app": at.Add(time.Second), "app-0002/app": at.Add(time.Second)}
	ready := map[string]time.Time{
		"flux-system/app-0000": at.Add(3 * time.Second), "flux-system/app-0001": at.Add(time.Second - skew), "flux-system/app-0002": at,
	}
	behind, early := (&ks{o: Options{N: 3}}).behind(up, ready)
	var zero time.Time
	want := map[string]time.Time{"app-0000": zero.Add(3 * time.Second), "app-0001": zero.Add(-skew), "app-0002": zero.Add(-time.Second)}
	if diff := cmp.Diff(want, behind); diff != "" || early != 1 {
		t.Errorf("%d are early: %s", early, diff)
	}
}

func TestPaths(t *testing.T) {
	got := []string{objectPath(gitRepositories, "flux-system/apps"), kube.Path(gitRepository(rig.Namespace, "apps", "http://x", "1m")), labelled("/api/v1/configmaps")}
	path := "/apis/source.toolkit.fluxcd.io/v1/namespaces/flux-system/gitrepositories/apps"
	want := []string{path, path, "/api/v1/configmaps?labelSelector=app.kubernetes.io%2Fpart-of%3Dbench"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLast(t *testing.T) {
	at := time.Unix(100, 0)
	if got := last(map[string]time.Time{"a": at, "b": at.Add(time.Second), "c": at}); got != at.Add(time.Second) {
		t.Errorf("last is %v", got)
	}
}
