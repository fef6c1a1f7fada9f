// SPDX-License-Identifier: Apache-2.0

package binaries

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sluice.dev/sluice/hack/testbed/internal/folder"
)

// CacheVariable names the environment variable that overrides where results are kept.
const CacheVariable = "SLUICE_TESTBED_CACHE"

// Set is a complete result.
type Set struct {
	dir string
}

// Dir holds all programs.
func (s Set) Dir() string { return filepath.Join(s.dir, "bin") }

// Path is that of one program.
func (s Set) Path(name string) string { return filepath.Join(s.Dir(), name) }

// Stages are the files that tell KWOK how nodes and pods live: those that its authors ship.
func (s Set) Stages() ([]string, error) {
	return filepath.Glob(filepath.Join(s.dir, "stages", "*.yaml"))
}

// Config says where to build from and to.
type Config struct {
	// Set is the name of what is wanted; see Sets.
	Set string
	// Source is the folder of the test bed's module.
	Source string
	// Cache is where results are kept; see DefaultCache.
	Cache string
	// Progress is told what is being built and how much is left. It hears nothing when all is there already.
	Progress io.Writer
}

// Validate refuses a configuration that would build the wrong thing or build into the working directory.
func (c Config) Validate() error {
	if c.Source == "" || c.Cache == "" || c.Progress == nil {
		return errors.New("source, cache and progress must be set")
	}
	if !slices.Contains(Sets(), c.Set) {
		return fmt.Errorf("there is no set of programs %q, only %s", c.Set, strings.Join(Sets(), " and "))
	}
	return nil
}

// DefaultCache is $SLUICE_TESTBED_CACHE, else sluice/testbed in the user's cache folder.
func DefaultCache() (string, error) {
	if dir := os.Getenv(CacheVariable); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a cache folder (or set %s): %w", CacheVariable, err)
	}
	return filepath.Join(dir, "sluice", "testbed"), nil
}

// Ensure returns the set of that name that belongs to the module files in the source folder, after building it when the cache has
// none. Of several processes that need the same set, one builds and the others wait for it.
func Ensure(ctx context.Context, c Config) (Set, error) {
	if err := c.Validate(); err != nil {
		return Set{}, err
	}
	version, err := goOutput(ctx, c.Source, "env", "GOVERSION")
	if err != nil {
		return Set{}, err
	}
	id, err := key(c.Source, c.Set, version)
	if err != nil {
		return Set{}, err
	}
	set := Set{dir: filepath.Join(c.Cache, id)}
	if set.complete() {
		return set, nil
	}
	if err := os.MkdirAll(c.Cache, 0o755); err != nil {
		return Set{}, err
	}
	lock, err := folder.Wait(ctx, set.dir+".lock", func() {
		fmt.Fprintln(c.Progress, "testbed: another process is building the same programs, waiting for it")
	})
	if err != nil {
		return Set{}, err
	}
	defer lock.Release()
	if set.complete() {
		return set, nil
	}
	if err := buildSet(ctx, c, set.dir); err != nil {
		return Set{}, fmt.Errorf("build the test bed: %w", err)
	}
	return set, nil
}

// complete holds as soon as the folder exists, because it is renamed into place.
func (s Set) complete() bool {
	_, err := os.Stat(s.dir)
	return err == nil
}

// buildSet builds beside dir and renames. The caller holds the lock, so what a killed build left there is garbage.
func buildSet(ctx context.Context, c Config, dir string) error {
	unfinished := dir + ".unfinished"
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(unfinished, "bin"), 0o755); err != nil {
		return err
	}
	b := &builder{modules: recipe(c.Set), source: c.Source, into: unfinished, progress: newProgress(c.Progress)}
	if err := b.run(ctx); err != nil {
		return errors.Join(err, os.RemoveAll(unfinished))
	}
	return os.Rename(unfinished, dir)
}
