// SPDX-License-Identifier: Apache-2.0

package content

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
)

// file is one file of a tarball.
type file struct{ name, text string }

// tarball returns a gzipped tarball. Equal files give equal bytes.
func tarball(files ...file) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	t := tar.NewWriter(z)
	for _, f := range files {
		if err := t.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.text)), Typeflag: tar.TypeReg}); err != nil {
			return nil, err
		}
		if _, err := t.Write([]byte(f.text)); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Small is a manifest of a ConfigMap that tells its number.
func Small(i int) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: small-%[1]d\ndata:\n  number: \"%[1]d\"\n", i)
}

// SmallArtifact is a gzipped tarball of Small in configmap.yaml.
func SmallArtifact(i int) ([]byte, error) { return tarball(file{"configmap.yaml", Small(i)}) }
