// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"sync/atomic"
	"syscall"
)

// disk is the store's folder. What is written is written beside its place first, made durable, and renamed, so that nobody ever
// sees half of a file.
type disk struct {
	root   *os.Root
	lock   *os.File
	serial atomic.Uint64
	// fault, where a test has set it, fails the step that it is told of.
	fault func(step string) error
}

// openDisk takes a folder over.
func openDisk(dir string) (*disk, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	lock, err := lockFolder(root, dir)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &disk{root: root, lock: lock}, nil
}

// lockFolder makes sure that no other process writes here. The lock goes with the process.
func lockFolder(root *os.Root, dir string) (*os.File, error) {
	lock, err := root.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, modeFile)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = fmt.Errorf("folder %q belongs to another process that is running: give each its own", dir)
		}
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

func (d *disk) close() error { return errors.Join(d.lock.Close(), d.root.Close()) }

// step runs one step of a change.
func (d *disk) step(name string, f func() error) error {
	if d.fault != nil {
		if err := d.fault(name); err != nil {
			return err
		}
	}
	return f()
}

// temporary returns a name that nothing else has.
func (d *disk) temporary() string { return path.Join(tmpDir, strconv.FormatUint(d.serial.Add(1), 10)) }

// create writes a new file and makes it durable.
func (d *disk) create(name string, write func(io.Writer) error) error {
	var f *os.File
	err := d.step("create", func() (err error) {
		f, err = d.root.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, modeFile)
		return err
	})
	if err != nil {
		return err
	}
	err = write(faulty{disk: d, w: f})
	if err == nil {
		err = d.step("sync", f.Sync)
	}
	return errors.Join(err, f.Close())
}

// faulty is a file in which each write is a step.
type faulty struct {
	disk *disk
	w    io.Writer
}

// Write implements io.Writer.
func (f faulty) Write(p []byte) (n int, err error) {
	err = f.disk.step("write", func() error {
		n, err = f.w.Write(p)
		return err
	})
	return n, err
}

// move gives a finished file its name.
func (d *disk) move(tmp, name string) error {
	if err := d.step("rename", func() error { return d.root.Rename(tmp, name) }); err != nil {
		return err
	}
	return d.syncDir(path.Dir(name))
}

// replace writes a small file whole, or not at all.
func (d *disk) replace(name string, data []byte) error {
	tmp := d.temporary()
	err := d.create(tmp, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	if err == nil {
		err = d.move(tmp, name)
	}
	if err != nil {
		return errors.Join(err, d.discard(tmp))
	}
	return nil
}

// mkdirs makes a folder and those above it.
func (d *disk) mkdirs(name string) error {
	return d.step("mkdir", func() error { return d.root.MkdirAll(name, modeDir) })
}

// discard removes a file if it is there.
func (d *disk) discard(name string) error {
	if err := d.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes renames in a folder durable.
func (d *disk) syncDir(name string) error {
	return d.step("sync folder", func() error {
		f, err := d.root.Open(name)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

// readSmall reads a file of bounded size. It wraps ErrMissing where there is none.
func (d *disk) readSmall(name string, limit int64) ([]byte, error) {
	f, err := d.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%q: %w", name, ErrMissing)
	}
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%q: %w", name, ErrTooLarge)
	}
	return data, nil
}
