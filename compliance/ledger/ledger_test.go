// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sluice.dev/sluice/internal/fips"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("LEDGER_TEST_WRITE"); dir != "" {
		writeForEver(dir)
	}
	os.Exit(m.Run())
}

// writeForEver appends until it is killed, and prints each entry that was acknowledged.
func writeForEver(dir string) {
	d, err := fips.New()
	if err != nil {
		panic(err)
	}
	l, err := Open(context.Background(), dir, Config{Digests: d, Component: "child"})
	if err != nil {
		panic(err)
	}
	var out sync.Mutex
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				ref, err := l.Append(context.Background(), Entry{Type: Heartbeat, Run: fmt.Sprint(w, "-", i), Body: strings.Repeat("x", 2000)})
				if err != nil {
					panic(err)
				}
				out.Lock()
				fmt.Println(ref.Seq, ref.Hash) // the parent reads it
				out.Unlock()
			}
		}()
	}
	select {}
}

func digests(tb testing.TB) fips.Digests {
	tb.Helper()
	d, err := fips.New()
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func config(tb testing.TB) Config {
	tb.Helper()
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	var mu sync.Mutex
	return Config{Digests: digests(tb), ClusterUID: "c-1", Component: "test/1", Clock: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		at = at.Add(time.Second)
		return at
	}}
}

func open(tb testing.TB, dir string) *Ledger {
	tb.Helper()
	l, err := Open(context.Background(), dir, config(tb))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	return l
}

func verify(tb testing.TB, dir string) Report {
	tb.Helper()
	r, err := VerifyDir(context.Background(), dir, digests(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// written makes a ledger of six entries: opened, two intents, two outcomes, a decision.
func written(t *testing.T) (dir string, lines [][]byte) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "ledger")
	l := open(t, dir)
	run(t, l, "run-1")
	run(t, l, "run-2")
	if _, err := l.Append(t.Context(), Entry{Type: PolicyDecision, Tenant: "team-a", Body: map[string]any{"allowed": false}}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	return dir, bytes.SplitAfter(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
}

func run(t *testing.T, l *Ledger, name string) {
	t.Helper()
	header := Entry{Tenant: "team-a", Run: name, Subjects: []Subject{{APIVersion: "kustomize.toolkit.fluxcd.io/v1", Kind: "Kustomization", Namespace: "team-a", Name: "app"}}}
	change := Change{Action: Create, Object: Subject{APIVersion: "v1", Kind: "ConfigMap", Namespace: "team-a", Name: "a"}, Digest: "sha256:1"}
	intent, err := l.Intend(t.Context(), header, Intent{Identity: "system:serviceaccount:team-a:deployer", Changes: []Change{change}})
	if err != nil {
		t.Fatal(err)
	}
	change.ResourceVersion = "7"
	if _, err := l.Conclude(t.Context(), header, intent, Outcome{Result: Succeeded, Changes: []Change{change}}); err != nil {
		t.Fatal(err)
	}
}

func TestAWholeLedgerVerifies(t *testing.T) {
	dir, lines := written(t)
	got := verify(t, dir)
	want := Report{
		Entries: 6, Head: got.Head,
		First: time.Date(2026, 11, 22, 10, 0, 2, 0, time.UTC), Last: time.Date(2026, 11, 22, 10, 0, 7, 0, time.UTC),
		Types: map[Type]uint64{Opened: 1, ApplyIntent: 2, ApplyOutcome: 2, PolicyDecision: 1},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(Report{})); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	var last struct{ Hash string }
	if err := json.Unmarshal(lines[5], &last); err != nil || last.Hash != got.Head.Hash || got.Head.Seq != 6 {
		t.Errorf("head is %+v, the last line says %q", got.Head, last.Hash)
	}
	const first = `{"entry":{"body":{"entries":0,"interrupted":[]},"clusterUID":"c-1","component":"test/1","mono":1000,` +
		`"prev":"sha256:0000000000000000000000000000000000000000000000000000000000000000","seq":1,` +
		`"time":"2026-11-22T10:00:02Z","type":"ledger.opened","version":1},"hash":"sha256:`
	if !strings.HasPrefix(string(lines[0]), first) {
		t.Errorf("first line is %s", lines[0])
	}
	if err := got.Err(); err != nil {
		t.Error(err)
	}
}

func TestTamperingShowsAtItsPlace(t *testing.T) {
	_, lines := written(t)
	join := func(order ...int) []byte {
		var b []byte
		for _, i := range order {
			b = append(append(b, bytes.TrimSuffix(lines[i], []byte("\n"))...), '\n')
		}
		return b
	}
	whole := join(0, 1, 2, 3, 4, 5)
	for name, tc := range map[string]struct {
		text []byte
		seq  uint64
	}{
		"a flipped byte":                  {flip(whole, len(lines[0])+len(lines[1])+40), 3},
		"a flipped byte in a hash":        {flip(whole, len(lines[0])-5), 1},
		"a removed line":                  {join(0, 1, 3, 4, 5), 3},
		"the first line removed":          {join(1, 2, 3, 4, 5), 1},
		"two lines in the other order":    {join(0, 2, 1, 3, 4, 5), 2},
		"a line twice":                    {join(0, 1, 2, 2, 3, 4, 5), 4},
		"an empty line":                   {append(join(0, 1), append([]byte("\n"), join(2)...)...), 3},
		"a changed entry with its hash":   {rehash(t, lines, 2, "team-a", "team-b"), 4},
		"spaces in a line":                {bytes.Replace(whole, []byte(`"hash":`), []byte(`"hash": `), 1), 1},
		"a field of the line given twice": {bytes.Replace(whole, []byte(`{"entry":`), []byte(`{"hash":"x","entry":`), 1), 1},
		"no JSON":                         {append(join(0), "hello\n"...), 2},
		"another format version":          {rehash(t, lines, 0, `"version":1`, `"version":2`), 1},
		"an unknown field":                {rehash(t, lines, 0, `"version":1`, `"version":1,"x":1`), 1},
		"an entry that is not canonical":  {rehash(t, lines, 0, `"version":1`, `"version": 1`), 1},
		"a line without end":              {append(join(0), bytes.Repeat([]byte("x"), maxLine+10)...), 2},
	} {
		t.Run(name, func(t *testing.T) {
			report, err := Verify(t.Context(), bytes.NewReader(tc.text), digests(t))
			broken, ok := errors.AsType[*BrokenError](err)
			if !ok || broken.Seq != tc.seq {
				t.Errorf("error is %v, want entry %d", err, tc.seq)
			}
			if report.Entries != tc.seq-1 {
				t.Errorf("%d entries held, want %d", report.Entries, tc.seq-1)
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, fileName), tc.text, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(t.Context(), dir, config(t)); err == nil {
				t.Error("opened a broken ledger")
			}
			after, err := os.ReadFile(filepath.Join(dir, fileName))
			if err != nil || !bytes.Equal(after, tc.text) {
				t.Error("the broken ledger was changed")
			}
		})
	}
}

func flip(text []byte, at int) []byte {
	out := bytes.Clone(text)
	out[at] ^= 1
	return out
}

// rehash changes one entry as somebody would who knows the format but does not rewrite what follows.
func rehash(t *testing.T, lines [][]byte, at int, old, changed string) []byte {
	t.Helper()
	var out []byte
	for i, line := range lines {
		line = bytes.TrimSuffix(line, []byte("\n"))
		if i == at {
			var s stored
			if err := json.Unmarshal(line, &s); err != nil {
				t.Fatal(err)
			}
			entry := bytes.Replace(s.Entry, []byte(old), []byte(changed), 1)
			sum, err := hash(digests(t), entry)
			if err != nil {
				t.Fatal(err)
			}
			line = wrap(entry, sum)
		}
		out = append(append(out, line...), '\n')
	}
	return out
}

func TestATornLastLineIsCutOffAndNoted(t *testing.T) {
	dir, lines := written(t)
	path := filepath.Join(dir, fileName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := len(lines[5])
	for _, cut := range []int{1, 2, last / 2, last} {
		t.Run(fmt.Sprint(cut), func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, fileName), whole[:len(whole)-cut], 0o600); err != nil {
				t.Fatal(err)
			}
			if r := verify(t, dir); r.Entries != 5 || r.Torn != int64(last+1-cut) {
				t.Errorf("before: %d entries, torn %d", r.Entries, r.Torn)
			}
			l := open(t, dir)
			if _, err := l.Append(t.Context(), Entry{Type: Heartbeat}); err != nil {
				t.Fatal(err)
			}
			if r := verify(t, dir); r.Entries != 8 || r.Torn != 0 || r.Types[Gap] != 1 || r.Types[Opened] != 2 {
				t.Errorf("after: %+v", r)
			}
		})
	}
}

func TestKilledIntentsAreInterrupted(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	run(t, l, "whole")
	ref, err := l.Intend(t.Context(), Entry{Run: "killed"}, Intent{})
	if err != nil {
		t.Fatal(err)
	}
	if r := verify(t, dir); !cmp.Equal(r.Open, []uint64{ref.Seq}) {
		t.Errorf("open intents %v, want %d", r.Open, ref.Seq)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	run(t, l, "again")
	r := verify(t, dir)
	if len(r.Open) != 0 || !cmp.Equal(r.Interrupted, []uint64{ref.Seq}) || r.Err() != nil {
		t.Errorf("%+v", r)
	}
	if _, err := l.Conclude(t.Context(), Entry{Run: "killed"}, ref, Outcome{}); !errors.Is(err, ErrNoIntent) {
		t.Errorf("an outcome of an interrupted intent: %v", err)
	}
}

func TestOutcomesNeedTheirIntent(t *testing.T) {
	l := open(t, t.TempDir())
	intent, err := l.Intend(t.Context(), Entry{Run: "a"}, Intent{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Conclude(t.Context(), Entry{Run: "b"}, intent, Outcome{}); !errors.Is(err, ErrNoIntent) {
		t.Errorf("of another run: %v", err)
	}
	if _, err := l.Conclude(t.Context(), Entry{Run: "a"}, Ref{Seq: 99}, Outcome{}); !errors.Is(err, ErrNoIntent) {
		t.Errorf("of nothing: %v", err)
	}
	if _, err := l.Conclude(t.Context(), Entry{Run: "a"}, intent, Outcome{}); err != nil {
		t.Error(err)
	}
	if _, err := l.Conclude(t.Context(), Entry{Run: "a"}, intent, Outcome{}); !errors.Is(err, ErrNoIntent) {
		t.Errorf("twice: %v", err)
	}
}

func TestAnUnannouncedOutcomeIsReported(t *testing.T) {
	_, lines := written(t)
	var out []byte
	head := Ref{Hash: genesis()}
	for i, line := range lines {
		if i == 1 {
			continue // the first intent
		}
		var s struct{ Entry map[string]any }
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		if err := d.Decode(&s); err != nil {
			t.Fatal(err)
		}
		s.Entry["prev"], s.Entry["seq"] = head.Hash, head.Seq+1
		entry, err := canonical(s.Entry)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := hash(digests(t), entry)
		if err != nil {
			t.Fatal(err)
		}
		head = Ref{Seq: head.Seq + 1, Hash: sum}
		out = append(append(out, wrap(entry, sum)...), '\n')
	}
	r, err := Verify(t.Context(), bytes.NewReader(out), digests(t))
	if err != nil || r.Err() == nil || !cmp.Equal(r.Unannounced, []uint64{2, 4}) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestASecondWriterIsRefused(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	if _, err := Open(t.Context(), dir, config(t)); !errors.Is(err, ErrLocked) {
		t.Errorf("error is %v, want locked", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestAppendRefuses(t *testing.T) {
	l := open(t, t.TempDir())
	head := l.Head()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tc := range map[string]struct {
		ctx   context.Context //nolint:containedctx // a row of the table
		entry Entry
		want  error
	}{
		"an entry without a type":   {entry: Entry{}},
		"an intent by another way":  {entry: Entry{Type: ApplyIntent}},
		"an outcome by another way": {entry: Entry{Type: ApplyOutcome}},
		"a number with a fraction":  {entry: Entry{Type: Heartbeat, Body: 1.5}, want: errNotInteger},
		"a number too large":        {entry: Entry{Type: Heartbeat, Body: uint64(1) << 60}, want: errNotInteger},
		"what is no JSON":           {entry: Entry{Type: Heartbeat, Body: func() {}}},
		"an entry too large":        {entry: Entry{Type: Heartbeat, Body: strings.Repeat("x", MaxEntry)}, want: ErrTooLarge},
		"after the end":             {ctx: cancelled, entry: Entry{Type: Heartbeat}, want: context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := tc.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			_, err := l.Append(ctx, tc.entry)
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("error is %v", err)
			}
		})
	}
	if l.Head() != head {
		t.Error("something was written")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if _, err := l.Append(t.Context(), Entry{Type: Heartbeat}); !errors.Is(err, ErrClosed) {
		t.Errorf("after closing: %v", err)
	}
}

func TestManyAppendAtOnce(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	counted := &countingFile{storage: l.file}
	l.file = counted
	const writers, each = 16, 20
	seen := make(chan Ref, writers*each)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				ref, err := l.Append(t.Context(), Entry{Type: Heartbeat, Run: fmt.Sprint(w, i)})
				if err != nil {
					t.Error(err)
				}
				seen <- ref
			}
		})
	}
	wg.Wait()
	close(seen)
	refs := map[uint64]string{}
	for ref := range seen {
		refs[ref.Seq] = ref.Hash
	}
	if len(refs) != writers*each {
		t.Errorf("%d numbers for %d entries", len(refs), writers*each)
	}
	if r := verify(t, dir); r.Entries != writers*each+1 {
		t.Errorf("%d entries", r.Entries)
	}
	if counted.syncs >= writers*each {
		t.Errorf("%d fsyncs for %d entries: none was shared", counted.syncs, writers*each)
	}
}

type countingFile struct {
	storage
	syncs int
}

func (f *countingFile) Sync() error {
	f.syncs++
	return f.storage.Sync()
}

// quotaFile is a file on a disk that becomes full: it takes what fits, and fails.
type quotaFile struct {
	storage
	left     int
	syncFail bool
}

func (f *quotaFile) Write(b []byte) (int, error) {
	if len(b) <= f.left {
		f.left -= len(b)
		return f.storage.Write(b)
	}
	n, err := f.storage.Write(b[:f.left])
	f.left = 0
	return n, errors.Join(err, syscall.ENOSPC)
}

func (f *quotaFile) Sync() error {
	if f.syncFail {
		return syscall.EIO
	}
	return f.storage.Sync()
}

func TestAFullDiskIsAnErrorAndPasses(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	disk := &quotaFile{storage: l.file, left: 100}
	l.file = disk
	head := l.Head()
	for range 2 {
		if _, err := l.Append(t.Context(), Entry{Type: Heartbeat}); !errors.Is(err, ErrStorage) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("error is %v, want a full disk", err)
		}
	}
	if l.Head() != head {
		t.Error("the head moved")
	}
	disk.left = 1 << 20
	if _, err := l.Append(t.Context(), Entry{Type: Heartbeat}); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if r := verify(t, dir); r.Entries != 2 || r.Torn != 0 {
		t.Errorf("%+v", r)
	}
}

func TestAFailedSyncEndsTheLedger(t *testing.T) {
	l := open(t, t.TempDir())
	disk := &quotaFile{storage: l.file, left: 1 << 20, syncFail: true}
	l.file = disk
	if _, err := l.Append(t.Context(), Entry{Type: Heartbeat}); !errors.Is(err, syscall.EIO) {
		t.Errorf("error is %v, want the disk's", err)
	}
	disk.syncFail = false
	if _, err := l.Append(t.Context(), Entry{Type: Heartbeat}); !errors.Is(err, ErrStorage) {
		t.Errorf("error is %v: after a failed fsync nobody knows what is on disk", err)
	}
}

// TestKill ends a writing process at random moments: what was acknowledged is there, and the chain holds.
func TestKill(t *testing.T) {
	const seed, kills = 7, 5
	random := rand.New(rand.NewPCG(seed, seed))
	dir := t.TempDir()
	acknowledged := map[string]bool{}
	for range kills {
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), "LEDGER_TEST_WRITE="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for i, stop := 0, 5+random.IntN(60); lines.Scan(); i++ {
			acknowledged[lines.Text()] = true
			if i == stop {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		child.Wait()
	}
	l := open(t, dir)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, dir); r.Entries < uint64(len(acknowledged)) || r.Types[Opened] != kills+1 {
		t.Errorf("%d acknowledged, found %+v", len(acknowledged), r)
	}
	text, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	for a := range acknowledged {
		if _, sum, ok := strings.Cut(a, " "); ok && len(sum) == 71 && !bytes.Contains(text, []byte(sum)) {
			t.Errorf("entry %s was acknowledged and is gone", a)
		}
	}
}

func TestCanonical(t *testing.T) {
	for name, tc := range map[string]struct {
		in   any
		want string
	}{
		"names in order":      {map[string]any{"b": 1, "a": 2, "": 3}, `{"":3,"a":2,"b":1}`},
		"by UTF-16":           {map[string]any{"\U0001F600": 1, "\uFB33": 2}, "{\"\U0001F600\":1,\"\uFB33\":2}"},
		"no more is escaped":  {"<&>\u2028é/", "\"<&>\u2028é/\""},
		"control characters":  {"\b\t\n\f\r\x01\"\\", `"\b\t\n\f\r\u0001\"\\"`},
		"constants and lists": {[]any{nil, true, false, []int{}}, `[null,true,false,[]]`},
		"integers":            {[]int64{-1, 0, 1 << 53}, `[-1,0,9007199254740992]`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := canonical(tc.in)
			if err != nil || string(got) != tc.want {
				t.Errorf("got %s, %v, want %s", got, err, tc.want)
			}
		})
	}
	var deep any
	for range maxDepth + 2 {
		deep = []any{deep}
	}
	if _, err := canonical(deep); err == nil {
		t.Error("a value without end was taken")
	}
}

func FuzzVerify(f *testing.F) {
	f.Add([]byte(`{"entry":{},"hash":""}` + "\n"))
	f.Add([]byte("\n"))
	d, err := fips.New()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Verify(t.Context(), bytes.NewReader(text), d)
		if err == nil && r.Entries > 0 && r.Head.Hash == genesis() {
			t.Error("entries without a hash")
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	l := open(b, b.TempDir())
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := l.Append(b.Context(), Entry{Type: PolicyDecision, Tenant: "team-a", Body: map[string]any{"allowed": true}}); err != nil {
				b.Error(err)
			}
		}
	})
}
