// SPDX-License-Identifier: Apache-2.0

// Program progress runs a go command that compiles, and says on standard error how many packages are done, how long it
// took and about how long the rest will take. A cold build compiles more than a thousand packages in silence otherwise.
//
//	go run ./hack/progress build -o bin/ ./cmd/...
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// pause is the time between two lines of progress.
const pause = 5 * time.Second

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: progress build|vet [flags] [packages]")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "progress:", err)
		os.Exit(1)
	}
}

func run(verb string, args []string) error {
	total, err := count(packages(args))
	if err != nil {
		return err
	}
	cmd := exec.Command("go", append([]string{verb, "-v"}, args...)...)
	cmd.Stdout = os.Stdout
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	watch(stderr, total)
	return cmd.Wait()
}

// packages returns the arguments that name packages.
func packages(args []string) []string {
	var out []string
	for _, a := range args {
		if strings.HasPrefix(a, "./") {
			out = append(out, a)
		}
	}
	return out
}

// count returns how many packages a build of the given ones consists of.
func count(pkgs []string) (int, error) {
	cmd := exec.Command("go", append([]string{"list", "-deps"}, pkgs...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	return strings.Count(string(out), "\n"), err
}

// watch passes on what the compiler says, and counts the lines that name a finished package.
func watch(stderr io.Reader, total int) {
	start, last, done := time.Now(), time.Now(), 0
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "#") || strings.ContainsAny(line, " :") {
			fmt.Fprintln(os.Stderr, line)
			continue
		}
		if done++; time.Since(last) < pause {
			continue
		}
		last = time.Now()
		fmt.Fprintf(os.Stderr, "  %s\n", report(done, total, time.Since(start), line))
	}
}

// report says how far a build is. What is cached is passed over in silence, so the total is an upper bound, and an estimate is
// worth saying only once a good part of it has been compiled.
func report(done, total int, elapsed time.Duration, last string) string {
	text := fmt.Sprintf("%4d of at most %d packages compiled, %s so far", done, total, elapsed.Round(time.Second))
	if done*10 >= total {
		left := elapsed / time.Duration(done) * time.Duration(max(total-done, 0))
		text += fmt.Sprintf(", at most %s left", left.Round(time.Second))
	}
	return text + ": " + last
}
