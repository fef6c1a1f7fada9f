// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/transport"
)

// sshHandshake bounds dial and handshake where the context allows more.
const sshHandshake = 30 * time.Second

// sshSession runs git-upload-pack on the server over one SSH connection.
type sshSession struct {
	conn   *ssh.Client
	shell  *ssh.Session
	stdin  io.WriteCloser
	stdout *bounded
	stderr *tail
	in     *packets
	limits Limits
	stop   func() bool
}

func newSSHSession(ctx context.Context, r *Remote) (*sshSession, error) {
	conn, err := dialSSH(ctx, r)
	if err != nil {
		return nil, err
	}
	s := &sshSession{conn: conn, limits: r.limits, stderr: &tail{secrets: r.auth.secrets()}}
	// x/crypto/ssh takes no context: closing the connection is what ends a read that hangs.
	s.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	if err := s.start(r); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// start opens the channel and runs the command.
func (s *sshSession) start(r *Remote) error {
	shell, err := s.conn.NewSession()
	if err != nil {
		return fmt.Errorf("open ssh session: %w", err)
	}
	s.shell = shell
	if s.stdin, err = shell.StdinPipe(); err != nil {
		return fmt.Errorf("open ssh session: %w", err)
	}
	stdout, err := shell.StdoutPipe()
	if err != nil {
		return fmt.Errorf("open ssh session: %w", err)
	}
	shell.Stderr = s.stderr
	s.stdout = &bounded{r: stdout, left: s.limits.AdvertisedBytes, limit: s.limits.AdvertisedBytes}
	s.in = newPackets(s.stdout, r.auth.secrets())
	if err := shell.Start("git-upload-pack " + quote(remotePath(r.url.Path))); err != nil {
		return fmt.Errorf("run git-upload-pack: %w", err)
	}
	return nil
}

func (s *sshSession) advertise(context.Context) (advert, error) {
	a, err := readAdvert(s.in, false)
	if errors.Is(err, errNoAnswer) {
		// The command has ended; wait for its last words.
		_ = s.shell.Wait()
		if text := s.stderr.String(); text != "" {
			return advert{}, &remoteError{text}
		}
	}
	return a, err
}

func (s *sshSession) fetch(_ context.Context, body []byte, limit int64) (io.ReadCloser, error) {
	s.stdout.reset(limit)
	if _, err := s.stdin.Write(body); err != nil {
		return nil, fmt.Errorf("send request: %w", err)
	}
	return io.NopCloser(s.in.r), nil
}

func (s *sshSession) close() {
	s.stop()
	if s.stdin != nil {
		// A flush ends the conversation in good order when nothing was fetched.
		_, _ = io.WriteString(s.stdin, "0000")
		_ = s.stdin.Close()
	}
	if s.shell != nil {
		_ = s.shell.Close()
	}
	_ = s.conn.Close()
}

// dialSSH connects and checks the host key and our own.
func dialSSH(ctx context.Context, r *Remote) (*ssh.Client, error) {
	address := net.JoinHostPort(r.url.Hostname(), cmp.Or(r.url.Port(), "22"))
	config, err := sshConfig(r, address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, sshHandshake)
	defer cancel()
	raw, err := transport.Dialer{Proxy: r.proxy, TLS: r.auth.TLS, Timeout: sshHandshake}.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	conn, channels, requests, err := ssh.NewClientConn(raw, address, config)
	if err != nil {
		_ = raw.Close()
		return nil, handshakeError(err, r.policy)
	}
	return ssh.NewClient(conn, channels, requests), nil
}

func sshConfig(r *Remote, address string) (*ssh.ClientConfig, error) {
	signer, err := parseIdentity(r.auth, r.policy)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAuth, err)
	}
	known, err := parseKnownHosts(r.auth.KnownHosts, r.policy)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAuth, err)
	}
	list := r.config.SSH.algorithms()
	hostAlgorithms := known.algorithms(address, list.HostKeys)
	if len(hostAlgorithms) == 0 {
		return nil, fmt.Errorf("known_hosts has no usable key for %q: %w", hostName(address), errAuth)
	}
	return &ssh.ClientConfig{
		Config:            ssh.Config{KeyExchanges: list.Kex, Ciphers: list.Ciphers, MACs: list.MACs},
		User:              cmp.Or(r.url.User.Username(), "git"),
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyAlgorithms: hostAlgorithms,
		HostKeyCallback: func(host string, remote net.Addr, key ssh.PublicKey) error {
			if err := checkHostKey(key, r.policy); err != nil {
				return err
			}
			return known.check(host, remote, key)
		},
		ClientVersion: "SSH-2.0-sluice",
		Timeout:       sshHandshake,
	}, nil
}

// handshakeError names what failed: no common algorithm is the FIPS policy's doing, the rest is about keys.
func handshakeError(err error, policy fips.Policy) error {
	if no, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err); ok {
		return policy.AllowNamed(negotiated(no.What), remoteText(strings.Join(no.RequestedAlgorithms, ","), nil))
	}
	if errors.Is(err, errAuth) {
		return err
	}
	if strings.Contains(err.Error(), "unable to authenticate") {
		return fmt.Errorf("the server does not accept the ssh key: %w", errAuth)
	}
	return fmt.Errorf("ssh handshake: %w", err)
}

// negotiated maps x/crypto's words for what was negotiated to a row of the policy table.
func negotiated(what string) fips.Feature {
	switch {
	case strings.Contains(what, "key exchange"):
		return fips.SSHKex
	case strings.Contains(what, "host key"):
		return fips.SSHHostKey
	case strings.Contains(what, "MAC"):
		return fips.SSHMAC
	default:
		return fips.SSHCipher
	}
}

// minRSABits is FIPS 186-5's bound.
const minRSABits = 2048

// checkHostKey refuses short RSA keys, which the list of algorithms cannot see.
func checkHostKey(key ssh.PublicKey, policy fips.Policy) error {
	if bits := rsaBits(key); bits > 0 && bits < minRSABits {
		return fmt.Errorf("%w: %w", errAuth, policy.AllowNamed(fips.SSHHostKey, fmt.Sprintf("RSA with %d bits", bits)))
	}
	return nil
}

// rsaBits is the size of an RSA key, and zero for any other key.
func rsaBits(key ssh.PublicKey) int {
	crypto, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return 0
	}
	pub, ok := crypto.CryptoPublicKey().(*rsa.PublicKey)
	if !ok {
		return 0
	}
	return pub.N.BitLen()
}

// parseIdentity reads the private key. The parsers' own words are dropped: they may quote the key.
func parseIdentity(auth Auth, policy fips.Policy) (ssh.Signer, error) {
	if len(auth.Identity) == 0 {
		return nil, errors.New("no ssh private key is given")
	}
	signer, err := ssh.ParsePrivateKey(auth.Identity)
	if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked {
		if err := policy.Allow(fips.SSHKeyPassphrase); err != nil {
			return nil, err
		}
		signer, err = unlock(auth)
	}
	if err != nil {
		return nil, errors.New("the ssh private key cannot be read")
	}
	return restrictSigner(signer, policy)
}

// unlock opens a passphrase-protected key where the profile tolerates that. Under fips140=only the MD5 of legacy PEM
// encryption panics inside the standard library, and an object's owner must not end the process.
func unlock(auth Auth) (signer ssh.Signer, err error) {
	defer func() {
		if recover() != nil {
			signer, err = nil, errors.New("the key's encryption is not available in this FIPS mode")
		}
	}()
	return ssh.ParsePrivateKeyWithPassphrase(auth.Identity, auth.KeyPassword)
}

// restrictSigner refuses keys off the list and keeps RSA away from SHA-1.
func restrictSigner(signer ssh.Signer, policy fips.Policy) (ssh.Signer, error) {
	key := signer.PublicKey()
	switch key.Type() {
	case ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoED25519:
		return signer, nil
	case ssh.KeyAlgoRSA:
		multi, ok := signer.(ssh.AlgorithmSigner)
		if bits := rsaBits(key); bits < minRSABits || !ok {
			return nil, policy.AllowNamed(fips.FeatureSignature, fmt.Sprintf("SSH RSA key with %d bits", bits))
		}
		return ssh.NewSignerWithAlgorithms(multi, []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256})
	default:
		return nil, policy.AllowNamed(fips.FeatureSignature, "SSH key of type "+key.Type())
	}
}

// remotePath is the path as the server's shell takes it: "/~user/x" of a URL means "~user/x" (git-fetch(1)).
func remotePath(path string) string {
	if strings.HasPrefix(path, "/~") {
		return path[1:]
	}
	return path
}

// quote makes one word for the shell at the other end.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// bounded is a reader whose bound is set anew for each half of the conversation.
type bounded struct {
	r           io.Reader
	left, limit int64
}

func (b *bounded) reset(limit int64) { b.left, b.limit = limit, limit }

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, &transport.TooLargeError{Limit: b.limit}
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// tail keeps the beginning of what a server writes to stderr. ssh.Session writes to it from a goroutine of its own.
type tail struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	secrets []string
}

// Write implements io.Writer. It never fails, so that the copy behind it goes on to the end.
func (t *tail) Write(p []byte) (int, error) {
	const limit = 4 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := limit - t.buf.Len(); room > 0 {
		t.buf.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

// String returns what was written, fit for a message.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return remoteText(t.buf.String(), t.secrets)
}
