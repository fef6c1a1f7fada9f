// SPDX-License-Identifier: Apache-2.0

package clouds

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const cloudPlatform = "https://www.googleapis.com/auth/cloud-platform"

// google answers for the token service, service accounts and GKE.
func (c *Clouds) google(w http.ResponseWriter, r *http.Request, body []byte) {
	switch host, _, _ := strings.Cut(r.Host, "."); host {
	case "sts":
		c.federate(w, r, body)
	case "storage":
		c.gcs(w, r)
	case "oauth2":
		c.oauth(w, body)
	case "iamcredentials":
		c.become(w, r, body)
	case "container":
		c.gke(w, r)
	case "cloudkms":
		c.cloudKMS(w, r, body)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// federate exchanges the token of a workload (RFC 8693).
func (c *Clouds) federate(w http.ResponseWriter, r *http.Request, body []byte) {
	form, err := url.ParseQuery(string(body))
	refuse := func(code string) {
		answer(w, http.StatusBadRequest, map[string]string{"error": code, "error_description": "no: " + form.Get("subject_token")})
	}
	audience := form.Get("audience")
	provider := strings.TrimPrefix(audience, "//iam.googleapis.com/")
	if pool, ok := strings.CutPrefix(audience, "identitynamespace:"); ok { // of GKE
		audience, provider, _ = strings.Cut(pool, ":")
	}
	subject := c.config.Review(r.Context(), form.Get("subject_token"), audience)
	switch {
	case err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/token" || form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange":
		refuse("unsupported_grant_type")
	case form.Get("subject_token_type") != "urn:ietf:params:oauth:token-type:jwt" || form.Get("requested_token_type") != "urn:ietf:params:oauth:token-type:access_token":
		refuse("invalid_request")
	case form.Get("scope") != cloudPlatform:
		refuse("invalid_scope")
	case subject == "" || c.config.Trusts[provider] != subject:
		refuse("invalid_grant")
	default:
		token := c.give("sts.", grant{who: "principal://iam.googleapis.com/" + provider + "/subject/" + subject, scope: subject, expires: time.Now().Add(time.Hour)})
		answer(w, http.StatusOK, map[string]any{"access_token": token, "expires_in": 3599, "token_type": "Bearer"})
	}
}

// become gives a token of a service account.
func (c *Clouds) become(w http.ResponseWriter, r *http.Request, body []byte) {
	g, ok := c.bearerOf(r)
	email, found := strings.CutPrefix(r.URL.Path, "/v1/projects/-/serviceAccounts/")
	email, verb := strings.CutSuffix(email, ":generateAccessToken")
	var asked struct {
		Scope    []string
		Lifetime string
	}
	switch {
	case json.Unmarshal(body, &asked) != nil || !found || !verb || r.Method != http.MethodPost || asked.Lifetime != "900s" || len(asked.Scope) == 0:
		answer(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"code": 400, "status": "INVALID_ARGUMENT"}})
	case !ok || c.config.Trusts[email] != g.scope:
		answer(w, http.StatusForbidden, map[string]any{"error": map[string]any{"code": 403, "status": "PERMISSION_DENIED"}})
	default:
		expires := time.Now().Add(15 * time.Minute)
		token := c.give("ya29.", grant{who: email, scope: strings.Join(asked.Scope, " "), expires: expires})
		answer(w, http.StatusOK, map[string]any{"accessToken": token, "expireTime": expires.UTC().Format(time.RFC3339)})
	}
}

func (c *Clouds) gke(w http.ResponseWriter, r *http.Request) {
	cluster, found := c.config.Clusters[strings.TrimPrefix(r.URL.Path, "/v1/")]
	_, ok := c.bearerOf(r)
	if !ok || !found {
		answer(w, http.StatusForbidden, map[string]any{"error": map[string]any{"code": 403, "status": "PERMISSION_DENIED"}})
		return
	}
	answer(w, http.StatusOK, map[string]any{
		"endpoint": strings.TrimPrefix(cluster.Server, "https://"), "masterAuth": map[string]any{"clusterCaCertificate": cluster.CA},
	})
}

// GKEUser tells whose token it is, as an API server of GKE finds out. Empty means nobody's.
func (c *Clouds) GKEUser(token string) string {
	g, ok := c.known(token)
	if !ok || !strings.HasPrefix(token, "ya29.") && !strings.HasPrefix(token, "sts.") {
		return ""
	}
	return g.who
}

// entra exchanges the token of a workload (RFC 7523).
func (c *Clouds) entra(w http.ResponseWriter, r *http.Request, body []byte) {
	form, err := url.ParseQuery(string(body))
	parts := strings.Split(r.URL.Path, "/")
	if secret := form.Get("client_secret"); secret != "" { // an application with a secret of its own
		if secret != c.config.Storage.Secrets[form.Get("client_id")] {
			answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client", "error_codes": []int{7000215}})
			return
		}
		token := c.give("eyJ0.", grant{who: form.Get("client_id"), scope: form.Get("scope"), expires: time.Now().Add(time.Hour)})
		answer(w, http.StatusOK, map[string]any{"access_token": token, "expires_in": 3599, "token_type": "Bearer"})
		return
	}
	if cert := c.config.Storage.Certificates[form.Get("client_id")]; cert != nil {
		if !c.asserts(form.Get("client_assertion"), form.Get("client_id"), "https://"+r.Host+r.URL.Path, cert) {
			answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client", "error_codes": []int{700027}, "error_description": "no: " + form.Get("client_assertion")})
			return
		}
		token := c.give("eyJ0.", grant{who: form.Get("client_id"), scope: form.Get("scope"), expires: time.Now().Add(time.Hour)})
		answer(w, http.StatusOK, map[string]any{"access_token": token, "expires_in": 3599, "token_type": "Bearer"})
		return
	}
	switch {
	case err != nil || r.Method != http.MethodPost || len(parts) != 5 || strings.Join(parts[2:], "/") != "oauth2/v2.0/token" || form.Get("grant_type") != "client_credentials" ||
		form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || !strings.HasSuffix(form.Get("scope"), "/.default"):
		answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_request", "error_codes": []int{900144}})
	case !c.trusted(r.Context(), form.Get("client_id"), form.Get("client_assertion"), "api://AzureADTokenExchange"):
		answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client", "error_codes": []int{700213}, "error_description": "no: " + form.Get("client_assertion")})
	default:
		token := c.give("eyJ0.", grant{who: parts[1] + "/" + form.Get("client_id"), scope: form.Get("scope"), expires: time.Now().Add(time.Hour)})
		answer(w, http.StatusOK, map[string]any{"access_token": token, "expires_in": 3599, "token_type": "Bearer"})
	}
}

// asserts checks what an application has signed with the key of its certificate (RFC 7523 §3): once, for this address, and with PS256.
// A certificate that is sent along has to be that one.
func (c *Clouds) asserts(assertion, client, address string, cert *x509.Certificate) bool {
	parts := strings.Split(assertion, ".")
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if len(parts) != 3 || !ok {
		return false
	}
	var header struct {
		Algorithm  string   `json:"alg"`
		Thumbprint string   `json:"x5t#S256"`
		Chain      [][]byte `json:"x5c"`
	}
	var claims struct {
		Audience string `json:"aud"`
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		ID       string `json:"jti"`
		Begins   int64  `json:"nbf"`
		Expires  int64  `json:"exp"`
	}
	for i, into := range []any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(text, into) != nil {
			return false
		}
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	thumbprint, sum := sha256.Sum256(cert.Raw), sha256.Sum256([]byte(parts[0]+"."+parts[1]))
	now := time.Now().Unix()
	switch {
	case err != nil || rsa.VerifyPSS(key, crypto.SHA256, sum[:], signature, nil) != nil:
	case header.Algorithm != "PS256" || header.Thumbprint != base64.RawURLEncoding.EncodeToString(thumbprint[:]):
	case len(header.Chain) > 0 && !bytes.Equal(header.Chain[0], cert.Raw):
	case claims.Audience != address || claims.Issuer != client || claims.Subject != client || now < claims.Begins || now >= claims.Expires:
	default:
		c.mu.Lock()
		defer c.mu.Unlock()
		_, seen := c.tokens["jti "+claims.ID]
		c.tokens["jti "+claims.ID] = grant{}
		return claims.ID != "" && !seen
	}
	return false
}

// resources answers listClusterUserCredential of AKS.
func (c *Clouds) resources(w http.ResponseWriter, r *http.Request) {
	g, ok := c.bearerOf(r)
	id, found := strings.CutSuffix(r.URL.Path, "/listClusterUserCredential")
	cluster, exists := c.config.Clusters[strings.ToLower(id)]
	switch {
	case !ok || g.scope != "https://"+r.Host+"/.default":
		answer(w, http.StatusUnauthorized, map[string]any{"error": map[string]string{"code": "InvalidAuthenticationToken"}})
	case !found || !exists || r.Method != http.MethodPost || r.URL.Query().Get("api-version") == "":
		answer(w, http.StatusNotFound, map[string]any{"error": map[string]string{"code": "ResourceNotFound"}})
	default:
		user := "exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: kubelogin, args: [get-token], provideClusterInfo: false}"
		if cluster.Local {
			user = "token: admin-of-everybody"
		}
		var out []map[string]any
		for _, server := range []string{"https://public.example:443", cluster.Server} {
			text := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n"+
				"clusters: [{name: a, cluster: {server: '%s', certificate-authority-data: %s}}]\nusers: [{name: a, user: {%s}}]\n",
				server, base64.StdEncoding.EncodeToString(cluster.CA), user)
			out = append(out, map[string]any{"name": "clusterUser", "value": []byte(text)})
		}
		answer(w, http.StatusOK, map[string]any{"kubeconfigs": out})
	}
}

// AKSUser tells whose token it is, as an API server of AKS finds out. Empty means nobody's.
func (c *Clouds) AKSUser(token string) string {
	g, ok := c.known(token)
	if !ok || g.scope != "6dae42f8-4368-4678-94ff-3960e28e3630/.default" {
		return ""
	}
	return g.who
}
