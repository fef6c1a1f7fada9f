// SPDX-License-Identifier: Apache-2.0

package sopskeys

import (
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
	"sync/atomic"

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

	aead     cipher.AEAD
	server   *http.Server
	done     chan struct{}
	requests atomic.Int64
}

// StartTransit starts a server on loopback. Close it.
func StartTransit() (*Transit, error) {
	key := make([]byte, 32)
	rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	t := &Transit{done: make(chan struct{})}
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
	t.requests.Add(1)
	if token := req.Header.Get("X-Vault-Token"); token != Token {
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
