// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"fmt"
	"os"
	"path/filepath"

	"sluice.dev/sluice/hack/testbed/internal/process"
)

// spec is one server with the environment all get: little enough that nothing set for a test, for the user's own
// cluster or for a proxy reaches it.
func (l *layout) spec(c Config, program string, args ...string) process.Spec {
	return process.Spec{
		Name: program,
		Path: c.Binaries.Path(program),
		Args: args,
		Env:  []string{"PATH=" + os.Getenv("PATH"), "HOME=" + l.path("home"), "TMPDIR=" + os.TempDir()},
		Log:  l.log(program),
	}
}

// etcd may lose what it acknowledged when the machine dies, since nothing outlives the plane anyway.
func (l *layout) etcd(c Config) process.Spec {
	client := fmt.Sprintf("https://127.0.0.1:%d", l.port.etcd)
	return l.spec(c, "etcd",
		"--data-dir="+l.data+"/etcd",
		"--unsafe-no-fsync",
		"--listen-client-urls="+client,
		"--advertise-client-urls="+client,
		"--listen-peer-urls=http://127.0.0.1:0",
		"--cert-file="+l.pki("etcd.crt"),
		"--key-file="+l.pki("etcd.key"),
		"--trusted-ca-file="+l.pki("etcd-ca.crt"),
		"--client-cert-auth",
		"--log-level=warn",
	)
}

// apiServerName is the API server's program.
const apiServerName = "kube-apiserver"

func (l *layout) apiServer(c Config) process.Spec {
	args := []string{
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", l.port.api),
		// The endpoints of the service kubernetes must not be loopback addresses, and there is no other.
		"--endpoint-reconciler-type=none",
		"--tls-cert-file=" + l.pki("apiserver.crt"),
		"--tls-private-key-file=" + l.pki("apiserver.key"),
		"--client-ca-file=" + l.pki("ca.crt"),
		fmt.Sprintf("--etcd-servers=https://127.0.0.1:%d", l.port.etcd),
		"--etcd-cafile=" + l.pki("etcd-ca.crt"),
		"--etcd-certfile=" + l.pki("etcd-client.crt"),
		"--etcd-keyfile=" + l.pki("etcd-client.key"),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--service-cluster-ip-range=10.96.0.0/16",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + l.pki("sa.pub"),
		"--service-account-signing-key-file=" + l.pki("sa.key"),
		// A token lives as long as was asked for, so that tests of renewal see what production sees.
		"--service-account-extend-token-expiration=false",
		"--audit-policy-file=" + l.path("audit-policy.json"),
		"--audit-log-path=" + l.auditLog(),
		"--audit-log-format=json",
		// Written before the request ends and never dropped: tests read what was and what was not asked.
		"--audit-log-mode=blocking",
		"--audit-log-maxsize=4096",
		"--event-ttl=1h",
		"--profiling=false",
	}
	return l.spec(c, apiServerName, append(args, c.APIServerFlags...)...)
}

// clients are the servers that need an API server which answers.
func (l *layout) clients(c Config) []process.Spec {
	var specs []process.Spec
	if c.has(ControllerManager) {
		specs = append(specs, l.controllerManager(c))
	}
	if c.has(Scheduler) {
		specs = append(specs, l.scheduler(c))
	}
	if c.has(KWOK) {
		specs = append(specs, l.kwok(c))
	}
	return specs
}

// controllerManager acts under one ServiceAccount per controller, as in a real cluster. There is one of it, so it
// needs no election, which would cost seconds at the start.
func (l *layout) controllerManager(c Config) process.Spec {
	return l.spec(c, "kube-controller-manager", append(l.common(ControllerManager, l.port.controllerManager),
		"--use-service-account-credentials",
		"--service-account-private-key-file="+l.pki("sa.key"),
		"--root-ca-file="+l.pki("ca.crt"),
		"--cluster-signing-cert-file="+l.pki("ca.crt"),
		"--cluster-signing-key-file="+l.pki("ca.key"),
		"--kube-api-qps=200",
		"--kube-api-burst=400",
	)...)
}

func (l *layout) scheduler(c Config) process.Spec {
	return l.spec(c, "kube-scheduler", append(l.common(Scheduler, l.port.scheduler),
		"--kube-api-qps=200",
		"--kube-api-burst=400",
	)...)
}

// common are the flags that the controller manager and the scheduler share.
func (l *layout) common(part string, port int) []string {
	file := l.path(part + ".kubeconfig")
	return []string{
		"--kubeconfig=" + file,
		"--authentication-kubeconfig=" + file,
		"--authorization-kubeconfig=" + file,
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", port),
		"--tls-cert-file=" + l.pki("apiserver.crt"),
		"--tls-private-key-file=" + l.pki("apiserver.key"),
		"--leader-elect=false",
		"--profiling=false",
	}
}

// kwok plays the nodes this package makes and no others, so that a real kubelet can join.
func (l *layout) kwok(c Config) process.Spec {
	args := []string{
		"--kubeconfig=" + l.path(KWOK+".kubeconfig"),
		"--manage-all-nodes=false",
		"--manage-nodes-with-annotation-selector=" + nodeAnnotation + "=" + nodeAnnotationValue,
		"--node-lease-duration-seconds=40",
		"--node-ip=10.0.0.1",
		"--cidr=10.0.0.0/16",
	}
	// A stage that cannot be listed shows as nodes that never get Ready, with KWOK's own words in its log.
	stages, _ := c.Binaries.Stages()
	for _, stage := range stages {
		if c.ReadyAfter > 0 && filepath.Base(stage) == podReady {
			stage = l.readyStage()
		}
		args = append(args, "--config="+stage)
	}
	return l.spec(c, "kwok", args...)
}
