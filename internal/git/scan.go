// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/klauspost/compress/zlib"
)

// scanner reads a pack from its beginning to its end (gitformat-pack). go-git's own is not used: it inflates with the standard
// library, and hashes the pack as a whole, which says nothing that the names and checksums of its objects do not say.
type scanner struct {
	format  objectFormat
	src     *counted
	in      *bufio.Reader
	inflate io.ReadCloser
}

// counted counts what is read.
type counted struct {
	r io.Reader
	n int64
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// header is what a pack says of an object before it comes.
type header struct {
	kind plumbing.ObjectType
	at   int64    // where the header itself begins
	size int64    // of what is stored, inflated
	name objectID // of the base, for a delta by name
	back int64    // to the header of the base, for a delta by offset
}

var errHeader = errors.New("an object's header cannot be read")

func newScanner(r io.Reader, format objectFormat) *scanner {
	src := &counted{r: r}
	return &scanner{format: format, src: src, in: bufio.NewReaderSize(src, 64<<10)}
}

// offset is how far the pack has been read.
func (s *scanner) offset() int64 { return s.src.n - int64(s.in.Buffered()) }

// start reads what a pack begins with and returns how many objects it has.
func (s *scanner) start() (int64, error) {
	var head [12]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		return 0, noEOF(err)
	}
	version := binary.BigEndian.Uint32(head[4:])
	if !bytes.Equal(head[:4], []byte("PACK")) || version != 2 && version != 3 {
		return 0, errors.New("it is no pack of version 2 or 3")
	}
	return int64(binary.BigEndian.Uint32(head[8:])), nil
}

// next reads a header.
func (s *scanner) next() (header, error) {
	h := header{at: s.offset()}
	digit, err := s.in.ReadByte()
	if err != nil {
		return h, noEOF(err)
	}
	h.kind, h.size = plumbing.ObjectType(digit>>4&7), int64(digit&0x0f)
	for shift := 4; digit&0x80 != 0; shift += 7 {
		if digit, err = s.in.ReadByte(); err != nil {
			return h, noEOF(err)
		}
		if shift > 53 {
			return h, errHeader
		}
		h.size |= int64(digit&0x7f) << shift
	}
	switch h.kind {
	case plumbing.REFDeltaObject:
		h.name, err = s.name()
	case plumbing.OFSDeltaObject:
		h.back, err = s.distance()
	default:
	}
	return h, noEOF(err)
}

// name reads the name of a base.
func (s *scanner) name() (objectID, error) {
	sum := make([]byte, s.format.size())
	_, err := io.ReadFull(s.in, sum)
	return newID(sum), err
}

// distance reads how far before a delta its base lies.
func (s *scanner) distance() (int64, error) {
	digit, err := s.in.ReadByte()
	n := int64(digit & 0x7f)
	for err == nil && digit&0x80 != 0 {
		if n > 1<<50 {
			return 0, errHeader
		}
		digit, err = s.in.ReadByte()
		n = (n+1)<<7 | int64(digit&0x7f)
	}
	return n, err
}

// object inflates the object behind a header into w.
func (s *scanner) object(h header, w io.Writer) error {
	if err := s.reset(); err != nil {
		return err
	}
	// One byte more shows an object that is longer than announced, and makes the reader see the checksum.
	n, err := io.CopyN(w, s.inflate, h.size+1)
	switch {
	case err == nil || errors.Is(err, io.EOF) && n != h.size:
		return errShort
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

// reset points the inflater to the next object.
func (s *scanner) reset() (err error) {
	if s.inflate == nil {
		s.inflate, err = zlib.NewReader(s.in)
		return err
	}
	return s.inflate.(zlib.Resetter).Reset(s.in, nil)
}

// end checks that nothing but the pack's own checksum follows the last object.
func (s *scanner) end() error {
	size := int64(s.format.size())
	n, err := io.Copy(io.Discard, io.LimitReader(s.in, size+1))
	if err == nil && n != size {
		err = errors.New("it does not end after its last object")
	}
	return err
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
		digits, n := binary.Uvarint(b)
		if n <= 0 || digits > 1<<56 {
			return 0, false
		}
		size, b = digits, b[n:]
	}
	return size, true
}
