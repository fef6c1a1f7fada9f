// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

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
	// TempDir is where a pack lies while it is read; empty means the system's.
	TempDir string
}

// Remote is one repository. It holds no connection; its methods may be called by several goroutines at once.
type Remote struct {
	url       *url.URL
	subject   string
	auth      Auth
	proxy     transport.Proxy
	limits    Limits
	policy    fips.Policy
	userAgent string
	tempDir   string
}

// New checks the configuration. Faults have the reasons URLInvalid and AuthenticationFailed.
func New(c Config) (*Remote, error) {
	u, err := parseURL(c.URL)
	if err != nil {
		return nil, err
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
		url: u, subject: subject, auth: c.Auth, proxy: c.Proxy, limits: c.Limits.withDefaults(), policy: c.Policy,
		userAgent: c.UserAgent, tempDir: c.TempDir,
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

// Fetch downloads a resolved commit and describes it. The content stays in the downloaded pack; the caller closes it. All
// that Limits bounds has been found within its bounds, and every file is known to be there, when Fetch returns. ctx bounds the
// whole: once it ends, the content cannot be read any more either.
func (r *Remote) Fetch(ctx context.Context, head Head) (Commit, *Content, error) {
	if !isHash(head.Hash) || head.TagHash != "" && !isHash(head.TagHash) {
		return Commit{}, nil, fault.New(fault.Invalid, ReasonOperationFailed, "fetch from %q: nothing has been resolved", r.subject)
	}
	explain := func(err error) error {
		return operation(ctx, r.subject, "fetch "+head.Revision+" from", limitError(err))
	}
	packed, err := r.download(ctx, head)
	if err != nil {
		return Commit{}, nil, explain(err)
	}
	commit, err := packed.commit(head)
	var content *Content
	if err == nil {
		content, err = newContent(ctx, packed, commit.Tree, r.limits)
	}
	if err != nil {
		_ = packed.close()
		return Commit{}, nil, explain(err)
	}
	content.explain = explain
	return commit, content, nil
}

// limitError names the bound of a download that went beyond it.
func limitError(err error) error {
	if large, ok := errors.AsType[*transport.TooLargeError](err); ok {
		return &LimitError{What: "the size of the download in bytes", Limit: large.Limit}
	}
	return err
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

// download fetches the pack that holds the head. The caller closes it.
func (r *Remote) download(ctx context.Context, head Head) (*pack, error) {
	a, s, err := r.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer s.close()
	want, err := planRequest(head, a)
	if err != nil {
		return nil, err
	}
	// The sideband costs 5 bytes in 65 520, and a server may talk on the progress band.
	body, err := s.fetch(ctx, want.encode(a, r.userAgent), r.limits.PackBytes+r.limits.PackBytes/16+1<<20)
	if err != nil {
		return nil, err
	}
	defer body.Close() // read to its end or given up
	stream, err := packStream(newPackets(body, r.auth.secrets()), want, a)
	if err != nil {
		return nil, err
	}
	file, err := download(ctx, r.tempDir, stream, r.limits.PackBytes)
	if err != nil {
		return nil, err
	}
	packed, err := openPack(ctx, file, r.limits)
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return packed, nil
}

// planRequest decides what to ask for: the one commit without its history wherever the server lets us, which is for each
// advertised tip, and for any commit if the server says so (uploadpack.allowReachableSHA1InWant, allowAnySHA1InWant). Else
// a pinned commit takes the history of its branch, or of all branches and tags. Beside a branch it always takes the branch's
// history: only that shows that the commit is in the branch, and some servers hand out commits of anybody's fork.
func planRequest(head Head, a advert) (request, error) {
	if !head.Pinned {
		return planTip(head, a)
	}
	if head.RefName != "" {
		tip, ok := a.refs.hashes[head.RefName]
		if !ok {
			return request{}, fmt.Errorf("reference %q: %w", head.RefName, ErrNotFound)
		}
		return request{wants: []string{tip}, shallow: tip == head.Hash && a.supports("shallow")}, nil
	}
	if a.tips(head.Hash) || anyHash(a) {
		return request{wants: []string{head.Hash}, shallow: a.supports("shallow")}, nil
	}
	var tips []string
	for name, hash := range a.refs.hashes {
		if strings.HasPrefix(name, branchPrefix) || strings.HasPrefix(name, tagPrefix) {
			tips = append(tips, hash)
		}
	}
	if len(tips) == 0 {
		return request{}, ErrEmptyRepository
	}
	slices.Sort(tips)
	return request{wants: slices.Compact(tips)}, nil
}

// planTip asks for a commit or tag that was a reference's tip when it was resolved.
func planTip(head Head, a advert) (request, error) {
	want := head.Hash
	if head.TagHash != "" {
		want = head.TagHash
	}
	if !a.tips(want) && !anyHash(a) {
		return request{}, fmt.Errorf("reference %q has moved since it was resolved", head.RefName)
	}
	return request{wants: []string{want}, shallow: a.supports("shallow")}, nil
}

// anyHash reports whether the server serves commits that are no tips.
func anyHash(a advert) bool {
	return a.supports("allow-reachable-sha1-in-want") || a.supports("allow-any-sha1-in-want")
}

// commit reads the head's commit and tag out of the pack.
func (p *pack) commit(head Head) (Commit, error) {
	var tag *Tag
	if head.TagHash != "" {
		var err error
		if tag, err = p.resolveTag(head.TagHash); err != nil {
			return Commit{}, err
		}
		if tag.Target != head.Hash {
			return Commit{}, fmt.Errorf("tag %q points to another commit than the server said: %w", head.RefName, errProtocol)
		}
	}
	if !p.has(head.Hash) {
		return Commit{}, fmt.Errorf("commit %s: %w", head.Hash, ErrNotFound)
	}
	content, err := p.read(head.Hash, plumbing.CommitObject)
	if err != nil {
		return Commit{}, err
	}
	commit, err := parseCommit(head.Hash, content)
	if err != nil {
		return Commit{}, err
	}
	commit.Head, commit.Tag = head, tag
	return commit, nil
}
