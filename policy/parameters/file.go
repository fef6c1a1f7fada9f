// SPDX-License-Identifier: Apache-2.0

package parameters

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MaxFileSize bounds a parameters file.
const MaxFileSize = 4 << 20

// Bounds within a file. They are far above what an installation needs and keep a mistake from becoming an outage.
const (
	maxNamespaces = 10_000
	maxList       = 1_000
	maxText       = 4_096
	maxKey        = 64 << 10
	maxTrust      = 1 << 20
	maxReason     = 200
)

// Load reads and checks a file.
func Load(path string) (Parameters, error) {
	f, err := os.Open(path)
	if err != nil {
		return Parameters{}, fmt.Errorf("open policy parameters: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFileSize+1))
	if err != nil {
		return Parameters{}, fmt.Errorf("read policy parameters: %w", err)
	}
	p, err := Parse(data)
	if err != nil {
		return Parameters{}, fmt.Errorf("policy parameters %q: %w", path, err)
	}
	return p, nil
}

// Parse reads and checks the content of a file.
func Parse(data []byte) (Parameters, error) {
	if len(data) > MaxFileSize {
		return Parameters{}, fmt.Errorf("larger than %d bytes", MaxFileSize)
	}
	var f file
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil {
		return Parameters{}, readable(err)
	}
	if err := d.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return Parameters{}, errors.New("more than one YAML document: put all namespaces into one")
	}
	return f.resolve()
}

// file is the file as written. Pointers tell "not said", which takes the default, from "nothing".
type file struct {
	APIVersion string           `yaml:"apiVersion"`
	Kind       string           `yaml:"kind"`
	Defaults   entry            `yaml:"defaults"`
	Namespaces map[string]entry `yaml:"namespaces"`
}

type entry struct {
	Sources          *[]source     `yaml:"sources"`
	Registries       *[]string     `yaml:"registries"`
	ServiceAccounts  *[]string     `yaml:"serviceAccounts"`
	Verification     *verification `yaml:"verification"`
	TargetNamespaces *[]string     `yaml:"targetNamespaces"`
	ClusterRoles     *[]string     `yaml:"clusterRoles"`
	Profile          *string       `yaml:"profile"`
	Transport        *transport    `yaml:"transport"`
	Artifacts        *artifacts    `yaml:"artifacts"`
}

type source struct {
	URL string `yaml:"url"`
}

type verification struct {
	Required    *bool       `yaml:"required"`
	Keys        *[]key      `yaml:"keys"`
	Identities  *[]identity `yaml:"identities"`
	TrustedRoot *string     `yaml:"trustedRoot"`
	Notation    *notation   `yaml:"notation"`
}

type notation struct {
	TrustPolicy  string        `yaml:"trustPolicy"`
	Certificates []certificate `yaml:"certificates"`
}

type certificate struct {
	Name        string `yaml:"name"`
	Certificate string `yaml:"certificate"`
}

type key struct {
	Name      string `yaml:"name"`
	PublicKey string `yaml:"publicKey"`
}

type identity struct {
	Issuer  string `yaml:"issuer"`
	Subject string `yaml:"subject"`
}

type transport struct {
	AllowPlainHTTP *[]string `yaml:"allowPlainHTTP"`
}

type artifacts struct {
	Unverified *string `yaml:"unverified"`
}

// What the decoder says, with Go's type names in it.
var (
	unknownField  = regexp.MustCompile(`field (\S+) not found in type \S+`)
	repeatedField = regexp.MustCompile(`field (\S+) already set in type \S+`)
	goType        = regexp.MustCompile(` into \*?parameters\.\w+`)
)

// readable puts the decoder's findings on one line and takes Go type names out of them.
func readable(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the file is empty")
	}
	text := err.Error()
	if typed, ok := errors.AsType[*yaml.TypeError](err); ok {
		text = strings.Join(typed.Errors, "; ")
	}
	text = unknownField.ReplaceAllString(text, `unknown field "$1"`)
	text = repeatedField.ReplaceAllString(text, `field "$1" is given twice`)
	text = goType.ReplaceAllString(text, "")
	return errors.New(strings.ReplaceAll(text, "\n", " "))
}
