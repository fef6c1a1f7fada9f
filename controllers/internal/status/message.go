// SPDX-License-Identifier: Apache-2.0

package status

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// MaxMessage is how many bytes of a message reach a condition (spec row S-09).
const MaxMessage = 32768

const (
	redacted = "[redacted]"
	ellipsis = "..."
)

// secretParameter finds values of URL parameters that grant access: Azure SAS, presigned S3, tokens (CVE-2024-31216).
var secretParameter = regexp.MustCompile(
	`(?i)([?&](?:sig|signature|[a-z_-]*token|x-(?:amz|goog)-(?:signature|credential)|[a-z_-]*secret|password|[a-z_-]*key)=)[^&\s"'<>#]+`)

// Message returns s as it may stand in a condition: valid UTF-8, without secrets ([Redact]), at most MaxMessage bytes.
func Message(s string) string {
	return Trim(Redact(s), MaxMessage)
}

// Trim returns at most limit bytes of s, cut between characters; what was cut ends in an ellipsis.
func Trim(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	cut := max(limit-len(ellipsis), 0)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + ellipsis[:min(limit, len(ellipsis))]
}

// Redact replaces what grants access in the URLs of a text: the user information before the host, and the values of
// parameters that are known to be secret. It is the last line; packages that hold secrets redact before they make
// a message.
func Redact(s string) string {
	if !strings.Contains(s, "://") {
		return s
	}
	var b strings.Builder
	for {
		head, tail, found := strings.Cut(s, "://")
		b.WriteString(head)
		if !found {
			break
		}
		b.WriteString("://")
		s = tail
		if n := userinfo(s); n >= 0 {
			b.WriteString(redacted)
			s = s[n:]
		}
	}
	return secretParameter.ReplaceAllString(b.String(), "${1}"+redacted)
}

// userinfo returns where the user information at the start of s ends (the index of its @), or -1 when there is none. An
// @ after the host is no user information: oci://host/repo@sha256:... names a digest. A password with an unescaped
// slash makes the URL invalid, and just such URLs are quoted in errors, so "name:not-a-port" counts as user
// information too.
func userinfo(s string) int {
	token := s
	if i := strings.IndexAny(token, " \t\r\n\"'`<>"); i >= 0 {
		token = token[:i]
	}
	authority := token
	if i := strings.IndexAny(authority, "/?#"); i >= 0 {
		authority = authority[:i]
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		return i
	}
	_, port, ok := strings.Cut(authority, ":")
	if !ok || strings.HasPrefix(authority, "[") || strings.Trim(port, "0123456789") == "" {
		return -1
	}
	return strings.LastIndexByte(token, '@')
}
