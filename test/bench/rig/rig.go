// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/bench/audit"
	"sluice.dev/sluice/test/bench/kube"
	"sluice.dev/sluice/test/bench/proc"
	"sluice.dev/sluice/test/bench/result"
)

// Names of the processes that are the same for everybody, and of servers in Traffic.
const (
	apiServer = "apiserver"
	etcd      = "etcd"
	harness   = "harness"
	git       = "git"
	oci       = "oci"
	charts    = "charts"
	bucket    = "bucket"
	artifacts = "artifacts"
)

// Options are what a run needs to know.
type Options struct {
	// Root is the repository's folder, Work a folder for everything that goes, Out one for results and logs.
	Root, Work, Out string
	// Config is the candidate's file.
	Config string
	// Tag is a label of the run in results.
	Tag string
	// Timeout bounds each wait for a candidate.
	Timeout time.Duration
	// Tenants is how many of the applications are tenants of their own.
	Tenants int
	// Pods is how many pods run, played by KWOK. With 0 nothing runs pods.
	Pods int
	// ReadyAfter is how long a pod takes to be Ready once it has its node.
	ReadyAfter time.Duration
	// Keep leaves the folder of the run, audit log included.
	Keep bool
	// Progress hears about each step.
	Progress io.Writer
}

// Rig is one control plane with one candidate.
type Rig struct {
	// Kube reaches the API server as the harness.
	Kube *kube.Client
	// Run is the record.
	Run *result.Run

	options    Options
	setup      Setup
	place      *place
	admin      *rest.Config
	tokens     map[string]string
	bed        *bed
	servers    []*proc.Child
	counted    map[string]string // address of each server that counts, by name
	candidates map[string]*proc.Child
	audit      *audit.Log
	sockets    *proc.Sockets
	sampler    *proc.Sampler
	http       *http.Client
}

// New sets everything up but the candidate. Close it, whether there was an error or not.
func New(ctx context.Context, o Options, scenario string, n int) (*Rig, error) {
	setup, err := LoadSetup(o.Config)
	if err != nil {
		return nil, err
	}
	run := &result.Run{Setup: setup.Name, Scenario: scenario, N: n, Tag: o.Tag, Start: time.Now()}
	dir := filepath.Join(o.Work, run.Name())
	r := &Rig{
		Run: run, options: o, setup: setup, place: newPlace(o.Root, dir),
		tokens: map[string]string{}, candidates: map[string]*proc.Child{}, counted: map[string]string{}, sampler: proc.NewSampler(),
	}
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.MkdirAll(o.Out, 0o755)); err != nil {
		return r, fmt.Errorf("folders of the run: %w", err)
	}
	return r, r.setUp(ctx)
}

func (r *Rig) setUp(ctx context.Context) (err error) {
	if r.http, err = transport.NewClient(transport.ClientOptions{Timeout: 5 * time.Second}); err != nil {
		return err
	}
	if err := r.writeFiles(); err != nil {
		return err
	}
	if r.bed, err = startBed(ctx, r.place, r.file("tokens.csv"), r.options); err != nil {
		return err
	}
	if r.admin, err = clientcmd.BuildConfigFromFlags("", r.bed.info.Kubeconfig); err != nil {
		return fmt.Errorf("kubeconfig of the test bed: %w", err)
	}
	if r.Kube, err = kube.NewClient(r.admin); err != nil {
		return err
	}
	if r.audit, err = audit.Follow(r.bed.info.AuditLog, r.owners()); err != nil {
		return err
	}
	if err := r.followSockets(); err != nil {
		return err
	}
	folders, err := r.place.expandAll(r.setup.CRDs, "")
	if err != nil {
		return err
	}
	if err := r.Kube.InstallDefinitions(ctx, folders); err != nil {
		return err
	}
	for _, o := range setupObjects() {
		if err := r.Kube.Create(ctx, o); err != nil {
			return fmt.Errorf("set up: %w", err)
		}
	}
	return nil
}

func (r *Rig) file(name string) string { return filepath.Join(r.place.dir, name) }

// writeFiles puts down what the API server and the candidate read.
func (r *Rig) writeFiles() error {
	ports, err := r.serverPorts()
	if err != nil {
		return err
	}
	var users strings.Builder
	for _, c := range r.setup.Controllers {
		r.tokens[c.Name] = rand.Text()
		fmt.Fprintf(&users, "%s,bench:%s,%s,\"system:masters\"\n", r.tokens[c.Name], c.Name, c.Name)
	}
	return errors.Join(
		os.WriteFile(r.file("tokens.csv"), []byte(users.String()), 0o600),
		os.WriteFile(r.place.parameters, []byte(policyParameters(ports, r.options.Tenants)), 0o600),
	)
}

// owners says whose requests are whose.
func (r *Rig) owners() audit.Owners {
	owners := audit.Owners{kube.UserAgent: harness}
	for _, c := range r.setup.Controllers {
		for _, agent := range c.userAgents() {
			owners[agent] = c.Name
		}
	}
	return owners
}

// candidateNames returns the names of the processes that run.
func (r *Rig) candidateNames() []string {
	var names []string
	for _, c := range r.setup.Controllers {
		if r.candidates[c.Name] != nil {
			names = append(names, c.Name)
		}
	}
	return names
}

// Save writes the record.
func (r *Rig) Save() error {
	r.Run.Candidates = r.candidateNames()
	file, err := r.Run.Save(r.options.Out)
	if err != nil {
		return err
	}
	r.say("result: %s", file)
	return nil
}

func (r *Rig) say(format string, args ...any) {
	_, _ = fmt.Fprintf(r.options.Progress, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// Close ends all processes, candidates first, keeps their logs beside the results, and deletes the rest.
func (r *Rig) Close() error {
	if r == nil {
		return nil
	}
	r.sampler.Close()
	if r.sockets != nil {
		r.sockets.Close()
	}
	for _, c := range r.candidates {
		c.Stop()
	}
	for _, c := range slices.Backward(r.servers) {
		c.Stop()
	}
	var errs []error
	if r.audit != nil {
		errs = append(errs, r.audit.Close())
	}
	if r.bed != nil {
		r.bed.child.Stop()
	}
	errs = append(errs, r.keepLogs())
	if !r.options.Keep {
		errs = append(errs, os.RemoveAll(r.place.dir))
	}
	return errors.Join(errs...)
}

func (r *Rig) keepLogs() error {
	var errs []error
	for name := range r.candidates {
		text, err := os.ReadFile(r.file(name + ".log"))
		errs = append(errs, err, os.WriteFile(filepath.Join(r.options.Out, r.Run.Name()+"."+name+".log"), text, 0o644))
	}
	return errors.Join(errs...)
}
