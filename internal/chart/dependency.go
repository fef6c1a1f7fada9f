// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"fmt"
	"path"
	"strings"

	"github.com/Masterminds/semver/v3"
	"sigs.k8s.io/yaml"
)

// Missing returns the dependencies that are not in the chart's charts/ folder, in the versions that its lock file pins where there is
// one. A lock that does not speak of every dependency is refused: it was made of another Chart.yaml.
func (c *Chart) Missing() ([]Dependency, error) {
	wanted := c.Metadata.Dependencies
	locked, err := c.lock()
	if err != nil {
		return nil, err
	}
	if locked != nil {
		if len(locked) != len(wanted) {
			return nil, fmt.Errorf("the lock file is out of date: it has %d dependencies, and %s has %d", len(locked), MetadataFile, len(wanted))
		}
		wanted = locked
	}
	have := c.bundled()
	var missing []Dependency
	for _, d := range wanted {
		if !have[d.Name] {
			missing = append(missing, d)
		}
	}
	return missing, nil
}

func (c *Chart) lock() ([]Dependency, error) {
	for _, name := range []string{"Chart.lock", "requirements.lock"} {
		text, ok := c.Files[name]
		if !ok {
			continue
		}
		var lock Metadata
		if err := yaml.Unmarshal(withoutMark(text), &lock); err != nil {
			return nil, fmt.Errorf("%s: %w", name, yamlError(err))
		}
		for _, d := range lock.Dependencies {
			if !isName(d.Name) {
				return nil, fmt.Errorf("%s: %.100q is not the name of a chart", name, d.Name)
			}
		}
		return append([]Dependency{}, lock.Dependencies...), nil
	}
	return nil, nil
}

// bundled returns the names of the charts in charts/, folders and archives.
func (c *Chart) bundled() map[string]bool {
	have := map[string]bool{}
	for name := range c.Files {
		rest, ok := strings.CutPrefix(name, "charts/")
		if !ok {
			continue
		}
		if folder, file, _ := strings.Cut(rest, "/"); file == MetadataFile {
			have[folder] = true
		} else if archive, ok := strings.CutSuffix(rest, ".tgz"); ok && !strings.Contains(archive, "/") {
			have[archiveName(archive)] = true
		}
	}
	return have
}

// archiveName takes the version off the name of an archive, "redis-cluster-1.2.3".
func archiveName(file string) string {
	for i := range file {
		if file[i] != '-' {
			continue
		}
		if _, err := semver.StrictNewVersion(strings.TrimPrefix(file[i+1:], "v")); err == nil {
			return file[:i]
		}
	}
	return file
}

// Local returns the path of a dependency in the same source, for a chart in a folder, and false for one from a repository.
func (d Dependency) Local(folder string) (string, bool) {
	below, ok := strings.CutPrefix(d.Repository, "file://")
	if !ok {
		return "", false
	}
	return path.Join(folder, below), true
}

// Fits returns an error where a chart is not in the range that the dependency asks for.
func (d Dependency) Fits(c *Chart) error {
	wanted, err := Range(d.Version)
	if err != nil {
		return err
	}
	v, err := semver.NewVersion(c.Metadata.Version)
	if err != nil {
		return err
	}
	if d.Version != "" && !wanted.Check(v) && d.Version != c.Metadata.Version {
		return fmt.Errorf("chart '%s' has version '%s', which is not '%.100s'", c.Metadata.Name, c.Metadata.Version, d.Version)
	}
	return nil
}

// Bundle puts a chart into charts/ as a folder.
func (c *Chart) Bundle(other *Chart) {
	for name, content := range other.Files {
		c.Files["charts/"+other.Metadata.Name+"/"+name] = content
	}
}

// BundleArchive puts a chart into charts/ as it was downloaded.
func (c *Chart) BundleArchive(name, version string, archive []byte) {
	c.Files["charts/"+name+"-"+version+".tgz"] = archive
}
