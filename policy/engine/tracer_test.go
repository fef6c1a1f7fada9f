// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"sync/atomic"

	"github.com/open-policy-agent/opa/v1/topdown"
)

// counter counts steps of evaluations.
type counter struct{ n atomic.Int64 }

func (*counter) Enabled() bool { return true }

func (*counter) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

func (c *counter) TraceEvent(topdown.Event) { c.n.Add(1) }
