// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"sluice.dev/sluice/policy"
)

// BenchmarkDecide500 judges a tenant's set of 500 objects, of which 100 are Deployments of three containers: once with
// nothing remembered, once as on every interval in which nothing has changed.
func BenchmarkDecide500(b *testing.B) {
	for name, remember := range map[string]bool{"first": false, "unchanged": true} {
		b.Run(name, func(b *testing.B) {
			e := testEngine(b, hooks{})
			q := set500()
			b.ReportAllocs()
			defer reportCPU(b, cpuTime(b))
			for b.Loop() {
				if !remember {
					e.cache = newVerdicts(e.limits.Verdicts)
				}
				d, err := e.Decide(b.Context(), q)
				if err != nil || !d.Allowed {
					b.Fatal(d.Message(), err)
				}
			}
		})
	}
}

// BenchmarkDecideDeployment judges one Deployment of three containers.
func BenchmarkDecideDeployment(b *testing.B) {
	e := testEngine(b, hooks{})
	q := set500()
	q.Set = q.Set[:1]
	b.ReportAllocs()
	defer reportCPU(b, cpuTime(b))
	for b.Loop() {
		e.cache = newVerdicts(e.limits.Verdicts)
		if _, err := e.Decide(b.Context(), q); err != nil {
			b.Fatal(err)
		}
	}
}

func set500() policy.Query {
	q := policy.Query{
		Stage: policy.Render,
		Object: complete(map[string]any{
			"kind":     "Kustomization",
			"metadata": map[string]any{"name": "app", "namespace": "team-a"},
			"spec":     map[string]any{"serviceAccountName": "deployer", "sourceRef": map[string]any{"kind": "GitRepository", "name": "app"}},
		}),
		Source:        policy.Source{Kind: "GitRepository", Name: "app", Verification: "git-ssh"},
		OwnNamespaces: []string{"flux-system"},
	}
	for i := range 100 {
		name := fmt.Sprintf("app-%d", i)
		q.Set = append(q.Set, testMember(benchDeployment(name)))
		for _, kind := range []string{"Service", "ConfigMap", "ServiceAccount", "Secret"} {
			q.Set = append(q.Set, testMember(&unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "v1", "kind": kind,
				"metadata": map[string]any{"name": name, "namespace": "team-a", "labels": map[string]any{"app": name}},
				"data":     map[string]any{"a": "b", "c": "d"},
			}}))
		}
	}
	return q
}

func benchDeployment(name string) *unstructured.Unstructured {
	var containers []any
	for _, c := range []string{"app", "proxy", "metrics"} {
		containers = append(containers, map[string]any{
			"name": c, "image": "ghcr.io/example/" + c + ":1.2.3",
			"ports":     []any{map[string]any{"containerPort": int64(8080)}},
			"env":       []any{map[string]any{"name": "A", "value": "b"}, map[string]any{"name": "C", "value": "d"}},
			"resources": map[string]any{"limits": map[string]any{"cpu": "1", "memory": "1Gi"}},
			"securityContext": map[string]any{
				"allowPrivilegeEscalation": false, "capabilities": map[string]any{"drop": []any{"ALL"}},
			},
		})
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": name, "namespace": "team-a"},
		"spec": map[string]any{"replicas": int64(2), "template": map[string]any{
			"metadata": map[string]any{"labels": map[string]any{"app": name}},
			"spec": map[string]any{
				"securityContext": map[string]any{"runAsNonRoot": true, "seccompProfile": map[string]any{"type": "RuntimeDefault"}},
				"containers":      containers,
			},
		}},
	}}
}

// reportCPU adds the CPU time of the process, which a busy machine does not distort as it does the time on the wall.
func reportCPU(b *testing.B, before time.Duration) {
	b.Helper()
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
