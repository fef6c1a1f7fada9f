// SPDX-License-Identifier: Apache-2.0

package git

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestPathIsOneWord: whatever a URL holds, the shell of a Git server gets the path as one word and runs nothing of it (CVE-2026-45570).
func TestPathIsOneWord(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "ran")
	for _, path := range []string{
		"/team/app.git", "/o'clock.git", "/'; touch " + mark + "; '", "/$(touch " + mark + ")", "/`touch " + mark + "`", "/a\n touch " + mark + "\n",
		"/a && touch " + mark, "/--upload-pack=touch " + mark, `/back\'slash`, "/'\\''; touch " + mark, "/* ? [a-z] ~ ${IFS}", "",
	} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s "+quote(path)).Output()
		if err != nil || string(out) != path {
			t.Errorf("%q arrives as %q, error %v", path, out, err)
		}
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("a command of a path was run")
	}
}
