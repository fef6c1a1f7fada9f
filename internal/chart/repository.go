// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/transport"
)

// The reasons of this package's faults, in Flux's vocabulary (spec row S-10).
const (
	reasonURL            = "URLInvalid"
	reasonAuthentication = "AuthenticationFailed"
	reasonFailed         = "Failed"
	reasonIndexation     = "IndexationFailed"
)

// RepositoryConfig says where a repository is and as whom to go there. URL is required.
type RepositoryConfig struct {
	// URL is that of the folder with index.yaml.
	URL string
	// Username and Password are sent to the origin of URL; empty means nothing is sent.
	Username, Password string
	// PassCredentials sends them, and the client certificate, to other origins that the index names too.
	PassCredentials bool
	// AllowInsecureCredentials permits to send them over plain http.
	AllowInsecureCredentials bool
	// TLS says whom to trust and as whom to appear.
	TLS transport.TLS
	// UserAgent is sent with every request.
	UserAgent string
	// Timeout bounds each request. Zero means one minute.
	Timeout time.Duration
	// Limits bound what is taken.
	Limits Limits
}

// Repository is a Helm repository over HTTP. It owns its connections until Close.
type Repository struct {
	config RepositoryConfig
	base   *url.URL
	home   *http.Client // shows the client certificate
	away   *http.Client // does not
}

// OpenRepository returns a client of a repository. It makes no request.
func OpenRepository(config RepositoryConfig) (*Repository, error) {
	base, err := parseURL(config.URL)
	if err != nil {
		return nil, fault.New(fault.Invalid, reasonURL, "URL %q: %w", transport.RedactURL(config.URL), err)
	}
	if config.Username != "" && base.Scheme == "http" && !config.AllowInsecureCredentials {
		return nil, fault.New(fault.Invalid, reasonAuthentication,
			"URL %q: credentials are not sent over plain http in the strict profile: use https", transport.RedactURL(config.URL))
	}
	config.Timeout, config.Limits = cmp.Or(config.Timeout, time.Minute), config.Limits.withDefaults()
	r := &Repository{config: config, base: base}
	options := transport.ClientOptions{TLS: config.TLS, UserAgent: config.UserAgent, Timeout: config.Timeout}
	if r.home, err = transport.NewClient(options); err != nil {
		return nil, fault.New(fault.Retry, reasonAuthentication, "TLS configuration of %q: %w", base.Host, err)
	}
	options.TLS.Cert, options.TLS.Key = nil, nil
	if r.away, err = transport.NewClient(options); err != nil {
		return nil, fault.New(fault.Retry, reasonAuthentication, "TLS configuration of %q: %w", base.Host, err)
	}
	return r, nil
}

func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("it cannot be read")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("scheme %q is neither http nor https", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("it has no host")
	case u.User != nil:
		return nil, errors.New("it holds credentials, which everybody reads who may read the object: put them into a Secret")
	}
	return u, nil
}

// Close closes the connections.
func (r *Repository) Close() {
	r.home.CloseIdleConnections()
	r.away.CloseIdleConnections()
}

// Validators are what a server gave beside an index to tell later whether it has changed. They hold for one URL.
type Validators struct {
	ETag, LastModified string
}

// maxValidator bounds each validator that is kept.
const maxValidator = 1024

// Fetched is an answer to [Repository.Index].
type Fetched struct {
	// Unchanged is set when the server said that the index is still the one of the validators. Index is nil then.
	Unchanged bool
	// Index is the index.yaml as it was sent.
	Index []byte
	// Validators are those of Index.
	Validators Validators
}

// Index fetches index.yaml, unless it is still the one that v came with.
func (r *Repository) Index(ctx context.Context, v Validators) (Fetched, error) {
	u := *r.base
	u.Path, u.RawPath = path.Join("/", u.Path, "index.yaml"), ""
	header := http.Header{}
	if v.ETag != "" {
		header.Set("If-None-Match", v.ETag)
	}
	if v.LastModified != "" {
		header.Set("If-Modified-Since", v.LastModified)
	}
	answer, err := r.get(ctx, &u, header)
	if err != nil {
		return Fetched{}, err
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusNotModified && v != (Validators{}) {
		return Fetched{Unchanged: true, Validators: v}, nil
	}
	if err := r.refused(&u, answer.StatusCode); err != nil {
		return Fetched{}, err
	}
	body, err := r.read(ctx, &u, answer, r.config.Limits.Index)
	if large, ok := errors.AsType[*transport.TooLargeError](err); ok {
		return Fetched{}, fault.New(fault.Retry, reasonIndexation,
			"index of %q is larger than %d bytes: split the repository, or ask the platform team to raise --helm-index-max-size", transport.RedactURL(u.String()), large.Limit)
	}
	if err != nil {
		return Fetched{}, err
	}
	out := Fetched{Index: body}
	if tag := answer.Header.Get("ETag"); len(tag) <= maxValidator {
		out.Validators.ETag = tag
	}
	if modified := answer.Header.Get("Last-Modified"); len(modified) <= maxValidator {
		out.Validators.LastModified = modified
	}
	return out, nil
}

// Locate returns the URL of a chart as an index names it. A relative one is below the repository's, with its query.
func (r *Repository) Locate(reference string) (*url.URL, error) {
	ref, err := url.Parse(reference)
	if err != nil {
		return nil, errors.New("the chart's URL cannot be read")
	}
	if !ref.IsAbs() && ref.Host == "" {
		base := *r.base
		base.Path, base.RawPath = strings.TrimSuffix(base.Path, "/")+"/", ""
		full := base.ResolveReference(ref)
		if full.RawQuery == "" {
			full.RawQuery = r.base.RawQuery
		}
		return full, nil
	}
	full := r.base.ResolveReference(ref)
	if _, err := parseURL(full.String()); err != nil {
		return nil, fmt.Errorf("the chart's URL %q: %w", transport.RedactURL(full.String()), err)
	}
	return full, nil
}

// Download fetches a chart's archive.
func (r *Repository) Download(ctx context.Context, u *url.URL) ([]byte, error) {
	answer, err := r.get(ctx, u, http.Header{"Accept-Encoding": {"identity"}})
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if err := r.refused(u, answer.StatusCode); err != nil {
		return nil, err
	}
	body, err := r.read(ctx, u, answer, r.config.Limits.Archive)
	if large, ok := errors.AsType[*transport.TooLargeError](err); ok {
		return nil, fmt.Errorf("chart %q is larger than %d bytes (--helm-chart-max-size)", transport.RedactURL(u.String()), large.Limit)
	}
	return body, err
}

// get sends a request, with credentials where they belong.
func (r *Repository) get(ctx context.Context, u *url.URL, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("request to %q: it cannot be made", transport.RedactURL(u.String()))
	}
	req.Header = header
	client := r.away
	if r.config.PassCredentials || origin(u) == origin(r.base) {
		client = r.home
		if r.config.Username != "" && (u.Scheme == "https" || r.config.AllowInsecureCredentials) {
			pair := r.config.Username + ":" + r.config.Password
			req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
		}
	}
	answer, err := client.Do(req)
	if err != nil {
		return nil, r.unreachable(ctx, u, err)
	}
	return answer, nil
}

// read takes a body whole. One that says that it is too large is not begun.
func (r *Repository) read(ctx context.Context, u *url.URL, answer *http.Response, limit int64) ([]byte, error) {
	if answer.ContentLength > limit {
		return nil, &transport.TooLargeError{Limit: limit}
	}
	body, err := transport.ReadAll(answer.Body, limit)
	if _, large := errors.AsType[*transport.TooLargeError](err); large || err == nil {
		return body, err
	}
	return nil, r.unreachable(ctx, u, err)
}

// unreachable is about a server that did not answer, or not to the end.
func (r *Repository) unreachable(ctx context.Context, u *url.URL, err error) error {
	timeout, isNet := errors.AsType[net.Error](err)
	if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil || isNet && timeout.Timeout() {
		return fault.New(fault.Retry, reasonFailed, "%q did not answer in time", transport.RedactURL(u.String()))
	}
	return fault.New(fault.Retry, reasonFailed, "%q: %w", transport.RedactURL(u.String()), transport.Cause(err))
}

// refused returns nil for the one status that brings content.
func (r *Repository) refused(u *url.URL, status int) error {
	where := transport.RedactURL(u.String())
	switch status {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return fault.New(fault.Retry, reasonAuthentication, "%q answered %d: check the credentials in the Secret", where, status)
	default:
		return fault.New(fault.Retry, reasonFailed, "%q answered %d %s", where, status, http.StatusText(status))
	}
}

// origin is scheme, host and port in one comparable form.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
