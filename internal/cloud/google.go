// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Annotations of a ServiceAccount that name the provider of a workload identity pool which trusts this cluster, and a service account
// of Google Cloud to act as. Without the former it is the pool of this cluster's project, which must be of GKE; without the latter the
// workload acts as itself.
const (
	PoolAnnotation          = "gcp.auth.fluxcd.io/workload-identity-provider"
	GoogleAccountAnnotation = "iam.gke.io/gcp-service-account"
)

// The services of Google Cloud that are asked, and the scope for all of them.
const (
	googleSTS         = "https://sts.googleapis.com/v1/token"
	googleCredentials = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
	googleContainer   = "https://container.googleapis.com/v1/"
	googlePlatform    = "https://www.googleapis.com/auth/cloud-platform"
)

// googleScopes are what a token is good for: GKE's API server knows users by their address.
func googleScopes() []string {
	return []string{googlePlatform, "https://www.googleapis.com/auth/userinfo.email"}
}

// googleLifetime is how long a token of a service account is asked for.
const googleLifetime = 15 * time.Minute

// GoogleIdentity is as whom a workload acts at Google Cloud. Only ParseGoogleIdentity makes one.
type GoogleIdentity struct{ provider, email string }

var (
	googleProvider = newPattern(`projects/([0-9]+)/locations/global/workloadIdentityPools/([a-z0-9-]+)/providers/([a-z0-9-]+)`, 30, 100, 100)
	googleEmail    = newPattern(`([a-zA-Z0-9-]+)@([a-zA-Z0-9-]+)\.iam\.gserviceaccount\.com`, 100, 100)
)

// ParseGoogleIdentity reads the annotations of a ServiceAccount.
func ParseGoogleIdentity(annotations map[string]string) (GoogleIdentity, error) {
	provider, ok := annotations[PoolAnnotation]
	switch {
	case ok && !googleProvider.matches(provider):
		return GoogleIdentity{}, invalid(PoolAnnotation, "projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>")
	}
	email := annotations[GoogleAccountAnnotation]
	if email != "" && !googleEmail.matches(email) {
		return GoogleIdentity{}, invalid(GoogleAccountAnnotation, "<name>@<project>.iam.gserviceaccount.com")
	}
	return GoogleIdentity{provider: provider, email: email}, nil
}

// GoogleAudience is for whom a workload's token is that is exchanged for the identity.
func (c *Client) GoogleAudience(ctx context.Context, id GoogleIdentity) (string, error) {
	token, _, err := c.audiences(ctx, id)
	return token, err
}

// audiences returns for whom the workload's token is, and what the token service calls the same.
func (c *Client) audiences(ctx context.Context, id GoogleIdentity) (token, exchange string, err error) {
	if id.provider != "" {
		audience := "//iam.googleapis.com/" + id.provider
		return audience, audience, nil
	}
	project, cluster, err := c.home.cluster(ctx)
	if err != nil {
		return "", "", err
	}
	pool := project + ".svc.id.goog"
	return pool, "identitynamespace:" + pool + ":" + googleContainer + cluster.name, nil
}

// GoogleToken exchanges a workload's token for one of Google Cloud.
func (c *Client) GoogleToken(ctx context.Context, id GoogleIdentity, token Secret) (Token, error) {
	return c.google(ctx, id, token, googleScopes())
}

// GoogleKMSToken exchanges a workload's token for one that a key service takes and, where the workload acts as a service account,
// nobody else does.
func (c *Client) GoogleKMSToken(ctx context.Context, id GoogleIdentity, token Secret) (Token, error) {
	return c.google(ctx, id, token, []string{GoogleKMSScope})
}

// google exchanges a workload's token for one with these scopes. That of the workload itself has the scope that acting as another takes.
func (c *Client) google(ctx context.Context, id GoogleIdentity, token Secret, scopes []string) (Token, error) {
	const kind = "urn:ietf:params:oauth:token-type:"
	_, audience, err := c.audiences(ctx, id)
	if err != nil {
		return Token{}, err
	}
	federated, err := c.exchange(ctx, googleSTS, url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "audience": {audience}, "scope": {googlePlatform},
		"requested_token_type": {kind + "access_token"}, "subject_token_type": {kind + "jwt"}, "subject_token": {string(token)},
	})
	if err != nil || id.email == "" {
		return federated, err
	}
	return c.googleAccount(ctx, id.email, federated, scopes)
}

// googleAccount turns the token of a workload into one of a service account, on which it needs roles/iam.workloadIdentityUser.
func (c *Client) googleAccount(ctx context.Context, email string, federated Token, scopes []string) (Token, error) {
	body, err := json.Marshal(map[string]any{"scope": scopes, "lifetime": fmt.Sprintf("%ds", googleLifetime/time.Second)})
	if err != nil {
		return Token{}, err
	}
	req, err := request(ctx, http.MethodPost, googleCredentials+email+":generateAccessToken", "application/json", string(body))
	if err != nil {
		return Token{}, err
	}
	bearer(req, federated)
	var answer struct {
		Token   string    `json:"accessToken"`
		Expires time.Time `json:"expireTime"`
	}
	if err := c.call(req, json.Unmarshal, &answer); err != nil {
		return Token{}, err
	}
	return c.token(req.URL.Host, answer.Token, answer.Expires)
}

// GKE is a cluster of Google Kubernetes Engine. Only ParseGKE makes one.
type GKE struct{ name string }

var gkeName = newPattern(`projects/([a-z0-9][a-z0-9:.-]*)/locations/([a-z0-9-]+)/clusters/([a-z0-9-]+)`, 100, 64, 64)

// ParseGKE reads the name of a cluster.
func ParseGKE(name string) (GKE, error) {
	if !gkeName.matches(name) {
		return GKE{}, errors.New("no name of a GKE cluster: want projects/<project>/locations/<location>/clusters/<name>")
	}
	return GKE{name: name}, nil
}

// LocateGKE asks where a cluster is. The identity needs container.clusters.get.
func (c *Client) LocateGKE(ctx context.Context, token Token, cluster GKE) (Location, error) {
	req, err := request(ctx, http.MethodGet, googleContainer+cluster.name, "", "")
	if err != nil {
		return Location{}, err
	}
	bearer(req, token)
	var answer struct {
		Endpoint string `json:"endpoint"`
		Auth     struct {
			Authority []byte `json:"clusterCaCertificate"`
		} `json:"masterAuth"`
	}
	if err := c.call(req, json.Unmarshal, &answer); err != nil {
		return Location{}, err
	}
	return located(req.URL.Host, answer.Endpoint, answer.Auth.Authority)
}
