// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/internal/verify"
	"sluice.dev/sluice/internal/verify/attest"
)

// trustPeriod is how often the files of --statement-trust are looked at.
const trustPeriod = 5 * time.Second

// statementTrust are the keys whose statements are believed, as their files say now. A key that is taken away stops what it has
// signed within seconds, without a restart.
type statementTrust struct {
	load func() (attest.TrustedKeys, error)

	mu   sync.RWMutex
	keys attest.TrustedKeys
	ids  []string
}

func newStatementTrust(load func() (attest.TrustedKeys, error)) (*statementTrust, error) {
	t := &statementTrust{load: load}
	_, err := t.reload()
	return t, err
}

// reload reads the files and reports whether they name other keys than before. On an error the former ones stay.
func (t *statementTrust) reload() (changed bool, err error) {
	keys, err := t.load()
	if err != nil {
		return false, fmt.Errorf("statement keys: %w", err)
	}
	ids := slices.Sorted(slices.Values(keys.IDs()))
	if len(ids) == 0 {
		return false, errors.New("statement keys: there is none")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	changed = !slices.Equal(ids, t.ids)
	t.keys, t.ids = keys, ids
	return changed, nil
}

// String identifies the keys.
func (t *statementTrust) String() string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return strings.Join(t.ids, " ")
}

// trusted implements artifact.FetcherConfig.Trusted.
func (t *statementTrust) trusted(id string) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Contains(t.ids, id)
}

// prove implements artifact.Prove.
func (t *statementTrust) prove(ctx context.Context, envelope []byte, digest, revision string, origin verify.Origin) (verify.Proof, error) {
	t.mu.RLock()
	keys := t.keys
	t.mu.RUnlock()
	return proving(keys)(ctx, envelope, digest, revision, origin)
}

// follow looks at the files until ctx ends. Of a change, changed is told.
func (t *statementTrust) follow(changed func(context.Context), failed func(error)) always {
	return func(ctx context.Context) error {
		reported := ""
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(trustPeriod):
			}
			news, err := t.reload()
			switch {
			case err != nil && err.Error() != reported:
				reported = err.Error()
				failed(err)
			case err == nil:
				reported = ""
			}
			if news {
				changed(ctx)
			}
		}
	}
}

// proving makes proofs of statements that keys have signed.
func proving(trusted attest.TrustedKeys) artifact.Prove {
	return func(ctx context.Context, envelope []byte, digest, revision string, origin verify.Origin) (verify.Proof, error) {
		return attest.Prove(ctx, envelope, trusted, attest.Expectation{Digest: digest, Revision: revision, Origin: origin})
	}
}
