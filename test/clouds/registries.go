// SPDX-License-Identifier: Apache-2.0

package clouds

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// isRegistry reports whether a host is a registry's, or where the logins of one come from.
func isRegistry(host string) bool {
	return strings.Contains(host, ".ecr.") || strings.Contains(host, "ecr-fips.") || strings.Contains(host, "ecr-public.") ||
		strings.HasSuffix(host, ".azurecr.io") || strings.HasSuffix(host, ".pkg.dev")
}

// registry answers for the registries of the clouds, and for those who make logins for them.
func (c *Clouds) registry(w http.ResponseWriter, r *http.Request, body []byte) {
	switch {
	case r.Header.Get("X-Amz-Target") != "":
		c.ecr(w, r, body)
	case r.URL.Path == "/oauth2/exchange":
		c.acr(w, r, body)
	case !c.mayPull(r):
		w.Header().Set("WWW-Authenticate", `Basic realm="clouds"`)
		w.WriteHeader(http.StatusUnauthorized)
	case c.config.Registry != nil:
		c.config.Registry.ServeHTTP(w, r)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// ecr answers GetAuthorizationToken.
func (c *Clouds) ecr(w http.ResponseWriter, r *http.Request, body []byte) {
	service, target, region := "ecr", "AmazonEC2ContainerRegistry_V20150921", ""
	parts := strings.Split(r.Host, ".")
	for i, part := range parts {
		if strings.HasPrefix(part, "ecr") && i+1 < len(parts) {
			region = parts[i+1]
		}
	}
	if strings.Contains(r.Host, "ecr-public") {
		service, target = "ecr-public", "SpencerFrontendService"
	}
	g, err := c.signed(r, body, region, service)
	if err != nil || r.Header.Get("X-Amz-Target") != target+".GetAuthorizationToken" || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
		answer(w, http.StatusBadRequest, map[string]string{"__type": "AccessDeniedException"})
		return
	}
	expires := time.Now().Add(12 * time.Hour)
	password := c.give("ecr.", grant{who: g.who, expires: expires})
	data := map[string]any{"authorizationToken": base64.StdEncoding.EncodeToString([]byte("AWS:" + password)), "expiresAt": float64(expires.Unix()) + 0.25}
	if service == "ecr-public" {
		answer(w, http.StatusOK, map[string]any{"authorizationData": data})
		return
	}
	answer(w, http.StatusOK, map[string]any{"authorizationData": []any{data}})
}

// acr exchanges a token of Entra for Azure's resources.
func (c *Clouds) acr(w http.ResponseWriter, r *http.Request, body []byte) {
	form, err := url.ParseQuery(string(body))
	g, ok := c.known(form.Get("access_token"))
	if err != nil || !ok || r.Method != http.MethodPost || g.scope != "https://management.azure.com/.default" || form.Get("grant_type") != "access_token" || form.Get("service") != r.Host {
		answer(w, http.StatusUnauthorized, map[string]any{"errors": []any{map[string]string{"code": "UNAUTHORIZED"}}})
		return
	}
	expires := time.Now().Add(3 * time.Hour)
	token := c.give("eyJhbGciOiJSUzI1NiJ9."+base64.RawURLEncoding.EncodeToString([]byte(`{"exp":`+strconv.FormatInt(expires.Unix(), 10)+`}`))+".", grant{who: g.who, expires: expires})
	answer(w, http.StatusOK, map[string]any{"refresh_token": token})
}

// mayPull reports whether the login of a request is one that the registry's cloud has made. Of Google it is the token itself.
func (c *Clouds) mayPull(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	g, known := c.known(password)
	if !ok || !known || g.who == "" {
		return false
	}
	switch user {
	case "AWS":
		return strings.HasPrefix(password, "ecr.") && strings.Contains(r.Host, ".dkr.ecr")
	case "00000000-0000-0000-0000-000000000000":
		return strings.HasPrefix(password, "eyJhbGciOiJSUzI1NiJ9.") && strings.HasSuffix(r.Host, ".azurecr.io")
	case "oauth2accesstoken":
		return (strings.HasPrefix(password, "ya29.") || strings.HasPrefix(password, "sts.")) && strings.HasSuffix(r.Host, ".pkg.dev")
	default:
		return false
	}
}
