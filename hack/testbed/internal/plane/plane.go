// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sluice.dev/sluice/hack/testbed/internal/folder"
	"sluice.dev/sluice/hack/testbed/internal/process"
)

const (
	// prefix starts the names of all folders a plane makes, so that a later one can find what a killed one left.
	prefix = "sluice-testbed-"
	// attempts bounds how often a plane is started again because another process took a port between choosing and
	// listening.
	attempts = 4
	// startTimeout is far above what a start takes on a loaded machine, and ends one that will never be ready.
	startTimeout = 5 * time.Minute
	// grace is how long a server may take to leave. Nothing it could still write is kept.
	grace = 2 * time.Second
)

// Plane is a running control plane.
type Plane struct {
	info    Info
	config  []byte // the kubeconfig, as published
	started Config
	layout  *layout
	api     *api
	group   *process.Group
	dir     *folder.Owned
	data    *folder.Owned
	keepDir bool
}

// Start brings a plane up, and returns when it can be used: the API server answers, a new namespace gets its
// ServiceAccount, the nodes are Ready. What an earlier plane could not clean up because it was killed is deleted first.
func Start(ctx context.Context, c Config) (*Plane, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	sweep()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		p, err := startOnce(ctx, c)
		if err == nil {
			return p, nil
		}
		if attempt == attempts || !lostPort(err) {
			return nil, err
		}
		fmt.Fprintf(c.Log, "testbed: another process took a port, trying again (%d of %d)\n", attempt+1, attempts)
	}
}

func sweep() {
	folder.Sweep(os.TempDir(), prefix)
	folder.Sweep(memory, prefix)
}

// lostPort tells a server that could not listen from one that is broken.
func lostPort(err error) bool {
	var exit *process.Exit
	return errors.As(err, &exit) && strings.Contains(exit.Last, "address already in use")
}

// Info tells how to reach the plane.
func (p *Plane) Info() Info { return p.info }

// PIDs are the process ids of the servers.
func (p *Plane) PIDs() []int { return p.group.PIDs() }

// Exited delivers the first server that ended by itself; the plane is of no use then.
func (p *Plane) Exited() <-chan *process.Exit { return p.group.Exited() }

// Retract deletes the kubeconfig, so that nobody new comes. One of another plane at the same path is left alone.
func (p *Plane) Retract() {
	if have, err := os.ReadFile(p.info.Kubeconfig); err == nil && bytes.Equal(have, p.config) {
		_ = os.Remove(p.info.Kubeconfig) // what cannot be deleted has lost its worth with the servers
	}
}

// Stop ends all servers and deletes what they stored, with the kubeconfig, whose credentials are worth nothing then.
func (p *Plane) Stop() error {
	p.Retract()
	p.group.Stop(grace)
	err := p.data.Remove()
	if p.keepDir {
		p.dir.Release()
		return err
	}
	return errors.Join(err, p.dir.Remove())
}

// startOnce starts the servers in the order in which they need each other. On an error nothing stays behind but the
// logs, and those only in a folder that was asked for.
func startOnce(ctx context.Context, c Config) (_ *Plane, err error) {
	p, err := prepare(c)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = p.Stop() // err tells why; that the folder is not deleted either adds nothing
		}
	}()
	if p.layout, err = newLayout(p.dir.Path, p.data.Path); err != nil {
		return nil, err
	}
	if err := p.layout.writeFiles(c); err != nil {
		return nil, err
	}
	if p.api, err = newAPI(p.layout); err != nil {
		return nil, err
	}
	if err := p.startServers(ctx); err != nil {
		return nil, err
	}
	return p, p.publish()
}

func prepare(c Config) (*Plane, error) {
	p := &Plane{started: c, keepDir: c.Dir != ""}
	var err error
	if p.keepDir {
		var path string
		if path, err = filepath.Abs(c.Dir); err == nil {
			p.dir, err = folder.Own(path)
		}
	} else {
		p.dir, err = folder.NewTemp("", prefix)
	}
	if err != nil {
		return nil, err
	}
	if p.data, err = newDataFolder(p.dir.Path); err != nil {
		p.dir.Release()
		return nil, err
	}
	p.group = process.NewGroup()
	return p, nil
}

func (p *Plane) startServers(ctx context.Context) error {
	c, l, api := p.started, p.layout, p.api
	for _, server := range []process.Spec{l.etcd(c), l.apiServer(c)} {
		if err := p.group.Start(server); err != nil {
			return err
		}
	}
	if err := p.await(ctx, "the API server answers", api.ready); err != nil {
		return err
	}
	for _, server := range l.clients(c) {
		if err := p.group.Start(server); err != nil {
			return err
		}
	}
	if c.has(KWOK) {
		if err := api.createNodes(ctx, c.Nodes); err != nil {
			return err
		}
		if err := p.await(ctx, "the nodes are Ready", api.nodesReady(c.Nodes)); err != nil {
			return err
		}
	}
	if c.has(ControllerManager) {
		return p.await(ctx, "the namespace default has its ServiceAccount", api.controllersWork)
	}
	return nil
}

// await asks until the answer is yes, a server ends, or the time is over.
func (p *Plane) await(ctx context.Context, what string, ready func(context.Context) error) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case exit := <-p.group.Exited():
			return exit
		case <-ctx.Done():
			return fmt.Errorf("gave up waiting until %s (%v; a folder of your own keeps the logs): %w", what, err, ctx.Err())
		case <-ticker.C:
		}
	}
}

// publish writes the kubeconfig, which is the sign for others that the plane can be used.
func (p *Plane) publish() error {
	info := p.layout.info(p.started)
	body, err := kubeconfig(p.layout, p.layout.admin, &info)
	if err != nil {
		return err
	}
	p.info, p.config = info, body
	return writeAtomically(info.Kubeconfig, body)
}
