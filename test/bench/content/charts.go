// SPDX-License-Identifier: Apache-2.0

package content

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Charts of a repository: so many versions of each chart are in the index, and the files of the last one exist.
const chartVersions = 20

// ChartName is the name of a chart.
func ChartName(i int) string { return fmt.Sprintf("chart-%03d", i) }

// ChartRepository writes an index of n charts and the packages of their last versions to a folder.
func ChartRepository(dir string, n int) error {
	var index strings.Builder
	index.WriteString("apiVersion: v1\ngenerated: \"2026-01-01T00:00:00Z\"\nentries:\n")
	for i := range n {
		fmt.Fprintf(&index, "  %s:\n", ChartName(i))
		for v := chartVersions; v > 0; v-- {
			version := fmt.Sprintf("1.%d.0", v)
			packaged, err := chart(ChartName(i), version)
			if err != nil {
				return err
			}
			if v == chartVersions {
				if err := os.WriteFile(filepath.Join(dir, ChartName(i)+"-"+version+".tgz"), packaged, 0o644); err != nil {
					return fmt.Errorf("write chart: %w", err)
				}
			}
			sum := sha256.Sum256(packaged)
			fmt.Fprintf(&index, "  - {apiVersion: v2, name: %[1]s, version: %[2]s, appVersion: %[2]s, type: application, created: \"2026-01-01T00:00:00Z\", "+
				"description: A chart to measure with, home: https://example.com/%[1]s, digest: %[3]s, urls: [%[1]s-%[2]s.tgz]}\n",
				ChartName(i), version, hex.EncodeToString(sum[:]))
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "index.yaml"), []byte(index.String()), 0o644); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	return nil
}

// chart returns a package with a Deployment of a few values.
func chart(name, version string) ([]byte, error) {
	return tarball(
		file{name + "/Chart.yaml", fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %s\nappVersion: %q\ntype: application\ndescription: A chart to measure with\n", name, version, version)},
		file{name + "/values.yaml", "replicas: 1\nimage: " + Registry + "/app:1.0.0\n"},
		file{name + "/templates/deployment.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ .Release.Name }}\nspec:\n  replicas: {{ .Values.replicas }}\n" +
			"  selector: {matchLabels: {app: {{ .Release.Name }}}}\n  template:\n    metadata: {labels: {app: {{ .Release.Name }}}}\n    spec:\n      containers:\n" +
			"      - name: app\n        image: {{ .Values.image }}\n"},
	)
}
