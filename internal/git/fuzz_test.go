// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/crypto/ssh"

	"sluice.dev/sluice/internal/fips"
)

// FuzzResponse reads what a server sends after a request: lists of shallow commits, acknowledgements, bands.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		"0008NAK\n0009\x01PACK0000", "0035shallow 0123456789012345678901234567890123456789\n00000008NAK\nPACK", "0038ACK 0123456789012345678901234567890123456789 common\n0031ACK 0123456789012345678901234567890123456789\n0006\x02x0007\x03no",
		"000dERR gone\n", "0004", "ffff", "0001", "0008NAK\nPACK",
	} {
		f.Add([]byte(seed), true, true)
		f.Add([]byte(seed), false, false)
	}
	f.Fuzz(func(t *testing.T, in []byte, shallow, band bool) {
		a := advert{}
		if band {
			a.capabilities = []string{"side-band-64k"}
		}
		stream, err := packStream(newPackets(bytes.NewReader(in), []string{"s3cret"}), request{shallow: shallow}, a)
		if err != nil {
			return
		}
		out, err := io.ReadAll(stream)
		if len(out) > len(in) {
			t.Errorf("%d bytes out of %d", len(out), len(in))
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q tells a secret", err)
		}
	})
}

// FuzzThinPack reads packs with deltas against what is held.
func FuzzThinPack(f *testing.F) {
	const held = "a line of text, another line of text"
	var made packed
	made.onName(held, delta(held, held+"."))
	made.onOffset(1, delta(held+".", held+".."))
	made.whole(plumbing.BlobObject, "whole")
	f.Add(made.Bytes(), made.count)
	f.Fuzz(func(t *testing.T, stream []byte, count uint32) {
		limits := Limits{ObjectBytes: 1 << 16, InflatedBytes: 1 << 20}.withDefaults()
		var first packed
		first.whole(plumbing.BlobObject, held)
		base, err := first.open(t, limits)
		if err != nil {
			t.Fatal(err)
		}
		in := packed{count: count}
		in.Write(stream)
		p, err := indexPack(in.file(t), in.format, limits, base)
		if err != nil {
			return
		}
		all := base.with(p, limits)
		for i := range p.table.len() {
			o := p.table.at(i)
			content, err := all.read(o.id.String(), o.kind)
			if err != nil || int64(len(content)) != o.size {
				t.Errorf("object %s: %d bytes, want %d: %v", o.id, len(content), o.size, err)
			}
		}
	})
}

// FuzzTable reads objects by an index that may say anything: none may have other content than its name says.
func FuzzTable(f *testing.F) {
	f.Add([]byte{}, uint16(0), int(sha1Format))
	f.Add(bytes.Repeat([]byte{0xff}, 64), uint16(40), int(sha1Format))
	f.Add(bytes.Repeat([]byte{0xff}, 88), uint16(64), int(sha256Format))
	f.Fuzz(func(t *testing.T, change []byte, at uint16, format int) {
		limits := Limits{ObjectBytes: 1 << 16}.withDefaults()
		made := packed{format: anyFormat(format)}
		made.whole(plumbing.BlobObject, "a line of text")
		made.onOffset(1, delta("a line of text", "a line of text."))
		all, err := made.open(t, limits)
		if err != nil {
			t.Fatal(err)
		}
		p := all.packs[0]
		rows := bytes.Clone(p.table.rows)
		copy(rows[min(int(at), len(rows)):], change)
		p.table.rows = rows
		if p.table.check(p.size, limits) != nil {
			return
		}
		for i := range p.table.len() {
			o := p.table.at(i)
			if content, err := all.read(o.id.String(), o.kind); err == nil && checkName(o.id.String(), o.kind, content) != nil {
				t.Errorf("object %s has other content", o.id)
			}
		}
	})
}

func FuzzModules(f *testing.F) {
	f.Add("[submodule \"a\"]\n\tpath = lib/a\n\turl = ../a.git\n")
	f.Add("[submodule \"a\\\"b\"]\npath = \"a # b\"\nurl = ht\\\ntp ; x\n")
	f.Add("[submodule \"")
	f.Fuzz(func(t *testing.T, text string) {
		urls, err := parseModules([]byte(text))
		if err != nil {
			return
		}
		for at, url := range urls {
			if at == "" || url == "" || len(at)+len(url) > 2*len(text) {
				t.Errorf("module %q at %q", at, url)
			}
			_ = resolveModule("https://git.example/team/app.git", url)
		}
	})
}

func FuzzKnownHosts(f *testing.F) {
	const key = "AAAAC3NzaC1lZDI1NTE5AAAAIGJqKQ0bVg4wRkXq3yrPZ0l7mSMNGnCuTKZ5DhMFG8Cx"
	f.Add("git.example,[10.0.0.1]:22 ssh-ed25519 "+key+"\n", "git.example:22")
	f.Add("@revoked * ssh-ed25519 "+key+"\n", "[::1]:2222")
	f.Add("# nothing\n!*.example,*.ex?mple ssh-ed25519 "+key+" comment\n", "a.example:22")
	f.Add("|1|x|y ssh-ed25519 "+key, "h")
	f.Fuzz(func(_ *testing.T, text, address string) {
		known, err := parseKnownHosts([]byte(text), fips.Policy{})
		if err != nil {
			return
		}
		for _, k := range known {
			_ = known.check(address, nil, k.key)
		}
		_ = known.algorithms(address, []string{ssh.KeyAlgoED25519, ssh.KeyAlgoRSASHA256})
	})
}

// FuzzState reads a mirror's state.
func FuzzState(f *testing.F) {
	f.Add([]byte(`{"version":1,"serial":2,"packs":[{"serial":1,"bytes":10,"table":"x"}],"heads":[{"commit":"y"}]}`))
	f.Add([]byte(`{"version":1,"packs":[{"serial":-9223372036854775808,"bytes":-1}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "m"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "m", stateFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		mirrors, err := OpenMirrors(dir, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer mirrors.Close()
		m, err := mirrors.acquire(t.Context(), "m")
		if err != nil {
			t.Fatal(err)
		}
		defer m.release()
		if held, err := m.open(t.Context(), Limits{}.withDefaults()); err == nil && len(held.packs) > 0 {
			t.Error("packs that are not there are open")
		}
	})
}
