// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"errors"
	"net/url"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/transport"
)

// Config is everything a Remote needs.
type Config struct {
	// URL is the repository's address (spec row S-30).
	URL string
	// Auth comes from AuthFromSecret; zero reads anonymously.
	Auth Auth
	// Proxy is the way to the server; zero is a direct one.
	Proxy transport.Proxy
	// Limits bounds what the server sends. Zero fields take the defaults.
	Limits Limits
	// Policy is the FIPS profile with its reporters; zero is strict.
	Policy fips.Policy
	// AllowInsecureCredentials permits sending credentials over plain http, where anybody on the way can read them. Flux
	// permits it always (spec row S-38); the zero value refuses, and the caller allows it outside the strict profile.
	AllowInsecureCredentials bool
	// UserAgent names us to the server.
	UserAgent string
	// TempDir is where a pack lies while it is read, unless it is kept in Mirrors; empty means the system's.
	TempDir string
	// Directories are all that is read of a commit; empty is everything. One that is not there fails the fetch (spec row S-40).
	Directories []string
	// Submodules fetches the repositories that a commit refers to; nil leaves them out.
	Submodules *Submodules
	// Mirrors keeps what was fetched, so that the next commit is fetched as a difference. Nil fetches from nothing each time.
	Mirrors *Mirrors
	// SSH narrows the algorithms of ssh.
	SSH SSHChoice
	// Owner says who shares a mirror: those with the same Owner and URL do. It tells apart namespaces, and who asks with which
	// Secret. What is in the Secret is no part of it: the server is asked with it before a mirror is read.
	Owner string
}

// Remote is one repository. It holds no connection; its methods may be called by several goroutines at once.
type Remote struct {
	config    Config
	url       *url.URL
	subject   string
	auth      Auth
	proxy     transport.Proxy
	limits    Limits
	policy    fips.Policy
	userAgent string
	tempDir   string
	mirrors   *Mirrors
	folder    string
}

// New checks the configuration. Faults have the reasons URLInvalid and AuthenticationFailed.
func New(c Config) (*Remote, error) {
	u, err := parseURL(c.URL)
	if err != nil {
		return nil, err
	}
	if err := c.SSH.Validate(); err != nil {
		return nil, fault.New(fault.Retry, ReasonOperationFailed, "%w", err)
	}
	subject := transport.RedactURL(c.URL)
	switch {
	case u.Scheme == "ssh" && (len(c.Auth.Identity) == 0 || len(c.Auth.KnownHosts) == 0):
		return nil, fault.New(fault.Invalid, ReasonAuthenticationFailed,
			"url %q needs a secret with %q and %q: name it in secretRef", subject, keyIdentity, keyKnownHosts)
	case u.Scheme == "http" && !c.AllowInsecureCredentials && (c.Auth.Username != "" || c.Auth.BearerToken != ""):
		return nil, fault.New(fault.Invalid, ReasonAuthenticationFailed,
			"credentials for %q would be sent unencrypted: use https or ssh", subject)
	}
	return &Remote{
		config: c, url: u, subject: subject, auth: c.Auth, proxy: c.Proxy, limits: c.Limits.withDefaults(), policy: c.Policy,
		userAgent: c.UserAgent, tempDir: c.TempDir, mirrors: c.Mirrors, folder: mirrorFolder(c.Owner, c.URL),
	}, nil
}

// Resolve finds the commit a reference stands for, without cloning. A reference by commit costs no call at all. Compare
// Head.Revision with the last one to know that nothing has changed (spec row S-37; semver included).
func (r *Remote) Resolve(ctx context.Context, ref Reference) (Head, error) {
	if ref.Commit != "" {
		return ref.pinned()
	}
	a, s, err := r.connect(ctx)
	if err != nil {
		return Head{}, operation(ctx, r.subject, "list the references of", err)
	}
	defer s.close()
	head, err := ref.choose(a.refs)
	if err != nil {
		return Head{}, inRepository(err, r.subject)
	}
	return head, nil
}

// inRepository adds the repository to a fault about a reference and keeps its kind.
func inRepository(err error, subject string) error {
	f := fault.Of(err)
	return fault.New(f.Kind, f.Reason, "%q: %w", subject, err)
}

// connect opens a session and reads the references.
func (r *Remote) connect(ctx context.Context) (advert, session, error) {
	s, err := r.open(ctx)
	if err != nil {
		return advert{}, nil, err
	}
	a, err := s.advertise(ctx)
	if err != nil {
		s.close()
		if large, ok := errors.AsType[*transport.TooLargeError](err); ok {
			err = &LimitError{What: "the list of references in bytes", Limit: large.Limit}
		}
		return advert{}, nil, err
	}
	return a, s, nil
}

func (r *Remote) open(ctx context.Context) (session, error) {
	if r.url.Scheme == "ssh" {
		return newSSHSession(ctx, r)
	}
	return newHTTPSession(r)
}
