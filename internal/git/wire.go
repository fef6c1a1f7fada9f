// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The wire format is Git's protocol version 0 (gitprotocol-pack): it is what every server speaks, and what lets the
// reference list and the pack be read in two steps without state on our side.

// maxPacket is the largest pkt-line, its four length digits included.
const maxPacket = 65520

// errProtocol is wrapped by every complaint about a server that does not speak Git's protocol.
var errProtocol = errors.New("the server does not answer in Git's protocol")

// remoteError is the server's own words.
type remoteError struct{ text string }

// Error quotes the server. The text has been cleaned by remoteText before it leaves the package.
func (e *remoteError) Error() string { return fmt.Sprintf("the server says %q", e.text) }

// packets reads pkt-lines. secrets are struck out of what the server says.
type packets struct {
	r       *bufio.Reader
	secrets []string
	buf     [maxPacket]byte
}

func newPackets(r io.Reader, secrets []string) *packets {
	return &packets{r: bufio.NewReaderSize(r, maxPacket), secrets: secrets}
}

// next returns the next payload, valid until the following call; flush is a nil payload without an error.
func (p *packets) next() ([]byte, error) {
	var digits [4]byte
	if _, err := io.ReadFull(p.r, digits[:]); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := hex.Decode(length[:], digits[:]); err != nil {
		return nil, fmt.Errorf("bad packet length: %w", errProtocol)
	}
	n := int(length[0])<<8 | int(length[1])
	switch {
	case n == 0:
		return nil, nil
	case n < 4 || n > maxPacket:
		return nil, fmt.Errorf("packet of length %d: %w", n, errProtocol)
	}
	payload := p.buf[:n-4]
	if _, err := io.ReadFull(p.r, payload); err != nil {
		return nil, noEOF(err)
	}
	if text, ok := bytes.CutPrefix(payload, []byte("ERR ")); ok {
		return nil, &remoteError{remoteText(string(text), p.secrets)}
	}
	return payload, nil
}

// noEOF makes the end of input an error where more was due.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// advert is a server's reference advertisement.
type advert struct {
	refs         refList
	format       objectFormat
	capabilities []string
}

// supports reports whether the server announced a capability.
func (a advert) supports(capability string) bool {
	return slices.Contains(a.capabilities, capability)
}

// tips reports whether hash is advertised, so that any server lets us want it.
func (a advert) tips(hash string) bool {
	for _, h := range a.refs.hashes {
		if h == hash {
			return true
		}
	}
	return false
}

// errNoAnswer is returned for an advertisement that ends before it begins; an SSH server then speaks on stderr.
var errNoAnswer = fmt.Errorf("no answer: %w", errProtocol)

// readAdvert reads a reference advertisement. smart says that HTTP's preamble comes first.
func readAdvert(p *packets, smart bool) (advert, error) {
	if smart {
		if err := readPreamble(p); err != nil {
			return advert{}, err
		}
	}
	line, err := p.next()
	switch {
	case errors.Is(err, io.EOF):
		return advert{}, errNoAnswer
	case err != nil:
		return advert{}, err
	}
	line, list, _ := bytes.Cut(line, []byte{0})
	a := advert{refs: refList{hashes: map[string]string{}, peeled: map[string]string{}}, capabilities: strings.Fields(string(list))}
	if a.format, err = a.readFormat(); err != nil {
		return advert{}, err
	}
	for line != nil {
		if err := a.add(string(bytes.TrimSuffix(line, []byte("\n")))); err != nil {
			return advert{}, err
		}
		if line, err = p.next(); err != nil {
			return advert{}, noEOF(err)
		}
	}
	if len(a.refs.hashes) == 0 {
		return advert{}, ErrEmptyRepository
	}
	return a, nil
}

// objectFormatCapability announces a format. Of several, the first is the one of the ids that are advertised.
const objectFormatCapability = "object-format="

// readFormat finds out how objects are named.
func (a advert) readFormat() (objectFormat, error) {
	for _, capability := range a.capabilities {
		if name, ok := strings.CutPrefix(capability, objectFormatCapability); ok {
			return namedFormat(name)
		}
	}
	return sha1Format, nil
}

// admits fails for a head that cannot be in the repository, since its commit is named in another format.
func (a advert) admits(head Head) error {
	if !a.format.isID(head.Hash) {
		return fmt.Errorf("commit %s, where objects are named by %s: %w", head.Hash, a.format, ErrNotFound)
	}
	return nil
}

// add records one line: "<hash> <name>", the same for the commit behind an annotated tag with "^{}" after the name, or the
// placeholder of an empty repository. "shallow <hash>" of a shallow server is of no interest.
func (a advert) add(line string) error {
	hash, name, ok := strings.Cut(line, " ")
	switch {
	case hash == "shallow" || name == "capabilities^{}" || line == "":
		return nil
	case !ok || !a.format.isID(hash):
		return fmt.Errorf("bad line in the list of references: %w", errProtocol)
	}
	if tag, peeled := strings.CutSuffix(name, "^{}"); peeled {
		a.refs.peeled[tag] = hash
	} else {
		a.refs.hashes[name] = hash
	}
	return nil
}

// readPreamble reads "# service=git-upload-pack" and the flush after it.
func readPreamble(p *packets) error {
	line, err := p.next()
	if err != nil {
		return noEOF(err)
	}
	if string(bytes.TrimSuffix(line, []byte("\n"))) != "# service=git-upload-pack" {
		return fmt.Errorf("no service announcement: %w", errProtocol)
	}
	line, err = p.next()
	if err != nil {
		return noEOF(err)
	}
	if line != nil {
		return fmt.Errorf("service announcement without end: %w", errProtocol)
	}
	return nil
}

// request is what is asked of upload-pack.
type request struct {
	wants []string
	// shallow asks for the wanted commits without their history.
	shallow bool
	// haves are commits that are held, of which ends have no history here.
	haves []string
	ends  []string
	// filter says which objects are left out, empty none (git-rev-list(1), --filter).
	filter string
	// whole asks for deltas against nothing but what comes.
	whole bool
}

// withoutFiles leaves out files, and no directories.
const withoutFiles = "blob:none"

// build asks for the difference to what is held. A server that cannot do without history would take a commit for its whole
// history, so it is told only of those that have it; and of commits without their files only where it sends none.
func (r *request) build(held []mirrorHead) {
	for _, h := range slices.Backward(held) {
		if !h.Whole && !r.shallow || h.Partial && r.filter != withoutFiles {
			continue
		}
		r.haves = append(r.haves, h.Commit)
		if !h.Whole {
			r.ends = append(r.ends, h.Commit)
		}
	}
}

// encode writes the request for a server of the given capabilities. There are no rounds: all that is held is said at once, and
// "done" follows.
func (r request) encode(a advert, userAgent string) []byte {
	var b bytes.Buffer
	line := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		fmt.Fprintf(&b, "%04x%s", len(text)+4, text)
	}
	capabilities := []string{}
	for _, c := range []string{"side-band-64k", "ofs-delta", "no-progress"} {
		if a.supports(c) {
			capabilities = append(capabilities, c)
		}
	}
	if a.format != sha1Format {
		capabilities = append(capabilities, objectFormatCapability+a.format.String())
	}
	if r.shallow {
		capabilities = append(capabilities, "shallow")
	}
	if r.filter != "" {
		capabilities = append(capabilities, "filter")
	}
	if len(r.haves) > 0 && !r.whole && a.supports("thin-pack") {
		capabilities = append(capabilities, "thin-pack")
	}
	if userAgent != "" {
		capabilities = append(capabilities, "agent="+strings.ReplaceAll(userAgent, " ", "-"))
	}
	for i, want := range r.wants {
		if i == 0 {
			line("want %s %s\n", want, strings.Join(capabilities, " "))
			continue
		}
		line("want %s\n", want)
	}
	for _, end := range r.ends {
		line("shallow %s\n", end)
	}
	if r.shallow {
		line("deepen 1\n")
	}
	if r.filter != "" {
		line("filter %s\n", r.filter)
	}
	b.WriteString("0000")
	for _, have := range r.haves {
		line("have %s\n", have)
	}
	line("done\n")
	return b.Bytes()
}

// packStream returns the pack in the response to a request.
func packStream(p *packets, r request, a advert) (io.Reader, error) {
	if r.shallow {
		if err := skipShallow(p); err != nil {
			return nil, err
		}
	}
	// One acknowledgement is due; servers send another for what they find out to be an ancestor of what we have.
	for acknowledged := false; ; acknowledged = true {
		if start, err := p.r.Peek(4); acknowledged && err == nil && string(start) == "PACK" && !a.supports("side-band-64k") {
			return p.r, nil
		}
		line, err := p.next()
		switch {
		case err != nil:
			return nil, noEOF(err)
		case bytes.HasPrefix(line, []byte("NAK")) || bytes.HasPrefix(line, []byte("ACK ")):
			continue
		case !acknowledged || !a.supports("side-band-64k"):
			return nil, fmt.Errorf("no acknowledgement before the pack: %w", errProtocol)
		}
		return &sideband{packets: p, next: line, early: true}, nil
	}
}

// skipShallow reads the list of commits whose parents are left out, which we know already.
func skipShallow(p *packets) error {
	for {
		line, err := p.next()
		switch {
		case err != nil:
			return noEOF(err)
		case line == nil:
			return nil
		case !bytes.HasPrefix(line, []byte("shallow ")) && !bytes.HasPrefix(line, []byte("unshallow ")):
			return fmt.Errorf("bad line in the list of shallow commits: %w", errProtocol)
		}
	}
}

// sideband reads the pack out of a multiplexed stream.
type sideband struct {
	packets *packets
	next    []byte // a packet that was read already, if early
	early   bool
	rest    []byte
}

// packet returns the next one.
func (s *sideband) packet() ([]byte, error) {
	if s.early {
		s.early = false
		return s.next, nil
	}
	return s.packets.next()
}

// Read implements io.Reader. Progress is dropped, an error of the server is returned.
func (s *sideband) Read(b []byte) (int, error) {
	for len(s.rest) == 0 {
		line, err := s.packet()
		switch {
		case err != nil:
			return 0, noEOF(err)
		case line == nil:
			return 0, io.EOF
		case len(line) == 0:
			continue
		}
		switch line[0] {
		case 1:
			s.rest = line[1:]
		case 2:
		case 3:
			return 0, &remoteError{remoteText(string(line[1:]), s.packets.secrets)}
		default:
			return 0, fmt.Errorf("band %d: %w", line[0], errProtocol)
		}
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}
