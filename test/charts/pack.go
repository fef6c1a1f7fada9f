// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Files returns the files of a small sound chart.
func Files(name, version string) map[string]string {
	return map[string]string{
		"Chart.yaml":               fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %s\ndescription: a chart of the tests\n", name, version),
		"values.yaml":              "replicas: 1\nname: " + name + "\n",
		"templates/configmap.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  replicas: \"{{ .Values.replicas }}\"\n",
	}
}

// Pack packs files below a folder, as Helm does.
func Pack(folder string, files map[string]string) ([]byte, error) {
	var entries []tar.Header
	for _, name := range slices.Sorted(maps.Keys(files)) {
		entries = append(entries, tar.Header{Name: folder + "/" + name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(files[name]))})
	}
	return PackEntries(entries, func(h tar.Header) []byte { return []byte(files[h.Name[len(folder)+1:]]) })
}

// PackEntries packs any entries, bad ones too.
func PackEntries(entries []tar.Header, content func(tar.Header) []byte) ([]byte, error) {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	for _, h := range entries {
		if err := w.WriteHeader(&h); err != nil {
			return nil, err
		}
		if h.Size > 0 {
			if _, err := w.Write(content(h)); err != nil {
				return nil, err
			}
		}
	}
	if err := errors.Join(w.Close(), zip.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
