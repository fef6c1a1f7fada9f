// SPDX-License-Identifier: Apache-2.0

package clouds

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
)

// Key is a key of a key service, with the one thing that was ever sealed with it.
type Key struct {
	// User may decrypt: a role or the id of an access key, the address of a service account or its workload, a client id or
	// "<tenant>/<client>".
	User string
	// Sealed is what was sealed, as text, and Plain what it was.
	Sealed string
	Plain  []byte
	// Context is the encryption context, which AWS knows.
	Context map[string]string
}

const kmsScope = "https://www.googleapis.com/auth/cloudkms"

// kms answers Decrypt of AWS KMS.
func (c *Clouds) kms(w http.ResponseWriter, r *http.Request, body []byte) {
	refuse := func(code string) {
		answer(w, http.StatusBadRequest, map[string]string{"__type": "com.amazonaws.kms#" + code, "message": string(body)})
	}
	region := strings.Split(r.Host, ".")[1]
	g, err := c.signed(r, body, region, "kms")
	var asked struct {
		KeyID   string            `json:"KeyId"`
		Sealed  []byte            `json:"CiphertextBlob"`
		Context map[string]string `json:"EncryptionContext"`
	}
	var key Key
	found := false
	if json.Unmarshal(body, &asked) == nil {
		key, found = c.config.Keys[asked.KeyID]
	}
	switch {
	case err != nil || r.Method != http.MethodPost || r.Header.Get("X-Amz-Target") != "TrentService.Decrypt":
		refuse("IncompleteSignature")
	case !found || !strings.Contains(asked.KeyID, ":"+region+":"):
		refuse("NotFoundException")
	case g.who != key.User:
		refuse("AccessDeniedException")
	case string(asked.Sealed) != key.Sealed || !maps.Equal(asked.Context, key.Context):
		refuse("InvalidCiphertextException")
	default:
		answer(w, http.StatusOK, map[string]any{"KeyId": asked.KeyID, "Plaintext": key.Plain})
	}
}

// vault answers Decrypt of Azure Key Vault.
func (c *Clouds) vault(w http.ResponseWriter, r *http.Request, body []byte) {
	g, ok := c.bearerOf(r)
	_, domain, _ := strings.Cut(r.Host, ".")
	path, verb := strings.CutSuffix(r.URL.Path, "/decrypt")
	key, found := c.config.Keys["https://"+r.Host+path]
	var asked struct{ Alg, Value string }
	switch {
	case !ok || g.scope != "https://"+domain+"/.default":
		answer(w, http.StatusUnauthorized, map[string]any{"error": map[string]string{"code": "Unauthorized"}})
	case !verb || !found || r.Method != http.MethodPost || r.URL.Query().Get("api-version") == "":
		answer(w, http.StatusNotFound, map[string]any{"error": map[string]string{"code": "KeyNotFound"}})
	case g.who != key.User:
		answer(w, http.StatusForbidden, map[string]any{"error": map[string]string{"code": "Forbidden"}})
	case json.Unmarshal(body, &asked) != nil || asked.Alg != "RSA-OAEP-256" || asked.Value != key.Sealed:
		answer(w, http.StatusBadRequest, map[string]any{"error": map[string]string{"code": "BadParameter", "message": string(body)}})
	default:
		answer(w, http.StatusOK, map[string]string{"value": base64.RawURLEncoding.EncodeToString(key.Plain)})
	}
}

// cloudKMS answers decrypt of Google Cloud KMS.
func (c *Clouds) cloudKMS(w http.ResponseWriter, r *http.Request, body []byte) {
	refuse := func(status int, code string) {
		answer(w, status, map[string]any{"error": map[string]any{"code": status, "status": code, "message": string(body)}})
	}
	g, ok := c.bearerOf(r)
	name, verb := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/v1/"), ":decrypt")
	key, found := c.config.Keys[name]
	var asked struct{ Ciphertext string }
	switch {
	case !ok || !strings.HasPrefix(g.who, "principal:") && g.scope != kmsScope:
		refuse(http.StatusUnauthorized, "UNAUTHENTICATED")
	case !verb || !found || r.Method != http.MethodPost:
		refuse(http.StatusNotFound, "NOT_FOUND")
	case g.who != key.User:
		refuse(http.StatusForbidden, "PERMISSION_DENIED")
	case json.Unmarshal(body, &asked) != nil || asked.Ciphertext != key.Sealed:
		refuse(http.StatusBadRequest, "INVALID_ARGUMENT")
	default:
		answer(w, http.StatusOK, map[string]any{"plaintext": key.Plain})
	}
}
