// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"time"

	"sluice.dev/sluice/policy/parameters"
)

// Watch keeps an engine's parameters as a file says. The file is read anew each time: a mounted ConfigMap changes by
// switching a link, and the time stamps of what it links to tell nothing.
type Watch struct {
	// Engine is whose parameters are replaced.
	Engine *Engine
	// Path is the file.
	Path string
	// Every is the time between two looks: 10 s when zero.
	Every time.Duration
	// Changed is told about every replacement and every failure to read. After a failure the old parameters stay in
	// force. It is told once about the same failure. May be nil.
	Changed func(digest string, err error)
}

// Start looks at the file until the context ends. The signature is that of a controller-runtime Runnable.
func (w *Watch) Start(ctx context.Context) error {
	if w.Engine == nil || w.Path == "" {
		return errors.New("watch policy parameters: no engine or no path")
	}
	every := w.Every
	if every <= 0 {
		every = 10 * time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last string
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			last = w.look(ctx, last)
		}
	}
}

// NeedLeaderElection says that every replica watches: each decides for itself.
func (w *Watch) NeedLeaderElection() bool { return false }

// look reads the file once and returns the failure it has reported, if any.
func (w *Watch) look(ctx context.Context, reported string) string {
	changed, err := w.Engine.Reload(ctx, w.Path)
	switch {
	case err != nil && err.Error() != reported:
		w.tell("", err)
		return err.Error()
	case err != nil:
		return reported
	case changed || reported != "":
		w.tell(w.Engine.current.Load().digest, nil)
	}
	return ""
}

func (w *Watch) tell(digest string, err error) {
	if w.Changed != nil {
		w.Changed(digest, err)
	}
}

// Reload reads a parameters file and reports whether it differs from what is in force. On an error nothing changes.
func (e *Engine) Reload(ctx context.Context, path string) (changed bool, err error) {
	p, err := parameters.Load(path)
	if err != nil {
		return false, err
	}
	digest, err := parametersDigest(e.digests, p)
	if err != nil || digest == e.current.Load().digest {
		return false, err
	}
	return true, e.SetParameters(ctx, p)
}
