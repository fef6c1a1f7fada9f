// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/bench/proc"
	"sluice.dev/sluice/test/bench/served"
	"sluice.dev/sluice/test/gitserver"
	"sluice.dev/sluice/test/registry"
)

// Commands of this program that run a server. They are children so that what they use is not the harness's own.
const (
	ServeGitCommand     = "serve-git"
	ServeOCICommand     = "serve-oci"
	ServeOpenOCICommand = "serve-open-oci"
	ServeChartsCommand  = "serve-charts"
	ServeBucketCommand  = "serve-bucket"
)

// ServeCommands are all of them.
func ServeCommands() []string {
	return []string{ServeGitCommand, ServeOCICommand, ServeOpenOCICommand, ServeChartsCommand, ServeBucketCommand}
}

// The registry asks for a credential and gives tokens, as most do.
const (
	RegistryUser     = "bench"
	RegistryPassword = "bench-password"
)

// ServeGit runs a Git server over the repositories below a folder and returns its URL.
func (r *Rig) ServeGit(ctx context.Context, root string) (string, error) {
	address, err := r.serve(ctx, git, ServeGitCommand, root)
	return "http://" + address, err
}

// ServeOCI runs an empty registry that gives tokens for RegistryUser, and returns its host.
func (r *Rig) ServeOCI(ctx context.Context) (string, error) {
	return r.serve(ctx, oci, ServeOCICommand)
}

// ServeOpenOCI runs an empty registry that asks nobody for a credential, and returns its host.
func (r *Rig) ServeOpenOCI(ctx context.Context) (string, error) {
	return r.serve(ctx, oci, ServeOpenOCICommand)
}

// ServeCharts serves the files of a folder and returns its URL.
func (r *Rig) ServeCharts(ctx context.Context, root string) (string, error) {
	address, err := r.serve(ctx, charts, ServeChartsCommand, root)
	return "http://" + address, err
}

// serverPorts are where the servers of content are going to listen.
func (r *Rig) serverPorts() (map[string]int, error) {
	ports := map[string]int{}
	for _, server := range []string{git, oci, charts, bucket} {
		port, err := r.place.port("P" + strings.ToUpper(server))
		if err != nil {
			return nil, err
		}
		ports[server] = port
	}
	return ports, nil
}

// served asks the servers that count for their counts. One that does not answer has none.
func (r *Rig) served() map[string]served.Counts {
	out := map[string]served.Counts{}
	for name, address := range r.counted {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		counts, err := served.Read(ctx, r.http, address)
		cancel()
		if err == nil {
			out[name] = counts
		}
	}
	return out
}

func (r *Rig) serve(ctx context.Context, name, command string, args ...string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	port, err := r.place.port("P" + strings.ToUpper(name))
	if err != nil {
		return "", err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	child, err := proc.Start(proc.Spec{Name: name, Path: self, Args: append([]string{command, address}, args...), Log: r.file(name + ".log")})
	if err != nil {
		return "", err
	}
	r.servers, r.counted[name] = append(r.servers, child), address
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
	var counter served.Counter
	switch command {
	case ServeGitCommand:
		server, err = gitserver.NewHTTP(gitserver.HTTPOptions{Root: root, Addr: address, AllowAnyCommit: true, Wrap: counter.Wrap})
	case ServeOCICommand:
		server, err = registry.Start(registry.Options{
			Addr: address, Username: RegistryUser, Password: RegistryPassword, Bearer: true, Wrap: counter.Wrap,
		})
	case ServeOpenOCICommand:
		server, err = registry.Start(registry.Options{Addr: address, Wrap: counter.Wrap})
	case ServeChartsCommand:
		server, err = serveFiles(ctx, address, counter.Wrap(tagged(root)))
	case ServeBucketCommand:
		server, err = serveFiles(ctx, address, counter.Wrap(buckets(root)))
	default:
		err = fmt.Errorf("no server %q", command)
	}
	if err != nil {
		return err
	}
	<-ctx.Done()
	return server.Close()
}

// serveFiles serves until it is closed.
func serveFiles(ctx context.Context, address string, handler http.Handler) (*http.Server, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	server := transport.NewServer(handler, transport.ServerOptions{})
	go func() { _ = server.Serve(listener) }()
	return server, nil
}

// tagged serves the files below a folder with an ETag, as chart servers do.
func tagged(root string) http.Handler {
	files := http.FileServer(http.Dir(root))
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if info, err := os.Stat(filepath.Join(root, filepath.Clean("/"+req.URL.Path))); err == nil {
			w.Header().Set("ETag", etag(info))
		}
		files.ServeHTTP(w, req)
	})
}

func etag(info os.FileInfo) string {
	return fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size())
}
