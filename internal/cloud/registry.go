// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// RegistryLogin is what a registry of a cloud takes for a user's name and password.
type RegistryLogin struct {
	Username string
	Password Secret
	// Expires is when the registry stops accepting it.
	Expires time.Time
}

// ECR is a registry of Amazon ECR. Only ParseECR makes one.
type ECR struct {
	region Region
	fips   bool
	public bool
}

// publicECR is where everybody's images are. Its tokens come from one region.
const (
	publicECR       = "public.ecr.aws"
	publicECRRegion = "us-east-1"
)

var ecrHost = newPattern(`[0-9]{12}\.dkr\.ecr(-fips)?\.([a-z0-9-]+)\.([a-z0-9.-]+)`, 0, 32, 64)

// ParseECR reads the host of a registry.
func ParseECR(host string) (ECR, error) {
	if host == publicECR {
		region, err := ParseRegion(publicECRRegion)
		return ECR{region: region, public: true}, err
	}
	parts := ecrHost.find(host)
	if parts == nil {
		return ECR{}, errors.New("no registry of Amazon ECR: want <account>.dkr.ecr.<region>.amazonaws.com or " + publicECR)
	}
	region, err := ParseRegion(parts[2])
	if err != nil || region.domain != parts[3] {
		return ECR{}, errors.New("no registry of Amazon ECR: its region is not valid")
	}
	return ECR{region: region, fips: parts[1] != ""}, nil
}

// Region returns where the registry is.
func (e ECR) Region() Region { return e.region }

// endpoint returns where tokens come from, for which service requests are signed, and the operation's name.
func (e ECR) endpoint() (address, service, target string) {
	const operation = ".GetAuthorizationToken"
	switch {
	case e.public:
		return e.region.url("api.ecr-public"), "ecr-public", "SpencerFrontendService" + operation
	case e.fips:
		return e.region.url("ecr-fips"), "ecr", "AmazonEC2ContainerRegistry_V20150921" + operation
	default:
		return e.region.url("api.ecr"), "ecr", "AmazonEC2ContainerRegistry_V20150921" + operation
	}
}

// ECRLogin asks for the login of a registry. The role needs ecr:GetAuthorizationToken, and the right to pull.
func (c *Client) ECRLogin(ctx context.Context, cred AWSCredential, registry ECR) (RegistryLogin, error) {
	address, service, target := registry.endpoint()
	req, err := request(ctx, http.MethodPost, address, "application/x-amz-json-1.1", "{}")
	if err != nil {
		return RegistryLogin{}, err
	}
	req.Header.Set("X-Amz-Target", target)
	if err := c.signer(cred, registry.region, service).sign(req, "{}"); err != nil {
		return RegistryLogin{}, err
	}
	var answer struct {
		Data ecrData `json:"authorizationData"`
	}
	if err := c.call(req, json.Unmarshal, &answer); err != nil {
		return RegistryLogin{}, err
	}
	decoded, err := base64.StdEncoding.DecodeString(answer.Data.Token)
	user, password, ok := strings.Cut(string(decoded), ":")
	expires := time.Unix(int64(answer.Data.Expires), 0)
	switch {
	case err != nil || !ok || user == "" || password == "":
		return RegistryLogin{}, fmt.Errorf("%s answers without a login", req.URL.Host)
	case !expires.After(c.now()):
		return RegistryLogin{}, fmt.Errorf("%s answers with a login that has expired; check the clocks", req.URL.Host)
	}
	return RegistryLogin{Username: user, Password: Secret(password), Expires: expires}, nil
}

// ecrData is a login, in a list of one or alone.
type ecrData struct {
	Token   string  `json:"authorizationToken"`
	Expires float64 `json:"expiresAt"`
}

// UnmarshalJSON reads both forms: private registries answer with a list, the public one does not.
func (d *ecrData) UnmarshalJSON(data []byte) error {
	type plain ecrData
	if !strings.HasPrefix(strings.TrimSpace(string(data)), "[") {
		return json.Unmarshal(data, (*plain)(d))
	}
	var list []plain
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	if len(list) > 0 {
		*d = ecrData(list[0])
	}
	return nil
}

// ACR is a registry of Azure Container Registry. Only ParseACR makes one.
type ACR struct{ host string }

var acrHost = newPattern(`([a-z0-9][a-z0-9-]*)\.azurecr\.(io|us|cn)`, 63)

// ParseACR reads the host of a registry.
func ParseACR(host string) (ACR, error) {
	if !acrHost.matches(host) {
		return ACR{}, errors.New("no registry of Azure: want <name>.azurecr.io")
	}
	return ACR{host: host}, nil
}

// ACRResource is for what a token of Entra is that ACRLogin exchanges.
func (c *Client) ACRResource() string {
	_, resources := c.azure.hosts()
	return resources
}

// acrUser is the name that goes with a refresh token.
const acrUser = "00000000-0000-0000-0000-000000000000"

// acrLifetime is how long a refresh token is believed to be good that does not say so. The registry says three hours.
const acrLifetime = time.Hour

// ACRLogin exchanges a token of Entra for the login of a registry, at the registry. The identity needs AcrPull.
func (c *Client) ACRLogin(ctx context.Context, token Token, registry ACR) (RegistryLogin, error) {
	req, err := form(ctx, "https://"+registry.host+"/oauth2/exchange", url.Values{
		"grant_type": {"access_token"}, "service": {registry.host}, "access_token": {string(token.Value)},
	})
	if err != nil {
		return RegistryLogin{}, err
	}
	asked := c.now()
	var answer struct {
		Token string `json:"refresh_token"`
	}
	if err := c.call(req, json.Unmarshal, &answer); err != nil {
		return RegistryLogin{}, err
	}
	expires := expiryOf(answer.Token)
	if expires.IsZero() {
		expires = asked.Add(acrLifetime)
	}
	good, err := c.token(registry.host, answer.Token, expires)
	return RegistryLogin{Username: acrUser, Password: good.Value, Expires: good.Expires}, err
}

// expiryOf reads when a JSON web token says that it expires. Whether it is true is for its reader to find out.
func expiryOf(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Expires int64 `json:"exp"`
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil || claims.Expires <= 0 {
		return time.Time{}
	}
	return time.Unix(claims.Expires, 0)
}

var googleRegistry = newPattern(`([a-z0-9-]+)-docker\.pkg\.dev|(?:[a-z]{2,8}\.)?gcr\.io`, 63)

// ParseArtifactRegistry checks the host of a registry of Google Cloud.
func ParseArtifactRegistry(host string) error {
	if !googleRegistry.matches(host) {
		return errors.New("no registry of Google Cloud: want <location>-docker.pkg.dev or gcr.io")
	}
	return nil
}

// GoogleLogin is the login of a registry of Google Cloud. The identity needs artifactregistry.repositories.downloadArtifacts.
func GoogleLogin(token Token) RegistryLogin {
	return RegistryLogin{Username: "oauth2accesstoken", Password: token.Value, Expires: token.Expires}
}
