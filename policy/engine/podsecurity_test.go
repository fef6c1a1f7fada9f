// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"math/rand/v2"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/json"
	psaapi "k8s.io/pod-security-admission/api"
	psa "k8s.io/pod-security-admission/policy"

	"sluice.dev/sluice/policy"
)

// TestPodSecurityAgreesWithKubernetes asks rule 18 and the admission plugin of Kubernetes about the same pods, made from
// random settings. The plugin is asked as of 1.34, the version that the rule names.
func TestPodSecurityAgreesWithKubernetes(t *testing.T) {
	const seed, pods = 20_261_124, 1_000
	e := testEngine(t, hooks{})
	upstream, err := psa.NewEvaluator(psa.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(seed, 1))
	verdicts := map[bool]int{}
	for range pods {
		pod := randomPod(random)
		for level, namespace := range map[psaapi.Level]string{psaapi.LevelBaseline: "apps", psaapi.LevelRestricted: "sealed"} {
			want := psa.AggregateCheckResults(upstream.EvaluatePod(
				psaapi.LevelVersion{Level: level, Version: psaapi.MajorMinorVersion(1, 34)}, &pod.ObjectMeta, &pod.Spec))
			got := decidePod(t, e, pod, namespace)
			verdicts[want.Allowed]++
			if want.Allowed != got.Allowed {
				text, _ := json.Marshal(pod)
				t.Fatalf("%s: Kubernetes says %t (%s), rule 18 says %t (%s)\n%s",
					level, want.Allowed, want.ForbiddenDetail(), got.Allowed, got.Message(), text)
			}
		}
	}
	if verdicts[true] < pods/20 || verdicts[false] < pods/20 {
		t.Errorf("%d allowed and %d denied: the pods do not tell much", verdicts[true], verdicts[false])
	}
}

func decidePod(t *testing.T, e *Engine, pod *corev1.Pod, namespace string) policy.Decision {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(pod)
	if err != nil {
		t.Fatal(err)
	}
	d, err := e.Decide(t.Context(), policy.Query{
		Stage:    policy.Render,
		Platform: true,
		Object:   complete(map[string]any{"kind": "Kustomization", "metadata": map[string]any{"name": "app", "namespace": namespace}}),
		Set:      []policy.Member{{Object: &unstructured.Unstructured{Object: content}, Namespaced: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range d.Violations {
		if v.Rule != "sluice-18" || strings.TrimSpace(v.Message) == "" {
			t.Fatalf("unexpected violation %+v", v)
		}
	}
	return d
}

// randomPod starts from a restricted pod and spoils a few settings, each drawn with good and bad values.
func randomPod(r *rand.Rand) *corev1.Pod {
	yes, no := true, false
	pod := &corev1.Pod{}
	pod.APIVersion, pod.Kind, pod.Name = "v1", "Pod", "p"
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: &yes, SeccompProfile: &corev1.SeccompProfile{Type: "RuntimeDefault"}}
	good := func() *corev1.SecurityContext {
		return &corev1.SecurityContext{AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}
	}
	pod.Spec.Containers = []corev1.Container{{Name: "c", SecurityContext: good()}, {Name: "d", SecurityContext: good()}}
	pod.Spec.InitContainers = []corev1.Container{{Name: "i", SecurityContext: good()}}
	pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e", SecurityContext: good()}}}
	for range r.IntN(4) {
		spoilPod(r, pod)
	}
	for range r.IntN(4) {
		switch c := r.IntN(4); c {
		case 0:
			spoilContainer(r, &pod.Spec.InitContainers[0])
		case 1:
			ephemeral := corev1.Container(pod.Spec.EphemeralContainers[0].EphemeralContainerCommon)
			spoilContainer(r, &ephemeral)
			pod.Spec.EphemeralContainers[0].EphemeralContainerCommon = corev1.EphemeralContainerCommon(ephemeral)
		default:
			spoilContainer(r, &pod.Spec.Containers[c-2])
		}
	}
	return pod
}

func pick[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

func spoilPod(r *rand.Rand, pod *corev1.Pod) {
	s := &pod.Spec
	context := s.SecurityContext
	if context == nil {
		context = &corev1.PodSecurityContext{}
	}
	switch r.IntN(16) {
	case 0:
		s.HostNetwork = pick(r, true, false)
	case 1:
		s.HostPID = true
	case 2:
		s.HostIPC = true
	case 3:
		s.OS = &corev1.PodOS{Name: pick[corev1.OSName](r, "windows", "linux")}
	case 4:
		context.RunAsNonRoot = pick(r, new(bool), nil)
	case 5:
		context.RunAsUser = pick(r, new(int64), nil, new(int64(1000)))
	case 6:
		context.SeccompProfile = pick(r, nil, &corev1.SeccompProfile{}, &corev1.SeccompProfile{Type: "Unconfined"}, &corev1.SeccompProfile{Type: "Localhost"})
	case 7:
		context.Sysctls = []corev1.Sysctl{{Name: pick(r, "net.ipv4.tcp_rmem", "kernel.msgmax", "net.ipv4.tcp_syncookies", "kernel.shm_rmid_forced")}}
	case 8:
		context.SELinuxOptions = randomSELinux(r)
	case 9:
		context.AppArmorProfile = pick(r, nil, &corev1.AppArmorProfile{Type: "Unconfined"}, &corev1.AppArmorProfile{Type: "RuntimeDefault"}, &corev1.AppArmorProfile{})
	case 10:
		context.WindowsOptions = &corev1.WindowsSecurityContextOptions{HostProcess: pick(r, nil, new(bool), new(true))}
	case 11:
		pod.Annotations = map[string]string{"container.apparmor.security.beta.kubernetes.io/c": pick(r, "", "runtime/default", "localhost/x", "unconfined")}
	case 12:
		s.HostUsers = new(bool)
	case 13:
		s.SecurityContext = nil
		return
	default:
		s.Volumes = append(s.Volumes, corev1.Volume{Name: "v", VolumeSource: randomVolume(r)})
	}
	if s.SecurityContext != nil {
		s.SecurityContext = context
	}
}

func randomVolume(r *rand.Rand) corev1.VolumeSource {
	return pick(r,
		corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}},
		corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}},
		corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}},
		corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{}},
		corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{}},
		corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{}},
		corev1.VolumeSource{Image: &corev1.ImageVolumeSource{}},
		corev1.VolumeSource{ISCSI: &corev1.ISCSIVolumeSource{}},
	)
}

func randomSELinux(r *rand.Rand) *corev1.SELinuxOptions {
	return &corev1.SELinuxOptions{
		Type:  pick(r, "", "container_t", "container_engine_t", "spc_t"),
		User:  pick(r, "", "", "u"),
		Role:  pick(r, "", "", "r"),
		Level: pick(r, "", "s0"),
	}
}

func spoilContainer(r *rand.Rand, c *corev1.Container) {
	context := c.SecurityContext
	if context == nil {
		context = &corev1.SecurityContext{}
	}
	switch r.IntN(15) {
	case 0:
		context.Privileged = pick(r, nil, new(bool), new(true))
	case 1:
		context.AllowPrivilegeEscalation = pick(r, nil, new(true), new(bool))
	case 2:
		context.Capabilities = pick(r, nil, &corev1.Capabilities{},
			&corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_BIND_SERVICE"}},
			&corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{pick[corev1.Capability](r, "CHOWN", "SYS_ADMIN", "ALL")}},
			&corev1.Capabilities{Drop: []corev1.Capability{"NET_RAW", "all"}})
	case 3:
		context.RunAsNonRoot = pick(r, nil, new(bool), new(true))
	case 4:
		context.RunAsUser = pick(r, nil, new(int64), new(int64(1)))
	case 5:
		context.SeccompProfile = pick(r, nil, &corev1.SeccompProfile{}, &corev1.SeccompProfile{Type: "Unconfined"}, &corev1.SeccompProfile{Type: "RuntimeDefault"})
	case 6:
		context.AppArmorProfile = pick(r, &corev1.AppArmorProfile{Type: "Unconfined"}, &corev1.AppArmorProfile{Type: "Localhost"})
	case 7:
		context.SELinuxOptions = randomSELinux(r)
	case 8:
		context.ProcMount = pick(r, nil, new(corev1.DefaultProcMount), new(corev1.UnmaskedProcMount))
	case 9:
		context.WindowsOptions = &corev1.WindowsSecurityContextOptions{HostProcess: pick(r, nil, new(bool), new(true))}
	case 10:
		c.Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: pick[int32](r, 0, 80)}}
	case 11:
		c.LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Host: pick(r, "", "x")}}}
	case 12:
		c.StartupProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Host: pick(r, "", "x")}}}
	case 13:
		c.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Host: pick(r, "", "x")}}}
	default:
		c.SecurityContext = nil
		return
	}
	if c.SecurityContext != nil {
		c.SecurityContext = context
	}
}
