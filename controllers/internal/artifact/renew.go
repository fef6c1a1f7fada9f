// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"context"
	"errors"
	"fmt"
)

// Renew returns the statement about a digest and a revision as it should be: the same, or one signed anew. An error drops the
// artifact.
type Renew func(ctx context.Context, statement []byte, digest, revision string) ([]byte, error)

// Renewed is what a renewal has done.
type Renewed struct {
	// Signed statements are new, and Dropped artifacts have to be fetched again.
	Signed, Dropped int
}

// Renew has the statements of all artifacts renewed, which is what a new key of the platform asks for. No content is touched or
// fetched.
func (s *Store) Renew(ctx context.Context, renew Renew) (done Renewed, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys() {
		if ctx.Err() != nil {
			return done, context.Cause(ctx)
		}
		if err := s.renewOne(ctx, k, renew, &done); err != nil {
			return done, fmt.Errorf("renew the statements of %q: %w", k, err)
		}
	}
	return done, nil
}

// renewOne renews the statements of an object. The record is written once, after all statements it names. The caller holds
// s.mu.
func (s *Store) renewOne(ctx context.Context, k Key, renew Renew, done *Renewed) error {
	old := s.records[k]
	next := record{Latest: old.Latest}
	signed := 0
	for i, e := range old.Entries {
		statement, err := s.renewed(ctx, k, e, renew)
		if err != nil && i == len(old.Entries)-1 {
			done.Dropped += len(old.Entries)
			return s.swap(k, record{}) // nothing older may become current
		}
		if err != nil {
			done.Dropped++
			continue
		}
		if statement != e.Statement {
			signed++
			e.Statement = statement
		}
		next.Entries = append(next.Entries, e)
	}
	if signed == 0 && len(next.Entries) == len(old.Entries) {
		return nil
	}
	done.Signed += signed
	return s.swap(k, next)
}

// renewed writes the statement that an entry should have, and returns its file.
func (s *Store) renewed(ctx context.Context, k Key, e entry, renew Renew) (string, error) {
	have, err := s.statement(k, e)
	if err != nil {
		return "", err
	}
	want, err := renew(ctx, have, digestPrefix+e.Sum, e.Revision)
	if err != nil {
		return "", err
	}
	if len(want) == 0 || len(want) > maxStatement {
		return "", errors.New("the statement is missing or too long")
	}
	name, err := s.statementName(e.Sum, want)
	if err != nil || name == e.Statement {
		return name, err
	}
	return name, s.disk.replace(statementPath(k, name), want)
}
