// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"sluice.dev/sluice/internal/fault"
)

// Descriptor is one artifact, by digest.
type Descriptor struct {
	// Digest is "sha256:<hex>" of the manifest.
	Digest string
	// Tag is the tag that pointed to it; empty when it was asked for by digest.
	Tag string
}

// Revision is what status.artifact.revision says: "<tag>@sha256:<hex>", or the digest alone (spec row S-52).
func (d Descriptor) Revision() string {
	if d.Tag == "" {
		return d.Digest
	}
	return d.Tag + "@" + d.Digest
}

// Resolve finds the digest a reference points to now. It fetches no content: what a tag's answer says is the registry's
// word, and Pull checks it. A digest needs no request.
func (c *Client) Resolve(ctx context.Context, ref Reference) (Descriptor, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	if ref.Digest != "" {
		if !IsDigest(ref.Digest) {
			return Descriptor{}, fault.New(fault.Invalid, reasonRead, "reference: digest %q is not sha256:<hex>", clip(ref.Digest))
		}
		return Descriptor{Digest: ref.Digest}, nil
	}
	tag := cmp.Or(ref.Tag, latest)
	if ref.SemVer != "" {
		highest, err := c.highest(ctx, ref)
		if err != nil {
			return Descriptor{}, err
		}
		tag = highest
	}
	if !tagName.MatchString(tag) {
		return Descriptor{}, fault.New(fault.Invalid, reasonRead, "reference: %q is no tag", clip(tag))
	}
	digest, err := c.digestOf(ctx, tag)
	if err != nil {
		return Descriptor{}, fault.New(fault.Retry, reasonPull, "resolve tag %q of %q: %w", tag, c.Repository(), err)
	}
	return Descriptor{Digest: digest, Tag: tag}, nil
}

// highest lists tags and chooses.
func (c *Client) highest(ctx context.Context, ref Reference) (string, error) {
	v, err := ref.parseVersion()
	if err != nil {
		return "", err
	}
	tags, err := c.tags(ctx)
	if err != nil {
		return "", fault.New(fault.Retry, reasonRead, "list tags of %q: %w", c.Repository(), err)
	}
	tag, ok := v.highest(tags)
	if !ok {
		return "", fault.New(fault.Retry, reasonRead, "no tag of %q matches semver %q%s", c.Repository(), ref.SemVer, filterText(ref))
	}
	return tag, nil
}

func filterText(ref Reference) string {
	if ref.SemverFilter == "" {
		return ""
	}
	return fmt.Sprintf(" and semverFilter %q", ref.SemverFilter)
}

// Tags returns the tags of the repository, in the registry's order.
func (c *Client) Tags(ctx context.Context) ([]string, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	tags, err := c.tags(ctx)
	if err != nil {
		return nil, fault.New(fault.Retry, reasonRead, "list tags of %q: %w", c.Repository(), err)
	}
	return tags, nil
}

// tags reads the list page by page, up to the bound. A list beyond it is an error: the highest version might be in the rest.
func (c *Client) tags(ctx context.Context) ([]string, error) {
	lister, err := c.session.puller.Lister(ctx, c.repo)
	if err != nil {
		return nil, c.clean(ctx, err)
	}
	var tags []string
	for lister.HasNext() {
		page, err := lister.Next(ctx)
		if err != nil {
			return nil, c.clean(ctx, err)
		}
		if len(page.Tags) == 0 && page.Next != "" {
			return nil, errors.New("registry answered with an empty page and a link to a next one")
		}
		tags = append(tags, page.Tags...)
		if len(tags) > c.limits.Tags {
			return nil, &registryError{
				text: fmt.Sprintf("repository has more than %d tags: name one, or a digest", c.limits.Tags), is: ErrTooLarge,
			}
		}
	}
	return tags, nil
}

// digestOf asks with HEAD. Registries that answer it without a digest are asked with GET, and the bytes are hashed.
func (c *Client) digestOf(ctx context.Context, tag string) (string, error) {
	ref := c.repo.Tag(tag)
	head, err := c.session.puller.Head(ctx, ref)
	if err == nil && IsDigest(head.Digest.String()) {
		return head.Digest.String(), nil
	}
	if err != nil {
		cleaned := c.clean(ctx, err)
		if errors.Is(cleaned, ErrUnauthorized) || ctx.Err() != nil {
			return "", cleaned
		}
	}
	// A missing tag is asked for twice too: HEAD has no body, and the second answer says which part is missing.
	got, err := c.session.puller.Get(ctx, ref)
	if err != nil {
		return "", c.clean(ctx, err)
	}
	if digest := got.Digest.String(); IsDigest(digest) {
		return digest, nil
	}
	return "", errors.New("registry names the manifest by another digest than SHA-256")
}
