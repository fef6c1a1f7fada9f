// SPDX-License-Identifier: Apache-2.0

package sopskeys

import (
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice.dev/sluice/internal/transport"
	"sluice.dev/sluice/test/gitserver"
)

// Token is what the transit server asks for.
const Token = "s.test-token-of-the-transit-server"

// KeyName is the one key it has, in the engine "transit".
const KeyName = "sluice"

// Transit is a running transit engine.
type Transit struct {
	// URL is its address, and CA who has signed its certificate, in PEM.
	URL string
	CA  []byte

	// Review says whom a token of a cluster is of, if it is good for an audience: what TokenReview answers. Nil knows nobody.
	Review func(token, audience string) (username string, err error)
	// Lease is for how long a login is good; zero is an hour.
	Lease time.Duration

	aead     cipher.AEAD
	server   *http.Server
	done     chan struct{}
	requests atomic.Int64
	logins   atomic.Int64

	mu    sync.Mutex
	roles map[string]string    // the subject that each role is bound to
	given map[string]time.Time // until when what a login gave is good
}

// LoginPath is where ServiceAccounts log in.
const LoginPath = "auth/kubernetes/login"

// StartTransit starts a server on loopback. Close it.
func StartTransit() (*Transit, error) {
	key := make([]byte, 32)
	rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	t := &Transit{done: make(chan struct{}), roles: map[string]string{}, given: map[string]time.Time{}}
	if t.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, err
	}
	authority, err := gitserver.NewAuthority()
	if err != nil {
		return nil, err
	}
	t.CA = authority.CA
	return t, t.listen(authority)
}

func (t *Transit) listen(authority *gitserver.Authority) error {
	cert, key, err := authority.Issue("vault")
	if err != nil {
		return err
	}
	config, err := transport.ServerTLS(transport.ServerTLSOptions{Cert: cert, Key: key})
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	t.URL = "https://" + l.Addr().String()
	t.server = transport.NewServer(t, transport.ServerOptions{})
	t.server.TLSConfig = config
	go func() {
		defer close(t.done)
		_ = t.server.ServeTLS(l, "", "") // it always returns an error
	}()
	return nil
}

// Close stops the server.
func (t *Transit) Close() error {
	err := t.server.Close()
	<-t.done
	return err
}

// Requests is how many data keys it was asked to decrypt.
func (t *Transit) Requests() int { return int(t.requests.Load()) }

// Logins is how often somebody has logged in.
func (t *Transit) Logins() int { return int(t.logins.Load()) }

// Bind lets a subject log in with a role.
func (t *Transit) Bind(role, subject string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.roles[role] = subject
}

// Revoke ends what all logins gave.
func (t *Transit) Revoke() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.given)
}

// Encrypt returns a data key as the engine encrypts it.
func (t *Transit) Encrypt(dataKey []byte) string {
	return "vault:v1:" + base64.StdEncoding.EncodeToString(t.aead.Seal(nil, nil, dataKey, nil))
}

// Entry is the entry of a key group for a data key.
func (t *Transit) Entry(dataKey []byte) Entry {
	return Entry{Kind: "hc_vault", Fields: map[string]string{
		"vault_address": t.URL, "engine_path": "transit", "key_name": KeyName, "created_at": "2026-11-01T00:00:00Z", "enc": t.Encrypt(dataKey),
	}}
}

// ServeHTTP implements http.Handler. Its refusals quote what they were sent, as no service should.
func (t *Transit) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path == "/v1/"+LoginPath {
		t.logIn(w, req)
		return
	}
	t.requests.Add(1)
	if token := req.Header.Get("X-Vault-Token"); token != Token && !t.good(token) {
		answer(w, http.StatusForbidden, map[string]any{"errors": []string{"permission denied: " + token}})
		return
	}
	if req.URL.Path != "/v1/transit/decrypt/"+KeyName || req.Method != http.MethodPost && req.Method != http.MethodPut {
		answer(w, http.StatusNotFound, map[string]any{"errors": []string{}})
		return
	}
	var body struct {
		Ciphertext string `json:"ciphertext"`
	}
	data, err := transport.ReadAll(req.Body, 64<<10)
	if err == nil {
		err = json.Unmarshal(data, &body)
	}
	if err == nil {
		data, err = t.decrypt(body.Ciphertext)
	}
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]any{"errors": []string{err.Error()}})
		return
	}
	answer(w, http.StatusOK, map[string]any{"data": map[string]string{"plaintext": base64.StdEncoding.EncodeToString(data)}})
}

func (t *Transit) good(token string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Now().Before(t.given[token])
}

// logIn is the login of the Kubernetes auth method: https://openbao.org/api-docs/auth/kubernetes/#login
func (t *Transit) logIn(w http.ResponseWriter, req *http.Request) {
	var body struct{ Role, JWT string }
	data, err := transport.ReadAll(req.Body, 64<<10)
	if err == nil {
		err = json.Unmarshal(data, &body)
	}
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]any{"errors": []string{err.Error()}})
		return
	}
	t.mu.Lock()
	subject, known := t.roles[body.Role]
	t.mu.Unlock()
	if !known {
		answer(w, http.StatusBadRequest, map[string]any{"errors": []string{"invalid role name"}})
		return
	}
	who := ""
	if t.Review != nil {
		who, err = t.Review(body.JWT, t.URL)
	}
	if err != nil || who != subject {
		answer(w, http.StatusForbidden, map[string]any{"errors": []string{"permission denied: " + body.JWT}})
		return
	}
	t.logins.Add(1)
	token, lease := "s."+rand.Text(), cmp.Or(t.Lease, time.Hour)
	t.mu.Lock()
	t.given[token] = time.Now().Add(lease)
	t.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{"auth": map[string]any{"client_token": token, "lease_duration": int(lease / time.Second), "num_uses": 0}})
}

func (t *Transit) decrypt(ciphertext string) ([]byte, error) {
	text, ok := strings.CutPrefix(ciphertext, "vault:v1:")
	if !ok {
		return nil, errors.New("invalid ciphertext: no prefix")
	}
	sealed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	return t.aead.Open(nil, nil, sealed, nil)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client has gone
}
