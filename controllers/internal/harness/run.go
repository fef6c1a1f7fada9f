// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"sluice.dev/sluice/controllers/internal/events"
	"sluice.dev/sluice/controllers/internal/status"
	"sluice.dev/sluice/internal/fault"
)

// run is one run of one object.
type run[T Object, W any] struct {
	*Reconciler[T, W]

	req    reconcile.Request
	obj    T // as the stages change it
	base   T // as it is on the server
	before []metav1.Condition
	notes  *Notes
	passed []string // the failure conditions of the stages that went well
	phase  string   // what was announced last; a stage without a phase of its own goes on with it
	start  time.Time
	hint   *announcement[T] // what is written beside the stages, if they take a while
}

// announcement is a status that says that work has begun, on its way to the server.
type announcement[T Object] struct {
	obj     T
	timer   *time.Timer
	written chan struct{} // closed when the write is over
	err     error         // of the write
}

func (r *Reconciler[T, W]) newRun(req reconcile.Request, obj T) *run[T, W] {
	return &run[T, W]{
		Reconciler: r, req: req, obj: obj, base: obj.DeepCopyObject().(T), before: obj.GetConditions(), notes: &Notes{},
		start: r.deps.Now(),
	}
}

// run takes the object through the stages and records what came of it.
func (r *Reconciler[T, W]) run(ctx context.Context, req reconcile.Request, obj T) (reconcile.Result, error) {
	run := r.newRun(req, obj)
	defer func() { r.deps.Metrics.observe(r.loop.Kind, req.NamespacedName, r.deps.Now().Sub(run.start)) }()
	v, err := run.stages(ctx)
	if failed := run.hush(); err == nil {
		err = failed
	}
	if err != nil {
		return reconcile.Result{}, run.lost(err)
	}
	if ctx.Err() != nil && v.Ready != metav1.ConditionTrue {
		return reconcile.Result{}, nil // the process stops; a failure now says nothing about the object
	}
	return run.conclude(ctx, v)
}

// finalize cleans up after the object. Done is false while it must stay.
func (r *Reconciler[T, W]) finalize(ctx context.Context, req reconcile.Request, obj T) (result reconcile.Result, done bool, err error) {
	run := r.newRun(req, obj)
	bounded, cancel := context.WithTimeout(ctx, run.timeout())
	defer cancel()
	err = guard(ctx, "finalize", func() error { return r.loop.Finalize(bounded, obj, run.notes) })
	if err == nil {
		run.emit(ctx, nil)
		return reconcile.Result{}, true, nil
	}
	if ctx.Err() != nil {
		return reconcile.Result{}, false, nil
	}
	result, err = run.conclude(ctx, run.record(ctx, Conclude(err, "finalize", meta.FailedReason, obj.GetRequeueAfter()), err))
	return result, false, err
}

// requested reports whether somebody has changed or asked for something since the last run. The generation of the last run
// is that of Ready, which a failure stamps too; status.observedGeneration stays behind while a generation is retried.
func (r *run[T, W]) requested() bool {
	ready, known := status.Get(r.before, meta.ReadyCondition)
	token := requested(r.obj)
	return !known || ready.ObservedGeneration != r.obj.GetGeneration() ||
		token != "" && token != r.loop.Fields(r.obj).Request.LastHandledReconcileAt
}

func (r *run[T, W]) timeout() time.Duration {
	if r.loop.Timeout != nil {
		if d := r.loop.Timeout(r.obj); d > 0 {
			return d
		}
	}
	return DefaultTimeout
}

// stages opens the working set and runs the stages. It returns a verdict, or the error of a status write, after which
// nothing can be recorded.
func (r *run[T, W]) stages(parent context.Context) (Verdict, error) {
	ctx, cancel := context.WithTimeout(parent, r.timeout())
	defer cancel()
	w, err := r.open(ctx)
	if err != nil {
		return Conclude(err, "open", meta.FailedReason, r.obj.GetRequeueAfter()), nil
	}
	if r.loop.Close != nil {
		defer func() {
			if err := guard(ctx, "close", func() error { r.loop.Close(w); return nil }); err != nil {
				logf.FromContext(ctx).Error(err, "close failed")
			}
		}()
	}
	for _, s := range r.loop.Stages {
		if err := r.announce(parent, s, w); err != nil {
			return Verdict{}, err
		}
		err := guard(ctx, s.Name, func() error { return s.Run(ctx, r.obj, w) })
		if errors.Is(err, ErrUnchanged) {
			return r.succeed(ctx, w, err), nil
		}
		if err != nil {
			return r.record(ctx, r.fail(err, s), err), nil
		}
		r.passed = append(r.passed, s.Fails)
	}
	return r.succeed(ctx, w, nil), nil
}

func (r *run[T, W]) open(ctx context.Context) (w *W, err error) {
	if r.loop.Open == nil {
		w = new(W)
	} else if err = guard(ctx, "open", func() (err error) { w, err = r.loop.Open(ctx, r.obj); return err }); err != nil {
		return nil, err
	}
	if w == nil {
		w = new(W)
	}
	r.notes = notesOf(w)
	r.notes.newWork = r.notes.newWork || r.requested()
	return w, nil
}

// fail returns the verdict on the failure of a stage. A wait is no failure of the stage, so its condition stays.
func (r *run[T, W]) fail(err error, s Stage[T, W]) Verdict {
	v := Conclude(err, s.Name, s.Reason, r.obj.GetRequeueAfter())
	if v.Outcome != fault.Wait.String() {
		v.Condition = cmp.Or(v.Condition, s.Fails)
	}
	return v
}

// record has the loop keep evidence of a failure that is news, and returns the verdict, with the reason if it could not.
func (r *run[T, W]) record(ctx context.Context, v Verdict, failure error) Verdict {
	if r.loop.Record == nil || same(r.before, v, r.obj.GetGeneration()) {
		return v
	}
	if err := guard(ctx, "record", func() error { return r.loop.Record(ctx, r.obj, failure) }); err != nil {
		v.Message = status.Message(fmt.Sprintf("%s (and %s)", failure, err))
		if v.Event != nil {
			v.Event.Message = v.Message
		}
	}
	return v
}

// succeed returns the verdict on a run that went well; how is nil or ErrUnchanged.
func (r *run[T, W]) succeed(ctx context.Context, w *W, how error) Verdict {
	var said Success
	if err := guard(ctx, "success", func() error { said = r.loop.Success(r.obj, w); return nil }); err != nil {
		return Conclude(err, "success", meta.FailedReason, r.obj.GetRequeueAfter())
	}
	v := Conclude(how, "", said.Reason, r.obj.GetRequeueAfter())
	v.Message = status.Message(said.Message)
	recovered := status.Is(r.before, meta.ReadyCondition, metav1.ConditionFalse)
	switch {
	case how == nil && said.Event != nil:
		e := *said.Event
		e.Resolves = true
		v.Event = &e
	case recovered: // alerts can resolve (spec row S-23)
		v.Event = &events.Event{Reason: v.Reason, Message: v.Message, Resolves: true}
	}
	return v
}

// announce tells what a stage is about to do. What earlier stages put into the status is written before the stage, if it must
// find that persisted. A phase of new work alone can wait: it is written beside the stages once the run has gone on for
// Config.Quiet, and most have ended by then.
func (r *run[T, W]) announce(ctx context.Context, s Stage[T, W], w *W) error {
	phase := ""
	if s.Phase != nil && r.notes.newWork {
		phase = s.Phase(r.obj, w)
		r.phase = cmp.Or(phase, r.phase)
	}
	persist := s.Persist != nil && s.Persist(r.obj, w)
	if phase == "" && !persist {
		return nil
	}
	if err := r.hush(); err != nil {
		return err
	}
	if persist {
		patch, err := status.Plan(r.base, r.obj)
		if err != nil {
			return err
		}
		if patch != nil {
			r.notes.newWork = true
			r.begin(r.obj)
			return r.write(ctx, r.obj)
		}
	}
	if phase != "" {
		r.later(ctx)
	}
	return nil
}

// later writes beside the stages that work has begun, as it looks now: the stages go on with the object. Nothing else touches what
// is known of the server before hush.
func (r *run[T, W]) later(ctx context.Context) {
	a := &announcement[T]{obj: r.obj.DeepCopyObject().(T), written: make(chan struct{})}
	r.begin(a.obj)
	a.timer = time.AfterFunc(r.config.Quiet-r.deps.Now().Sub(r.start), func() {
		defer close(a.written)
		a.err = r.write(ctx, a.obj)
	})
	r.hint = a
}

// hush keeps an announcement from being written, or waits for it where that has begun already.
func (r *run[T, W]) hush() error {
	a := r.hint
	r.hint = nil
	if a == nil || a.timer.Stop() {
		return nil
	}
	<-a.written
	if a.err == nil {
		r.obj.SetConditions(a.obj.GetConditions())
		r.obj.SetResourceVersion(a.obj.GetResourceVersion())
	}
	return a.err
}

// begin puts into an object that work on it has begun.
func (r *run[T, W]) begin(obj T) {
	m := r.moment()
	obj.SetConditions(begin(note(obj.GetConditions(), r.notes, m), cmp.Or(r.phase, inProgress), m))
}

// conclude records a verdict: events first, because a run that is repeated after a failed write repeats them, while an
// event that was never sent would be lost; then the status; then the queue.
func (r *run[T, W]) conclude(ctx context.Context, v Verdict) (reconcile.Result, error) {
	if v.Requeue != BackOff && same(r.before, v, r.obj.GetGeneration()) {
		v.Event = nil // still waiting for, or refused, the same thing: no news
	}
	r.emit(ctx, v.Event)
	r.deps.Metrics.count(r.loop.Kind, v.Outcome)
	r.settle(v)
	if err := r.write(ctx, r.obj); err != nil {
		return reconcile.Result{}, r.lost(err)
	}
	return r.requeue(ctx, v)
}

// settle puts the verdict into the object's status.
func (r *run[T, W]) settle(v Verdict) {
	m := r.moment()
	r.obj.SetConditions(settle(note(r.obj.GetConditions(), r.notes, m), v, r.passed, m))
	fields := r.loop.Fields(r.obj)
	if v.Observed {
		*fields.ObservedGeneration = r.obj.GetGeneration()
	}
	if token := requested(r.obj); token != "" {
		fields.Request.SetLastHandledReconcileRequest(token)
	}
}

// emit sends the noted events and then the last one, if there is one.
func (r *run[T, W]) emit(ctx context.Context, last *events.Event) {
	list := r.notes.events
	if last != nil {
		list = append(list, *last)
	}
	for _, e := range list {
		e = r.notes.withMetadata(e)
		r.deps.Events.Emit(r.obj, e)
		if e.Severity != events.Error { // failures are logged with their verdict
			logf.FromContext(ctx).Info(status.Message(e.Message), "reason", e.Reason)
		}
	}
}

// write brings a status of the object to the server, also while the process stops: what was done must not be forgotten.
func (r *run[T, W]) write(ctx context.Context, obj T) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	wrote, err := r.writer.Write(ctx, r.base, obj)
	if err != nil || !wrote {
		return err
	}
	r.base = obj.DeepCopyObject().(T)
	r.versions.wrote(r.req.NamespacedName, obj.GetResourceVersion())
	return nil
}

// lost returns the error of a run whose status could not be written. An object that is gone is no error.
func (r *run[T, W]) lost(err error) error {
	if client.IgnoreNotFound(err) == nil {
		return nil
	}
	return fmt.Errorf("%s %q: %w", r.loop.Kind, r.req.NamespacedName, err)
}

// ordinary is the priority of the next run: otherwise the queue would keep that of the last one, and whoever was hastened once would
// be before the others for ever.
const ordinary = 0

// requeue says when the object runs again, and logs what the owner has to do something about.
func (r *run[T, W]) requeue(ctx context.Context, v Verdict) (reconcile.Result, error) {
	log := logf.FromContext(ctx).WithValues("stage", v.Stage, "outcome", v.Outcome, "reason", v.Reason)
	if v.Outcome == fault.Invalid.String() || v.Outcome == fault.Denied.String() {
		log.Error(errors.New(v.Message), "the object needs a change")
	}
	switch v.Requeue {
	case BackOff:
		r.backoff.failing(r.req, r.attempt(), r.retryLimit())
		return reconcile.Result{Priority: new(ordinary)}, fmt.Errorf("%s: %s: %s", v.Stage, v.Reason, v.Message)
	case AtInterval:
		return reconcile.Result{Priority: new(ordinary), RequeueAfter: jitter(v.After, r.config.JitterPercent, r.deps.Random())}, nil
	case OnChange:
		return reconcile.Result{Priority: new(ordinary), RequeueAfter: jitter(r.config.Safety, r.config.JitterPercent, r.deps.Random())}, nil
	default:
		return reconcile.Result{}, nil
	}
}

// attempt names what is tried: another generation or another request starts the back-off anew.
func (r *run[T, W]) attempt() string {
	return fmt.Sprintf("%d %s", r.obj.GetGeneration(), requested(r.obj))
}

func (r *run[T, W]) retryLimit() time.Duration {
	if r.loop.RetryLimit == nil {
		return 0
	}
	return r.loop.RetryLimit(r.obj)
}

func (r *run[T, W]) moment() moment {
	return moment{generation: r.obj.GetGeneration(), now: r.deps.Now()}
}

// guard runs f. A panic in it becomes a fault without details; the details go to the log.
func guard(ctx context.Context, name string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			logf.FromContext(ctx).Error(errors.New(status.Redact(fmt.Sprint(p))), "a stage panicked", "stage", name, "stack", string(debug.Stack()))
			err = fault.New(fault.Retry, "", "internal error in stage %q: see the log of the controller", name)
		}
	}()
	return f()
}
