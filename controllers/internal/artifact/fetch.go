// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"

	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/verify"
)

// verificationErrorReason is Flux's reason for content whose signature does not hold (spec row S-59).
const verificationErrorReason = "VerificationError"

// Prove makes a Proof from a signed statement, with the keys it was made for. It is attest.Prove behind the platform's
// keys.
type Prove func(ctx context.Context, envelope []byte, digest, revision string, origin verify.Origin) (verify.Proof, error)

// FetcherConfig is what a Fetcher needs. Only Limits, CacheBytes and Proofs have zero values that work.
type FetcherConfig struct {
	// Dir is a folder of its own for what is extracted. It is emptied.
	Dir string
	// MemoryDir is a folder for the times of what was believed, by source, so that no older statement is believed after a
	// restart either. Empty forgets them with the process.
	MemoryDir string
	// Client reaches the artifact server (internal/transport).
	Client *http.Client
	// Digests computes the digests.
	Digests fips.Digests
	// Prove makes the proofs.
	Prove Prove
	// Trusted says whether a key is trusted still, by its id: proofs are remembered for longer than that. Nil trusts those that
	// Prove has trusted.
	Trusted func(keyID string) bool
	// Limits bound what is downloaded and extracted.
	Limits Limits
	// CacheBytes is how much extracted content is kept. Zero is 4 GiB.
	CacheBytes int64
	// Proofs is how many proofs are remembered. Zero is 4096.
	Proofs int
}

// Validate reports the first value that cannot work.
func (c FetcherConfig) Validate() error {
	switch {
	case c.Dir == "":
		return errors.New("no folder")
	case c.Client == nil:
		return errors.New("no HTTP client")
	case c.Digests == nil:
		return errors.New("no digests")
	case c.Prove == nil:
		return errors.New("no way to prove anything")
	case c.CacheBytes < 0 || c.Proofs < 0:
		return errors.New("limits cannot be negative")
	}
	return nil
}

// Want is what to fetch: the artifact that a source's status names, and the source.
type Want struct {
	// Origin is the source object as the API server has it.
	Origin verify.Origin
	// Revision and Digest are those of status.artifact.
	Revision, Digest string
	// BaseURL is the artifact server. It comes from configuration, never from status.artifact.url: whoever may write a
	// source's status could point that anywhere.
	BaseURL string
	// Waiver is the platform's leave to do without a statement. The zero Waiver gives none, and Path and Size do not matter.
	Waiver verify.Waiver
	// Path and Size are those of status.artifact; a negative Size is one that the status does not name.
	Path string
	Size int64
}

// Fetcher gets artifacts for those who apply them. It may be used by several goroutines at once.
type Fetcher struct {
	config FetcherConfig
	cache  *cache
	fresh  *freshness
	// direct is Client without redirects: a server that is not ours is asked for one file and leads nowhere else.
	direct *http.Client

	trees      flights[string, *tree]
	statements flights[proofKey, verify.Proof]

	mu     sync.Mutex
	proofs map[proofKey]verify.Proof
}

// proofKey is what a proof holds for.
type proofKey struct {
	digest, revision, base string
	origin                 verify.Origin
}

// NewFetcher returns a fetcher with an empty cache.
func NewFetcher(config FetcherConfig) (*Fetcher, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("artifact fetcher: %w", err)
	}
	config.Limits = config.Limits.withDefaults()
	if config.Trusted == nil {
		config.Trusted = func(string) bool { return true }
	}
	if config.CacheBytes == 0 {
		config.CacheBytes = 4 << 30
	}
	if config.Proofs == 0 {
		config.Proofs = 4096
	}
	c, err := newCache(config.Dir, config.CacheBytes)
	if err != nil {
		return nil, fmt.Errorf("artifact fetcher: %w", err)
	}
	fresh, err := newFreshness(config.MemoryDir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("artifact fetcher: %w", err), c.close())
	}
	direct := *config.Client
	direct.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Fetcher{config: config, cache: c, fresh: fresh, direct: &direct, proofs: map[proofKey]verify.Proof{}}, nil
}

// Close removes the cache. Nothing that was fetched may be in use any more.
func (f *Fetcher) Close() error { return errors.Join(f.cache.close(), f.fresh.close()) }

// Fetch proves that the platform fetched exactly this content for exactly this source, then makes it available. An
// artifact that is not there (any more) is a fault of kind Wait and wraps ErrMissing: the source is about to name
// another one. A statement that does not hold, or is older than one that was believed before, is Denied with
// VerificationError. Everything else is retried, with reason ArtifactFailed. Where there is no statement and the platform has waived it, the content is fetched from Flux's path and
// the proof says so.
func (f *Fetcher) Fetch(ctx context.Context, want Want) (Verified, error) {
	sum, base, err := want.validate()
	if err != nil {
		return Verified{}, fault.New(fault.Retry, meta.ArtifactFailedReason, "fetch artifact: %w", err)
	}
	from := place{key: sum, sum: sum, address: base + blobURL + sum, client: f.config.Client, size: -1}
	proof, err := f.freshProof(ctx, want, sum, base)
	if errors.Is(err, ErrMissing) && want.Waiver.Valid() {
		proof, from, err = f.waive(want, sum, base)
	}
	if err != nil {
		return Verified{}, err
	}
	t, err := f.tree(ctx, from)
	if err != nil {
		return Verified{}, err
	}
	return Verified{h: &handle{cache: f.cache, tree: t, proof: proof}}, nil
}

// Holds reports whether content of this digest is here, so that Fetch would not download it.
func (f *Fetcher) Holds(digest string) bool {
	sum, err := parseDigest(digest)
	return err == nil && f.cache.has(sum)
}

// validate returns the hex digest and the base URL without a slash at its end.
func (w Want) validate() (sum, base string, err error) {
	if _, err := KeyOf(w.Origin).checked(); err != nil {
		return "", "", err
	}
	if w.Revision == "" {
		return "", "", errors.New("the revision is empty")
	}
	u, err := url.Parse(w.BaseURL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", "", errors.New("the artifact server's address is no http or https URL")
	}
	if sum, err = parseDigest(w.Digest); err != nil {
		return "", "", err
	}
	return sum, strings.TrimSuffix(w.BaseURL, "/"), nil
}

// freshProof returns the proof for want, unless it is about content older than what was believed before. The same content may have
// been fetched again, or signed anew, since a proof was made of it, so what memory holds is asked for once more.
func (f *Fetcher) freshProof(ctx context.Context, want Want, sum, base string) (verify.Proof, error) {
	since := f.fresh.of(want.Origin)
	p, err := f.proof(ctx, want, sum, base)
	if err != nil {
		return p, err
	}
	if judge(p.Claim(), since) != nil || !f.config.Trusted(p.KeyID()) {
		f.forgetProof(want, base)
		if p, err = f.proof(ctx, want, sum, base); err != nil {
			return p, err
		}
	}
	if err := judge(p.Claim(), since); err != nil {
		f.forgetProof(want, base)
		return verify.Proof{}, fault.New(fault.Denied, verificationErrorReason, "artifact %q of %s: %w", want.Digest, KeyOf(want.Origin), err)
	}
	if err := f.fresh.believe(p.Claim()); err != nil {
		return verify.Proof{}, fault.New(fault.Retry, meta.ArtifactFailedReason, "remember what was believed of %s: %w", KeyOf(want.Origin), err)
	}
	return p, nil
}

func (f *Fetcher) forgetProof(want Want, base string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.proofs, proofKeyOf(want, base))
}

func proofKeyOf(want Want, base string) proofKey {
	return proofKey{digest: want.Digest, revision: want.Revision, base: base, origin: want.Origin}
}

// proof returns the proof for want, from memory if it was made before.
func (f *Fetcher) proof(ctx context.Context, want Want, sum, base string) (verify.Proof, error) {
	k := proofKeyOf(want, base)
	f.mu.Lock()
	p, ok := f.proofs[k]
	f.mu.Unlock()
	if ok {
		return p, nil
	}
	p, _, err := f.statements.do(ctx, k, func() (verify.Proof, error) { return f.prove(ctx, want, sum, base) })
	if err != nil {
		return verify.Proof{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.proofs) >= f.config.Proofs {
		clear(f.proofs) // each costs one small request to make again
	}
	f.proofs[k] = p
	return p, nil
}

// prove fetches the statement and has it checked.
func (f *Fetcher) prove(ctx context.Context, want Want, sum, base string) (verify.Proof, error) {
	k, err := KeyOf(want.Origin).checked()
	if err != nil {
		return verify.Proof{}, err
	}
	body, err := get(ctx, f.config.Client, base+statementURL+path.Join(k.path(), sum)+"?revision="+url.QueryEscape(want.Revision), maxStatement)
	if errors.Is(err, ErrMissing) {
		// A kind of its own would punish a consumer that is late by one revision: the source's next status starts it again.
		return verify.Proof{}, fault.New(fault.Wait, meta.ArtifactFailedReason,
			"the platform has signed no statement about artifact %q of %s, so it is not applied: only what the platform itself fetched for this source, or admits "+
				"by artifacts.unverified in its policy parameters, can be: %w",
			want.Digest, k, err)
	}
	if err != nil {
		return verify.Proof{}, err
	}
	envelope, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		return verify.Proof{}, fault.New(fault.Retry, meta.ArtifactFailedReason, "read the statement about %q: %w", want.Digest, err)
	}
	p, err := f.config.Prove(ctx, envelope, want.Digest, want.Revision, want.Origin)
	if errors.Is(err, verify.ErrNotVerified) {
		return verify.Proof{}, fault.New(fault.Denied, verificationErrorReason, "artifact %q of %s: %w", want.Digest, k, err)
	}
	if err != nil {
		return verify.Proof{}, fmt.Errorf("artifact %q of %s: %w", want.Digest, k, err)
	}
	if c := p.Claim(); !p.Valid() || c.Digest != want.Digest || c.Revision != want.Revision || !sameObject(c.Origin, want.Origin) {
		return verify.Proof{}, fault.New(fault.Denied, verificationErrorReason,
			"artifact %q of %s: the statement is about something else: %w", want.Digest, k, verify.ErrNotVerified)
	}
	return p, nil
}

// sameObject compares what identifies a source object. Its URL is information.
func sameObject(a, b verify.Origin) bool {
	return a.Kind == b.Kind && a.Namespace == b.Namespace && a.Name == b.Name && a.UID == b.UID
}

// place is where content is and how it is known in the cache.
type place struct {
	// key is its name in the cache, and sum the digest it has to have.
	key, sum string
	// address is where it is, asked by client.
	address string
	client  *http.Client
	// size is how many bytes it has, negative where nobody said.
	size int64
}

// tree returns the extracted content of a place, which all callers share.
func (f *Fetcher) tree(ctx context.Context, from place) (*tree, error) {
	for {
		if t := f.cache.acquire(from.key); t != nil {
			return t, nil
		}
		t, led, err := f.trees.do(ctx, from.key, func() (*tree, error) {
			if t := f.cache.acquire(from.key); t != nil {
				return t, nil // it came between the look and the attempt
			}
			return f.load(ctx, from)
		})
		if err != nil || led {
			return t, err
		}
	}
}

// load downloads, checks the digest, and only then extracts.
func (f *Fetcher) load(ctx context.Context, from place) (*tree, error) {
	content, err := f.unpack(ctx, from)
	if err == nil {
		return f.cache.insert(from.key, content), nil
	}
	if _, typed := errors.AsType[*fault.Fault](err); typed {
		return nil, err
	}
	return nil, fault.New(fault.Retry, meta.ArtifactFailedReason, "fetch artifact %q: %w", digestPrefix+from.sum, err)
}

func (f *Fetcher) unpack(ctx context.Context, from place) (*Content, error) {
	archive, err := scratch(f.cache.dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = archive.Close() }()
	if err := f.download(ctx, from, archive); err != nil {
		return nil, err
	}
	if _, err := archive.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return Extract(ctx, archive, f.cache.dir, f.config.Digests, f.config.Limits)
}

// download writes what is at a place to w and checks its digest while it is read, and its size where one is known.
func (f *Fetcher) download(ctx context.Context, from place, w io.Writer) error {
	state, err := f.config.Digests.Hash(crypto.SHA256)
	if err != nil {
		return err
	}
	body, err := get(ctx, from.client, from.address, f.config.Limits.Compressed)
	if err != nil {
		return err
	}
	n, err := io.Copy(&digested{w: w, state: state, limit: f.config.Limits.Compressed}, body)
	if err := errors.Join(err, body.Close()); err != nil {
		return err
	}
	if got := hex.EncodeToString(state.Sum(nil)); got != from.sum {
		return fmt.Errorf("the server sent %q: %w", digestPrefix+got, ErrDigest)
	}
	if from.size >= 0 && n != from.size {
		return fmt.Errorf("the server sent %d bytes, and the source's status says %d: %w", n, from.size, ErrDigest)
	}
	return nil
}

// get returns the body of a successful answer, bounded.
func get(ctx context.Context, client *http.Client, address string, limit int64) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fault.New(fault.Retry, meta.ArtifactFailedReason, "fetch artifact: %w", err)
	}
	// The digest is over the bytes as stored: nothing between may compress or expand them.
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := client.Do(req)
	if err != nil {
		return nil, fault.New(fault.Retry, meta.ArtifactFailedReason, "fetch artifact: %w", err)
	}
	if resp.StatusCode == http.StatusOK && resp.ContentLength <= limit {
		return body{Reader: &bounded{ctx: ctx, r: resp.Body, limit: limit}, Closer: resp.Body}, nil
	}
	_ = resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return nil, fault.New(fault.Retry, meta.ArtifactFailedReason, "fetch %q: %d bytes announced: %w", address, resp.ContentLength, ErrTooLarge)
	case http.StatusNotFound:
		return nil, fault.New(fault.Wait, meta.ArtifactFailedReason, "%q: %w", address, ErrMissing)
	default:
		return nil, fault.New(fault.Retry, meta.ArtifactFailedReason, "fetch %q: the server answered %s", address, resp.Status)
	}
}

// body closes what is below the bound.
type body struct {
	io.Reader
	io.Closer
}
