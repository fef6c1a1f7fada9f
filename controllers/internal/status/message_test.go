// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"sluice.dev/sluice/controllers/internal/status"
)

func TestRedact(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"plain text is kept":              {"read: unexpected EOF", "read: unexpected EOF"},
		"a password goes":                 {`Get "https://bob:s3cret@host/x": refused`, `Get "https://[redacted]@host/x": refused`},
		"a user name alone goes":          {"ssh://git@host/x", "ssh://[redacted]@host/x"},
		"an at sign in a password goes":   {"https://bob:p@ss@host/x", "https://[redacted]@host/x"},
		"a slash in a password goes":      {`parse "https://bob:pa/ss@host/x": bad port`, `parse "https://[redacted]@host/x": bad port`},
		"an OCI digest is kept":           {"oci://host/repo@sha256:abc", "oci://host/repo@sha256:abc"},
		"a digest behind a port is kept":  {"oci://host:5000/repo@sha256:abc", "oci://host:5000/repo@sha256:abc"},
		"a digest behind IPv6 is kept":    {"oci://[::1]:5000/repo@sha256:abc", "oci://[::1]:5000/repo@sha256:abc"},
		"every URL of a text is redacted": {"http://a:b@c and http://d:e@f", "http://[redacted]@c and http://[redacted]@f"},
		"a SAS signature goes":            {"https://x.blob/y?sv=1&sig=abc%3D&se=2", "https://x.blob/y?sv=1&sig=[redacted]&se=2"},
		"a presigned URL goes":            {"https://s3/b?X-Amz-Credential=AK&X-Amz-Signature=ff", "https://s3/b?X-Amz-Credential=[redacted]&X-Amz-Signature=[redacted]"},
		"a registry scope is kept":        {"https://auth/token?scope=repository:a:pull", "https://auth/token?scope=repository:a:pull"},
		"an access token goes":            {"https://git/x?access_token=abc", "https://git/x?access_token=[redacted]"},
		"the end of a text is no URL":     {"scheme ends in ://", "scheme ends in ://"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := status.Redact(tc.in); got != tc.want {
				t.Errorf("Redact() = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestTrim(t *testing.T) {
	tests := map[string]struct {
		in    string
		limit int
		want  string
	}{
		"a short text is kept":            {"abc", 3, "abc"},
		"a long text ends in an ellipsis": {"abcdefgh", 6, "abc..."},
		"a character is never cut":        {"aééééé", 8, "aéé..."},
		"bad bytes are replaced":          {"a\xffb", 20, "a\uFFFDb"},
		"a tiny limit still holds":        {"abcdef", 2, ".."},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := status.Trim(tc.in, tc.limit); got != tc.want {
				t.Errorf("Trim() = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestMessageIsBounded(t *testing.T) {
	got := status.Message(strings.Repeat("é", status.MaxMessage))
	if len(got) > status.MaxMessage || !utf8.ValidString(got) {
		t.Errorf("Message() has %d bytes, valid %v", len(got), utf8.ValidString(got))
	}
}

func FuzzMessage(f *testing.F) {
	f.Add("https://a:b@c/d?sig=1")
	f.Add("oci://h:1/r@sha256:0")
	f.Fuzz(func(t *testing.T, s string) {
		got := status.Message(s)
		if len(got) > status.MaxMessage || !utf8.ValidString(got) {
			t.Errorf("Message(%q) = %q", s, got)
		}
		if again := status.Message(got); again != got {
			t.Errorf("Message is not idempotent: %q, then %q", got, again)
		}
	})
}
