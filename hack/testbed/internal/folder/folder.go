// SPDX-License-Identifier: Apache-2.0

package folder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockName is the file within an owned folder that carries the lock.
const lockName = ".lock"

// ErrInUse says that another process owns the folder or holds the lock.
var ErrInUse = errors.New("in use by another process")

// Owned is a folder that this process owns.
type Owned struct {
	Path string
	lock *Lock
}

// NewTemp makes an owned folder below parent, named prefix and something random.
func NewTemp(parent, prefix string) (*Owned, error) {
	for {
		path, err := os.MkdirTemp(parent, prefix)
		if err != nil {
			return nil, err
		}
		owned, err := Own(path)
		if errors.Is(err, ErrInUse) || errors.Is(err, os.ErrNotExist) {
			continue // a sweep was faster than our lock, and has deleted the folder
		}
		return owned, err
	}
}

// Own makes path if need be and takes it into possession.
func Own(path string) (*Owned, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	lock, err := TryLock(filepath.Join(path, lockName))
	if err != nil {
		return nil, fmt.Errorf("take folder %q: %w", path, err)
	}
	return &Owned{Path: path, lock: lock}, nil
}

// Remove deletes the folder with all its content.
func (o *Owned) Remove() error {
	err := os.RemoveAll(o.Path)
	o.lock.Release()
	return err
}

// Release gives the folder up and leaves its content.
func (o *Owned) Release() { o.lock.Release() }

// Sweep deletes the folders below parent whose name starts with prefix and whose owner died without removing them. A
// folder that cannot be opened or deleted is another user's, and is left alone.
func Sweep(parent, prefix string) {
	paths, err := filepath.Glob(filepath.Join(parent, prefix+"*", lockName))
	if err != nil {
		return
	}
	for _, path := range paths {
		if lock, err := TryLock(path); err == nil {
			_ = os.RemoveAll(filepath.Dir(path))
			lock.Release()
		}
	}
}

// Lock is an exclusive lock on a file.
type Lock struct{ file *os.File }

// TryLock takes the lock at path, or returns ErrInUse at once.
func TryLock(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return &Lock{file: f}, nil
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, ErrInUse
	}
	return nil, err
}

// Wait takes the lock at path once its holder has released it. Before it waits it calls busy.
func Wait(ctx context.Context, path string, busy func()) (*Lock, error) {
	lock, err := TryLock(path)
	if !errors.Is(err, ErrInUse) {
		return lock, err
	}
	busy()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	locked := make(chan error, 1)
	go func() { locked <- syscall.Flock(int(f.Fd()), syscall.LOCK_EX) }()
	select {
	case err := <-locked:
		if err != nil {
			f.Close()
			return nil, err
		}
		return &Lock{file: f}, nil
	case <-ctx.Done():
		// Nobody can call the goroutine back from the kernel. What it gets in the end it must not keep from others.
		go func() { <-locked; f.Close() }()
		return nil, ctx.Err()
	}
}

// Release gives the lock up.
func (l *Lock) Release() { _ = l.file.Close() }
