// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"context"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"

	"sluice.dev/sluice/controllers/internal/artifact"
	"sluice.dev/sluice/controllers/kustomize/render"
	"sluice.dev/sluice/policy"
)

// footprint is what a run saw of a source's content.
type footprint struct {
	// source is the key of the source.
	source string
	// provenance is what policy was told of where the content comes from.
	provenance policy.Source
	// reads are the questions of the build, and answers the digest of what it was told.
	reads   *render.Reads
	answers string
}

// shows reports whether a build would see the same in other content.
func (f footprint) shows(c *Controller, content *artifact.Content) (bool, error) {
	if f.reads == nil || content == nil {
		return false, nil
	}
	answers, err := f.reads.Digest(c.config.Digests, content)
	return err == nil && answers == f.answers, err
}

// footprint returns what the run has seen.
func (c *Controller) footprint(r *run) (f footprint, err error) {
	f.source, f.provenance = artifact.KeyOf(r.source.origin).String(), provenance(r.content.Proof().Claim())
	if content := r.content.Content(); content != nil {
		f.reads = r.reads
		f.answers, err = r.reads.Digest(c.config.Digests, content)
	}
	return f, err
}

// recognize finds out whether the build would see in new content what it saw in that of the last run. Then the set is the same, and
// so is what policy said of it; only the revision is new.
func (c *Controller) recognize(_ context.Context, obj *kustomizev1.Kustomization, r *run) error {
	if r.unchanged {
		return nil
	}
	if err := c.hasten(obj, r); err != nil {
		return err
	}
	if r.audit {
		return nil
	}
	inputs := r.last.inputs
	inputs.Digest, inputs.Revision = r.inputs.Digest, r.inputs.Revision
	if inputs != r.inputs || r.last.content.provenance != provenance(r.content.Proof().Claim()) || !c.holds(obj, r.last.outcomes) {
		return nil
	}
	same, err := r.last.content.shows(c, r.content.Content())
	if err != nil || !same {
		return err
	}
	r.unchanged = true
	next := r.last
	next.inputs, next.began = r.inputs, r.started
	c.remember(obj, next)
	return nil
}

// hasten lets the objects go first that new content of a source changes: most commits change few of the objects that the source
// feeds, and somebody waits for these.
func (c *Controller) hasten(obj *kustomizev1.Kustomization, r *run) error {
	content := r.content.Content()
	for key, last := range c.memory.arrived(artifact.KeyOf(r.source.origin).String(), r.inputs.Digest) {
		if key == keyOf(obj) || last.content.reads == nil {
			continue
		}
		same, err := last.content.shows(c, content)
		if err != nil {
			return err
		}
		if !same {
			c.waker.Hasten(key)
		}
	}
	return nil
}
