// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"golang.org/x/sync/errgroup"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/artifact/ignore"
	"sluice.dev/sluice/controllers/internal/harness"
	"sluice.dev/sluice/internal/bucket"
	"sluice.dev/sluice/internal/fault"
)

// maxListings is how often a bucket is listed in one run, because it changes while it is fetched.
const maxListings = 3

// bucketList lists the bucket, and notices when the artifact in store is what would be fetched.
func (c Config) bucketList(ctx context.Context, obj *sourcev1.Bucket, r *bucketRun) error {
	if err := c.bucketIndex(ctx, obj, r); err != nil {
		return err
	}
	c.collect(ctx, r.origin)
	held, claim, ok := c.current(ctx, r.origin, &r.Notes)
	if !ok || held.Revision != r.index.Revision || claim.Origin.URL != r.origin.URL {
		r.NewWork()
		return nil
	}
	obj.Status.Artifact, obj.Status.URL = &held, latestURL(&held) // the advertised address may have changed
	obj.Status.ObservedIgnore = obj.Spec.Ignore                   // other rules, and the same objects
	noteBucket(r, &held)
	return harness.ErrUnchanged
}

// bucketIndex lists the bucket and leaves out what the rules say (spec row S-18).
func (c Config) bucketIndex(ctx context.Context, obj *sourcev1.Bucket, r *bucketRun) error {
	listed, err := r.client.List(ctx)
	if err != nil {
		if e, ok := errors.AsType[*bucket.Error](err); ok && e.Status == http.StatusForbidden && r.refused != nil {
			r.refused()
		}
		return err
	}
	text, err := bucketRules(ctx, obj, r, listed)
	if err != nil {
		return err
	}
	rules, err := ignore.Only(text, obj.Spec.Ignore)
	if err != nil {
		return fault.New(fault.Retry, "SourceIgnoreError", "read ignore rules: %w", err)
	}
	r.index, err = bucket.NewIndex(c.Backend, listed, bucket.Limits{}, func(key string) bool {
		return key != ignore.File && !rules.Ignored(key, false)
	})
	return err
}

// bucketRules returns the rules in the bucket's root. With a prefix they are in no listing, and are asked for.
func bucketRules(ctx context.Context, obj *sourcev1.Bucket, r *bucketRun, listed []bucket.Object) ([]byte, error) {
	var found bucket.Object
	if strings.HasPrefix(ignore.File, obj.Spec.Prefix) {
		for _, o := range listed {
			if o.Key == ignore.File {
				found = o
			}
		}
	} else {
		var err error
		if found, _, err = r.client.Find(ctx, ignore.File); err != nil {
			return nil, err
		}
	}
	if found.Key == "" {
		return nil, nil
	}
	if text, ok := r.hold.Rules(found); ok {
		return text, nil
	}
	if found.Size > bucket.MaxRules {
		return nil, fault.New(fault.Retry, "SourceIgnoreError", "read ignore rules: object '%s' has more than %d bytes", found.Key, bucket.MaxRules)
	}
	var text bytes.Buffer
	if err := r.client.Get(ctx, found, &text); err != nil {
		return nil, err
	}
	return text.Bytes(), r.hold.PutRules(found, text.Bytes())
}

// bucketFetch gets the objects that are not held yet. What it got is kept whatever happens to the rest: a bucket that takes longer than
// spec.timeout is complete after some runs.
func (c Config) bucketFetch(ctx context.Context, obj *sourcev1.Bucket, r *bucketRun) error {
	for listings := 1; ; listings++ {
		err := fetchMissing(ctx, r)
		if err == nil {
			return r.hold.Keep(r.index.Objects)
		}
		if !errors.Is(err, bucket.ErrChanged) || listings == maxListings {
			return err
		}
		if err := c.bucketIndex(ctx, obj, r); err != nil {
			return err
		}
	}
}

func fetchMissing(outer context.Context, r *bucketRun) error {
	group, ctx := errgroup.WithContext(outer)
	group.SetLimit(bucket.Parallel)
	for _, o := range r.index.Objects {
		if ctx.Err() != nil {
			break // the group knows why
		}
		held, err := r.hold.Has(o)
		if err != nil {
			return errors.Join(err, group.Wait())
		}
		if held {
			continue
		}
		group.Go(func() error {
			return r.hold.Put(o, func(w io.Writer) error { return r.client.Get(ctx, o, w) })
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(outer)
}
