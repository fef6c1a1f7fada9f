// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"sluice.dev/sluice/test/bench/kube"
)

// Roles that a process may play.
const (
	Source    = "source"
	Kustomize = "kustomize"
)

// Setup is a candidate: a file of JSON.
type Setup struct {
	// Name is the candidate's, in results.
	Name string `json:"name"`
	// CRDs are folders of definitions.
	CRDs []string `json:"crds"`
	// StoragePort is where artifacts are served, so that their bytes can be told from others.
	StoragePort string `json:"storagePort"`
	// Controllers are its processes.
	Controllers []Controller `json:"controllers"`
}

// Controller is a black box. In all its texts ${ROOT} is the repository's folder, ${DIR} a folder of the run,
// ${KUBECONFIG} and ${PARAMETERS} files, and ${P<any name>} a free port that keeps its number through the run.
type Controller struct {
	Name string   `json:"name"`
	Bin  string   `json:"bin"`
	Args []string `json:"args"`
	Env  []string `json:"env"`
	// Roles says in which scenarios it is started.
	Roles []string `json:"roles"`
	// Ready is a URL that answers 200 once the process works.
	Ready string `json:"ready"`
	// UserAgents are the beginnings of the User-Agents it sends; the name and a slash when empty.
	UserAgents []string `json:"userAgents"`
}

// LoadSetup reads a candidate.
func LoadSetup(path string) (Setup, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Setup{}, fmt.Errorf("candidate: %w", err)
	}
	var s Setup
	if err := json.Unmarshal(text, &s); err != nil {
		return Setup{}, fmt.Errorf("candidate %q: %w", path, err)
	}
	return s, s.validate()
}

func (s Setup) validate() error {
	if s.Name == "" || len(s.CRDs) == 0 || len(s.Controllers) == 0 {
		return errors.New("a candidate needs name, crds and controllers")
	}
	senders := map[string]string{kube.UserAgent: harness}
	for _, c := range s.Controllers {
		if c.Name == "" || c.Bin == "" || len(c.Roles) == 0 {
			return fmt.Errorf("controller %q needs name, bin and roles", c.Name)
		}
		for _, agent := range c.userAgents() {
			if other, taken := senders[agent]; taken || agent == "" {
				return fmt.Errorf("controller %q: User-Agents that begin with %q are %q's, or anybody's", c.Name, agent, other)
			}
			senders[agent] = c.Name
		}
	}
	return nil
}

func (c Controller) userAgents() []string {
	if len(c.UserAgents) == 0 {
		return []string{c.Name + "/"}
	}
	return c.UserAgents
}

func (c Controller) plays(roles []string) bool {
	return slices.ContainsFunc(roles, func(r string) bool { return slices.Contains(c.Roles, r) })
}
