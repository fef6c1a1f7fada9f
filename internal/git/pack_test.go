// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/google/go-cmp/cmp"
	"github.com/pjbgf/sha1cd"

	"sluice.dev/sluice/internal/fault"
)

// packed writes packs by hand, also such as no honest server sends.
type packed struct {
	bytes.Buffer
	format  objectFormat
	count   uint32
	offsets []int
}

// add writes an object that announces a size and holds stored.
func (p *packed) add(kind plumbing.ObjectType, announced int, base, stored []byte) {
	p.offsets = append(p.offsets, p.Len()+12)
	p.count++
	digit := byte(kind)<<4 | byte(announced&0x0f)
	for announced >>= 4; announced > 0; announced >>= 7 {
		p.WriteByte(digit | 0x80)
		digit = byte(announced & 0x7f)
	}
	p.WriteByte(digit)
	p.Write(base)
	w := zlib.NewWriter(&p.Buffer)
	_, _ = w.Write(stored)
	_ = w.Close()
}

func (p *packed) whole(kind plumbing.ObjectType, content string) {
	p.add(kind, len(content), nil, []byte(content))
}

// onOffset writes a delta against the object before last by n.
func (p *packed) onOffset(n int, delta []byte) {
	distance := uint64(p.Len() + 12 - p.offsets[len(p.offsets)-n])
	digits := []byte{byte(distance & 0x7f)}
	for distance >>= 7; distance > 0; distance >>= 7 {
		distance--
		digits = append([]byte{byte(distance&0x7f) | 0x80}, digits...)
	}
	p.add(plumbing.OFSDeltaObject, len(delta), digits, delta)
}

// onName writes a delta against the blob of a content.
func (p *packed) onName(base string, delta []byte) {
	raw, _ := hex.DecodeString(p.format.id(plumbing.BlobObject, base))
	p.add(plumbing.REFDeltaObject, len(delta), raw, delta)
}

// file returns the whole pack in a temporary file.
func (p *packed) file(t *testing.T) *os.File {
	t.Helper()
	pack := append([]byte("PACK\x00\x00\x00\x02"), binary.BigEndian.AppendUint32(nil, p.count)...)
	pack = append(pack, p.Bytes()...)
	state := sha1cd.New()
	if p.format == sha256Format {
		state = sha256.New()
	}
	state.Write(pack)
	f, err := scratch(t.TempDir())
	if err == nil {
		err = download(t.Context(), f, bytes.NewReader(state.Sum(pack)), 1<<20)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// open indexes a pack that stands alone.
func (p *packed) open(t *testing.T, limits Limits) (*objects, error) {
	t.Helper()
	return openPack(t.Context(), p.file(t), p.format, limits)
}

func openPack(ctx context.Context, file *os.File, format objectFormat, limits Limits) (*objects, error) {
	none := newObjects(ctx, limits)
	p, err := indexPack(file, format, limits, none)
	if err != nil {
		return nil, err
	}
	return none.with(p, limits), nil
}

// names are those of all objects.
func (o *objects) names() []string {
	var all []string
	for _, p := range o.packs {
		for i := range p.table.len() {
			all = append(all, p.table.at(i).id.String())
		}
	}
	return all
}

func delta(from, to string) []byte { return packfile.DiffDelta([]byte(from), []byte(to)) }

// id is the name of an object, found in another way than the package's.
func (f objectFormat) id(kind plumbing.ObjectType, content string) string {
	if f == sha256Format {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d\x00%s", kind, len(content), content))
		return hex.EncodeToString(sum[:])
	}
	return plumbing.ComputeHash(kind, []byte(content)).String()
}

// anyFormat makes a format of any number.
func anyFormat(n int) objectFormat {
	all := objectFormats()
	return all[uint(n)%uint(len(all))]
}

// inEachFormat runs a test with objects named by SHA-1 and by SHA-256.
func inEachFormat(t *testing.T, name string, test func(t *testing.T, format objectFormat)) {
	for _, format := range objectFormats() {
		t.Run(name+"/"+format.String(), func(t *testing.T) { test(t, format) })
	}
}

func TestIndex(t *testing.T) {
	one := strings.Repeat("a line of text\n", 20)
	two, three := one+"two\n", one+"two\nthree\n"
	tests := map[string]struct {
		write func(p *packed)
		limit Limits
		want  []string // blobs
		fails error
	}{
		"whole objects": {
			write: func(p *packed) { p.whole(plumbing.BlobObject, one); p.whole(plumbing.BlobObject, "") }, want: []string{one, ""},
		},
		"an object twice": {
			write: func(p *packed) { p.whole(plumbing.BlobObject, one); p.whole(plumbing.BlobObject, one) }, want: []string{one},
		},
		"deltas by offset": {
			write: func(p *packed) {
				p.whole(plumbing.BlobObject, one)
				p.onOffset(1, delta(one, two))
				p.onOffset(1, delta(two, three))
			},
			want: []string{one, two, three},
		},
		"two deltas against one object": {
			write: func(p *packed) {
				p.whole(plumbing.BlobObject, one)
				p.onOffset(1, delta(one, two))
				p.onOffset(2, delta(one, three))
			},
			want: []string{one, two, three},
		},
		"deltas by name": {
			write: func(p *packed) {
				p.whole(plumbing.BlobObject, one)
				p.onName(one, delta(one, two))
				p.onName(two, delta(two, three))
			},
			want: []string{one, two, three},
		},
		"deltas by name before their base": {
			write: func(p *packed) {
				p.onName(two, delta(two, three))
				p.onName(one, delta(one, two))
				p.whole(plumbing.BlobObject, one)
			},
			want: []string{one, two, three},
		},
		"deltas on deltas that had to wait": {
			write: func(p *packed) {
				p.onName(one, delta(one, two))
				p.onOffset(1, delta(two, three))
				p.whole(plumbing.BlobObject, one)
			},
			want: []string{one, two, three},
		},
		"a base that is not there": {write: func(p *packed) { p.onName(one, delta(one, two)) }, fails: errProtocol},
		"deltas in a circle": {
			write: func(p *packed) { p.onName(two, delta(two, one)); p.onName(one, delta(one, two)) }, fails: errProtocol,
		},
		"a delta between objects": {
			write: func(p *packed) {
				p.whole(plumbing.BlobObject, one)
				p.offsets[0]++
				p.onOffset(1, delta(one, two))
			},
			fails: errProtocol,
		},
		"a delta for another base": {
			write: func(p *packed) { p.whole(plumbing.BlobObject, one); p.onOffset(1, delta(two, three)) }, fails: errProtocol,
		},
		"a delta that is none": {
			write: func(p *packed) { p.whole(plumbing.BlobObject, one); p.onOffset(1, []byte("\x80")) }, fails: errProtocol,
		},
		"a delta with a result too large": {
			write: func(p *packed) { p.whole(plumbing.BlobObject, one); p.onOffset(1, delta(one, three)) },
			limit: Limits{ObjectBytes: int64(len(two))}, fails: &LimitError{},
		},
		"results too large together": {
			write: func(p *packed) { p.whole(plumbing.BlobObject, one); p.onOffset(1, delta(one, three)) },
			limit: Limits{InflatedBytes: int64(len(two) + len(one))}, fails: &LimitError{},
		},
		"a chain too long": {
			write: func(p *packed) {
				p.whole(plumbing.BlobObject, one)
				for i, before := 0, one; i <= maxChain; i++ {
					next := one + fmt.Sprint(i)
					p.onOffset(1, delta(before, next))
					before = next
				}
			},
			fails: errProtocol,
		},
		"an object longer than announced":  {write: func(p *packed) { p.add(plumbing.BlobObject, 3, nil, []byte("four")) }, fails: errProtocol},
		"an object shorter than announced": {write: func(p *packed) { p.add(plumbing.BlobObject, 5, nil, []byte("four")) }, fails: errProtocol},
		"an object of a reserved type":     {write: func(p *packed) { p.whole(5, one) }, fails: errProtocol},
		"an object of type zero":           {write: func(p *packed) { p.whole(0, one) }, fails: errProtocol},
		"fewer objects than announced":     {write: func(p *packed) { p.whole(plumbing.BlobObject, one); p.count++ }, fails: errProtocol},
		"more objects than announced": {
			write: func(p *packed) { p.whole(plumbing.BlobObject, one); p.whole(plumbing.BlobObject, two); p.count-- }, fails: errProtocol,
		},
	}
	for name, tc := range tests {
		inEachFormat(t, name, func(t *testing.T, format objectFormat) {
			made := packed{format: format}
			tc.write(&made)
			p, err := made.open(t, tc.limit.withDefaults())
			if _, limited := errors.AsType[*LimitError](tc.fails); limited {
				if _, ok := errors.AsType[*LimitError](err); !ok {
					t.Fatalf("got %v, want a LimitError", err)
				}
				return
			}
			if !errors.Is(err, tc.fails) {
				t.Fatalf("got %v, want %v", err, tc.fails)
			}
			if err != nil {
				return
			}
			if n := len(p.names()); n != len(tc.want) {
				t.Errorf("%d objects, want %d", n, len(tc.want))
			}
			for _, want := range tc.want {
				hash := format.id(plumbing.BlobObject, want)
				if size, err := p.size(hash, plumbing.BlobObject); err != nil || size != int64(len(want)) {
					t.Errorf("size %d, %v; want %d", size, err, len(want))
				}
				got, err := p.read(hash, plumbing.BlobObject)
				if err != nil || string(got) != want {
					t.Errorf("got %q, %v; want %q", got, err, want)
				}
			}
			if _, err := p.read(format.id(plumbing.BlobObject, tc.want[0]), plumbing.TreeObject); err == nil {
				t.Error("a blob was read as a tree")
			}
		})
	}
}

// item is one line of a tree object, for a blob or a tree of a content.
func item(mode, name, content string) string {
	kind := plumbing.BlobObject
	if mode == modeTree {
		kind = plumbing.TreeObject
	}
	raw, _ := hex.DecodeString(sha1Format.id(kind, content))
	return mode + " " + name + "\x00" + string(raw)
}

// open makes a content of one tree and the blobs it names.
func open(ctx context.Context, t *testing.T, limits Limits, trees []string, blobs ...string) (*Content, *os.File, error) {
	t.Helper()
	var made packed
	for _, blob := range blobs {
		made.whole(plumbing.BlobObject, blob)
	}
	for _, tree := range trees {
		made.whole(plumbing.TreeObject, tree)
	}
	file := made.file(t)
	p, err := openPack(ctx, file, sha1Format, limits.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	c, err := newContent(ctx, p, sha1Format.id(plumbing.TreeObject, trees[0]), limits.withDefaults(), selection{})
	if err == nil {
		c.from.explain = func(err error) error { return operation(ctx, "url", "fetch from", err) }
	}
	return c, file, err
}

func TestContent(t *testing.T) {
	// Git's order, in which a directory's name ends in a slash, is not that of names.
	below := item(modeFile, "x.yaml", "x")
	root := item(modeExec, "a", "a") + item(modeFile, "dir.yaml", "") + item(modeTree, "dir", below) + item(modeTree, "empty", "") + item(modeLink, "z", "a")
	c, _, err := open(t.Context(), t, Limits{}, []string{root, below, ""}, "a", "", "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(c.FS(), "a", "dir/x.yaml", "dir.yaml", "empty"); err != nil {
		t.Error(err)
	}
	var got []string
	err = fs.WalkDir(c.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		got = append(got, fmt.Sprintf("%s %s %d", name, info.Mode(), info.Size()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		". drwxr-xr-x 0", "a -rwxr-xr-x 1", "dir drwxr-xr-x 0", "dir/x.yaml -rw-r--r-- 1", "dir.yaml -rw-r--r-- 0", "empty drwxr-xr-x 0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("walk (-want +got):\n%s", diff)
	}
	if c.Files != 3 || c.Bytes != 2 || len(c.Skipped) != 1 {
		t.Errorf("%d files, %d bytes, skipped %q", c.Files, c.Bytes, c.Skipped)
	}
}

func TestContentIsRefused(t *testing.T) {
	big := strings.Repeat("b", 100)
	tests := map[string]struct {
		tree   string
		limits Limits
		want   error
	}{
		"a file twice":               {tree: item(modeFile, "a", "a") + item(modeFile, "a", big), want: errObject},
		"a file beside a directory":  {tree: item(modeFile, "a", "a") + item(modeFile, "b", "a") + item(modeTree, "a", ""), want: errObject},
		"a blob that is not there":   {tree: item(modeFile, "a", "gone"), want: ErrNotFound},
		"a tree that is not there":   {tree: item(modeTree, "a", "gone"), want: ErrNotFound},
		"a tree as a file":           {tree: modeFile + item(modeTree, "a", "")[len(modeTree):], want: errProtocol},
		"a blob as a directory":      {tree: modeTree + item(modeFile, "a", "a")[len(modeFile):], want: errProtocol},
		"one blob as too many bytes": {tree: item(modeFile, "a", big) + item(modeFile, "b", big), limits: Limits{TotalBytes: 150}, want: &LimitError{}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, _, err := open(t.Context(), t, tc.limits, []string{tc.tree, ""}, "a", big)
			if _, ok := errors.AsType[*LimitError](tc.want); ok {
				if _, ok := errors.AsType[*LimitError](err); !ok {
					t.Fatalf("got %v, want a LimitError", err)
				}
				return
			}
			if !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
		})
	}
}

// TestContentIsCheckedWhenRead: what happens to the pack after it was indexed comes to light, and as the fault of a fetch.
func TestContentIsCheckedWhenRead(t *testing.T) {
	tree := item(modeFile, "a", "one content") + item(modeFile, "b", "another one")
	tests := map[string]struct {
		harm func(t *testing.T, c *Content, file *os.File, cancel context.CancelFunc)
		says string
	}{
		"a damaged pack": {
			harm: func(t *testing.T, _ *Content, file *os.File, _ context.CancelFunc) {
				if _, err := file.WriteAt(bytes.Repeat([]byte{0xff}, 8), 16); err != nil {
					t.Fatal(err)
				}
			},
			says: `fetch from "url": file "a": the pack is damaged`,
		},
		"another content": {
			harm: func(_ *testing.T, c *Content, _ *os.File, _ context.CancelFunc) {
				a, b := c.root.entries[0].id, c.root.entries[1].id
				p := c.from.objects.packs[0]
				other, _ := p.table.find(b)
				other.id = a
				p.table = newTable(sha1Format, []object{{row: other}})
			},
			says: "has other content than its name says",
		},
		"no time": {harm: func(_ *testing.T, _ *Content, _ *os.File, cancel context.CancelFunc) { cancel() }, says: "canceled"},
		"a closed pack": {
			harm: func(t *testing.T, c *Content, _ *os.File, _ context.CancelFunc) {
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
			},
			says: "closed",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c, file, err := open(ctx, t, Limits{}, []string{tree}, "one content", "another one")
			if err != nil {
				t.Fatal(err)
			}
			tc.harm(t, c, file, cancel)
			for how, read := range map[string]func() error{
				"open": func() error { _, err := c.FS().Open("a"); return err },
				"read": func() error { _, err := fs.ReadFile(c.FS(), "a"); return err },
			} {
				err := read()
				f, ok := errors.AsType[*fault.Fault](err)
				if !ok || f.Kind != fault.Retry || f.Reason != ReasonOperationFailed || !strings.Contains(f.Error(), tc.says) {
					t.Errorf("%s: got %v, want a fault that says %q", how, err, tc.says)
				}
			}
		})
	}
}

func FuzzPack(f *testing.F) {
	for _, format := range objectFormats() {
		made := packed{format: format}
		made.whole(plumbing.BlobObject, "a line of text, another line of text")
		made.onOffset(1, delta("a line of text, another line of text", "a line of text, another line of text."))
		made.onName("a line of text, another line of text", delta("a line of text, another line of text", "a line of text, another line"))
		f.Add(made.Bytes(), made.count, int(format))
	}
	f.Fuzz(func(t *testing.T, objects []byte, count uint32, format int) {
		in := packed{count: count, format: anyFormat(format)}
		in.Write(objects)
		p, err := in.open(t, Limits{ObjectBytes: 1 << 16, InflatedBytes: 1 << 20}.withDefaults())
		if err != nil {
			return
		}
		for i := range p.packs[0].table.len() {
			o := p.packs[0].table.at(i)
			content, err := p.read(o.id.String(), o.kind)
			if err != nil || int64(len(content)) != o.size {
				t.Errorf("object %s: %d bytes, want %d: %v", o.id, len(content), o.size, err)
			}
		}
	})
}

// TestTableOnDisk: mirrors outlive the program that wrote them, so the layout of a row is a promise.
func TestTableOnDisk(t *testing.T) {
	for format, width := range map[objectFormat]int{sha1Format: 64, sha256Format: 88} {
		size := format.size()
		names := slices.Concat(bytes.Repeat([]byte{0xaa}, size), bytes.Repeat([]byte{0xbb}, size))
		want := row{
			id: newID(names[:size]), base: newID(names[size:]), kind: plumbing.BlobObject, chain: 0x102,
			offset: 0x0102030405060708, length: 0x11121314, stored: 0x21222324, size: 0x31323334,
		}
		written := newTable(format, []object{{row: want}})
		layout := slices.Concat(names, []byte("\x00\x03\x01\x02\x01\x02\x03\x04\x05\x06\x07\x08\x11\x12\x13\x14\x21\x22\x23\x24\x31\x32\x33\x34"))
		if !bytes.Equal(written.rows, layout) || len(layout) != width {
			t.Errorf("%s: %d bytes %x, want %d: %x", format, len(written.rows), written.rows, width, layout)
		}
		if got, ok := (table{format: format, rows: layout}).find(want.id); !ok || got != want {
			t.Errorf("%s: read %+v, want %+v", format, got, want)
		}
	}
}
