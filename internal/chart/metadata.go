// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/Masterminds/semver/v3"
	yamlnode "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// MetadataFile and ValuesFile are the names of a chart's metadata and of its default values.
const (
	MetadataFile = "Chart.yaml"
	ValuesFile   = "values.yaml"
)

// Metadata is what a source has to know of a Chart.yaml.
type Metadata struct {
	APIVersion string `json:"apiVersion"`
	Name       string `json:"name"`
	Version    string `json:"version"`
	Type       string `json:"type"`
	// Dependencies are the charts that it needs.
	Dependencies []Dependency `json:"dependencies"`
}

// Dependency is a chart that another one needs.
type Dependency struct {
	Name string `json:"name"`
	// Version is a range, and empty for a local chart.
	Version string `json:"version"`
	// Repository is its URL; "file://" and a path means a chart of the same source, and empty one that is in charts/ already.
	Repository string `json:"repository"`
	Alias      string `json:"alias"`
}

// maxDependencies bounds the dependencies of one chart.
const maxDependencies = 100

// ParseMetadata reads a Chart.yaml, and refuses what Helm would not install.
func ParseMetadata(text []byte) (Metadata, error) {
	var m Metadata
	if err := yaml.Unmarshal(withoutMark(text), &m); err != nil {
		return Metadata{}, fmt.Errorf("%s: %w", MetadataFile, yamlError(err))
	}
	return m, m.validate()
}

// withoutMark drops the byte order mark that some editors write.
func withoutMark(text []byte) []byte { return bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) }

func (m Metadata) validate() error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf(MetadataFile+": "+format, args...)
	}
	switch {
	case m.APIVersion != "v1" && m.APIVersion != "v2":
		return wrong("apiVersion %.50q is neither v1 nor v2", m.APIVersion)
	case !isName(m.Name):
		return wrong("name %.100q is not the name of a chart", m.Name)
	case m.Type != "" && m.Type != "application" && m.Type != "library":
		return wrong("type %.50q is neither application nor library", m.Type)
	case len(m.Dependencies) > maxDependencies:
		return wrong("more than %d dependencies", maxDependencies)
	}
	if _, err := semver.NewVersion(m.Version); err != nil || len(m.Version) > 128 {
		return wrong("version %.100q is no semantic version", m.Version)
	}
	for _, d := range m.Dependencies {
		if !isName(d.Name) || d.Alias != "" && !isName(d.Alias) {
			return wrong("dependency %.100q, alias %.100q: not the name of a chart", d.Name, d.Alias)
		}
	}
	return nil
}

// isName reports whether a name can stand as the folder of a chart and in the name of its file.
func isName(name string) bool {
	if name == "" || len(name) > 200 || strings.HasPrefix(name, ".") {
		return false
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r) {
			return false
		}
	}
	return true
}

// WithBuild returns a version with build metadata in place of its own.
func WithBuild(version, build string) (string, error) {
	v, err := semver.NewVersion(version)
	if err != nil {
		return "", fmt.Errorf("version %.100q: %w", version, err)
	}
	with, err := v.SetMetadata(build)
	if err != nil {
		return "", fmt.Errorf("version %.100q with build metadata %.100q: %w", version, build, err)
	}
	return with.String(), nil
}

// withVersion returns a Chart.yaml with another version, and otherwise as it is.
func withVersion(text []byte, version string) ([]byte, error) {
	root, err := parseYAML(withoutMark(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", MetadataFile, err)
	}
	node := value(root, "version")
	if root.Kind != yamlnode.MappingNode || node == nil {
		return nil, errors.New(MetadataFile + ": no version")
	}
	*node = yamlnode.Node{Kind: yamlnode.ScalarNode, Tag: "!!str", Value: version, LineComment: node.LineComment}
	var out bytes.Buffer
	encoder := yamlnode.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := errors.Join(encoder.Encode(root), encoder.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", MetadataFile, err)
	}
	return out.Bytes(), nil
}
