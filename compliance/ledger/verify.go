// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"sluice.dev/sluice/internal/fips"
)

// fileName is the one file of a ledger.
const fileName = "ledger.jsonl"

// genesis stands for the hash before the first entry.
func genesis() string { return "sha256:" + strings.Repeat("0", 64) }

// Report is what a verification found in a ledger whose chain holds.
type Report struct {
	// Entries is the number of entries, and Head the last of them.
	Entries uint64 `json:"entries"`
	Head    Ref    `json:"head"`
	// First and Last are the times of the first and the last entry.
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
	// Types counts entries by type.
	Types map[Type]uint64 `json:"types"`
	// Open lists intents without an outcome: a run under way, or one that was killed since the ledger was last opened.
	Open []uint64 `json:"open,omitempty"`
	// Interrupted lists intents whose run was killed, as a later opening of the ledger found.
	Interrupted []uint64 `json:"interrupted,omitempty"`
	// Unannounced lists outcomes that no intent precedes: writes without a record made before them.
	Unannounced []uint64 `json:"unannounced,omitempty"`
	// Torn is the length of an incomplete last line: a crash, or a writer at work.
	Torn int64 `json:"torn,omitempty"`

	size int64
	open map[uint64]string
}

// Err returns an error when something in the ledger must not be, although its chain holds.
func (r Report) Err() error {
	if len(r.Unannounced) > 0 {
		return fmt.Errorf("outcomes without an intent: entries %v", r.Unannounced)
	}
	return nil
}

// VerifyDir checks the ledger in a folder. It takes no lock: a ledger that is being written may show a torn last line.
func VerifyDir(ctx context.Context, dir string, d fips.Digests) (Report, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Report{}, fmt.Errorf("open ledger: %w", err)
	}
	defer root.Close()
	f, err := root.Open(fileName)
	if err != nil {
		return Report{}, fmt.Errorf("open ledger: %w", err)
	}
	defer f.Close()
	return Verify(ctx, f, d)
}

// Verify checks hash, order and form of every entry, and pairs outcomes with intents. A chain that does not hold is a
// *BrokenError naming the first entry that is wrong; the Report then tells what held before it.
func Verify(ctx context.Context, r io.Reader, d fips.Digests) (Report, error) {
	v := verifier{digests: d, report: Report{Types: map[Type]uint64{}, Head: Ref{Hash: genesis()}, open: map[uint64]string{}}}
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		if err := ctx.Err(); err != nil {
			return v.done(), err
		}
		line, err := readLine(lines)
		if errors.Is(err, io.EOF) {
			v.report.Torn = int64(len(line))
			return v.done(), nil
		}
		if err == nil {
			err = v.line(line)
		}
		if errors.Is(err, errLineTooLong) {
			err = v.broken("the line is longer than %d bytes", maxLine)
		}
		if err != nil {
			return v.done(), err
		}
		v.report.size += int64(len(line)) + 1
	}
}

// maxLine leaves room for the hash around an entry.
const maxLine = MaxEntry + 256

var errLineTooLong = errors.New("line too long")

// readLine returns a line without its end, and at the end of the file what is left with io.EOF.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return line, errLineTooLong
		case err == nil:
			return line[:len(line)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return line, io.EOF
		default:
			return line, fmt.Errorf("read ledger: %w", err)
		}
	}
}

type verifier struct {
	digests fips.Digests
	report  Report
}

func (v *verifier) done() Report {
	v.report.Open = slices.Sorted(maps.Keys(v.report.open))
	return v.report
}

func (v *verifier) broken(format string, args ...any) error {
	return &BrokenError{Seq: v.report.Entries + 1, Offset: v.report.size, Problem: fmt.Sprintf(format, args...)}
}

// stored is a line of the file. The body stays as it is written.
type stored struct {
	Entry json.RawMessage `json:"entry"`
	Hash  string          `json:"hash"`
}

type storedRecord struct {
	record
	Body json.RawMessage `json:"body,omitempty"`
}

func (v *verifier) line(line []byte) error {
	var s stored
	if err := json.Unmarshal(line, &s); err != nil {
		return v.broken("the line is no JSON")
	}
	sum, err := hash(v.digests, s.Entry)
	if err != nil {
		return err
	}
	if !bytes.Equal(line, wrap(s.Entry, sum)) {
		return v.broken("the hash does not match the entry, or the line is not in the form it was written in")
	}
	if form, err := recanonical(s.Entry); err != nil || !bytes.Equal(form, s.Entry) {
		return v.broken("the entry is not in canonical form")
	}
	var e storedRecord
	decoder := json.NewDecoder(bytes.NewReader(s.Entry))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&e); err != nil {
		return v.broken("the entry has another form")
	}
	switch {
	case e.Version != version:
		return v.broken("version %d of the format is not known here", e.Version)
	case e.Seq != v.report.Entries+1:
		return v.broken("its number is %d: entries are missing, repeated or in another order", e.Seq)
	case e.Prev != v.report.Head.Hash:
		return v.broken("it does not follow the entry before it")
	}
	if err := v.pair(e); err != nil {
		return err
	}
	v.count(e, sum)
	return nil
}

func (v *verifier) count(e storedRecord, sum string) {
	if v.report.Entries == 0 {
		v.report.First = e.Time
	}
	v.report.Entries, v.report.Head, v.report.Last = e.Seq, Ref{Seq: e.Seq, Hash: sum}, e.Time
	v.report.Types[e.Type]++
}

// pair keeps the intents that wait for their outcome.
func (v *verifier) pair(e storedRecord) error {
	switch e.Type { //nolint:exhaustive // the other types stand alone
	case ApplyIntent:
		v.report.open[e.Seq] = e.Run
	case ApplyOutcome:
		var o Outcome
		if json.Unmarshal(e.Body, &o) != nil {
			return v.broken("the outcome has another form")
		}
		if run, ok := v.report.open[o.Intent]; !ok || run != e.Run {
			v.report.Unannounced = append(v.report.Unannounced, e.Seq)
			return nil
		}
		delete(v.report.open, o.Intent)
	case Opened:
		v.report.Interrupted = append(v.report.Interrupted, slices.Sorted(maps.Keys(v.report.open))...)
		clear(v.report.open)
	}
	return nil
}

// hash returns "sha256:<hex>" of an entry.
func hash(d fips.Digests, entry []byte) (string, error) {
	sum, err := fips.Sum(d, crypto.SHA256, entry)
	if err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(sum), nil
}

// wrap returns the line of an entry, without its end.
func wrap(entry []byte, sum string) []byte {
	line := make([]byte, 0, len(entry)+len(sum)+32)
	line = append(line, `{"entry":`...)
	line = append(line, entry...)
	line = append(line, `,"hash":"`...)
	line = append(line, sum...)
	return append(line, `"}`...)
}
