// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/bench/proc"
)

// startPatience is how long a candidate may take until it is ready.
const startPatience = time.Minute

// StartCandidate starts the processes that play one of the roles, and waits until they are ready.
func (r *Rig) StartCandidate(ctx context.Context, roles ...string) error {
	for _, c := range r.setup.Controllers {
		if !c.plays(roles) {
			continue
		}
		if err := r.spawn(c); err != nil {
			return err
		}
	}
	if len(r.candidates) == 0 {
		return fmt.Errorf("candidate %q has no process for %v", r.setup.Name, roles)
	}
	r.Run.Candidates = r.candidateNames()
	return r.CandidateReady(ctx)
}

// CandidateReady waits until all processes say that they are ready.
func (r *Rig) CandidateReady(ctx context.Context) error {
	client, err := transport.NewClient(transport.ClientOptions{Timeout: 2 * time.Second, NoKeepAlive: true})
	if err != nil {
		return err
	}
	for _, c := range r.setup.Controllers {
		child := r.candidates[c.Name]
		if child == nil || c.Ready == "" {
			continue
		}
		address, err := r.place.expand(c.Ready, "")
		if err != nil {
			return err
		}
		if err := until(ctx, startPatience, func() (bool, error) {
			if err := child.Died(); err != nil {
				return false, err
			}
			return answers(ctx, client, address), nil
		}); err != nil {
			return fmt.Errorf("wait for %q to be ready: %w", c.Name, err)
		}
	}
	return nil
}

func answers(ctx context.Context, client *http.Client, address string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return false
	}
	answer, err := client.Do(req)
	if err != nil {
		return false
	}
	return answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
}

// KillCandidate ends all of the candidate's processes as a crash would.
func (r *Rig) KillCandidate() {
	for _, c := range r.candidates {
		r.sampler.Forget(c.PID)
		c.Kill()
	}
}

// RestartCandidate starts again what was killed, and does not wait.
func (r *Rig) RestartCandidate() error {
	for _, c := range r.setup.Controllers {
		if r.candidates[c.Name] == nil {
			continue
		}
		if err := r.spawn(c); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rig) spawn(c Controller) error {
	kubeconfig := r.file(c.Name + ".kubeconfig")
	if err := r.writeKubeconfig(kubeconfig, r.tokens[c.Name]); err != nil {
		return err
	}
	temp := r.file(c.Name + ".tmp")
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return err
	}
	if err := os.MkdirAll(r.file("data"), 0o700); err != nil {
		return err
	}
	bin, err := r.place.expand(c.Bin, kubeconfig)
	if err != nil {
		return err
	}
	args, err := r.place.expandAll(c.Args, kubeconfig)
	if err != nil {
		return err
	}
	env, err := r.place.expandAll(c.Env, kubeconfig)
	if err != nil {
		return err
	}
	child, err := proc.Start(proc.Spec{
		Name: c.Name, Path: bin, Args: args, Log: r.file(c.Name + ".log"),
		Env: append([]string{"KUBECONFIG=" + kubeconfig, "RUNTIME_NAMESPACE=" + Namespace, "TMPDIR=" + temp}, env...),
	})
	if err != nil {
		return err
	}
	r.candidates[c.Name] = child
	r.sockets.Follow(child.PID, c.Name)
	r.sampler.Reset(child.PID)
	return nil
}

func (r *Rig) writeKubeconfig(path, token string) error {
	const name = "bench"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: r.bed.info.Server, CertificateAuthorityData: r.admin.CAData}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	return clientcmd.WriteToFile(*config, path)
}

// followSockets starts to count bytes.
func (r *Rig) followSockets() error {
	server, err := url.Parse(r.bed.info.Server)
	if err != nil {
		return err
	}
	api, err := strconv.Atoi(server.Port())
	if err != nil {
		return fmt.Errorf("port of the API server: %w", err)
	}
	ports := map[int]string{api: apiServer, r.place.ports["PGIT"]: git, r.place.ports["POCI"]: oci}
	if r.setup.StoragePort != "" {
		text, err := r.place.expand(r.setup.StoragePort, "")
		if err != nil {
			return err
		}
		storage, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("storagePort: %w", err)
		}
		ports[storage] = artifacts
	}
	r.sockets = proc.NewSockets(ports)
	return nil
}
