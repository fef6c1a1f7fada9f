// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"fmt"
	"os"
	"regexp"
	"strconv"

	"sluice.dev/sluice/test/ports"
)

// place is where things of a run are: files and ports.
type place struct {
	root, dir  string
	parameters string
	ports      map[string]int
}

func newPlace(root, dir string) *place {
	return &place{root: root, dir: dir, parameters: dir + "/policy-parameters.yaml", ports: map[string]int{}}
}

// port returns the port of a name: one that nobody listened on when it was first asked for.
func (p *place) port(name string) (int, error) {
	if n, ok := p.ports[name]; ok {
		return n, nil
	}
	n, err := ports.Free()
	if err != nil {
		return 0, err
	}
	p.ports[name] = n
	return n, nil
}

// expand replaces the variables in a text of a candidate. Others are errors: a typing mistake would otherwise end in a
// flag.
func (p *place) expand(text, kubeconfig string) (string, error) {
	var failed error
	out := os.Expand(text, func(name string) string {
		switch name {
		case "ROOT":
			return p.root
		case "DIR":
			return p.dir
		case "KUBECONFIG":
			return kubeconfig
		case "PARAMETERS":
			return p.parameters
		}
		if !regexp.MustCompile(`^P[0-9A-Z_]+$`).MatchString(name) {
			failed = fmt.Errorf("unknown variable ${%s} in %q", name, text)
			return ""
		}
		n, err := p.port(name)
		if err != nil {
			failed = err
		}
		return strconv.Itoa(n)
	})
	return out, failed
}

func (p *place) expandAll(texts []string, kubeconfig string) ([]string, error) {
	out := make([]string, len(texts))
	for i, text := range texts {
		var err error
		if out[i], err = p.expand(text, kubeconfig); err != nil {
			return nil, err
		}
	}
	return out, nil
}
