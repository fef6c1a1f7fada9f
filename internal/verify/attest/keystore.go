// SPDX-License-Identifier: Apache-2.0

package attest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sluice.dev/sluice/internal/fips"
	"sluice.dev/sluice/internal/sign"
)

// LoadOrCreateKey loads the platform's signing key from a file, or makes one where there is none: ECDSA P-256, readable by
// its owner alone, with the public half beside it in path.pub. Two processes that start together end up with one key. The
// directory must exist.
func LoadOrCreateKey(ctx context.Context, backend fips.Backend, path string) (*sign.Key, error) {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("directory of the signing key: %w", err)
	}
	defer root.Close() // opened to work below it
	name := filepath.Base(path)
	if _, err := root.Stat(name); errors.Is(err, fs.ErrNotExist) {
		if err := create(root, name); err != nil {
			return nil, fmt.Errorf("create signing key %q: %w", path, err)
		}
	}
	if err := refuseShared(root, name); err != nil {
		return nil, fmt.Errorf("signing key %q: %w", path, err)
	}
	key, err := sign.LoadKey(ctx, backend, fips.KeyRef{Path: path})
	if err != nil {
		return nil, fmt.Errorf("load signing key: %w", err)
	}
	if err := publish(root, name+".pub", key.PublicPEM()); err != nil {
		return nil, fmt.Errorf("publish signing key %q: %w", path, err)
	}
	return key, nil
}

// create writes a new key beside its place and links it there, which fails where another process was first.
func create(root *os.Root, name string) error {
	private, _, err := sign.GenerateKey()
	if err != nil {
		return err
	}
	temporary, err := writeTemporary(root, name, private, 0o600)
	if err != nil {
		return err
	}
	defer root.Remove(temporary) //nolint:errcheck // a leftover is harmless and nothing can be done about it
	if err := root.Link(temporary, name); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDirectory(root)
}

// publish makes the public half say what the private one is.
func publish(root *os.Root, name string, public []byte) error {
	if have, err := root.ReadFile(name); err == nil && bytes.Equal(have, public) {
		return nil
	}
	temporary, err := writeTemporary(root, name, public, 0o644)
	if err != nil {
		return err
	}
	if err := root.Rename(temporary, name); err != nil {
		return errors.Join(err, root.Remove(temporary))
	}
	return syncDirectory(root)
}

// writeTemporary writes a file that nobody else has a name for, down to the disk.
func writeTemporary(root *os.Root, name string, data []byte, mode fs.FileMode) (string, error) {
	temporary := "." + name + "." + rand.Text()
	file, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return "", err
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return "", errors.Join(err, root.Remove(temporary))
	}
	return temporary, nil
}

func syncDirectory(root *os.Root) error {
	directory, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

// refuseShared refuses a key that others on the machine may write. Reading by a group is how mounted Secrets look.
func refuseShared(root *os.Root, name string) error {
	info, err := root.Stat(name)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("not a regular file")
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("mode %#o lets others write it: want 0600", info.Mode().Perm())
	}
	return nil
}
