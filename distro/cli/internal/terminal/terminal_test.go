// SPDX-License-Identifier: Apache-2.0

package terminal_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice.dev/sluice/distro/cli/internal/terminal"
)

func TestClean(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"plain text is kept":                {in: "Applied revision: main@sha1:67e2c98a", want: "Applied revision: main@sha1:67e2c98a"},
		"letters of any script are kept":    {in: "größer 日本", want: "größer 日本"},
		"lines and tabs become blanks":      {in: "a\nb\tc\r\n", want: "a b c"},
		"escape sequences lose their start": {in: "\x1b[2J\x1b]0;title\x07x", want: "\uFFFD[2J\uFFFD]0;title\uFFFDx"},
		"C1 controls too":                   {in: "\u009b31mred", want: "\uFFFD31mred"},
		"text cannot be reordered":          {in: "safe\u202Eevil", want: "safe\uFFFDevil"},
		"text cannot be hidden":             {in: "a\u200Bb\u2028c\ufeffd", want: "a\uFFFDb c\uFFFDd"},
		"bytes that are no text show":       {in: "a\xff\xfeb", want: "a\uFFFDb"},
		"nothing stays nothing":             {in: "", want: ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, terminal.Clean(test.in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCleanText(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"a line cannot pass for one of ours": {in: "failed\n✔ all is well", want: "failed\n    ✔ all is well"},
		"a last line end is dropped":         {in: "failed\r\n", want: "failed"},
		"a lone return cannot overwrite":     {in: "failed\r✔ fine", want: "failed ✔ fine"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, terminal.CleanText(test.in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestShortDigests(t *testing.T) {
	const sha1 = "67e2c98a60dc92283531412a9e604dd4bae005a9"
	const sha256 = "3ab5f1c0" + "11111111222222223333333344444444555555556666666677777777"
	tests := map[string]struct{ in, want string }{
		"a Git commit":                  {in: "main@sha1:" + sha1, want: "main@sha1:67e2c98a"},
		"an OCI digest":                 {in: "6.3.5@sha256:" + sha256, want: "6.3.5@sha256:3ab5f1c0"},
		"several in a message":          {in: sha1 + " is not " + sha256, want: "67e2c98a is not 3ab5f1c0"},
		"a short name is no digest":     {in: "deadbeefdeadbeef", want: "deadbeefdeadbeef"},
		"a version is kept":             {in: "v1.20.3", want: "v1.20.3"},
		"a digest within a word is not": {in: "x" + sha1, want: "x" + sha1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, terminal.ShortDigests(test.in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	table := terminal.Table{Header: []string{"NAME", "READY", "MESSAGE"}}
	for _, rows := range [][][]string{
		{{"a", "True", "fine\x1b[2J"}, {"größe", "False", "no\nnews"}},
		{{"a", "False", "later"}},
	} {
		if err := table.Print(&out, rows); err != nil {
			t.Fatal(err)
		}
	}
	want := "NAME \tREADY\tMESSAGE\n" +
		"a    \tTrue \tfine\uFFFD[2J\n" +
		"größe\tFalse\tno news\n" +
		"a    \tFalse\tlater\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestLog(t *testing.T) {
	var out bytes.Buffer
	log := terminal.NewLog(&out)
	log.Action("look at %q", "a")
	log.Success("fine")
	log.Failure("%s", "bad\n✔ fine\x1b[A")
	log.Waiting("soon")
	log.Warning("hm")
	want := "► look at \"a\"\n✔ fine\n✗ bad\n    ✔ fine\uFFFD[A\n◎ soon\n⚠ hm\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}
