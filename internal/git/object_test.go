// SPDX-License-Identifier: Apache-2.0

package git

import (
	"cmp"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	gocmp "github.com/google/go-cmp/cmp"
)

const (
	treeID  = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
	tree256 = "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"
	someone = "A U Thor <a@example.com> 1700000000 +0100\n"
)

func TestParseCommit(t *testing.T) {
	head := "tree " + treeID + "\nauthor " + someone + "committer " + someone
	head256 := "tree " + tree256 + "\nauthor " + someone + "committer " + someone
	const armor = "gpgsig -----BEGIN SSH SIGNATURE-----\n AAAA\n \n -----END SSH SIGNATURE-----\n"
	const both = "gpgsig one\n 1\ngpgsig-sha256 two\n 2\n"
	tests := map[string]struct {
		id            string // treeID unless said otherwise
		in            string
		wantSignature string
		wantPayload   string
		wantSubject   string
		fails         bool
	}{
		"unsigned": {in: head + "\nsubject\n\nbody\n", wantPayload: head + "\nsubject\n\nbody\n", wantSubject: "subject"},
		"signed": {
			in: head + armor + "\nsubject\n", wantSubject: "subject", wantPayload: head + "\nsubject\n",
			wantSignature: "-----BEGIN SSH SIGNATURE-----\nAAAA\n\n-----END SSH SIGNATURE-----\n",
		},
		"other headers stay in the payload": {
			in:          head + "encoding latin1\nmergetag object x\n type commit\n" + armor + "x y\n\nm",
			wantPayload: head + "encoding latin1\nmergetag object x\n type commit\nx y\n\nm", wantSubject: "m",
			wantSignature: "-----BEGIN SSH SIGNATURE-----\nAAAA\n\n-----END SSH SIGNATURE-----\n",
		},
		"a signature for SHA-256 leaves the payload too": {
			in: head + "gpgsig-sha256 x\n y\n\nm", wantPayload: head + "\nm", wantSubject: "m",
		},
		"a signature in the message is text": {in: head + "\n" + armor, wantPayload: head + "\n" + armor, wantSubject: "gpgsig -----BEGIN SSH SIGNATURE-----"},
		"no message":                         {in: head, wantPayload: head},
		"signed in both formats, of SHA-1": {
			in: head + both + "\nm", wantPayload: head + "\nm", wantSubject: "m", wantSignature: "one\n1\n",
		},
		"signed in both formats, of SHA-256": {
			id: tree256, in: head256 + both + "\nm", wantPayload: head256 + "\nm", wantSubject: "m", wantSignature: "two\n2\n",
		},
		"of SHA-256, signed in the other format alone": {id: tree256, in: head256 + armor + "\nm", wantPayload: head256 + "\nm", wantSubject: "m"},
		"two signatures of SHA-256":                    {id: tree256, in: head256 + "gpgsig-sha256 x\ngpgsig-sha256 y\n\nm", fails: true},
		"a tree of SHA-256 in a commit of SHA-1":       {in: head256 + "\nm", fails: true},
		"a tree of SHA-1 in a commit of SHA-256":       {id: tree256, in: head + "\nm", fails: true},
		"two signatures":                               {in: head + armor + armor + "\nm", fails: true},
		"two trees":                                    {in: "tree " + treeID + "\n" + head + "\nm", fails: true},
		"no tree":                                      {in: strings.TrimPrefix(head, "tree "+treeID+"\n") + "\nm", fails: true},
		"a tree that is not first":                     {in: "author " + someone + "tree " + treeID + "\ncommitter " + someone + "\nm", fails: true},
		"a tree that is no id":                         {in: strings.Replace(head, treeID, "../../etc", 1) + "\nm", fails: true},
		"a continuation of nothing":                    {in: " x\n" + head + "\nm", fails: true},
		"nothing":                                      {fails: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseCommit(cmp.Or(tc.id, treeID), []byte(tc.in))
			if tc.fails {
				if err == nil {
					t.Fatalf("accepted as %+v", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := []string{tc.wantSignature, tc.wantPayload, tc.wantSubject}
			if diff := gocmp.Diff(want, []string{string(got.Signature), string(got.Payload), got.Subject()}); diff != "" {
				t.Errorf("signature, payload, subject (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseTag(t *testing.T) {
	head := "object " + treeID + "\ntype commit\ntag v1\ntagger " + someone
	head256 := strings.Replace(head, treeID, tree256, 1)
	const armor = "-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"
	tests := map[string]struct {
		id            string // treeID unless said otherwise
		in            string
		wantSignature string
		wantMessage   string
		wantPayload   string // all before the signature unless said otherwise
		fails         bool
	}{
		"unsigned":          {in: head + "\nrelease\n", wantMessage: "release\n"},
		"signed":            {in: head + "\nrelease\n" + armor, wantMessage: "release\n", wantSignature: armor},
		"the last one wins": {in: head + "\n" + armor + "more\n" + armor, wantMessage: armor + "more\n", wantSignature: armor},
		"not at the start of a line": {
			in: head + "\nsee " + armor, wantMessage: "see " + armor,
		},
		"signed in both formats": {
			in: head + "gpgsig-sha256 x\n y\n\nm\n" + armor, wantMessage: "m\n", wantSignature: armor, wantPayload: head + "\nm\n",
		},
		"signed in both formats, of SHA-256": {
			id: tree256, in: head256 + "gpgsig x\n y\n\nm\n" + armor, wantMessage: "m\n", wantSignature: armor, wantPayload: head256 + "\nm\n",
		},
		"of SHA-256, signed in the other format alone": {
			id: tree256, in: head256 + "gpgsig x\n y\n\nm\n", wantMessage: "m\n", wantPayload: head256 + "\nm\n",
		},
		"an object of SHA-1 in a tag of SHA-256": {id: tree256, in: head + "\nm", fails: true},
		"no tagger":                              {in: strings.Replace(head, "tagger "+someone, "", 1) + "\nm", wantMessage: "m"},
		"two objects":                            {in: "object " + treeID + "\n" + head + "\nm", fails: true},
		"no object":                              {in: "type commit\ntag v1\n\nm", fails: true},
		"a bad object id":                        {in: strings.Replace(head, treeID, "x", 1) + "\nm", fails: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, kind, err := parseTag(cmp.Or(tc.id, treeID), []byte(tc.in))
			if tc.fails {
				if err == nil {
					t.Fatalf("accepted as %+v", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"commit", "v1", tc.wantSignature, tc.wantMessage, cmp.Or(tc.wantPayload, strings.TrimSuffix(tc.in, tc.wantSignature))}
			if diff := gocmp.Diff(want, []string{kind, got.Name, string(got.Signature), got.Message, string(got.Payload)}); diff != "" {
				t.Errorf("kind, name, signature, message, payload (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzObjects(f *testing.F) {
	f.Add([]byte("tree "+treeID+"\nauthor "+someone+"committer "+someone+"gpgsig a\n b\n\nm"), int(sha1Format))
	f.Add([]byte("tree "+tree256+"\nauthor "+someone+"committer "+someone+"gpgsig-sha256 a\n b\n\nm"), int(sha256Format))
	f.Add([]byte("object "+treeID+"\ntype commit\ntag v1\n\nm\n-----BEGIN PGP SIGNATURE-----\n"), int(sha1Format))
	f.Add([]byte("100644 name\x00aaaaaaaaaaaaaaaaaaaa"), int(sha1Format))
	f.Add([]byte("100644 name\x00aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), int(sha256Format))
	f.Fuzz(func(t *testing.T, in []byte, n int) {
		format := anyFormat(n)
		id := format.id(plumbing.TreeObject, "")
		if c, err := parseCommit(id, in); err == nil && !format.isID(c.Tree) {
			t.Errorf("tree %q", c.Tree)
		}
		if tag, _, err := parseTag(id, in); err == nil && !format.isID(tag.Target) {
			t.Errorf("target %q", tag.Target)
		}
		if payload, signature := splitSignature(in); string(payload)+string(signature) != string(in) {
			t.Error("payload and signature are not the whole tag")
		}
		for rest := in; len(rest) > 0; {
			e, after, err := nextEntry(rest, format)
			if err != nil {
				break
			}
			if !format.isID(e.hash) || len(after) >= len(rest) {
				t.Fatalf("entry %+v leaves %d of %d bytes", e, len(after), len(rest))
			}
			rest = after
		}
	})
}

func FuzzAdvertisement(f *testing.F) {
	f.Add([]byte("001e# service=git-upload-pack\n0000"), true)
	f.Add([]byte("003d"+treeID+" refs/heads/main\x00cap\n0000"), false)
	f.Add([]byte("0067"+tree256+" refs/heads/main\x00object-format=sha256\n0000"), false)
	f.Fuzz(func(t *testing.T, in []byte, smart bool) {
		a, err := readAdvert(newPackets(strings.NewReader(string(in)), nil), smart)
		if err == nil && len(a.refs.hashes) == 0 {
			t.Error("an empty list without an error")
		}
		for name, hash := range a.refs.hashes {
			if !a.format.isID(hash) {
				t.Errorf("%q is at %q in a list of %s", name, hash, a.format)
			}
		}
	})
}
