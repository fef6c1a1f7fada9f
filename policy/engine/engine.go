// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/policy"
	"sluice.dev/sluice/policy/parameters"
	"sluice.dev/sluice/policy/rules"
)

// Limits bound a decision. A zero field takes the value its comment gives.
type Limits struct {
	// ObjectBytes bounds one object as JSON: 3 MiB, the API server's own bound for a request.
	ObjectBytes int
	// SetObjects bounds the objects of a set: 20 000.
	SetObjects int
	// ObjectTime bounds the evaluation of one object: 100 ms. It is time on the wall, and on a busy machine it says little
	// about the rules, so an object that misses it is tried once more with ten times as much.
	ObjectTime time.Duration
	// SetTime bounds the evaluations of a set, added up: 2 s, and a fifth of ObjectTime more for each object.
	SetTime time.Duration
	// Verdicts bounds the cache: 32 768 objects.
	Verdicts int
	// Parallel bounds the evaluations at one time, in the whole process: GOMAXPROCS.
	Parallel int
}

func (l Limits) withDefaults() Limits {
	return Limits{
		ObjectBytes: cmp.Or(l.ObjectBytes, 3<<20),
		SetObjects:  cmp.Or(l.SetObjects, 20_000),
		ObjectTime:  cmp.Or(l.ObjectTime, 100*time.Millisecond),
		SetTime:     cmp.Or(l.SetTime, 2*time.Second),
		Verdicts:    cmp.Or(l.Verdicts, 1<<15),
		Parallel:    cmp.Or(l.Parallel, runtime.GOMAXPROCS(0)),
	}
}

// Config is what an engine needs.
type Config struct {
	// Digests makes the digests of rules, parameters and inputs. It is required.
	Digests fips.Digests
	// Parameters are the tenants' grants. The zero value grants nothing to anybody.
	Parameters parameters.Parameters
	// Limits bound a decision.
	Limits Limits
	// Now is the clock that evaluations are timed with. Nil is time.Now.
	Now func() time.Time
}

// Engine answers queries with the built-in rules. It may be used by several goroutines at once.
type Engine struct {
	digests fips.Digests
	limits  Limits
	now     func() time.Time
	library *library
	current atomic.Pointer[snapshot]
	cache   *verdicts
	slots   chan struct{}
}

var _ policy.Decider = (*Engine)(nil)

// New compiles the built-in rules. It takes some milliseconds and is done once.
func New(ctx context.Context, c Config) (*Engine, error) {
	return newEngine(ctx, c, rules.Files(), hooks{})
}

func newEngine(ctx context.Context, c Config, files fs.FS, h hooks) (*Engine, error) {
	if c.Digests == nil {
		return nil, errors.New("policy engine: no digests configured")
	}
	library, err := newLibrary(c.Digests, files, h)
	if err != nil {
		return nil, err
	}
	limits := c.Limits.withDefaults()
	e := &Engine{
		digests: c.Digests,
		limits:  limits,
		now:     c.Now,
		library: library,
		cache:   newVerdicts(limits.Verdicts),
		slots:   make(chan struct{}, limits.Parallel),
	}
	if e.now == nil {
		e.now = time.Now
	}
	return e, e.SetParameters(ctx, c.Parameters)
}

// SetParameters replaces the tenants' grants. Decisions under way end with the old ones.
func (e *Engine) SetParameters(ctx context.Context, p parameters.Parameters) error {
	s, err := e.library.prepare(ctx, e.digests, p)
	if err != nil {
		return err
	}
	e.current.Store(s)
	return nil
}

// Parameters returns the grants in force. The source controller takes the trusted keys of a namespace from them.
func (e *Engine) Parameters() parameters.Parameters {
	return e.current.Load().parameters
}

// Rules returns what the METADATA of the rules says, ordered by id.
func (e *Engine) Rules() []Rule {
	return slices.Clone(e.library.rules)
}

// Decide implements policy.Decider. It judges every object, so that a denial names everything there is to repair.
func (e *Engine) Decide(ctx context.Context, q policy.Query) (policy.Decision, error) {
	if unknownStage(q.Stage) || q.Object == nil || q.Object.Object == nil {
		return policy.Decision{}, ErrNoQuery
	}
	if len(q.Set) > e.limits.SetObjects {
		return policy.Decision{}, &InputError{
			Problem: fmt.Sprintf("the rendered set has %d objects, and at most %d are judged", len(q.Set), e.limits.SetObjects),
			Remedy:  "split it over several objects",
		}
	}
	docs, refs, err := e.library.index.documents(q)
	if err != nil {
		return policy.Decision{}, err
	}
	s := e.current.Load()
	j := judgement{engine: e, snapshot: s, budget: e.setTime(len(docs)), results: make([]result, len(docs))}
	if err := j.judge(ctx, docs, refs); err != nil {
		return policy.Decision{}, err
	}
	return j.decision(refs)
}

func (e *Engine) setTime(objects int) time.Duration {
	return e.limits.SetTime + time.Duration(objects)*e.limits.ObjectTime/5
}

// judgement is one query under way.
type judgement struct {
	engine   *Engine
	snapshot *snapshot
	budget   time.Duration
	spent    atomic.Int64
	results  []result
}

type result struct {
	key      string
	findings []finding
	err      error
}

// judge fills in the results, with few workers that keep their grown stacks. Of several errors it returns that of the
// first object, whichever came first.
func (j *judgement) judge(ctx context.Context, docs []document, refs []policy.Ref) error {
	var workers sync.WaitGroup
	var next atomic.Int64
	for range min(cap(j.engine.slots), len(docs)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(docs)); i = next.Add(1) - 1 {
				j.results[i] = j.one(ctx, docs[i])
			}
		})
	}
	workers.Wait()
	for i, r := range j.results {
		if r.err != nil {
			return fmt.Errorf("policy: %s: %w", refs[i], r.err)
		}
	}
	return nil
}

func (j *judgement) one(ctx context.Context, d document) result {
	text, err := d.encode(j.engine.limits.ObjectBytes)
	if err != nil {
		return result{err: err}
	}
	key, err := j.key(text)
	if err != nil {
		return result{err: err}
	}
	if found, ok := j.engine.cache.get(key); ok {
		return result{key: key, findings: found}
	}
	found, err := j.evaluate(ctx, d)
	if err != nil {
		return result{key: key, err: err}
	}
	j.engine.cache.put(key, found)
	return result{key: key, findings: found}
}

// key names rules, parameters and input.
func (j *judgement) key(text []byte) (string, error) {
	state, err := j.engine.digests.Hash(crypto.SHA256)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(state, "%s\n%s\n", j.engine.library.digest, j.snapshot.digest)
	state.Write(text)
	return string(state.Sum(nil)), nil
}

// evaluate asks the rules, and once more with more time where it ran out.
func (j *judgement) evaluate(ctx context.Context, d document) ([]finding, error) {
	select {
	case j.engine.slots <- struct{}{}:
		defer func() { <-j.engine.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if time.Duration(j.spent.Load()) > j.budget {
		return nil, fmt.Errorf("the set needed more than %s: %w", j.budget, ErrDeadline)
	}
	start := j.engine.now()
	defer func() { j.spent.Add(int64(j.engine.now().Sub(start))) }()
	input, err := d.value()
	if err != nil {
		return nil, err
	}
	found, err := j.ask(ctx, d.Rules, input, j.engine.limits.ObjectTime)
	if errors.Is(err, ErrDeadline) && ctx.Err() == nil {
		return j.ask(ctx, d.Rules, input, 10*j.engine.limits.ObjectTime)
	}
	return found, err
}

// decision puts the results together.
func (j *judgement) decision(refs []policy.Ref) (policy.Decision, error) {
	state, err := j.engine.digests.Hash(crypto.SHA256)
	if err != nil {
		return policy.Decision{}, err
	}
	d := policy.Decision{Bundle: j.engine.library.digest, Parameters: j.snapshot.digest}
	for i, r := range j.results {
		fmt.Fprintf(state, "%x\n", r.key)
		for _, f := range r.findings {
			rule := j.engine.library.index.byID[f.rule]
			d.Violations = append(d.Violations, policy.Violation{
				Rule: rule.ID, Title: rule.Title, Object: refs[i], Message: f.message, Remedy: rule.Remedy,
			})
		}
	}
	slices.SortFunc(d.Violations, compareViolations)
	d.Violations = slices.Compact(d.Violations)
	d.Input = "sha256:" + hex.EncodeToString(state.Sum(nil))
	d.Allowed = len(d.Violations) == 0
	return d, nil
}

func compareViolations(a, b policy.Violation) int {
	return cmp.Or(
		compareIDs(a.Rule, b.Rule),
		cmp.Compare(a.Object.String(), b.Object.String()),
		cmp.Compare(a.Object.APIVersion, b.Object.APIVersion),
		cmp.Compare(a.Message, b.Message),
	)
}
