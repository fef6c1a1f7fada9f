// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"sluice.dev/sluice/internal/transport"
)

// session is one conversation with upload-pack: advertise once, then fetch at most once, or over http as often as needed.
type session interface {
	advertise(ctx context.Context) (advert, error)
	// fetch sends an encoded request and returns the response, bounded by limit bytes.
	fetch(ctx context.Context, body []byte, limit int64) (io.ReadCloser, error)
	close()
}

// httpSession speaks the smart HTTP protocol (gitprotocol-http). base moves to where the first answer came from, as Git's
// http.followRedirects=initial does; credentials stay behind when that is another origin.
type httpSession struct {
	client *http.Client
	base   *url.URL
	auth   Auth
	limit  int64
	moved  bool
}

func newHTTPSession(r *Remote) (*httpSession, error) {
	client, err := transport.NewClient(transport.ClientOptions{TLS: r.auth.TLS, Proxy: r.proxy, UserAgent: r.userAgent})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAuth, err)
	}
	base := *r.url
	base.User = nil
	base.Path = strings.TrimSuffix(base.Path, "/")
	base.RawPath = strings.TrimSuffix(base.RawPath, "/")
	return &httpSession{client: client, base: &base, auth: r.auth, limit: r.limits.AdvertisedBytes}, nil
}

func (s *httpSession) advertise(ctx context.Context) (advert, error) {
	target := s.base.JoinPath("info/refs")
	target.RawQuery = "service=git-upload-pack"
	res, err := s.do(ctx, http.MethodGet, target, nil)
	if err != nil {
		return advert{}, err
	}
	defer res.Body.Close() // read to its end or given up
	if err := checkType(res, "application/x-git-upload-pack-advertisement"); err != nil {
		return advert{}, err
	}
	if err := s.follow(target, res.Request.URL); err != nil {
		return advert{}, err
	}
	body := transport.LimitBody(res.Body, s.limit)
	return readAdvert(newPackets(body, s.auth.secrets()), true)
}

// follow takes over the place the advertisement was redirected to.
func (s *httpSession) follow(asked, answered *url.URL) error {
	if answered.String() == asked.String() {
		return nil
	}
	path, ok := strings.CutSuffix(answered.Path, "/info/refs")
	if !ok {
		return fmt.Errorf("redirected to a place that is no repository: %w", errProtocol)
	}
	s.moved = answered.Scheme != s.base.Scheme || answered.Host != s.base.Host
	s.base = &url.URL{Scheme: answered.Scheme, Host: answered.Host, Path: path}
	return nil
}

func (s *httpSession) fetch(ctx context.Context, body []byte, limit int64) (io.ReadCloser, error) {
	res, err := s.do(ctx, http.MethodPost, s.base.JoinPath("git-upload-pack"), body)
	if err != nil {
		return nil, err
	}
	if err := checkType(res, "application/x-git-upload-pack-result"); err != nil {
		_ = res.Body.Close()
		return nil, err
	}
	return transport.LimitBody(res.Body, limit), nil
}

func (s *httpSession) close() { s.client.CloseIdleConnections() }

func (s *httpSession) do(ctx context.Context, method string, target *url.URL, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("request for %q cannot be made", transport.RedactURL(target.String()))
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-git-upload-pack-request")
		req.Header.Set("Accept", "application/x-git-upload-pack-result")
	}
	s.authorize(req)
	res, err := s.client.Do(req)
	if err != nil {
		return nil, transport.Cause(err)
	}
	if err := checkStatus(res); err != nil {
		_ = res.Body.Close()
		return nil, err
	}
	return res, nil
}

// authorize adds the credential, unless the repository has moved to another origin.
func (s *httpSession) authorize(req *http.Request) {
	switch {
	case s.moved:
	case s.auth.BearerToken != "":
		req.Header.Set("Authorization", "Bearer "+s.auth.BearerToken)
	case s.auth.Username != "":
		req.SetBasicAuth(s.auth.Username, s.auth.Password)
	}
}

// checkStatus reads nothing of an error's body: it is foreign text of any length, and may echo what we sent.
func checkStatus(res *http.Response) error {
	switch res.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized:
		return fmt.Errorf("the server wants other credentials (status 401): %w", errAuth)
	case http.StatusForbidden:
		return fmt.Errorf("the server forbids access with these credentials (status 403): %w", errAuth)
	case http.StatusNotFound:
		return fmt.Errorf("no repository there, or none these credentials may see (status 404): %w", ErrNotFound)
	default:
		return fmt.Errorf("the server answers with status %d", res.StatusCode)
	}
}

// checkType tells a Git server from a web page.
func checkType(res *http.Response, want string) error {
	if got := res.Header.Get("Content-Type"); got != want {
		return fmt.Errorf("content type %q, want %q: %w", remoteText(got, nil), want, errProtocol)
	}
	return nil
}
