// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"sluice.dev/sluice/test/bench/proc"
	"sluice.dev/sluice/test/gitserver"
	"sluice.dev/sluice/test/registry"
)

// Commands of this program that run a server. They are children so that what they use is not the harness's own.
const (
	ServeGitCommand = "serve-git"
	ServeOCICommand = "serve-oci"
)

// ServeGit runs a Git server over the repositories below a folder and returns its URL.
func (r *Rig) ServeGit(ctx context.Context, root string) (string, error) {
	address, err := r.serve(ctx, git, ServeGitCommand, root)
	return "http://" + address, err
}

// ServeOCI runs an empty registry and returns its host.
func (r *Rig) ServeOCI(ctx context.Context) (string, error) {
	return r.serve(ctx, oci, ServeOCICommand)
}

func (r *Rig) serve(ctx context.Context, name, command string, args ...string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	port, err := r.place.port(map[string]string{git: "PGIT", oci: "POCI"}[name])
	if err != nil {
		return "", err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	child, err := proc.Start(proc.Spec{Name: name, Path: self, Args: append([]string{command, address}, args...), Log: r.file(name + ".log")})
	if err != nil {
		return "", err
	}
	r.servers = append(r.servers, child)
	return address, until(ctx, 10*time.Second, func() (bool, error) {
		if err := child.Died(); err != nil {
			return false, err
		}
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return false, nil //nolint:nilerr // not yet
		}
		return true, c.Close()
	})
}

// ServeUntilEnd is what the children run: a server at an address until the process is asked to end.
func ServeUntilEnd(command, address, root string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var server interface{ Close() error }
	var err error
	switch command {
	case ServeGitCommand:
		server, err = gitserver.NewHTTP(gitserver.HTTPOptions{Root: root, Addr: address, AllowAnyCommit: true})
	case ServeOCICommand:
		server, err = registry.Start(registry.Options{Addr: address})
	default:
		err = fmt.Errorf("no server %q", command)
	}
	if err != nil {
		return err
	}
	<-ctx.Done()
	return server.Close()
}
