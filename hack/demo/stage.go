// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"sluice.dev/sluice/distro/manifests/crds"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/oci"
	"sluice.dev/sluice/internal/sign"
	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/examples"
	"sluice.dev/sluice/test/gitserver"
	"sluice.dev/sluice/test/registry"
)

// stage is what the play is played on: servers, keys, a cluster, and a folder with all that belongs to it. The folder is
// where commands are run, so that they can be typed as they are shown.
type stage struct {
	screen *screen
	keep   bool
	dir    string
	kube   *cluster
	shell  shell

	backend  fips.Backend
	registry *registry.Server
	pushes   *oci.Pool
	https    *gitserver.HTTP
	ssh      *gitserver.SSH
	gitCA    []byte
	repos    map[string]*gitserver.Repo
	keys     keys
	managers []*child
	closers  []func() error
}

// keys are what people sign with.
type keys struct {
	teamA, strangerA            *sign.Key
	platform, teamB, strangerB  gitserver.SSHKey
	loginTeamB                  gitserver.SSHKey
	statementPriv, statementPub []byte
}

// Who may log in where.
const (
	registryUser = "team-a"
	gitUser      = "platform"
	password     = "only-for-this-demo"
)

// build sets the stage. It can be closed even when it was not finished.
func build(ctx context.Context, o options, screen *screen) (*stage, error) {
	s := &stage{screen: screen, keep: o.keep, repos: map[string]*gitserver.Repo{}}
	root, err := filepath.Abs(o.root)
	if err != nil {
		return s, err
	}
	if s.dir, err = os.MkdirTemp("", "sluice-demo-"); err != nil {
		return s, err
	}
	for _, make := range []func() error{s.makeKeys(ctx), s.startRegistry, s.startGit} {
		if err := make(); err != nil {
			return s, err
		}
	}
	if s.kube, err = connect(s.path("kubeconfig")); err != nil {
		return s, err
	}
	s.shell = shell{dir: s.dir, path: []string{filepath.Join(root, "bin"), s.kube.bed.Binaries}, kubeconfig: s.path("kubeconfig")}
	return s, s.copyExamples(filepath.Join(root, "examples"))
}

// path is a place in the stage's folder.
func (s *stage) path(name ...string) string {
	return filepath.Join(append([]string{s.dir}, name...)...)
}

// open is a folder in the stage's folder, as a file system.
func (s *stage) open(name string) fs.FS { return os.DirFS(s.path(filepath.FromSlash(name))) }

func (s *stage) makeKeys(ctx context.Context) func() error {
	return func() (err error) {
		if s.backend, err = fips.New(); err != nil {
			return err
		}
		k := &s.keys
		for _, key := range []**sign.Key{&k.teamA, &k.strangerA} {
			private, _, err := sign.GenerateKey()
			if err != nil {
				return err
			}
			if *key, err = sign.LoadKey(ctx, s.backend, fips.KeyRef{PEM: private}); err != nil {
				return err
			}
		}
		for _, key := range []*gitserver.SSHKey{&k.platform, &k.teamB, &k.strangerB, &k.loginTeamB} {
			if *key, err = gitserver.NewSSHKey(); err != nil {
				return err
			}
		}
		k.statementPriv, k.statementPub, err = sign.GenerateKey()
		return err
	}
}

func (s *stage) startRegistry() (err error) {
	if s.registry, err = registry.Start(registry.Options{TLS: true, Username: registryUser, Password: password}); err != nil {
		return err
	}
	s.pushes = oci.NewPool(oci.PoolConfig{UserAgent: "demo"})
	s.closers = append(s.closers, s.registry.Close)
	return nil
}

// startGit starts both servers over the same repositories.
func (s *stage) startGit() error {
	authority, err := gitserver.NewAuthority()
	if err != nil {
		return err
	}
	cert, key, err := authority.Issue("git")
	if err != nil {
		return err
	}
	s.gitCA = authority.CA
	root := s.path("git")
	for _, name := range []string{"platform/cluster.git", "team-b/app.git"} {
		if s.repos[name], err = gitserver.InitRepo(root, name); err != nil {
			return err
		}
	}
	if s.https, err = gitserver.NewHTTP(gitserver.HTTPOptions{
		Root: root, TLS: transport.ServerTLSOptions{Cert: cert, Key: key}, Username: gitUser, Password: password,
	}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.https.Close)
	if s.ssh, err = gitserver.NewSSH(gitserver.SSHOptions{Root: root, Authorized: s.keys.loginTeamB.Signer.PublicKey()}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.ssh.Close)
	return nil
}

// copyExamples fills in what only this run knows.
func (s *stage) copyExamples(from string) error {
	values := map[string]string{
		"registry":       s.registry.Host(),
		"registry-ca":    string(s.registry.CA()),
		"registry-login": string(s.registry.DockerConfig()),
		"git":            strings.TrimPrefix(s.https.URL, "https://"), "git-ca": string(s.gitCA), "git-user": gitUser, "git-password": password,
		"git-ssh": strings.TrimPrefix(s.ssh.URL, "ssh://git@"), "ssh-identity": string(s.keys.loginTeamB.Private), "ssh-known-hosts": string(s.ssh.KnownHosts),
		"platform-signer": string(s.keys.platform.Authorized),
		"team-a-signer":   string(s.keys.teamA.PublicPEM()),
		"team-b-signer":   string(s.keys.teamB.Authorized),
	}
	if err := examples.Copy(os.DirFS(from), s.dir, values); err != nil {
		return fmt.Errorf("examples: %w", err)
	}
	return os.CopyFS(s.path("crds"), crds.FS)
}

// alive returns a context that ends with the first manager that does. It has to be released.
func (s *stage) alive(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	for _, m := range s.managers {
		watching.Go(func() {
			select {
			case <-m.done:
				cancel(m.err)
			case <-ctx.Done():
			}
		})
	}
	return ctx, func() { cancel(nil); watching.Wait() }
}

// close ends what was started, in reverse order, and removes the folder unless it is to be kept.
func (s *stage) close() error {
	var errs []error
	for _, v := range slices.Backward(s.managers) {
		v.stop()
	}
	if s.pushes != nil {
		s.pushes.Close()
	}
	for _, v := range slices.Backward(s.closers) {
		errs = append(errs, v())
	}
	if s.dir != "" && !s.keep {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}
