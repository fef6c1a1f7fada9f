// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"sluice.dev/sluice/internal/fips"
)

// lockName is the file whose lock says who writes.
const lockName = "ledger.lock"

// Config is what a ledger needs.
type Config struct {
	// Digests makes the hashes. It is required.
	Digests fips.Digests
	// Clock is the wall clock, with a monotonic reading. Nil is time.Now.
	Clock func() time.Time
	// ClusterUID says which cluster is written to: the UID of its kube-system namespace.
	ClusterUID string
	// Component names the program and its version.
	Component string
}

// storage is the file of a ledger, as the tests of full disks replace it.
type storage interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
}

// Ledger appends entries. It may be used by several goroutines at once; appends that come together share one fsync.
type Ledger struct {
	config Config
	start  time.Time
	lock   *os.File

	// turn is held by the goroutine that writes; the fields below it belong to the holder.
	turn   chan struct{}
	file   storage
	size   int64
	head   Ref
	open   map[uint64]string
	broken error

	// mu guards the entries that wait for the next turn.
	mu      sync.Mutex
	waiting []*pending
}

// pending is an entry on its way to the disk.
type pending struct {
	entry Entry
	// ready is closed when ref or err is set.
	ready chan struct{}
	ref   Ref
	err   error
}

// Open takes the lock, checks the whole chain, cuts off an incomplete last line and appends an entry that says so. It
// creates the folder and the file where they are missing.
func Open(ctx context.Context, dir string, c Config) (*Ledger, error) {
	if c.Digests == nil {
		return nil, errors.New("open ledger: no digests configured")
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	defer root.Close()
	lock, err := takeLock(root)
	if err != nil {
		return nil, err
	}
	l := &Ledger{config: c, start: c.Clock(), lock: lock, turn: make(chan struct{}, 1)}
	if err := l.resume(ctx, root); err != nil {
		return nil, errors.Join(err, l.release())
	}
	return l, nil
}

func takeLock(root *os.Root) (*os.File, error) {
	lock, err := root.OpenFile(lockName, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		closeErr := lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("open ledger %q: %w", root.Name(), errors.Join(ErrLocked, closeErr))
		}
		return nil, fmt.Errorf("lock ledger %q: %w", root.Name(), errors.Join(err, closeErr))
	}
	return lock, nil
}

// resume reads what is there and leaves the file ready for the next entry.
func (l *Ledger) resume(ctx context.Context, root *os.Root) error {
	f, err := root.OpenFile(fileName, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	l.file = f
	report, err := Verify(ctx, f, l.config.Digests)
	if err != nil {
		return fmt.Errorf("open ledger %q: %w", root.Name(), err)
	}
	l.size, l.head, l.open = report.size, report.Head, map[uint64]string{}
	if report.Torn > 0 {
		if err := f.Truncate(l.size); err != nil {
			return fmt.Errorf("cut off the incomplete last line of the ledger: %w", err)
		}
	}
	if err := syncDir(root); err != nil {
		return err
	}
	if report.Torn > 0 {
		body := gap{Reason: "the last line was incomplete: the writer was killed or the power failed", Bytes: report.Torn}
		if _, err := l.append(ctx, Entry{Type: Gap, Body: body}); err != nil {
			return err
		}
	}
	interrupted := append([]uint64{}, report.Open...)
	_, err = l.append(ctx, Entry{Type: Opened, Body: opened{Entries: report.Entries, Interrupted: interrupted}})
	return err
}

// syncDir makes a new file's name durable.
func syncDir(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("sync the ledger's folder: %w", err)
	}
	return nil
}

// Head returns the last entry on disk.
func (l *Ledger) Head() Ref {
	l.turn <- struct{}{}
	defer l.pass()
	return l.head
}

// Append returns when the entry is on disk. After an error it is not, except when ctx ended: then it may be. An entry
// that the disk does not take leaves the ledger as it was, and the next one is tried again. Intents and outcomes have
// methods of their own.
func (l *Ledger) Append(ctx context.Context, e Entry) (Ref, error) {
	switch e.Type { //nolint:exhaustive // all others may be appended
	case "":
		return Ref{}, errors.New("append to ledger: the entry has no type")
	case ApplyIntent, ApplyOutcome, Opened:
		return Ref{}, fmt.Errorf("append to ledger: entries of type %q are made by Intend, Conclude and Open", e.Type)
	}
	return l.append(ctx, e)
}

func (l *Ledger) append(ctx context.Context, e Entry) (Ref, error) {
	if err := ctx.Err(); err != nil {
		return Ref{}, fmt.Errorf("append to ledger: %w", err)
	}
	p := &pending{entry: e, ready: make(chan struct{})}
	l.mu.Lock()
	l.waiting = append(l.waiting, p)
	l.mu.Unlock()
	select {
	case <-p.ready:
	case l.turn <- struct{}{}:
		l.commit()
		l.pass()
	case <-ctx.Done():
		return Ref{}, fmt.Errorf("append to ledger: %w", ctx.Err())
	}
	<-p.ready
	return p.ref, p.err
}

// Intend appends an intent. Nothing of it may be written to a cluster before Intend has returned without an error.
func (l *Ledger) Intend(ctx context.Context, e Entry, i Intent) (Ref, error) {
	e.Type, e.Body = ApplyIntent, i
	return l.append(ctx, e)
}

// Conclude appends the outcome of an intent of the same run.
func (l *Ledger) Conclude(ctx context.Context, e Entry, intent Ref, o Outcome) (Ref, error) {
	o.Intent = intent.Seq
	e.Type, e.Body = ApplyOutcome, o
	return l.append(ctx, e)
}

// Close writes what waits, and gives the lock back.
func (l *Ledger) Close() error {
	l.turn <- struct{}{}
	defer l.pass()
	l.commit()
	if errors.Is(l.broken, ErrClosed) {
		return nil
	}
	l.broken = ErrClosed
	return l.release()
}

func (l *Ledger) release() error {
	var errs []error
	if l.file != nil {
		errs = append(errs, l.file.Close())
	}
	return errors.Join(append(errs, l.lock.Close())...)
}

func (l *Ledger) pass() { <-l.turn }

// commit writes all waiting entries with one fsync. Only the holder of the turn calls it.
func (l *Ledger) commit() {
	l.mu.Lock()
	batch := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	defer func() {
		for _, p := range batch {
			close(p.ready)
		}
	}()
	head, lines := l.seal(batch)
	if err := l.store(lines); err != nil {
		for _, p := range batch {
			p.ref, p.err = Ref{}, err
		}
		return
	}
	l.head = head
	l.size += int64(len(lines))
	for _, p := range batch {
		l.settle(p)
	}
}

// settle keeps the open intents, once an entry is on disk.
func (l *Ledger) settle(p *pending) {
	if p.err != nil {
		return
	}
	switch body := p.entry.Body.(type) {
	case Intent:
		l.open[p.ref.Seq] = p.entry.Run
	case Outcome:
		delete(l.open, body.Intent)
	}
}

// seal gives entries their numbers and hashes. An entry that cannot be one gets its error and no number.
func (l *Ledger) seal(batch []*pending) (Ref, []byte) {
	head := l.head
	var lines bytes.Buffer
	concluded := map[uint64]bool{}
	for _, p := range batch {
		if o, ok := p.entry.Body.(Outcome); ok {
			run, open := l.open[o.Intent]
			if !open || concluded[o.Intent] || run != p.entry.Run {
				p.err = fmt.Errorf("append to ledger: intent %d, run %q: %w", o.Intent, p.entry.Run, ErrNoIntent)
				continue
			}
			concluded[o.Intent] = true
		}
		entry, err := l.encode(p.entry, head)
		if err != nil {
			p.err = fmt.Errorf("append to ledger: %w", err)
			continue
		}
		sum, err := hash(l.config.Digests, entry)
		if err != nil {
			p.err = err
			continue
		}
		head = Ref{Seq: head.Seq + 1, Hash: sum}
		p.ref = head
		lines.Write(wrap(entry, sum))
		lines.WriteByte('\n')
	}
	return head, lines.Bytes()
}

func (l *Ledger) encode(e Entry, head Ref) ([]byte, error) {
	now := l.config.Clock()
	entry, err := canonical(record{
		Seq: head.Seq + 1, Prev: head.Hash, Time: now.UTC().Round(0), Mono: now.Sub(l.start).Milliseconds(),
		ClusterUID: l.config.ClusterUID, Component: l.config.Component, Type: e.Type, Version: version,
		Tenant: e.Tenant, Run: e.Run, Subjects: e.Subjects, Body: e.Body,
	})
	if err != nil {
		return nil, err
	}
	if len(entry) > MaxEntry {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", len(entry), MaxEntry, ErrTooLarge)
	}
	return entry, nil
}

// store writes and syncs. A write that fails is taken back, so that the next one finds a whole file. After an fsync that
// failed nobody knows what is on disk: the ledger then takes no more entries until it is opened, and so read, again.
func (l *Ledger) store(lines []byte) error {
	if l.broken != nil {
		return l.broken
	}
	if len(lines) == 0 {
		return nil
	}
	if _, err := l.file.Write(lines); err != nil {
		err = fmt.Errorf("%w: %w", ErrStorage, err)
		if undo := l.file.Truncate(l.size); undo != nil {
			l.broken = fmt.Errorf("%w, and the incomplete line not be cut off: %w", err, undo)
			return l.broken
		}
		return err
	}
	if err := l.file.Sync(); err != nil {
		l.broken = fmt.Errorf("%w: fsync: %w", ErrStorage, err)
		return l.broken
	}
	return nil
}
