// SPDX-License-Identifier: Apache-2.0

package gitserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"sluice.dev/sluice/internal/fips"
)

// SSHOptions configures an SSH server.
type SSHOptions struct {
	// Root holds the repositories.
	Root string
	// Addr is "127.0.0.1:0" when empty.
	Addr string
	// HostKey is made up when it has no Signer.
	HostKey SSHKey
	// Authorized may log in, as any user.
	Authorized ssh.PublicKey
	// Config lists algorithms. The zero value takes internal/fips's.
	Config ssh.Config
	// AllowAnyCommit serves each reachable commit by id, not tips alone.
	AllowAnyCommit bool
	// AllowFilter lets clients leave out objects.
	AllowFilter bool
}

// SSH is a running server.
type SSH struct {
	// URL is the root, "ssh://git@127.0.0.1:1234"; a repository is at URL + "/" + Repo.Name.
	URL string
	// KnownHosts is the line for the server's host key.
	KnownHosts []byte

	options  SSHOptions
	config   *ssh.ServerConfig
	listener net.Listener
	ctx      context.Context //nolint:containedctx // the server's life, ended by Close
	cancel   context.CancelFunc
	running  sync.WaitGroup
}

// NewSSH starts a server. Close it.
func NewSSH(o SSHOptions) (*SSH, error) {
	if o.HostKey.Signer == nil {
		key, err := NewSSHKey()
		if err != nil {
			return nil, err
		}
		o.HostKey = key
	}
	if len(o.Config.KeyExchanges) == 0 {
		list := fips.SSHAlgorithms()
		o.Config = ssh.Config{KeyExchanges: list.Kex, Ciphers: list.Ciphers, MACs: list.MACs}
	}
	listener, err := listen(o.Addr)
	if err != nil {
		return nil, err
	}
	address := listener.Addr().String()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listener address: %w", err)
	}
	s := &SSH{
		URL:        "ssh://git@" + address,
		KnownHosts: fmt.Appendf(nil, "[%s]:%s %s", host, port, o.HostKey.Authorized),
		options:    o,
		listener:   listener,
		config:     &ssh.ServerConfig{Config: o.Config, PublicKeyCallback: o.authorize},
	}
	s.config.AddHostKey(o.HostKey.Signer)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.running.Go(s.accept)
	return s, nil
}

// Close ends every connection and waits.
func (s *SSH) Close() error {
	s.cancel()
	err := s.listener.Close()
	s.running.Wait()
	return err
}

func (o SSHOptions) authorize(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	if o.Authorized == nil || !bytes.Equal(key.Marshal(), o.Authorized.Marshal()) {
		return nil, errors.New("unknown key")
	}
	return &ssh.Permissions{}, nil
}

func (s *SSH) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.running.Go(func() { s.serve(conn) })
	}
}

// serve runs one connection until it ends or the server is closed.
func (s *SSH) serve(conn net.Conn) {
	defer conn.Close() //nolint:errcheck // the peer may have closed it
	stop := context.AfterFunc(s.ctx, func() { _ = conn.Close() })
	defer stop()
	_, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		return
	}
	s.running.Go(func() { ssh.DiscardRequests(requests) })
	for channel := range channels {
		if channel.ChannelType() != "session" {
			_ = channel.Reject(ssh.UnknownChannelType, "sessions alone")
			continue
		}
		session, asked, err := channel.Accept()
		if err != nil {
			return
		}
		s.running.Go(func() { s.session(session, asked) })
	}
}

// session waits for the command and runs it.
func (s *SSH) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close() //nolint:errcheck // the peer may have closed it
	for req := range requests {
		if req.Type != "exec" {
			_ = req.Reply(false, nil)
			continue
		}
		var payload struct{ Command string }
		if err := ssh.Unmarshal(req.Payload, &payload); err != nil {
			_ = req.Reply(false, nil)
			return
		}
		_ = req.Reply(true, nil)
		status := s.run(channel, payload.Command)
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
		return
	}
}

// run executes "git-upload-pack '<path>'" below the root and returns the exit status.
func (s *SSH) run(channel ssh.Channel, command string) uint32 {
	quoted, ok := strings.CutPrefix(command, "git-upload-pack ")
	if !ok {
		fmt.Fprintln(channel.Stderr(), "only git-upload-pack is served")
		return 1
	}
	name := path.Clean("/" + strings.Trim(quoted, "'"))
	cmd := exec.CommandContext(s.ctx, "git", "upload-pack", filepath.Join(s.options.Root, filepath.FromSlash(name)))
	cmd.Env = append(os.Environ(), gitEnvironment(s.options.Root, false, s.options.AllowAnyCommit, s.options.AllowFilter)...)
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 1
	}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(channel.Stderr(), "git does not start")
		return 1
	}
	// Not waited for: it ends when the channel is closed, which happens right after.
	s.running.Go(func() {
		_, _ = io.Copy(stdin, channel)
		_ = stdin.Close()
	})
	if err := cmd.Wait(); err != nil {
		return 1
	}
	return 0
}
