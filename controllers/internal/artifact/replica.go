// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/fluxcd/pkg/apis/meta"

	"sluice.dev/sluice/internal/verify"
)

// ReplicaConfig is what a Replica needs. All fields are required.
type ReplicaConfig struct {
	// Store is filled.
	Store *Store
	// Peers are the base URLs of the stores to copy from, asked in this order.
	Peers []string
	// Client reaches them.
	Client *http.Client
	// Prove checks that a statement holds for a source's artifact before anything is kept.
	Prove Prove
	// Renew gives the statement that is kept: signed by our own key.
	Renew Renew
	// Following says that somebody else writes the records still. It is asked with the store held, so that nothing is written once
	// it has said no.
	Following func() bool
}

// Validate reports the first value that cannot work.
func (c ReplicaConfig) Validate() error {
	switch {
	case c.Store == nil || c.Client == nil || c.Prove == nil || c.Renew == nil || c.Following == nil:
		return errors.New("something is missing")
	case len(c.Peers) == 0:
		return errors.New("no peers")
	}
	for _, peer := range c.Peers {
		if u, err := url.Parse(peer); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return fmt.Errorf("peer %q is no http or https URL", peer)
		}
	}
	return nil
}

// Replica keeps a copy of what another store publishes. It believes a peer no more than a consumer would: the statement is proven
// for the very source first, and content has its digest.
type Replica struct {
	config ReplicaConfig
	client *http.Client
}

// NewReplica returns a replica.
func NewReplica(config ReplicaConfig) (*Replica, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("artifact replica: %w", err)
	}
	client := *config.Client
	client.Transport = marked{client.Transport}
	return &Replica{config: config, client: &client}, nil
}

// Named is what a source's status says about its artifact.
type Named struct {
	// Origin is the source object as the API server has it.
	Origin verify.Origin
	// Artifact is its status.artifact, and Latest the second name of whatever is current.
	Artifact meta.Artifact
	Latest   string
}

// Follow makes the store have what a source's status names, from the first peer that has it. It costs a small request where the
// content is here already: its statement may be another one.
func (r *Replica) Follow(ctx context.Context, want Named) error {
	k, err := KeyOf(want.Origin).checked()
	if err != nil {
		return err
	}
	sum, err := parseDigest(want.Artifact.Digest)
	if err != nil {
		return fmt.Errorf("artifact of %q: %w", k, err)
	}
	if err := r.config.Store.Verify(ctx, k); err != nil && !errors.Is(err, ErrMissing) && !errors.Is(err, ErrDigest) {
		return err
	}
	var errs []error
	for _, peer := range r.config.Peers {
		err := r.copy(ctx, strings.TrimSuffix(peer, "/"), k, sum, want)
		if err == nil || ctx.Err() != nil {
			return err
		}
		errs = append(errs, fmt.Errorf("from %q: %w", peer, err))
	}
	return fmt.Errorf("copy artifact %q of %q: %w", want.Artifact.Digest, k, errors.Join(errs...))
}

// copy copies statement and content from one peer.
func (r *Replica) copy(ctx context.Context, peer string, k Key, sum string, want Named) error {
	address := peer + statementURL + path.Join(k.path(), sum) + "?revision=" + url.QueryEscape(want.Artifact.Revision)
	statement, err := r.statement(ctx, address, want)
	if err != nil {
		return err
	}
	if r.holds(k, want, statement) {
		return nil
	}
	blob, here := r.config.Store.Have(want.Artifact.Digest)
	if !here {
		if blob, err = r.content(ctx, peer+blobURL+sum); err != nil {
			return err
		}
	}
	defer blob.Release()
	if blob.Digest() != want.Artifact.Digest {
		return fmt.Errorf("the peer sent %q: %w", blob.Digest(), ErrDigest)
	}
	_, err = r.config.Store.Publish(ctx, k, Publication{
		Blob: blob, File: path.Base(want.Artifact.Path), Latest: want.Latest, Revision: want.Artifact.Revision, Metadata: want.Artifact.Metadata,
		Statement: statement, Updated: want.Artifact.LastUpdateTime.Time, While: r.config.Following,
	})
	return err
}

// statement fetches a statement, proves it, and returns it as it is to be kept.
func (r *Replica) statement(ctx context.Context, address string, want Named) ([]byte, error) {
	body, err := get(ctx, r.client, address, maxStatement)
	if err != nil {
		return nil, err
	}
	envelope, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		return nil, err
	}
	a := want.Artifact
	if _, err := r.config.Prove(ctx, envelope, a.Digest, a.Revision, want.Origin); err != nil {
		return nil, err
	}
	return r.config.Renew(ctx, envelope, a.Digest, a.Revision)
}

// holds reports whether the store has what is wanted, with a statement that says the same: signatures differ from one time to the
// next, so those of our own key are compared by when the content was fetched.
func (r *Replica) holds(k Key, want Named, statement []byte) bool {
	held, ok := r.config.Store.Current(k)
	if !ok || held.Digest != want.Artifact.Digest || held.Revision != want.Artifact.Revision {
		return false
	}
	have, err := r.config.Store.Statement(k, held.Digest)
	if err != nil {
		return false
	}
	return bytes.Equal(payload(have), payload(statement))
}

// content stores what a peer has at an address.
func (r *Replica) content(ctx context.Context, address string) (*Blob, error) {
	body, err := get(ctx, r.client, address, r.config.Store.config.Limits.Compressed)
	if err != nil {
		return nil, err
	}
	blob, err := r.config.Store.Copy(ctx, body)
	return blob, errors.Join(err, body.Close())
}

// Tidy removes what is kept for an object that is gone, and otherwise what of it was superseded long ago.
func (r *Replica) Tidy(ctx context.Context, k Key, gone bool) error {
	if !r.config.Following() {
		return nil
	}
	if gone {
		return r.config.Store.Remove(k)
	}
	_, err := r.config.Store.Collect(ctx, k)
	return err
}

// replicaHeader is on the requests of replicas. They are answered with what is here, at once: a replica that reaches itself, or
// another one that knows no more, must not wait for itself.
const replicaHeader = "Sluice-Replica"

// marked sets replicaHeader.
type marked struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (m marked) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set(replicaHeader, "1")
	return m.RoundTripper.RoundTrip(req)
}

// payload is what an envelope is about, nil where it is none.
func payload(envelope []byte) []byte {
	var e struct {
		Payload []byte `json:"payload"`
	}
	if json.Unmarshal(envelope, &e) != nil {
		return nil
	}
	return e.Payload
}
