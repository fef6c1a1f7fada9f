// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"context"
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc64"
	"io"
	"os"
	"path"

	"github.com/klauspost/compress/gzip"
)

// pieceDir has, by the digest of an archive, the list of its pieces.
const pieceDir = "pieces"

// pieceFormat is part of every piece's key. It changes with how pieces are cut and compressed, so that what an older program has
// written is not mixed with what this one writes: the same content has the same digest. A test knows the digest of one archive.
const pieceFormat = "1"

// pieceKey is a digest over all that a piece depends on. The zero key is that of a piece that is not taken over.
type pieceKey [32]byte

// piece is where a part of an archive is. Its checksum finds what a disk has spoilt, so that it is not copied on under a new
// digest.
type piece struct {
	key      pieceKey
	at, size int64
	sum      uint64
}

// pieceBytes is the length of a piece in the list.
const pieceBytes = 32 + 3*8

// maxPieces bounds the list of an archive: a piece is rarely smaller than pieceLeast.
const maxPieces = 16 << 20

// errPiece is about a piece of an earlier archive that is not as it was written. The archive is made without it then.
var errPiece = errors.New("a piece of the earlier archive is damaged")

// pieceWriter writes an archive and knows its pieces, and those of an earlier one.
type pieceWriter struct {
	out     io.Writer
	digest  hash.Hash // for keys
	check   hash.Hash64
	old     *os.File // nil without an earlier archive
	have    map[pieceKey]piece
	written []piece
	at      int64
	started int64
	buffer  []byte // to copy old pieces; made for the first
}

func newPieceWriter(out io.Writer, digest hash.Hash) *pieceWriter {
	return &pieceWriter{out: out, digest: digest, check: crc64.New(crc64.MakeTable(crc64.ECMA))}
}

// key is that of a piece with these items; zero if one of them cannot tell its content.
func (w *pieceWriter) key(items []item) (key pieceKey, err error) {
	w.digest.Reset()
	for _, i := range items {
		if !i.dir() && i.id == "" {
			return pieceKey{}, nil
		}
		_, err = fmt.Fprintf(w.digest, "%s %q %o %d %q\n", pieceFormat, i.name, i.mode, i.size, i.id)
		if err != nil {
			return pieceKey{}, err
		}
	}
	w.digest.Sum(key[:0])
	return key, nil
}

// begin, Write and end write one piece.
func (w *pieceWriter) begin() {
	w.check.Reset()
	w.started = w.at
}

// Write implements io.Writer.
func (w *pieceWriter) Write(p []byte) (int, error) {
	n, err := w.out.Write(p)
	w.at += int64(n)
	_, _ = w.check.Write(p[:n]) // hashes do not fail
	return n, err
}

func (w *pieceWriter) end(key pieceKey) {
	if key != (pieceKey{}) {
		w.written = append(w.written, piece{key: key, at: w.started, size: w.at - w.started, sum: w.check.Sum64()})
	}
}

// reuse copies a piece from the earlier archive, if that has it.
func (w *pieceWriter) reuse(ctx context.Context, key pieceKey) (bool, error) {
	p, ok := w.have[key]
	if !ok {
		return false, nil
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if w.buffer == nil {
		w.buffer = make([]byte, 256<<10)
	}
	w.begin()
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, io.NewSectionReader(w.old, p.at, p.size), w.buffer)
	if err != nil {
		return false, err
	}
	if n != p.size || w.check.Sum64() != p.sum {
		return false, errPiece
	}
	w.end(key)
	return true, nil
}

// list is how the pieces of an archive are kept.
func (w *pieceWriter) list() []byte {
	var list []byte
	for _, p := range w.written {
		list = append(list, p.key[:]...)
		list = binary.BigEndian.AppendUint64(list, uint64(p.at))
		list = binary.BigEndian.AppendUint64(list, uint64(p.size))
		list = binary.BigEndian.AppendUint64(list, p.sum)
	}
	return list
}

// parsePieces reads a list of the pieces of an archive of a size. One that does not fit is of no use.
func parsePieces(list []byte, size int64) map[pieceKey]piece {
	pieces := make(map[pieceKey]piece, len(list)/pieceBytes)
	for ; len(list) >= pieceBytes; list = list[pieceBytes:] {
		p := piece{
			at: int64(binary.BigEndian.Uint64(list[32:])), size: int64(binary.BigEndian.Uint64(list[40:])), sum: binary.BigEndian.Uint64(list[48:]),
		}
		copy(p.key[:], list)
		if p.at < 0 || p.size <= 0 || p.at > size-p.size {
			return nil
		}
		pieces[p.key] = p
	}
	return pieces
}

// Archive stores a directory as a deterministic archive: same content, same digest.
func (s *Store) Archive(ctx context.Context, t Tree) (*Blob, error) {
	b, err := s.archive(ctx, t)
	if errors.Is(err, errPiece) {
		t.Like = Key{}
		b, err = s.archive(ctx, t)
	}
	return b, err
}

func (s *Store) archive(ctx context.Context, t Tree) (*Blob, error) {
	digest, err := s.config.Digests.Hash(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	w := newPieceWriter(nil, digest)
	release := s.openLike(t.Like, w)
	defer release()
	zip, ok := s.compressors.Get().(*gzip.Writer)
	if !ok {
		zip = gzip.NewWriter(nil)
	}
	defer s.compressors.Put(zip)
	b, err := s.put(ctx, func(out io.Writer) error {
		w.out = out
		return (&archiver{ctx: ctx, tree: t, limits: s.config.Limits, out: w, zip: zip}).write()
	})
	if err != nil || len(w.written) < 2 { // an archive of one piece is no work
		return b, err
	}
	if err := s.disk.replace(piecePath(b.sum), w.list()); err != nil {
		b.Release()
		return nil, fmt.Errorf("store content: %w", err)
	}
	return b, nil
}

// openLike lets a writer take over what the current archive of an object has.
func (s *Store) openLike(k Key, w *pieceWriter) (release func()) {
	none := func() {}
	current, ok := s.Current(k)
	if !ok {
		return none
	}
	sum := current.Digest[len(digestPrefix):]
	unhold, ok := s.hold(sum)
	if !ok {
		return none
	}
	list, err := s.disk.readSmall(piecePath(sum), maxPieces)
	if err != nil {
		unhold()
		return none
	}
	f, err := s.disk.root.Open(blobPath(sum))
	if err != nil {
		unhold()
		return none
	}
	if info, err := f.Stat(); err == nil {
		w.old, w.have = f, parsePieces(list, info.Size())
	}
	return func() {
		_ = f.Close() // only read from
		unhold()
	}
}

func piecePath(sum string) string { return path.Join(pieceDir, sum) }
