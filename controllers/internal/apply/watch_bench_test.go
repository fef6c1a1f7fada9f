// SPDX-License-Identifier: Apache-2.0

package apply_test

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sluice.dev/sluice/controllers/internal/apply/drift"
	"sluice.dev/sluice/controllers/internal/apply/ownership"
	"sluice.dev/sluice/impersonation"
	"sluice.dev/sluice/impersonation/tokens"
	"sluice.dev/sluice/internal/kubetest"
)

// BenchmarkWatchDesigns compares the two designs of DESIGN.md §6.5: a watch per tenant and kind as the tenant's ServiceAccount,
// and one per kind as the platform. Each tenant has ten objects of four kinds, one of which is edited. ADR 0004 has the figures.
//
//	go test ./controllers/internal/apply -run '^$' -bench WatchDesigns -benchtime 1x
func BenchmarkWatchDesigns(b *testing.B) {
	plane := kubetest.Start(b)
	for _, tenants := range []int{1, 100} {
		crowd := newCrowd(b, plane, tenants)
		for _, shared := range []bool{false, true} {
			name := fmt.Sprintf("tenants=%d/watches=per-identity", tenants)
			if shared {
				name = fmt.Sprintf("tenants=%d/watches=shared", tenants)
			}
			b.Run(name, func(b *testing.B) {
				for range b.N {
					crowd.watch(b, shared)
				}
			})
		}
	}
}

// crowd is a number of tenants with objects of their own.
type crowd struct {
	plane   *kubetest.Plane
	admin   client.WithWatch
	server  int // process of the API server
	tenants []*crowdTenant
}

type crowdTenant struct {
	owner types.NamespacedName
	known map[drift.Ref]drift.Known
}

const crowdLabel = "kustomize.toolkit.fluxcd.io/name"

func newCrowd(b *testing.B, plane *kubetest.Plane, count int) *crowd {
	b.Helper()
	c := &crowd{plane: plane, admin: plane.Client(b), server: apiServer(b, plane.Config())}
	platform := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "crowd-" + strconv.Itoa(count)}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
	}
	for i := range count {
		ns := plane.Namespace(b)
		plane.As(b, ns, "deployer")
		subject := rbacv1.Subject{Kind: "ServiceAccount", Name: "deployer", Namespace: ns}
		if i == 0 {
			platform.Subjects = []rbacv1.Subject{subject}
			c.create(b, platform)
			b.Cleanup(func() { _ = c.admin.Delete(b.Context(), platform) })
		}
		c.create(b, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "deployer", Namespace: ns}, Subjects: []rbacv1.Subject{subject},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
		})
		c.tenants = append(c.tenants, c.furnish(b, ns))
	}
	return c
}

func (c *crowd) create(b *testing.B, obj client.Object) {
	b.Helper()
	if err := c.admin.Create(b.Context(), obj); err != nil {
		b.Fatal(err)
	}
}

// furnish gives a tenant seven ConfigMaps, a Secret, a Service and a ServiceAccount.
func (c *crowd) furnish(b *testing.B, ns string) *crowdTenant {
	b.Helper()
	tenant := &crowdTenant{owner: types.NamespacedName{Namespace: ns, Name: "app"}, known: map[drift.Ref]drift.Known{}}
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Namespace: ns, Labels: map[string]string{crowdLabel: "app"}}
	}
	objects := map[string][]client.Object{
		"Secret":         {&corev1.Secret{ObjectMeta: meta("s")}},
		"Service":        {&corev1.Service{ObjectMeta: meta("s"), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}},
		"ServiceAccount": {&corev1.ServiceAccount{ObjectMeta: meta("s")}},
	}
	for i := range 7 {
		objects["ConfigMap"] = append(objects["ConfigMap"], &corev1.ConfigMap{ObjectMeta: meta("c" + strconv.Itoa(i)), Data: map[string]string{"k": "v"}})
	}
	for kind, list := range objects {
		for _, obj := range list {
			c.create(b, obj)
			ref := drift.Ref{GVK: schema.GroupVersionKind{Version: "v1", Kind: kind}, Name: client.ObjectKeyFromObject(obj)}
			tenant.known[ref] = drift.Known{UID: obj.GetUID(), ResourceVersion: obj.GetResourceVersion()}
		}
	}
	return tenant
}

// watch opens the watches of all tenants, edits one object of each, and waits until each owner is woken for it.
func (c *crowd) watch(b *testing.B, shared bool) {
	b.Helper()
	var woken atomic.Int64
	watcher, err := drift.New(drift.Config{
		Reader: ownership.NewReader("kustomize-controller", nil, backend(b)), Label: crowdLabel,
		Wide: func(impersonation.Identity) bool { return shared }, Notify: func(types.NamespacedName, time.Duration) { woken.Add(1) },
	})
	if err != nil {
		b.Fatal(err)
	}
	run(b, watcher.Run)
	clients := c.clients(b, shared)
	heap, cpu := heapBytes(), cpuOf(b, c.server)
	start := time.Now()
	for i, tenant := range c.tenants {
		var refs []drift.Ref
		for ref, known := range tenant.known {
			watcher.Remember(tenant.owner, ref, known)
			refs = append(refs, ref)
		}
		watcher.End(tenant.owner, clients[i], refs)
	}
	c.until(b, func() bool { return c.vouched(watcher) })
	b.ReportMetric(time.Since(start).Seconds()*1000, "ms-open")
	b.ReportMetric(float64(watcher.Watches()), "watches")
	b.ReportMetric((cpuOf(b, c.server)-cpu)*1000, "apiserver-cpu-ms-open")
	b.ReportMetric(float64(heapBytes()-heap)/1024, "heap-KiB")
	b.ReportMetric(float64(residentKiB(b, c.server))/1024, "apiserver-rss-MiB")

	cpu, start = cpuOf(b, c.server), time.Now()
	for _, tenant := range c.tenants {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: tenant.owner.Namespace, Name: "c0"}}
		if err := c.admin.Patch(b.Context(), cm, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"data":{"k":"%d"}}`, time.Now().UnixNano()))); err != nil {
			b.Fatal(err)
		}
		ref := drift.Ref{GVK: schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, Name: client.ObjectKeyFromObject(cm)}
		tenant.known[ref] = drift.Known{UID: cm.GetUID(), ResourceVersion: cm.GetResourceVersion()}
	}
	c.until(b, func() bool { return woken.Load() >= int64(len(c.tenants)) })
	b.ReportMetric(time.Since(start).Seconds()*1000/float64(len(c.tenants)), "ms/edit")
	b.ReportMetric((cpuOf(b, c.server)-cpu)*1000/float64(len(c.tenants)), "apiserver-cpu-ms/edit")
}

func (c *crowd) vouched(watcher *drift.Watcher) bool {
	for _, tenant := range c.tenants {
		for ref := range tenant.known {
			if _, verdict := watcher.Judge(tenant.owner, ref, ""); verdict != drift.Holds {
				return false
			}
		}
	}
	return true
}

func (c *crowd) until(b *testing.B, ok func() bool) {
	b.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatal("not within two minutes")
		}
	}
}

// clients returns a client for each tenant: its own, or that of the first, who may do everything.
func (c *crowd) clients(b *testing.B, shared bool) []impersonation.Client {
	b.Helper()
	broker, err := tokens.New(tokens.Config{Manager: c.plane.Config(), Scheme: kubetest.Scheme(b)})
	if err != nil {
		b.Fatal(err)
	}
	lockdown := impersonation.Lockdown{
		PlatformNamespaces: []string{"flux-system"}, PlatformServiceAccount: "sluice-platform", ControllerServiceAccounts: []string{"kustomize-controller"},
	}
	var out []impersonation.Client
	for _, tenant := range c.tenants {
		if shared && len(out) > 0 {
			out = append(out, out[0])
			continue
		}
		id, err := impersonation.Resolve(tenanted{ns: tenant.owner.Namespace, account: "deployer"}, lockdown)
		if err != nil {
			b.Fatal(err)
		}
		client, err := broker.Client(b.Context(), id, impersonation.Target{})
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, client)
	}
	return out
}

func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// apiServer finds the process that listens where the configuration leads to.
func apiServer(b *testing.B, config *rest.Config) int {
	b.Helper()
	u, err := url.Parse(config.Host)
	if err != nil {
		b.Fatal(err)
	}
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		b.Fatal(err)
	}
	for _, file := range files {
		args, err := os.ReadFile(file)
		if err == nil && bytes.Contains(args, []byte("kube-apiserver")) && bytes.Contains(args, []byte("--secure-port="+u.Port()+"\x00")) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				b.Fatal(err)
			}
			return pid
		}
	}
	b.Fatal("no kube-apiserver of this configuration runs on this machine")
	return 0
}

// cpuOf returns the CPU seconds that a process has used.
func cpuOf(b *testing.B, pid int) float64 {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, after, _ := bytes.Cut(raw, []byte(") ")) // the name before may hold blanks
	fields := strings.Fields(string(after))
	user, err := strconv.ParseFloat(fields[11], 64)
	if err != nil {
		b.Fatal(err)
	}
	system, err := strconv.ParseFloat(fields[12], 64)
	if err != nil {
		b.Fatal(err)
	}
	const ticks = 100 // USER_HZ of every Linux that Go runs on
	return (user + system) / ticks
}

func residentKiB(b *testing.B, pid int) int {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				b.Fatal(err)
			}
			return kib
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
