// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean returns s as one printable line. White space of any kind becomes a blank; control characters, and characters that
// are invisible or reorder text, become U+FFFD so that it shows that something was there.
func Clean(s string) string {
	if printable(s) {
		return s
	}
	return strings.TrimRight(strings.Map(cleanRune, strings.ToValidUTF8(s, string(utf8.RuneError))), " ")
}

// CleanText is Clean for text of several lines. All lines but the first are indented, so that none can pass for a line
// which this program began.
func CleanText(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		lines = append(lines, Clean(strings.TrimRight(line, "\r\n")))
	}
	return strings.Join(lines, "\n    ")
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return cleanRune(r) != r || r == utf8.RuneError })
}

func cleanRune(r rune) rune {
	switch {
	case unicode.IsSpace(r):
		return ' '
	case unicode.IsControl(r), unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co):
		return utf8.RuneError
	default:
		return r
	}
}

// digest finds hexadecimal digests, of Git's SHA-1 or longer.
var digest = regexp.MustCompile(`\b([0-9a-f]{8})[0-9a-f]{32,}\b`)

// ShortDigests cuts each digest in s to eight digits, as Flux's tables do.
func ShortDigests(s string) string { return digest.ReplaceAllString(s, "$1") }
