// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"sluice.dev/sluice/hack/testbed/internal/binaries"
)

// Names of the parts that a plane can do without.
const (
	ControllerManager = "controller-manager"
	Scheduler         = "scheduler"
	KWOK              = "kwok"
)

// Config says what to bring up.
type Config struct {
	// Binaries are the programs to run.
	Binaries binaries.Set
	// Dir keeps logs, the audit log and the kubeconfig, and survives the plane. Empty means a temporary folder that
	// does not.
	Dir string
	// Kubeconfig is where the administrator's kubeconfig is written; empty means within the folder.
	Kubeconfig string
	// Nodes is how many nodes KWOK plays.
	Nodes int
	// ReadyAfter is how long a pod takes to be Ready once it has its node. The zero value is at once.
	ReadyAfter time.Duration
	// Without lists parts to leave out.
	Without []string
	// APIServerFlags are added to those of the API server, for example --feature-gates=….
	APIServerFlags []string
	// Log hears about attempts that failed and are repeated.
	Log io.Writer
}

// Validate refuses what could not come up.
func (c Config) Validate() error {
	for _, part := range c.Without {
		if !slices.Contains([]string{ControllerManager, Scheduler, KWOK}, part) {
			return fmt.Errorf("there is no part %q to leave out: know %s, %s and %s", part, ControllerManager, Scheduler, KWOK)
		}
	}
	if c.Nodes < 0 || c.Nodes > 5000 {
		return fmt.Errorf("cannot play %d nodes: from 0 to 5000", c.Nodes)
	}
	switch {
	case c.ReadyAfter < 0 || c.ReadyAfter > time.Hour || c.ReadyAfter%time.Millisecond != 0:
		return fmt.Errorf("pods cannot be Ready after %s: from 0 to 1h, in whole milliseconds", c.ReadyAfter)
	case c.ReadyAfter > 0 && !c.has(KWOK):
		return fmt.Errorf("there are no pods that could be Ready after %s without %s", c.ReadyAfter, KWOK)
	}
	if c.Log == nil {
		return errors.New("a log must be set")
	}
	return nil
}

func (c Config) has(part string) bool { return !slices.Contains(c.Without, part) }

// Info tells how to reach a plane. Its JSON form is what `testbed up` prints.
type Info struct {
	// Server is the URL of the API server.
	Server string `json:"server"`
	// Kubeconfig is the administrator's, a member of system:masters.
	Kubeconfig string `json:"kubeconfig"`
	// AuditLog has one JSON event per line.
	AuditLog string `json:"auditLog"`
	// Dir holds the logs of the servers.
	Dir string `json:"dir"`
	// Binaries is the folder of the programs; kubectl is one of them.
	Binaries string `json:"binaries"`
	// PID is the process that holds the plane.
	PID int `json:"pid"`
}
