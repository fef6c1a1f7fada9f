// SPDX-License-Identifier: Apache-2.0

package github

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/transport"
)

const (
	// publicAPI is that of github.com.
	publicAPI = "https://api.github.com"
	// apiVersion is the version of the API that is spoken.
	apiVersion = "2022-11-28"
	// maxAnswer bounds an answer, which takes some KiB.
	maxAnswer = 256 << 10
	// callTimeout bounds one call.
	callTimeout = 30 * time.Second
	// assertionLife is for how long the App speaks for itself; GitHub allows ten minutes. Clocks may differ by skew.
	assertionLife = 5 * time.Minute
	skew          = time.Minute
)

// App is a GitHub App and one of its installations: by Installation, or by the Owner it is installed for.
type App struct {
	// ID is the App's id or client id, and Key its private key in PEM.
	ID  string
	Key []byte
	// Owner is a user or an organization, and Installation the id of an installation. One of them is set.
	Owner, Installation string
	// BaseURL is the address of the API. Empty is that of github.com.
	BaseURL string
	// TLS is whom to trust, and Proxy the way there.
	TLS   transport.TLS
	Proxy transport.Proxy
}

// The lengths in bytes stand apart from the expressions, where each character that a bound allows costs memory.
const (
	maxID    = 64
	maxLogin = 100
)

var (
	appID    = regexp.MustCompile(`^[A-Za-z0-9.]+$`)
	login    = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	numberID = regexp.MustCompile(`^[0-9]{1,20}$`)
)

// Validate names what cannot work by the key of the Secret that it stands in.
func (a App) Validate() error {
	switch {
	case len(a.ID) > maxID || !appID.MatchString(a.ID):
		return errors.New("githubAppID is missing or no id")
	case len(a.Key) == 0:
		return errors.New("githubAppPrivateKey is missing")
	case a.Owner == "" && a.Installation == "":
		return errors.New("githubAppInstallationOwner and githubAppInstallationID are missing: give one of them")
	case a.Owner != "" && a.Installation != "":
		return errors.New("githubAppInstallationOwner and githubAppInstallationID are both there: give one of them")
	case len(a.Owner) > maxLogin || a.Owner != "" && !login.MatchString(a.Owner):
		return errors.New("githubAppInstallationOwner is no name of a user or an organization")
	case a.Installation != "" && !numberID.MatchString(a.Installation):
		return errors.New("githubAppInstallationID is no number")
	}
	_, err := a.base()
	return err
}

// base returns the address of the API.
func (a App) base() (*url.URL, error) {
	address := a.BaseURL
	if address == "" {
		address = publicAPI
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("githubAppBaseURL is no https address")
	}
	return u, nil
}

// Serves reports whether the repositories of a host are those of the API, so that its tokens may go there.
func (a App) Serves(host string) bool {
	u, err := a.base()
	if err != nil {
		return false
	}
	api := strings.ToLower(u.Host)
	host = strings.ToLower(host)
	name, hosted := strings.CutPrefix(api, "api.") // of github.com, and of enterprises that GitHub hosts
	return host == api || hosted && host == name && (name == "github.com" || strings.HasSuffix(name, ".ghe.com"))
}

// Error says that the API refused. Find it with errors.As.
type Error struct {
	// Host is who said so, and Status the status of its answer.
	Host   string
	Status int
}

// Error tells host and status.
func (e *Error) Error() string {
	return fmt.Sprintf("%s answers %d %s", e.Host, e.Status, http.StatusText(e.Status))
}

// Token is a token of an installation.
type Token struct {
	// Value is sent as the password of the user "x-access-token".
	Value string
	// Expires is when GitHub stops accepting it.
	Expires time.Time
}

// String shows no secret.
func (Token) String() string { return "[redacted]" }

// GoString shows no secret.
func (Token) GoString() string { return "[redacted]" }

// Client signs as Apps and asks for tokens. Both fields are required.
type Client struct {
	Backend fips.Backend
	Now     func() time.Time
	// UserAgent is how it names itself.
	UserAgent string
}

// Token returns a new token of an installation, good for reading the contents of its repositories.
func (c Client) Token(ctx context.Context, app App) (Token, error) {
	if err := app.Validate(); err != nil {
		return Token{}, err
	}
	web, err := transport.NewClient(transport.ClientOptions{
		TLS: app.TLS, Proxy: app.Proxy, ProxyFromEnvironment: true, UserAgent: c.UserAgent, Timeout: callTimeout, MaxRedirects: -1,
	})
	if err != nil {
		return Token{}, err
	}
	defer web.CloseIdleConnections()
	assertion, err := c.assertion(ctx, app)
	if err != nil {
		return Token{}, fmt.Errorf("githubAppPrivateKey: %w", err)
	}
	api := api{client: web, app: app, assertion: assertion}
	id := app.Installation
	if id == "" {
		if id, err = api.installation(ctx); err != nil {
			return Token{}, err
		}
	}
	var answer struct {
		Token   string    `json:"token"`
		Expires time.Time `json:"expires_at"`
	}
	if err := api.call(ctx, http.MethodPost, "app/installations/"+id+"/access_tokens", `{"permissions":{"contents":"read"}}`, &answer); err != nil {
		return Token{}, fmt.Errorf("token of installation %s: %w", id, err)
	}
	if answer.Token == "" || !answer.Expires.After(c.Now()) {
		return Token{}, fmt.Errorf("token of installation %s: the API answers without one that is good; check the clocks", id)
	}
	return Token{Value: answer.Token, Expires: answer.Expires}, nil
}

// assertion is what the App says of itself, signed (RFC 7519).
func (c Client) assertion(ctx context.Context, app App) (string, error) {
	key, err := fips.PKCS8(app.Key)
	if err != nil {
		return "", err
	}
	signer, err := c.Backend.Signer(ctx, fips.KeyRef{PEM: key})
	if err != nil {
		return "", err
	}
	now := c.Now()
	claims, err := json.Marshal(map[string]any{"iss": app.ID, "iat": now.Add(-skew).Unix(), "exp": now.Add(assertionLife).Unix()})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(claims)
	digest, err := fips.Sum(c.Backend, crypto.SHA256, []byte(text))
	if err != nil {
		return "", err
	}
	signature, err := signer.Sign(c.Backend.Rand(), digest, crypto.SHA256)
	return text + "." + encode(signature), err
}

// api is a conversation with an API as an App.
type api struct {
	client    *http.Client
	app       App
	assertion string
}

// installation finds the installation for the owner, be that an organization or a user.
func (a api) installation(ctx context.Context) (string, error) {
	var err error
	for _, kind := range []string{"orgs", "users"} {
		var answer struct {
			ID int64 `json:"id"`
		}
		err = a.call(ctx, http.MethodGet, kind+"/"+a.app.Owner+"/installation", "", &answer)
		if err == nil && answer.ID > 0 {
			return strconv.FormatInt(answer.ID, 10), nil
		}
		if refused, ok := errors.AsType[*Error](err); !ok || refused.Status != http.StatusNotFound {
			break
		}
	}
	if err == nil {
		err = errors.New("the API names none")
	}
	return "", fmt.Errorf("installation for %q: %w", a.app.Owner, err)
}

// call sends one request and reads the answer. Nothing of a refusal but its status is told.
func (a api) call(ctx context.Context, method, path, body string, answer any) error {
	base, err := a.app.base()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, base.JoinPath(path).String(), strings.NewReader(body))
	if err != nil {
		return errors.New("no valid address")
	}
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("X-GitHub-Api-Version", apiVersion)
	req.Header.Set("Authorization", "Bearer "+a.assertion)
	resp, err := a.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask %s: %w", base.Host, transport.Cause(err))
	}
	defer resp.Body.Close() // read to the end or given up
	data, err := transport.ReadAll(resp.Body, maxAnswer)
	switch {
	case err != nil:
		return fmt.Errorf("answer of %s: %w", base.Host, err)
	case resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated:
		return &Error{Host: base.Host, Status: resp.StatusCode}
	case json.Unmarshal(data, answer) != nil:
		return fmt.Errorf("%s answers with something that cannot be read", base.Host)
	}
	return nil
}
