// SPDX-License-Identifier: Apache-2.0

package unwrap

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"sluice.dev/sluice/controllers/kustomize/decrypt/sops"
	"sluice.dev/sluice/internal/transport"
)

// vault decrypts with the transit engine of Vault or OpenBao.
func (o *Opener) vault(ctx context.Context, key sops.Key) ([]byte, error) {
	token := o.creds.text(vaultTokenEntry)
	if token == "" {
		return nil, errNoEntry(vaultTokenEntry)
	}
	address, engine, name := key.Fields["vault_address"], strings.Trim(key.Fields["engine_path"], "/"), key.Fields["key_name"]
	if only := o.creds.text(vaultAddressEntry); only != "" && strings.TrimSuffix(only, "/") != strings.TrimSuffix(address, "/") {
		return nil, fmt.Errorf("the token is not sent there: entry %s of the decryption Secret names another address", vaultAddressEntry)
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
	req, err := request(ctx, base.JoinPath("v1", engine, "decrypt", name).String(), "application/json", body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Vault-Token", token)
	req.Header.Set("X-Vault-Request", "true")
	var answer struct {
		Data struct {
			Plaintext string `json:"plaintext"`
		} `json:"data"`
	}
	if err := o.call(req, transport.TLS{CA: o.creds.entries[caEntry], SystemRoots: true}, &answer); err != nil {
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
