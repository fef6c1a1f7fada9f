// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"bufio"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"sync"
	"sync/atomic"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
)

// Hold keeps the objects of one source on disk. It survives a restart, and an interrupted fetch goes on where it was: each object is
// noted in a journal once it is whole. Bytes lie under their digest and are hashed when they are read, so nothing has to be made
// durable: what a crash has spoiled is fetched again. All methods may be called by several goroutines at once.
type Hold struct {
	root    *os.Root
	from    string
	digests fips.Digests
	serial  atomic.Uint64

	mu      sync.Mutex
	loaded  bool
	held    map[string]note // by key
	lines   int             // in the journal
	journal *os.File        // open for appending, once something was
}

// note is a line of the journal: which content an object had.
type note struct {
	Key  string `json:"key"`
	ETag string `json:"etag"`
	Size int64  `json:"size"`
	Sum  string `json:"sum"`
}

// heading is the journal's first line.
type heading struct {
	// From is whose objects these are. Those of another source, or of another place, are not used.
	From string `json:"from"`
}

// Names below a hold's folder.
const (
	journalFile = "journal"
	blobFolder  = "blobs"
	tmpFolder   = "tmp"
	modeDir     = 0o700
	modeFile    = 0o600
)

// ErrDamaged is wrapped by the error of a held object that is not what was fetched. It is no longer held then.
var ErrDamaged = errors.New("the held object is damaged")

// OpenHold opens a folder, and makes it if need be. It reads nothing yet. From says whose objects these are, and from where.
func OpenHold(dir, from string, d fips.Digests) (*Hold, error) {
	h := &Hold{from: from, digests: d, held: map[string]note{}}
	for _, sub := range []string{blobFolder, tmpFolder} {
		if err := os.MkdirAll(path.Join(dir, sub), modeDir); err != nil {
			return nil, storage("open", err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, storage("open", err)
	}
	h.root = root
	return h, nil
}

// storage is a fault of the disk, which is not the bucket's.
func storage(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fault.NewOn(conditionStorageFailed, fault.Retry, ReasonStorageFailed, "%s the held objects: %w", doing, err)
}

// Close lets go of the folder.
func (h *Hold) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return errors.Join(h.closeJournal(), h.root.Close())
}

func (h *Hold) closeJournal() error {
	if h.journal == nil {
		return nil
	}
	err := h.journal.Close()
	h.journal = nil
	return err
}

// Has reports whether an object is held as it was listed.
func (h *Hold) Has(o Object) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.load(); err != nil {
		return false, err
	}
	n, ok := h.held[o.Key]
	if !ok || n.ETag != o.ETag || n.Size != o.Size {
		return false, nil
	}
	info, err := h.root.Lstat(blobPath(n.Sum))
	return err == nil && info.Mode().IsRegular() && info.Size() == n.Size, nil
}

// Put takes an object that write has written. What write returns is returned as it is.
func (h *Hold) Put(o Object, write func(io.Writer) error) error {
	if err := h.begin(); err != nil {
		return err
	}
	state, err := h.digests.Hash(crypto.SHA256)
	if err != nil {
		return err
	}
	tmp := path.Join(tmpFolder, strconv.FormatUint(h.serial.Add(1), 10))
	f, err := h.root.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, modeFile)
	if err != nil {
		return storage("write", err)
	}
	out := &disk{to: f}
	err = write(io.MultiWriter(out, state))
	if out.err != nil {
		err = storage("write", out.err)
	}
	if closed := f.Close(); err == nil && closed != nil {
		err = storage("write", closed)
	}
	if err != nil {
		return errors.Join(err, h.discard(tmp))
	}
	return h.adopt(tmp, note{Key: o.Key, ETag: o.ETag, Size: o.Size, Sum: hex.EncodeToString(state.Sum(nil))})
}

// disk tells its own errors from those of who writes to it.
type disk struct {
	to  io.Writer
	err error
}

// Write implements io.Writer.
func (d *disk) Write(p []byte) (int, error) {
	n, err := d.to.Write(p)
	if err != nil {
		d.err = err
	}
	return n, err
}

func (h *Hold) discard(name string) error {
	if err := h.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// adopt gives a finished file its name and notes it.
func (h *Hold) adopt(tmp string, n note) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.root.Rename(tmp, blobPath(n.Sum))
	if err == nil {
		err = h.append(n)
	}
	if err != nil {
		return errors.Join(storage("write", err), h.discard(tmp))
	}
	h.held[n.Key] = n
	return nil
}

// append adds a line to the journal. The caller holds h.mu and has loaded it.
func (h *Hold) append(n note) error {
	if h.journal == nil {
		f, err := h.root.OpenFile(journalFile, os.O_APPEND|os.O_WRONLY, modeFile)
		if err != nil {
			return err
		}
		h.journal = f
	}
	line, err := json.Marshal(n)
	if err != nil {
		return err
	}
	h.lines++
	_, err = h.journal.Write(append(line, '\n'))
	return err
}

// Open reads a held object. The last bytes come only when all of them were what was fetched.
func (h *Hold) Open(o Object) (io.ReadCloser, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.load(); err != nil {
		return nil, err
	}
	n, ok := h.held[o.Key]
	if !ok || n.ETag != o.ETag || n.Size != o.Size {
		return nil, fmt.Errorf("%q is not held: %w", o.Key, fs.ErrNotExist)
	}
	f, err := h.root.Open(blobPath(n.Sum))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, h.drop(n)
	}
	if err != nil {
		return nil, storage("read", err)
	}
	state, err := h.digests.Hash(crypto.SHA256)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &checked{hold: h, note: n, file: f, state: state, left: n.Size}, nil
}

// drop forgets an object that is not what was fetched. The caller holds h.mu.
func (h *Hold) drop(n note) error {
	delete(h.held, n.Key)
	return errors.Join(fmt.Errorf("%q: %w", n.Key, ErrDamaged), h.discard(blobPath(n.Sum)))
}

// checked reads a blob and compares its digest before the last bytes are given away.
type checked struct {
	hold  *Hold
	note  note
	file  *os.File
	state hash.Hash
	left  int64
}

// Read implements io.Reader.
func (c *checked) Read(p []byte) (int, error) {
	if c.left == 0 && c.note.Size > 0 {
		return 0, io.EOF
	}
	n, err := c.file.Read(p[:min(int64(len(p)), c.left)])
	c.state.Write(p[:n]) // a hash never fails
	c.left -= int64(n)
	switch {
	case c.left == 0 && hex.EncodeToString(c.state.Sum(nil)) == c.note.Sum:
		if n == 0 {
			return 0, io.EOF
		}
		return n, nil
	case c.left == 0 || errors.Is(err, io.EOF):
		c.hold.mu.Lock()
		defer c.hold.mu.Unlock()
		return 0, c.hold.drop(c.note)
	}
	return n, err
}

// Close implements io.Closer.
func (c *checked) Close() error { return c.file.Close() }

// Keep forgets everything but these objects.
func (h *Hold) Keep(objects []Object) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.load(); err != nil {
		return err
	}
	kept := make(map[string]note, len(objects))
	for _, o := range objects {
		if n, ok := h.held[o.Key]; ok && n.ETag == o.ETag {
			kept[o.Key] = n
		}
	}
	if len(kept) == h.lines && len(kept) == len(h.held) {
		return nil
	}
	h.held = kept
	return storage("write", h.compact())
}

// compact writes the journal anew and removes blobs that nothing in it names. The caller holds h.mu.
func (h *Hold) compact() error {
	if err := h.closeJournal(); err != nil {
		return err
	}
	tmp := path.Join(tmpFolder, strconv.FormatUint(h.serial.Add(1), 10))
	f, err := h.root.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, modeFile)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(f)
	enc := json.NewEncoder(out)
	err = enc.Encode(heading{h.from})
	for _, n := range h.held {
		err = errors.Join(err, enc.Encode(n))
	}
	err = errors.Join(err, out.Flush(), f.Close())
	if err == nil {
		err = h.root.Rename(tmp, journalFile)
	}
	if err != nil {
		return errors.Join(err, h.discard(tmp))
	}
	h.lines = len(h.held)
	return h.sweep()
}

func (h *Hold) sweep() error {
	needed := make(map[string]bool, len(h.held))
	for _, n := range h.held {
		needed[n.Sum] = true
	}
	for _, folder := range []string{blobFolder, tmpFolder} {
		d, err := h.root.Open(folder)
		if err != nil {
			return err
		}
		names, err := d.Readdirnames(-1)
		if err = errors.Join(err, d.Close()); err != nil {
			return err
		}
		for _, name := range names {
			if folder == blobFolder && needed[name] {
				continue
			}
			if err := h.discard(path.Join(folder, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin is load for who does not hold h.mu. Loading clears the folder of temporary files, so it comes before the first of them.
func (h *Hold) begin() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.load()
}

// load reads the journal once. One that is missing, of another source or torn is begun anew with what could be read of it. The
// caller holds h.mu.
func (h *Hold) load() error {
	if h.loaded {
		return nil
	}
	whole, err := h.read()
	if err != nil {
		return storage("read", err)
	}
	if !whole {
		if err := h.compact(); err != nil {
			return storage("write", err)
		}
	}
	h.loaded = true
	return nil
}

func (h *Hold) read() (whole bool, err error) {
	f, err := h.root.Open(journalFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	dec := json.NewDecoder(bufio.NewReader(f))
	var first heading
	if dec.Decode(&first) != nil || first.From != h.from {
		return false, nil
	}
	for {
		var n note
		err := dec.Decode(&n)
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil || len(n.Sum) != hex.EncodedLen(crypto.SHA256.Size()) || n.Key == "" {
			return false, nil
		}
		if _, err := hex.DecodeString(n.Sum); err != nil {
			return false, nil
		}
		h.lines++
		h.held[n.Key] = n
	}
}

func blobPath(sum string) string { return path.Join(blobFolder, sum) }
