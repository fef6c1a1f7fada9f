// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/pjbgf/sha1cd"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/transport"
)

// pack is a downloaded pack file, checked against the limits and indexed.
type pack struct {
	objects *packfile.Packfile
}

// download copies the pack into a new temporary file, bounded and interruptible. The caller closes and removes the file.
func download(ctx context.Context, dir string, stream io.Reader, limit int64) (*os.File, error) {
	file, err := os.CreateTemp(dir, "pack-*")
	if err != nil {
		return nil, fmt.Errorf("temporary file for the pack: %w", err)
	}
	// The name goes at once: whatever ends the process, nothing stays behind.
	if err := os.Remove(file.Name()); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("temporary file for the pack: %w", err)
	}
	_, err = io.Copy(file, &interruptible{ctx: ctx, r: transport.LimitReader(stream, limit)})
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("download of the pack: %w", err)
	}
	return file, nil
}

// interruptible ends a read loop when its context ends.
type interruptible struct {
	ctx context.Context //nolint:containedctx // io.Reader has no context; lives as long as one copy
	r   io.Reader
}

// Read implements io.Reader.
func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}

// openPack surveys and indexes a pack.
func openPack(ctx context.Context, file *os.File, limits Limits) (*pack, error) {
	source := &packFile{File: file, ctx: ctx}
	if err := survey(source, limits); err != nil {
		return nil, packError(err)
	}
	if _, err := source.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read the pack: %w", err)
	}
	writer := new(idxfile.Writer)
	parser, err := packfile.NewParser(packfile.NewScanner(source), writer)
	if err != nil {
		return nil, packError(err)
	}
	// sha1cd is no part of the module and not stopped by fips140=only; the exemption is for the record.
	fips.Exempt(fips.GitObjectID, func() { _, err = parser.Parse() })
	if err != nil {
		return nil, packError(err)
	}
	index, err := writer.Index()
	if err != nil {
		return nil, packError(err)
	}
	bases := cache.NewObjectLRU(32 * cache.MiByte)
	return &pack{objects: packfile.NewPackfileWithCache(index, nil, source, bases, 0)}, nil
}

// packError keeps our own errors and drops the parser's detail, which names offsets nobody can use.
func packError(err error) error {
	if _, ok := errors.AsType[*LimitError](err); ok || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("the pack is damaged (%s): %w", remoteText(err.Error(), nil), errProtocol)
}

// survey reads the pack once and inflates every object into nothing, to know before the parser runs, which holds objects
// in memory and trusts their announced sizes, that no object and not all together go beyond the limits.
func survey(source io.ReadSeeker, limits Limits) error {
	if _, err := source.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read the pack: %w", err)
	}
	scanner := packfile.NewScanner(source)
	_, count, err := scanner.Header()
	if err != nil {
		return err
	}
	if int64(count) > limits.Objects {
		return &LimitError{What: "the number of objects", Limit: limits.Objects}
	}
	var total int64
	for range count {
		size, err := surveyObject(scanner, limits.ObjectBytes)
		if err != nil {
			return err
		}
		if total += size; total > limits.InflatedBytes {
			return &LimitError{What: "the size of all objects in bytes", Limit: limits.InflatedBytes}
		}
	}
	return nil
}

// surveyObject returns the size of the next object: for a delta, that of its result if it is the greater.
func surveyObject(scanner *packfile.Scanner, limit int64) (int64, error) {
	header, err := scanner.NextObjectHeader()
	if err != nil {
		return 0, err
	}
	tooLarge := &LimitError{What: "the size of an object in bytes", Limit: limit}
	if header.Length > limit {
		return 0, tooLarge
	}
	var start prefix
	n, _, err := scanner.NextObject(&start)
	if err != nil {
		return 0, err
	}
	if n != header.Length {
		return 0, errors.New("an object is shorter than announced")
	}
	if !header.Type.IsDelta() {
		return n, nil
	}
	result, ok := deltaResult(start.kept)
	if !ok {
		return 0, errors.New("a delta has no sizes")
	}
	if result > uint64(limit) { // limit is positive
		return 0, tooLarge
	}
	return max(n, int64(result)), nil // bounded by limit
}

// prefix keeps the first bytes written and drops the rest: two sizes of at most ten bytes each.
type prefix struct{ kept []byte }

// Write implements io.Writer.
func (p *prefix) Write(b []byte) (int, error) {
	if room := 20 - len(p.kept); room > 0 {
		p.kept = append(p.kept, b[:min(room, len(b))]...)
	}
	return len(b), nil
}

// deltaResult reads the second of the two sizes a delta begins with (gitformat-pack, "Deltified representation").
func deltaResult(b []byte) (uint64, bool) {
	var size uint64
	for range 2 {
		size = 0
		for shift := 0; ; shift += 7 {
			if len(b) == 0 || shift > 56 {
				return 0, false
			}
			digit := b[0]
			b = b[1:]
			size |= uint64(digit&0x7f) << shift
			if digit&0x80 == 0 {
				break
			}
		}
	}
	return size, true
}

// has reports whether the pack holds an object.
func (p *pack) has(hash string) bool {
	_, err := p.objects.FindOffset(plumbing.NewHash(hash))
	return err == nil
}

// read returns an object after checking that its content bears the name it was asked for by. A second hash over what the
// index says costs little and means that a fault of the parser cannot put foreign content under a signed name.
func (p *pack) read(hash string, want plumbing.ObjectType) ([]byte, error) {
	object, err := p.objects.Get(plumbing.NewHash(hash))
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", hash, ErrNotFound)
	}
	if object.Type() != want {
		return nil, fmt.Errorf("object %s is a %s, want a %s: %w", hash, object.Type(), want, errProtocol)
	}
	reader, err := object.Reader()
	if err != nil {
		return nil, packError(err)
	}
	defer reader.Close() // in memory
	content, err := io.ReadAll(reader)
	if err != nil {
		return nil, packError(err)
	}
	return content, checkName(hash, want, content)
}

// checkName hashes an object as Git does and refuses a collision attack.
func checkName(hash string, kind plumbing.ObjectType, content []byte) error {
	state, ok := sha1cd.New().(sha1cd.CollisionResistantHash)
	if !ok {
		return errors.New("no collision detection for object ids")
	}
	state.Write([]byte(kind.String() + " " + strconv.Itoa(len(content)) + "\x00"))
	state.Write(content)
	sum, collision := state.CollisionResistantSum(nil)
	if collision {
		return fmt.Errorf("object %s was made to collide with another: %w", hash, errProtocol)
	}
	if hex.EncodeToString(sum) != hash {
		return fmt.Errorf("object %s has other content than its name says: %w", hash, errProtocol)
	}
	return nil
}

// packFile is what go-git wants of a file. Each seek checks the context, so that resolving a long chain of deltas ends with
// it.
type packFile struct {
	*os.File
	ctx context.Context //nolint:containedctx // io.Seeker has no context; lives as long as one fetch
}

// Seek implements io.Seeker.
func (f *packFile) Seek(offset int64, whence int) (int64, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	return f.File.Seek(offset, whence)
}

// Read implements io.Reader.
func (f *packFile) Read(p []byte) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

// Lock and Unlock complete billy.File; nobody else has this file.
func (f *packFile) Lock() error { return nil }

// Unlock is the other half of Lock.
func (f *packFile) Unlock() error { return nil }
