// SPDX-License-Identifier: Apache-2.0

package clouds

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// App is a GitHub App that is installed for one owner.
type App struct {
	// ID is its id, Owner whom it is installed for, and Installation the id of that.
	ID, Owner string
	// User is set where the owner is no organization.
	User         bool
	Installation int
	// Key is the public half of its key.
	Key *rsa.PublicKey
}

// azureDevOps is the scope of tokens for Azure DevOps.
const azureDevOps = "499b84ac-1321-427f-aa17-267ca6975798/.default"

// repository lets in whoever has the credential of the host.
func (c *Clouds) repository(w http.ResponseWriter, r *http.Request, body []byte) {
	var allowed bool
	user, password, basic := r.BasicAuth()
	switch r.Host {
	case "dev.azure.com":
		g, ok := c.bearerOf(r)
		allowed = ok && g.scope == azureDevOps
	case "github.com":
		g, ok := c.known(password)
		allowed = basic && ok && user == "x-access-token" && g.scope == "contents:read"
	default:
		allowed = basic && c.codeCommit(r, user, password)
	}
	if !allowed || c.config.Git == nil {
		w.Header().Set("WWW-Authenticate", "Basic")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.Header.Del("Authorization")
	c.config.Git.ServeHTTP(w, r)
}

// codeCommit checks a password, which is a signature over the repository's address without what Git adds to it.
func (c *Clouds) codeCommit(r *http.Request, user, password string) bool {
	id, session, _ := strings.Cut(user, "%")
	g, ok := c.known(id)
	when, signature, found := strings.Cut(password, "Z")
	date, err := time.Parse("20060102T150405", when)
	if !ok || !found || err != nil || g.session != session || time.Since(date).Abs() > 15*time.Minute {
		return false
	}
	path := r.URL.Path
	for _, suffix := range []string{"/info/refs", "/git-upload-pack"} {
		path = strings.TrimSuffix(path, suffix)
	}
	canonical := "GIT\n" + path + "\n\nhost:" + r.Host + "\n\nhost\n"
	region := strings.Split(r.Host, ".")[1]
	scope := date.Format("20060102") + "/" + region + "/codecommit/aws4_request"
	key := []byte("AWS4" + g.secret)
	for _, part := range append(strings.Split(scope, "/"), "AWS4-HMAC-SHA256\n"+when+"\n"+scope+"\n"+hexSum([]byte(canonical))) {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	return signature == hex.EncodeToString(key)
}

// github answers for installations of the App.
func (c *Clouds) github(w http.ResponseWriter, r *http.Request) {
	app := c.config.App
	owners := "orgs"
	if app.User {
		owners = "users"
	}
	switch {
	case !app.signed(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")):
		answer(w, http.StatusUnauthorized, map[string]string{"message": "no: " + r.Header.Get("Authorization")})
	case r.Method == http.MethodGet && r.URL.Path == "/"+owners+"/"+app.Owner+"/installation":
		answer(w, http.StatusOK, map[string]any{"id": app.Installation})
	case r.Method == http.MethodPost && r.URL.Path == fmt.Sprintf("/app/installations/%d/access_tokens", app.Installation):
		g := grant{who: app.Owner, scope: "contents:read", expires: time.Now().Add(time.Hour)}
		answer(w, http.StatusCreated, map[string]any{"token": c.give("ghs_", g), "expires_at": g.expires.UTC().Format(time.RFC3339)})
	default:
		answer(w, http.StatusNotFound, map[string]string{"message": "Not Found"})
	}
}

// signed checks what an App says of itself.
func (a App) signed(text string) bool {
	parts := strings.Split(text, ".")
	if len(parts) != 3 || a.Key == nil {
		return false
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = base64.RawURLEncoding.DecodeString(part); err != nil {
			return false
		}
	}
	var header struct{ Alg, Typ string }
	var claims struct {
		Iss      string
		Iat, Exp int64
	}
	if json.Unmarshal(decoded[0], &header) != nil || json.Unmarshal(decoded[1], &claims) != nil {
		return false
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	now := time.Now().Unix()
	return header.Alg == "RS256" && claims.Iss == a.ID && claims.Iat <= now && claims.Exp > now && claims.Exp-claims.Iat <= 600 &&
		rsa.VerifyPKCS1v15(a.Key, crypto.SHA256, sum[:], decoded[2]) == nil
}
