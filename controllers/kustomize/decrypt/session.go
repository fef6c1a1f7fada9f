// SPDX-License-Identifier: Apache-2.0

package decrypt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"sluice.dev/sluice/controllers/kustomize/decrypt/sops"
	"sluice.dev/sluice/controllers/kustomize/decrypt/unwrap"
)

// Provider is the one name that spec.decryption.provider may have.
const Provider = "sops"

// Session decrypts for one run of one Kustomization. It is used by one goroutine, and dropped afterwards with all it knows.
// The nil Session decrypts nothing.
type Session struct {
	config unwrap.Config
	opener *unwrap.Opener
	// files are the encrypted files that the build has read, by path.
	files map[string][]byte
	// proven are the plaintexts of the files whose MAC has been checked, by MAC.
	proven map[string]map[sops.Leaf]any
	// sources are the paths that were decrypted before the build.
	sources []string
}

// New returns a session with the credentials of a decryption Secret.
func New(config unwrap.Config, creds unwrap.Credentials) (*Session, error) {
	opener, err := unwrap.NewOpener(config, creds)
	if err != nil {
		return nil, err
	}
	return &Session{config: config, opener: opener, files: map[string][]byte{}, proven: map[string]map[sops.Leaf]any{}}, nil
}

// Source decrypts a file that is read before the build. It returns false, and no data, for one that is not encrypted in
// this format.
func (s *Session) Source(ctx context.Context, name string, f sops.Format, data []byte) ([]byte, bool, error) {
	if s == nil || !sops.Marked(f, data) {
		return nil, false, nil
	}
	file, err := s.open(ctx, f, data)
	if errors.Is(err, sops.ErrPlain) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("decrypt %q: %w", name, err)
	}
	s.sources = append(s.sources, name)
	return file.plain, true, nil
}

// Sources are the paths that Source has decrypted. From then on, whatever quotes the input of the build may quote a secret.
func (s *Session) Sources() []string {
	if s == nil {
		return nil
	}
	return slices.Clone(s.sources)
}

// Seen tells of a file that the build reads, since an object may come from it.
func (s *Session) Seen(name string, data []byte) {
	if s != nil && (sops.Marked(sops.YAML, data) || sops.Marked(sops.JSON, data)) {
		s.files[name] = data
	}
}

// opened is a decrypted file.
type opened struct {
	mac    string
	plain  []byte
	leaves map[sops.Leaf]any
}

// open decrypts a file and checks its MAC. The libraries below may meet input that nobody has thought of: a panic is an error
// of this file alone.
func (s *Session) open(ctx context.Context, f sops.Format, data []byte) (out opened, err error) {
	defer func() {
		if recover() != nil {
			out, err = opened{}, errors.New("this file cannot be read")
		}
	}()
	file, err := sops.Parse(f, data)
	if err != nil {
		return opened{}, err
	}
	key, err := s.opener.DataKey(ctx, file)
	if err != nil {
		return opened{}, fmt.Errorf("the data key: %w", err)
	}
	leaves, err := file.Decrypt(key, s.config.Backend)
	if err != nil {
		return opened{}, err
	}
	plain, err := file.Bytes()
	return opened{mac: file.MAC(), plain: plain, leaves: leaves}, err
}

// provenValues returns the plaintexts of all files with this MAC: one, or copies of it.
func (s *Session) provenValues(ctx context.Context, mac string) (map[sops.Leaf]any, error) {
	if values, ok := s.proven[mac]; ok {
		return values, nil
	}
	values := map[sops.Leaf]any{}
	found := false
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		data := s.files[name]
		if !bytes.Contains(data, []byte(mac)) {
			continue
		}
		f := sops.YAML
		if sops.FormatOf(name) == sops.JSON {
			f = sops.JSON
		}
		file, err := s.open(ctx, f, data)
		switch {
		case errors.Is(err, sops.ErrPlain):
		case err != nil:
			return nil, fmt.Errorf("decrypt %q: %w", name, err)
		case file.mac == mac:
			found = true
			maps.Copy(values, file.leaves)
		}
	}
	if !found {
		return nil, fmt.Errorf("no file of the artifact has its MAC, so that nothing can be checked: keep it in a file as sops wrote it: %w", sops.ErrIntegrity)
	}
	s.proven[mac] = values
	return values, nil
}
