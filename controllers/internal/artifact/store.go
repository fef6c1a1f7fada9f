// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.dev/sluice/internal/fips"
)

// Folders below the store's root. Blobs are the bytes; objects holds one folder per source object with its record and
// statements; tmp holds what is being written and is emptied at start.
const (
	blobDir   = "blobs/sha256"
	objectDir = "objects"
	tmpDir    = "tmp"
)

// maxStatement bounds a statement, which is about 2 KiB.
const maxStatement = 256 << 10

// Config is how the store behaves. Digests and AdvertisedAddress are needed.
type Config struct {
	// Digests computes the digests.
	Digests fips.Digests
	// AdvertisedAddress is the host[:port] that consumers reach the Handler at, with or without http:// or https://
	// (--storage-adv-addr).
	AdvertisedAddress string
	// RetentionTTL is how long an artifact is kept after it was superseded (--artifact-retention-ttl). Zero is 60 s.
	RetentionTTL time.Duration
	// RetentionRecords is how many artifacts of an object may be kept beyond doubt, the current one included
	// (--artifact-retention-records). Zero is 2. See Store.Collect.
	RetentionRecords int
	// DigestOnly says that nothing is served at Flux's paths: URLs in a status are those by digest.
	DigestOnly bool
	// Limits bound what is stored.
	Limits Limits
	// Now is the clock. Nil is the machine's.
	Now func() time.Time
}

// Validate reports the first value that cannot work.
func (c Config) Validate() error {
	switch {
	case c.Digests == nil:
		return errors.New("no digests")
	case c.AdvertisedAddress == "":
		return errors.New("no advertised address")
	case c.RetentionTTL < 0 || c.RetentionRecords < 0:
		return errors.New("retention cannot be negative")
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.RetentionTTL == 0 {
		c.RetentionTTL = time.Minute
	}
	if c.RetentionRecords == 0 {
		c.RetentionRecords = 2
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Limits = c.Limits.withDefaults()
	return c
}

// Store keeps artifacts in one folder, which belongs to one process at a time. All methods may be called by several
// goroutines at once, for different objects; the calls for one object are the caller's to order.
type Store struct {
	config Config
	root   *os.Root
	serial atomic.Uint64

	mu      sync.Mutex
	records map[Key]record
	// refs counts, by hex digest, the record entries and unreleased Blobs that need a file.
	refs map[string]int
	// sound remembers which files this process has hashed, and how they looked then.
	sound map[string]stamp
}

// stamp is how a file looks without reading it.
type stamp struct {
	size int64
	time time.Time
}

// Open opens or creates a store. What an interrupted process has left half-written is removed, and so is every blob
// that no record refers to; a record whose blob is gone counts as absent, so that its source fetches again.
func Open(dir string, config Config) (*Store, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("artifact store: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("artifact store: %w", err)
	}
	s := &Store{
		config: config.withDefaults(), root: root,
		records: map[Key]record{}, refs: map[string]int{}, sound: map[string]stamp{},
	}
	if err := s.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("artifact store: %w", err), root.Close())
	}
	return s, nil
}

// Close releases the folder. Running downloads end well.
func (s *Store) Close() error { return s.root.Close() }

// Blob is content in the store that is not published yet. It stays until Release, whether or not it was published.
type Blob struct {
	store    *Store
	sum      string
	size     int64
	released atomic.Bool
}

// Digest returns "sha256:<hex>".
func (b *Blob) Digest() string { return digestPrefix + b.sum }

// Size returns the size in bytes.
func (b *Blob) Size() int64 { return b.size }

// Release lets go of the content. A blob that was not published is removed.
func (b *Blob) Release() {
	if b.released.Swap(true) {
		return
	}
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	b.store.unref(b.sum)
}

// Archive stores a directory as a deterministic archive: same content, same digest.
func (s *Store) Archive(ctx context.Context, t Tree) (*Blob, error) {
	return s.put(ctx, func(w io.Writer) error { return writeTar(ctx, w, t, s.config.Limits) })
}

// Copy stores bytes as they are.
func (s *Store) Copy(ctx context.Context, r io.Reader) (*Blob, error) {
	return s.put(ctx, func(w io.Writer) error {
		_, err := io.Copy(w, &bounded{ctx: ctx, r: r, limit: s.config.Limits.Compressed})
		return err
	})
}

// put writes a new blob: to a temporary file first, hashed while it is written, made durable, then renamed to its
// digest. A file of that name is replaced, in case it was damaged; who reads the old one goes on reading it.
func (s *Store) put(ctx context.Context, write func(io.Writer) error) (*Blob, error) {
	state, err := s.config.Digests.Hash(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	tmp := path.Join(tmpDir, strconv.FormatUint(s.serial.Add(1), 10))
	out := &digested{state: state, limit: s.config.Limits.Compressed}
	err = s.create(tmp, func(f *os.File) error {
		out.w = f
		return write(out)
	})
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("store content: %w", errors.Join(err, s.discard(tmp)))
	}
	b := &Blob{store: s, sum: hex.EncodeToString(state.Sum(nil)), size: out.n}
	if err := s.adopt(tmp, b); err != nil {
		return nil, fmt.Errorf("store content: %w", errors.Join(err, s.discard(tmp)))
	}
	return b, nil
}

// adopt renames a finished temporary file to its digest and takes a reference in the same breath, so that no collector
// comes between.
func (s *Store) adopt(tmp string, b *Blob) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.root.Rename(tmp, blobPath(b.sum)); err != nil {
		return err
	}
	if err := s.syncDir(blobDir); err != nil {
		return err
	}
	info, err := s.root.Lstat(blobPath(b.sum))
	if err != nil {
		return err
	}
	s.sound[b.sum] = stamp{info.Size(), info.ModTime()}
	s.refs[b.sum]++
	return nil
}

// create writes a new file and makes it durable.
func (s *Store) create(name string, write func(*os.File) error) error {
	f, err := s.root.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, modeFile)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// replace writes a small file atomically.
func (s *Store) replace(name string, data []byte) error {
	tmp := path.Join(tmpDir, strconv.FormatUint(s.serial.Add(1), 10))
	err := s.create(tmp, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
	if err == nil {
		err = s.root.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(err, s.discard(tmp))
	}
	return s.syncDir(path.Dir(name))
}

func (s *Store) discard(name string) error {
	if err := s.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes renames in a folder durable.
func (s *Store) syncDir(name string) error {
	d, err := s.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func blobPath(sum string) string { return path.Join(blobDir, sum) }

// unref drops one reference and, with the last one, the file. The caller holds s.mu.
func (s *Store) unref(sum string) {
	if s.refs[sum]--; s.refs[sum] > 0 {
		return
	}
	delete(s.refs, sum)
	delete(s.sound, sum)
	// A file that cannot be removed now is removed at the next start, when nothing refers to it.
	_ = s.discard(blobPath(sum))
}

// digested hashes and counts what passes, and stops at a limit.
type digested struct {
	w     io.Writer
	state hash.Hash
	limit int64
	n     int64
}

// Write implements io.Writer.
func (d *digested) Write(p []byte) (int, error) {
	if d.n+int64(len(p)) > d.limit {
		return 0, fmt.Errorf("more than %d bytes: %w", d.limit, ErrTooLarge)
	}
	n, err := d.w.Write(p)
	d.n += int64(n)
	if err != nil {
		return n, err
	}
	_, err = d.state.Write(p)
	return n, err
}

// url returns the address of a path below one of the handlers.
func (s *Store) url(scheme, p string) string {
	addr := s.config.AdvertisedAddress
	if !strings.HasPrefix(addr, "http://") && !strings.HasPrefix(addr, "https://") {
		addr = scheme + "://" + addr
	}
	return strings.TrimSuffix(addr, "/") + "/" + strings.TrimPrefix(p, "/")
}

// artifact returns an entry as it stands in a source's status (spec row S-12). Its URL is Flux's path, or where that is not
// served, the one by digest.
func (s *Store) artifact(k Key, e entry) meta.Artifact {
	p := path.Join(k.path(), e.File)
	address := s.url("http", p)
	if s.config.DigestOnly {
		address = s.url("https", blobURL+e.Sum)
	}
	return meta.Artifact{
		Digest: digestPrefix + e.Sum, Path: p, URL: address, Revision: e.Revision,
		LastUpdateTime: metav1.NewTime(e.Updated), Size: &e.Size, Metadata: e.Metadata,
	}
}
