// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
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
	lockFile  = "lock"
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
	// Await, where it is set, waits a little for an artifact that is asked for and is not here: that of a revision, or with an empty
	// one whatever is current. A replica sets it, so that who has seen a status before the replica has is not sent away.
	Await func(ctx context.Context, k Key, revision string)
	// Ready, where it is set, is asked by Check, too: a replica that has not copied everything yet has a reason.
	Ready func() error
	// Damaged is told of an object whose current artifact was found damaged or gone: its source has to run. It is called by
	// whatever found it, and must not block. Nil tells nobody.
	Damaged func(Key, error)
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
	if c.Await == nil {
		c.Await = func(context.Context, Key, string) {}
	}
	if c.Ready == nil {
		c.Ready = func() error { return nil }
	}
	if c.Damaged == nil {
		c.Damaged = func(Key, error) {}
	}
	c.Limits = c.Limits.withDefaults()
	return c
}

// Store keeps artifacts in one folder, which belongs to one process at a time. All methods may be called by several
// goroutines at once, for different objects; the calls for one object are the caller's to order.
type Store struct {
	config Config
	disk   *disk
	// compressors are kept, each being larger than most artifacts.
	compressors sync.Pool

	mu      sync.Mutex
	records map[Key]record
	// refs counts, by hex digest, the record entries, unreleased Blobs and downloads that need a file.
	refs map[string]int
	// sound remembers which files this process has hashed, and how they looked then.
	sound map[string]stamp
	// doubtful are files that somebody found damaged, with the time. They are not served until they are hashed or written again.
	doubtful map[string]time.Time
	// asked is when content was asked for last.
	asked map[string]time.Time

	check checked
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
	d, err := openDisk(dir)
	if err != nil {
		return nil, fmt.Errorf("artifact store: %w", err)
	}
	s := &Store{
		config: config.withDefaults(), disk: d,
		records: map[Key]record{}, refs: map[string]int{}, sound: map[string]stamp{}, doubtful: map[string]time.Time{},
		asked: map[string]time.Time{},
	}
	if err := s.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("artifact store: %w", err), d.close())
	}
	return s, nil
}

// Keys are the objects that something is kept for.
func (s *Store) Keys() []Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys()
}

// Close releases the folder. Running downloads end well.
func (s *Store) Close() error { return s.disk.close() }

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
