// SPDX-License-Identifier: Apache-2.0

package git_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pjbgf/sha1cd"

	"sluice.dev/sluice/internal/git"
	"sluice.dev/sluice/test/gitserver"
)

// TestMirrorOverSSH: the whole request is sent before the answer is read, which a conversation over one connection must bear.
func TestMirrorOverSSH(t *testing.T) {
	m := newMirrored(t, "")
	m.commit(t, gitserver.CommitOptions{}, nil)
	key := must[gitserver.SSHKey](t)(gitserver.NewSSHKey())
	server := serveSSH(t, gitserver.SSHOptions{Root: strings.TrimSuffix(m.repo.Path, m.repo.Name), Authorized: key.Signer.PublicKey()})
	mirrors := m.open(t, 0)
	for i := range 3 {
		remote := must[*git.Remote](t)(git.New(git.Config{
			URL: server.URL + "/" + m.repo.Name, Mirrors: mirrors, Owner: "ns", Auth: git.Auth{Identity: key.Private, KnownHosts: server.KnownHosts},
		}))
		head := must[git.Head](t)(remote.Resolve(t.Context(), mainBranch()))
		got := must[fetched](t)(fetch(t, remote, head))
		m.expect(t, files(t, got.FS()))
		m.commit(t, gitserver.CommitOptions{}, map[string]string{"dir1/sub/file1": fmt.Sprint("change ", i)})
	}
	packs := must[[]string](t)(filepath.Glob(filepath.Join(m.dir, "*", "*.pack")))
	var sizes []int64
	for _, name := range packs {
		sizes = append(sizes, must[os.FileInfo](t)(os.Stat(name)).Size())
	}
	if len(sizes) != 3 || sizes[1] > fewBytes || sizes[2] > fewBytes {
		t.Errorf("packs of %d bytes", sizes)
	}
}

// TestMirrorOfAnotherRepository: what stands at the URL may have nothing in common with what stood there.
func TestMirrorOfAnotherRepository(t *testing.T) {
	m := newMirrored(t, "")
	mirrors := m.open(t, 0)
	m.commit(t, gitserver.CommitOptions{}, nil)
	m.get(t, mirrors, mainBranch())
	m.recreate(t, gitserver.InitRepo)
	m.files = map[string]string{"only": "this"}
	m.commit(t, gitserver.CommitOptions{}, nil)
	got, _ := m.get(t, mirrors, mainBranch())
	m.expect(t, got)
}

// TestMirrorOfALiar: a server that says there is nothing to send, or sends what does not fit, is asked for everything.
func TestMirrorOfALiar(t *testing.T) {
	pack := func(objects string) []byte {
		raw := []byte("PACK\x00\x00\x00\x02\x00\x00\x00" + objects)
		state := sha1cd.New()
		state.Write(raw)
		return state.Sum(raw)
	}
	for name, lie := range map[string][]byte{
		"an empty pack":          pack("\x00"),
		"half a pack":            pack("\x07\x9f"),
		"no pack at all":         []byte("a web page"),
		"a thin pack on nothing": pack("\x01\x72" + strings.Repeat("\x42", 20) + "\x78\x9c\x63\x60\x60\x00\x00\x00\x03\x00\x01"),
	} {
		t.Run(name, func(t *testing.T) {
			m := newMirrored(t, "")
			lies := 0
			m.url = serveHTTP(t, gitserver.HTTPOptions{Root: strings.TrimSuffix(m.repo.Path, m.repo.Name), Wrap: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					body, err := io.ReadAll(r.Body)
					if err != nil {
						return
					}
					if !bytes.Contains(body, []byte("have ")) {
						r.Body = io.NopCloser(bytes.NewReader(body))
						next.ServeHTTP(w, r)
						return
					}
					lies++
					w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
					_, _ = fmt.Fprintf(w, "0035shallow %s\n00000008NAK\n%04x\x01%s0000", body[9:49], len(lie)+5, lie)
				})
			}}).URL + "/" + m.repo.Name
			mirrors := m.open(t, 0)
			m.commit(t, gitserver.CommitOptions{}, nil)
			m.get(t, mirrors, mainBranch())
			m.commit(t, gitserver.CommitOptions{}, map[string]string{"dir1/sub/file1": "changed"})
			got, _ := m.get(t, mirrors, mainBranch())
			m.expect(t, got)
			if lies != 1 {
				t.Errorf("the server has lied %d times", lies)
			}
		})
	}
}

// killedFetch is set in a process that fetches until it is killed.
const killedFetch = "SLUICE_TEST_KILLED_FETCH"

// TestMirrorOfAKilledProcess kills a process at any moment and looks at what the next one makes of it.
func TestMirrorOfAKilledProcess(t *testing.T) {
	if where := os.Getenv(killedFetch); where != "" {
		fetchForEver(t, where)
		return
	}
	m := newMirrored(t, "")
	m.commit(t, gitserver.CommitOptions{}, nil)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range 12 {
		victim := exec.Command(os.Args[0], "-test.run=^TestMirrorOfAKilledProcess$", "-test.timeout=60s")
		victim.Env = append(os.Environ(), killedFetch+"="+m.url+" "+m.dir)
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			_ = victim.Wait()
			close(ended)
		}()
		pause := 20 + time.Duration(random.IntN(150))
		for i := range 5 {
			m.commit(t, gitserver.CommitOptions{}, map[string]string{fmt.Sprintf("dir%d/sub/file%d", i, i): fmt.Sprint(round, " ", i)})
			time.Sleep(pause * time.Millisecond / 5)
		}
		if err := victim.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-ended
		mirrors := m.open(t, 0)
		got, _ := m.get(t, mirrors, mainBranch())
		m.expect(t, got)
		if err := mirrors.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func fetchForEver(t *testing.T, where string) {
	url, dir, _ := strings.Cut(where, " ")
	mirrors := must[*git.Mirrors](t)(git.OpenMirrors(dir, 0))
	for {
		remote := must[*git.Remote](t)(git.New(git.Config{URL: url, Mirrors: mirrors, Owner: "ns"}))
		head, err := remote.Resolve(t.Context(), mainBranch())
		if err != nil {
			continue // it moves while it is asked for
		}
		if _, content, err := remote.Fetch(t.Context(), head); err == nil {
			_ = content.Close()
		}
	}
}
