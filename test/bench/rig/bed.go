// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice.dev/sluice/test/bench/proc"
)

// bedPatience includes building the servers, which takes minutes where nothing is cached.
const bedPatience = 30 * time.Minute

// podsPerNode is less than KWOK's nodes hold, so that the scheduler need not look for room.
const podsPerNode = 500

// bed is a control plane whose processes are measured too. It has controllers of its own only where workloads are to run.
type bed struct {
	child *proc.Child
	info  bedInfo
	pids  map[string]int // its processes by name: etcd and apiserver at least
}

// bedInfo is the line that testbed prints.
type bedInfo struct {
	Server     string `json:"server"`
	Kubeconfig string `json:"kubeconfig"`
	AuditLog   string `json:"auditLog"`
}

// startBed builds and runs program testbed, with room for the pods. The tokens of the candidates are in a file.
func startBed(ctx context.Context, p *place, tokens string, o Options) (*bed, error) {
	source, program := filepath.Join(p.root, "hack", "testbed"), filepath.Join(p.dir, "testbed")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/testbed")
	build.Dir, build.Env = source, buildEnvironment()
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the test bed: %s: %w", out, err)
	}
	log := filepath.Join(p.dir, "bed.log")
	child, err := proc.Start(proc.Spec{Name: "bed", Path: program, Log: log, Args: append([]string{
		"up", "--source", source, "--dir", filepath.Join(p.dir, "bed"), "--apiserver-flag=--token-auth-file=" + tokens,
	}, workloadFlags(o)...)})
	if err != nil {
		return nil, err
	}
	b := &bed{child: child}
	if err := b.ready(ctx, log); err != nil {
		child.Stop()
		return nil, err
	}
	return b, nil
}

// workloadFlags leave out what runs pods where there are none.
func workloadFlags(o Options) []string {
	if o.Pods == 0 {
		return []string{"--without", "controller-manager,scheduler,kwok"}
	}
	return []string{"--nodes", strconv.Itoa((o.Pods + podsPerNode - 1) / podsPerNode), "--ready-after", o.ReadyAfter.String()}
}

// buildEnvironment leaves out what is meant for the product: the bed is built as everywhere else.
func buildEnvironment() []string {
	env := slices.DeleteFunc(os.Environ(), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return slices.Contains([]string{"GODEBUG", "GOFIPS140", "GOFLAGS", "GOWORK", "CGO_ENABLED"}, name)
	})
	return append(env, "CGO_ENABLED=0", "GOFIPS140=off", "GOWORK=off")
}

// ready waits for the line that says that the bed can be used.
func (b *bed) ready(ctx context.Context, log string) error {
	err := until(ctx, bedPatience, func() (bool, error) {
		if err := b.child.Died(); err != nil {
			return false, err
		}
		text, err := os.ReadFile(log)
		if err != nil {
			return false, err
		}
		_, after, found := strings.Cut("\n"+string(text), "\nready ")
		line, _, whole := strings.Cut(after, "\n")
		if !found || !whole {
			return false, nil
		}
		return true, json.Unmarshal([]byte(line), &b.info)
	})
	if err != nil {
		return fmt.Errorf("test bed: %w", err)
	}
	children := proc.Children(b.child.PID)
	b.pids = map[string]int{}
	for program, name := range map[string]string{
		"etcd": etcd, "kube-apiserver": apiServer, "kube-controller": "controller-manager", "kube-scheduler": "scheduler", "kwok": "kwok",
	} {
		if pid := children[program]; pid != 0 {
			b.pids[name] = pid
		}
	}
	if b.pids[etcd] == 0 || b.pids[apiServer] == 0 {
		return fmt.Errorf("test bed: no etcd or kube-apiserver among its processes: %v", children)
	}
	return nil
}

// until calls f until it is done or fails. It is for set-up; what is measured is waited for by watches.
func until(ctx context.Context, atMost time.Duration, f func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, atMost, fmt.Errorf("not within %s", atMost))
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		done, err := f()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}
