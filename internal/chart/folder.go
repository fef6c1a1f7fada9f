// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"sigs.k8s.io/yaml"
)

// ErrNoChart is wrapped when there is no chart at a path.
var ErrNoChart = errors.New("no chart")

// Open returns the chart at a path of a source's files: a folder, without what its .helmignore leaves out, or an archive. Packed
// returns the archive as it is, and nil for a folder.
func Open(ctx context.Context, source fs.FS, name string, l Limits) (c *Chart, packed []byte, err error) {
	l = l.withDefaults()
	clean := path.Clean(strings.TrimSuffix(name, "/"))
	if clean != "." && !isPath(clean) {
		return nil, nil, fmt.Errorf("chart path %.200q is no path below the source: %w", name, ErrNoChart)
	}
	info, err := fs.Stat(source, clean)
	if err != nil {
		return nil, nil, fmt.Errorf("there is nothing at chart path %.200q: %w", name, ErrNoChart)
	}
	if info.IsDir() {
		c, err = readFolder(ctx, source, clean, l)
		return c, nil, err
	}
	if info.Size() > l.Archive {
		return nil, nil, fmt.Errorf("chart %.200q is larger than %d bytes (--helm-chart-max-size): %w", name, l.Archive, ErrNoChart)
	}
	if packed, err = fs.ReadFile(source, clean); err != nil {
		return nil, nil, err
	}
	if c, err = Read(ctx, packed, l); err != nil {
		return nil, nil, fmt.Errorf("chart %.200q: %w: %w", name, err, ErrNoChart)
	}
	return c, packed, nil
}

// readFolder reads the files of a chart's folder.
func readFolder(ctx context.Context, source fs.FS, folder string, l Limits) (*Chart, error) {
	c := &Chart{Files: map[string][]byte{}}
	text, err := fs.ReadFile(source, path.Join(folder, MetadataFile))
	if err != nil {
		return nil, fmt.Errorf("folder %.200q has no %s: %w", folder, MetadataFile, ErrNoChart)
	}
	if c.Metadata, err = ParseMetadata(text); err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrNoChart)
	}
	ignored, err := ignoreRules(source, folder)
	if err != nil {
		return nil, err
	}
	var total int64
	err = fs.WalkDir(source, folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		below := strings.TrimPrefix(strings.TrimPrefix(name, folder), "/")
		if folder == "." {
			below = name
		}
		switch {
		case below == "" || below == ".":
			return nil
		case ignored.match(below, d.IsDir()) && d.IsDir():
			return fs.SkipDir
		case ignored.match(below, d.IsDir()) || !d.Type().IsRegular():
			return nil
		}
		content, size, err := readBounded(source, name, l)
		if total += size; err == nil && (total > maxRatio*l.Archive || len(c.Files) >= maxFiles) {
			err = fmt.Errorf("chart %.200q has more than %d bytes or %d files", folder, maxRatio*l.Archive, maxFiles)
		}
		c.Files[below] = content
		return err
	})
	if err != nil {
		return nil, err
	}
	c.Files[MetadataFile] = text
	if c.Metadata.APIVersion == "v1" { // in which the dependencies stand in a file of their own
		return c, c.readRequirements()
	}
	return c, nil
}

func (c *Chart) readRequirements() error {
	text, ok := c.Files["requirements.yaml"]
	if !ok {
		return nil
	}
	if err := yaml.Unmarshal(withoutMark(text), &c.Metadata); err != nil {
		return fmt.Errorf("requirements.yaml: %w", yamlError(err))
	}
	return c.Metadata.validate()
}

func readBounded(source fs.FS, name string, l Limits) (content []byte, size int64, err error) {
	info, err := fs.Stat(source, name)
	if err != nil {
		return nil, 0, err
	}
	if info.Size() > l.File {
		return nil, 0, fmt.Errorf("file %.200q is larger than %d bytes (--helm-chart-file-max-size)", name, l.File)
	}
	content, err = fs.ReadFile(source, name)
	return content, info.Size(), err
}

// rules are the patterns of a .helmignore.
type rules []rule

// rule is one line: it matches the whole path where it has a slash, else the last part of it.
type rule struct {
	pattern        string
	whole, folders bool
	negated        bool
}

// maxRules bounds a .helmignore.
const maxRules = 1000

// ignoreRules reads the .helmignore of a folder, if it has one. What Helm always leaves out comes first.
func ignoreRules(source fs.FS, folder string) (rules, error) {
	out := rules{{pattern: "templates/.?*", whole: true}}
	text, err := fs.ReadFile(source, path.Join(folder, ".helmignore"))
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(withoutMark(text))) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		r := rule{negated: line[0] == '!'}
		line = strings.TrimPrefix(line, "!")
		r.folders = strings.HasSuffix(line, "/")
		line = strings.TrimSuffix(line, "/")
		r.whole = strings.Contains(line, "/")
		r.pattern = strings.TrimPrefix(line, "/")
		if _, err := path.Match(r.pattern, "a"); err != nil || strings.Contains(line, "**") {
			return nil, fmt.Errorf(".helmignore: %.100q is no pattern", line)
		}
		if out = append(out, r); len(out) > maxRules {
			return nil, fmt.Errorf(".helmignore: more than %d lines", maxRules)
		}
	}
	return out, nil
}

// match reports whether a path is left out. As in Helm, a negated rule leaves out what it does not match.
func (r rules) match(name string, folder bool) bool {
	for _, one := range r {
		if one.folders && !folder {
			continue
		}
		subject := path.Base(name)
		if one.whole {
			subject = name
		}
		if hit, _ := path.Match(one.pattern, subject); hit != one.negated {
			return true
		}
	}
	return false
}
