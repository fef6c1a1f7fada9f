// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing"
)

// Commit is what a source and a signature check need to know about a commit.
type Commit struct {
	// Head says how the commit was found.
	Head Head
	// Hash is the commit's object id.
	Hash string
	// Tree is the object id of its files.
	Tree string
	// Parents are the object ids it follows, also those that were not fetched.
	Parents []string
	// Author and Committer are who claims to have written and recorded it.
	Author    Person
	Committer Person
	// Message is the whole message.
	Message string
	// Signature is the armored signature, empty for an unsigned commit, and Payload the bytes it is over.
	Signature []byte
	Payload   []byte
	// Tag is the annotated tag that led to the commit, nil without one.
	Tag *Tag
}

// Digest is the commit's object id with its format in front, "sha1:<hex>" or "sha256:<hex>".
func (c Commit) Digest() string { return digestOf(c.Hash) }

// Tag is an annotated tag.
type Tag struct {
	// Hash is the tag's object id.
	Hash string
	// Target is the object id it points to, here always the commit.
	Target string
	// Name is the name inside the object. It is the signed one; that of the reference is whatever the server says.
	Name    string
	Tagger  Person
	Message string
	// Signature and Payload are as for a commit.
	Signature []byte
	Payload   []byte
}

// Person is a name in a commit or a tag. Nothing about it is verified.
type Person struct {
	Name  string
	Email string
	When  time.Time
}

// String is "Name <email>".
func (p Person) String() string { return p.Name + " <" + p.Email + ">" }

// Subject is the first line of the message, fit for an event: valid UTF-8 without control characters, at most 200 runes.
func (c Commit) Subject() string {
	const limit = 200
	line, _, _ := strings.Cut(strings.TrimLeft(c.Message, "\n"), "\n")
	runes := []rune(strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(line, "?"))))
	return string(runes[:min(len(runes), limit)])
}

// errObject is wrapped by complaints about an object's form.
var errObject = errors.New("malformed object")

// field is one header of a commit or tag, with continuation lines unfolded.
type field struct{ key, value string }

// parseFields reads the headers and returns the message.
func parseFields(content []byte) (fields []field, message string, err error) {
	rest := string(content)
	for rest != "" {
		line, after, _ := strings.Cut(rest, "\n")
		rest = after
		switch {
		case line == "":
			return fields, rest, nil
		case line[0] == ' ' && len(fields) == 0:
			return nil, "", fmt.Errorf("continuation without a header: %w", errObject)
		case line[0] == ' ':
			fields[len(fields)-1].value += "\n" + line[1:]
			continue
		}
		key, value, _ := strings.Cut(line, " ")
		fields = append(fields, field{key, value})
	}
	return fields, "", nil
}

// only returns the value of a header that must stand exactly once; missing says whether none is right too.
func only(fields []field, key string, optional bool) (string, error) {
	value, seen := "", 0
	for _, f := range fields {
		if f.key == key {
			value, seen = f.value, seen+1
		}
	}
	if seen > 1 || seen == 0 && !optional {
		return "", fmt.Errorf("%d %q headers: %w", seen, key, errObject)
	}
	return value, nil
}

// parseCommit reads a commit. Headers that would make the object mean two things, two trees or two signatures, are
// refused: a signature check and a reader of the files must see the same commit.
func parseCommit(hash string, content []byte) (Commit, error) {
	fields, message, err := parseFields(content)
	if err != nil {
		return Commit{}, fmt.Errorf("commit %s: %w", hash, err)
	}
	tree, err1 := only(fields, "tree", false)
	author, err2 := only(fields, "author", false)
	committer, err3 := only(fields, "committer", false)
	format := formatOf(hash)
	signature, err4 := only(fields, format.signatureHeader(), true)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return Commit{}, fmt.Errorf("commit %s: %w", hash, err)
	}
	if fields[0].key != "tree" || !format.isID(tree) {
		return Commit{}, fmt.Errorf("commit %s names no tree: %w", hash, errObject)
	}
	commit := Commit{
		Hash: hash, Tree: tree, Message: message,
		Author: parsePerson(author), Committer: parsePerson(committer),
		Payload: withoutSignature(content),
	}
	if signature != "" {
		commit.Signature = []byte(signature + "\n")
	}
	for _, f := range fields {
		if f.key == "parent" {
			commit.Parents = append(commit.Parents, f.value)
		}
	}
	return commit, nil
}

// withoutSignature is what a signature of a commit or tag is over: its bytes without the headers that hold one, in either format
// (git, commit.c, parse_signed_commit and remove_signature).
func withoutSignature(content []byte) []byte {
	var payload bytes.Buffer
	dropping := false
	for rest := content; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n') + 1
		if end == 0 {
			end = len(rest)
		}
		line := rest[:end]
		if len(bytes.TrimSuffix(line, []byte("\n"))) == 0 {
			payload.Write(rest)
			break
		}
		if line[0] != ' ' {
			dropping = bytes.HasPrefix(line, []byte("gpgsig ")) || bytes.HasPrefix(line, []byte("gpgsig-sha256 "))
		}
		if !dropping {
			payload.Write(line)
		}
		rest = rest[end:]
	}
	return payload.Bytes()
}

// parseTag reads an annotated tag. Its signature stands at the end of the message; the last line that begins one counts,
// as in git (gpg-interface.c, parse_signed_buffer). A signature of the tag in the other format is in a header, as a commit's.
func parseTag(hash string, content []byte) (Tag, string, error) {
	fields, _, err := parseFields(content)
	if err != nil {
		return Tag{}, "", fmt.Errorf("tag %s: %w", hash, err)
	}
	target, err1 := only(fields, "object", false)
	kind, err2 := only(fields, "type", false)
	name, err3 := only(fields, "tag", false)
	tagger, err4 := only(fields, "tagger", true)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return Tag{}, "", fmt.Errorf("tag %s: %w", hash, err)
	}
	if !formatOf(hash).isID(target) {
		return Tag{}, "", fmt.Errorf("tag %s names no object: %w", hash, errObject)
	}
	payload, signature := splitSignature(content)
	_, message, _ := bytes.Cut(payload, []byte("\n\n"))
	tag := Tag{
		Hash: hash, Target: target, Name: name, Tagger: parsePerson(tagger),
		Message: string(message), Payload: withoutSignature(payload), Signature: signature,
	}
	return tag, kind, nil
}

// splitSignature divides a tag's bytes into what is signed and the signature.
func splitSignature(content []byte) (payload, signature []byte) {
	at := len(content)
	for offset := 0; offset < len(content); {
		line := content[offset:]
		for _, begin := range []string{
			"-----BEGIN PGP SIGNATURE-----", "-----BEGIN PGP MESSAGE-----",
			"-----BEGIN SSH SIGNATURE-----", "-----BEGIN SIGNED MESSAGE-----",
		} {
			if bytes.HasPrefix(line, []byte(begin)) {
				at = offset
			}
		}
		next := bytes.IndexByte(line, '\n')
		if next < 0 {
			break
		}
		offset += next + 1
	}
	if at == len(content) {
		return content, nil
	}
	return content[:at], content[at:]
}

// parsePerson reads "Name <email> seconds zone". What does not parse is left empty: these are claims, and a badly written
// date must not keep a repository from being read.
func parsePerson(value string) Person {
	name, rest, ok := strings.Cut(value, "<")
	if !ok {
		return Person{Name: strings.TrimSpace(value)}
	}
	email, when, _ := strings.Cut(rest, ">")
	person := Person{Name: strings.TrimSpace(name), Email: email}
	seconds, _, _ := strings.Cut(strings.TrimSpace(when), " ")
	if n, err := strconv.ParseInt(seconds, 10, 64); err == nil {
		person.When = time.Unix(n, 0).UTC()
	}
	return person
}

// maxTagChain bounds tags that point to tags.
const maxTagChain = 8

// resolveTag follows an annotated tag to its commit and returns it with the commit as target. Only what the objects say
// counts, not what the server advertised. A tag of a tag names its target by id, so the outer signature covers the chain.
func (o *objects) resolveTag(hash string) (*Tag, error) {
	var outer *Tag
	next := hash
	for range maxTagChain {
		content, err := o.read(next, plumbing.TagObject)
		if err != nil {
			return nil, err
		}
		tag, kind, err := parseTag(next, content)
		if err != nil {
			return nil, err
		}
		if outer == nil {
			outer = &tag
		}
		switch kind {
		case "commit":
			outer.Target = tag.Target
			return outer, nil
		case "tag":
			next = tag.Target
		default:
			return nil, fmt.Errorf("tag %q points to a %s, not to a commit: %w",
				remoteText(outer.Name, nil), remoteText(kind, nil), errObject)
		}
	}
	return nil, fmt.Errorf("tag %s stands before more than %d others: %w", hash, maxTagChain, errObject)
}
