// SPDX-License-Identifier: Apache-2.0

package unwrap

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"sluice.dev/sluice/controllers/kustomize/decrypt/sops"
)

// vault decrypts with the transit engine of Vault or OpenBao.
func (o *Opener) vault(ctx context.Context, key sops.Key) ([]byte, error) {
	address, engine, name := key.Fields["vault_address"], strings.Trim(key.Fields["engine_path"], "/"), key.Fields["key_name"]
	session, err := o.vaultSession(ctx, address)
	if err != nil {
		return nil, err
	}
	base, err := secureURL(address)
	if err != nil {
		return nil, err
	}
	if !plainSegments(engine) || !plainSegments(name) {
		return nil, errors.New("no valid path of a transit key")
	}
	body, err := json.Marshal(map[string]string{"ciphertext": key.Encrypted})
	if err != nil {
		return nil, err
	}
	where := base.JoinPath("v1", engine, "decrypt", name).String()
	data, err := o.transit(ctx, where, session, body)
	if refusal, ok := errors.AsType[*statusError](err); ok && refusal.status == http.StatusForbidden && session.drop != nil {
		session.drop() // it may have been revoked before its time
		if session, err = o.vaultSession(ctx, address); err != nil {
			return nil, err
		}
		return o.transit(ctx, where, session, body)
	}
	return data, err
}

// transit asks the engine to decrypt.
func (o *Opener) transit(ctx context.Context, where string, session vaultSession, body []byte) ([]byte, error) {
	req, err := request(ctx, where, "application/json", body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Vault-Token", session.token)
	req.Header.Set("X-Vault-Request", "true")
	var answer struct {
		Data struct {
			Plaintext string `json:"plaintext"`
		} `json:"data"`
	}
	if err := o.call(req, session.trust, &answer); err != nil {
		return nil, err
	}
	return decoded(answer.Data.Plaintext)
}

// decoded reads a data key that a service answers with.
func decoded(text string) ([]byte, error) {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(data) == 0 {
		return nil, errors.New("the answer has no data key")
	}
	return data, nil
}
