// SPDX-License-Identifier: Apache-2.0

package mutual

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"sluice.dev/sluice/internal/transport"
)

// The files of a folder, by the names that a Secret of type kubernetes.io/tls has.
const (
	certFile = "tls.crt"
	keyFile  = "tls.key"
	caFile   = "ca.crt"
)

// maxFile bounds a file: a bundle of some hundred authorities.
const maxFile = 1 << 20

// material is what a folder holds.
type material struct{ cert, key, ca []byte }

// read reads a folder whole.
func read(dir string) (m material, err error) {
	for name, into := range map[string]*[]byte{certFile: &m.cert, keyFile: &m.key, caFile: &m.ca} {
		if *into, err = readFile(filepath.Join(dir, name)); err != nil {
			return material{}, err
		}
	}
	return m, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := transport.ReadAll(f, maxFile)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", path, err)
	}
	if len(data) == 0 {
		return nil, fmt.Errorf("%q is empty", path)
	}
	return data, nil
}

func (m material) equal(n material) bool {
	return bytes.Equal(m.cert, n.cert) && bytes.Equal(m.key, n.key) && bytes.Equal(m.ca, n.ca)
}
