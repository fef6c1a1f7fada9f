// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/transport"
)

const (
	// maxAnswer bounds what a cloud may answer, in bytes. A cluster with all its node pools takes some 100 KiB.
	maxAnswer = 1 << 20
	// callTimeout bounds one call from dial to the last byte.
	callTimeout = 30 * time.Second
	// maxLifetime bounds how long a token is believed to be good.
	maxLifetime = 24 * time.Hour
)

// Config is how the clouds are reached. Digests is needed, the rest has documented zero values.
type Config struct {
	// Digests signs requests to AWS.
	Digests fips.Digests
	// UserAgent is how the client names itself. Empty is "sluice".
	UserAgent string
	// Azure is which of Microsoft's clouds is meant. The zero value is the public one.
	Azure AzureCloud
	// TLS is whom to trust. The zero value is the system's authorities.
	TLS transport.TLS
	// Proxy is the way to the clouds. Nil takes it from the environment.
	Proxy *url.URL
	// Metadata is the address of GKE's metadata service, which tells the name of this cluster. Empty is GKE's own.
	Metadata string
	// Now is the clock. Nil is the machine's.
	Now func() time.Time
}

// Client speaks to the clouds. It may be used by several goroutines at once.
type Client struct {
	http    *http.Client
	web     transport.ClientOptions // of http
	digests fips.Digests
	azure   AzureCloud
	home    *home
	now     func() time.Time
}

// New returns a client. It does not connect yet.
func New(config Config) (*Client, error) {
	if config.Digests == nil {
		return nil, errors.New("client of clouds: Digests is required")
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	options := transport.ClientOptions{
		TLS: config.TLS, Proxy: transport.ProxyFromURL(config.Proxy), ProxyFromEnvironment: true, UserAgent: cmp.Or(config.UserAgent, "sluice"),
		Timeout: callTimeout, MaxRedirects: -1,
	}
	web, err := transport.NewClient(options)
	if err != nil {
		return nil, fmt.Errorf("client of clouds: %w", err)
	}
	home, err := newHome(config.Metadata, config.Now)
	if err != nil {
		return nil, fmt.Errorf("client of clouds: %w", err)
	}
	return &Client{http: web, web: options, digests: config.Digests, azure: config.Azure, home: home, now: config.Now}, nil
}

// Through returns a client that reaches the clouds by another proxy, and the same one where there is none. Its connections end with
// each call: whose proxy it is shares none with others.
func (c *Client) Through(proxy transport.Proxy) (*Client, error) {
	if proxy.IsZero() {
		return c, nil
	}
	options := c.web
	options.Proxy, options.NoKeepAlive = proxy, true
	web, err := transport.NewClient(options)
	if err != nil {
		return nil, fmt.Errorf("client of clouds: %w", err)
	}
	other := *c
	other.http, other.web = web, options
	return &other, nil
}

// Location is where a cluster is, as its cloud says.
type Location struct {
	// Server is the address of the API server. It may lack the scheme, which is https.
	Server string
	// CA is PEM with the authorities of the API server.
	CA []byte
}

// Error says that a cloud refused. Find it with errors.As.
type Error struct {
	// Host is who said so.
	Host string
	// Status is the status of the answer.
	Status int
	// Code is the cloud's own word for it, empty when it gave none that can be shown.
	Code string
}

// Error tells host, status and code.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s answers %d %s", e.Host, e.Status, http.StatusText(e.Status))
	if e.Code != "" {
		text += " (" + e.Code + ")"
	}
	return text
}

// Refused reports whether the cloud understood who asked, or for what, and does not permit it. Another error may pass by itself.
func (e *Error) Refused() bool {
	switch e.Code {
	case "Throttling", "IDPCommunicationError": // which AWS tells with status 400
		return false
	}
	switch e.Status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return true
	default:
		return false
	}
}

// form makes a POST request with a form.
func form(ctx context.Context, address string, values url.Values) (*http.Request, error) {
	return request(ctx, http.MethodPost, address, "application/x-www-form-urlencoded", values.Encode())
}

// request makes a request. The address holds validated parts only.
func request(ctx context.Context, method, address, contentType, body string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return nil, errors.New("no valid address") // the parser's text quotes it
	}
	if body != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return req, nil
}

// bearer puts a token into a request.
func bearer(req *http.Request, token Token) {
	req.Header.Set("Authorization", "Bearer "+string(token.Value))
}

// call sends a request and reads the answer with decode. Of a refusal it tells the status and the code: the rest could quote
// what we have sent.
func (c *Client) call(req *http.Request, decode func([]byte, any) error, answer any) error {
	host := req.URL.Host
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask %s: %w", host, transport.Cause(err))
	}
	defer resp.Body.Close() // read to the end or given up
	data, err := transport.ReadAll(resp.Body, maxAnswer)
	switch {
	case err != nil:
		return fmt.Errorf("answer of %s: %w", host, err)
	case resp.StatusCode != http.StatusOK:
		return &Error{Host: host, Status: resp.StatusCode, Code: errorCode(resp.Header, data)}
	case decode(data, answer) != nil:
		return fmt.Errorf("%s answers with something that cannot be read", host)
	}
	return nil
}

// oauth is the answer of a token service (RFC 6749 §5.1).
type oauth struct {
	Token   string `json:"access_token"`
	Seconds int64  `json:"expires_in"`
}

// exchange gets a token from a token service.
func (c *Client) exchange(ctx context.Context, address string, values url.Values) (Token, error) {
	req, err := form(ctx, address, values)
	if err != nil {
		return Token{}, err
	}
	asked := c.now()
	var answer oauth
	if err := c.call(req, json.Unmarshal, &answer); err != nil {
		return Token{}, err
	}
	return c.token(req.URL.Host, answer.Token, asked.Add(time.Duration(min(answer.Seconds, int64(maxLifetime/time.Second)))*time.Second))
}

// token checks what a token service has answered.
func (c *Client) token(host, value string, expires time.Time) (Token, error) {
	switch {
	case value == "" || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }):
		return Token{}, fmt.Errorf("%s answers without a token", host)
	case !expires.After(c.now()):
		return Token{}, fmt.Errorf("%s answers with a token that has expired; check the clocks", host)
	}
	return Token{Value: Secret(value), Expires: expires}, nil
}
