// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"math/rand/v2"
	"time"
)

// auditDue reports whether it is time to compare everything with the cluster: the net under the watches and under what is
// remembered. What was never audited is due.
func (c *Controller) auditDue(last remembered) bool {
	return c.config.AuditPeriod > 0 && !c.config.Now().Before(last.auditAt)
}

// nextAudit returns when a run's objects are audited next. A run that knew nothing of them, and one that was an audit, have
// compared them all. The time is spread, since what was installed together would be audited together for ever.
func (c *Controller) nextAudit(r *run) time.Time {
	if !r.audit && !r.last.auditAt.IsZero() {
		return r.last.auditAt
	}
	spread := 0.75 + rand.Float64()/2 //nolint:gosec // spreads load, guards nothing
	return c.config.Now().Add(time.Duration(spread * float64(c.config.AuditPeriod)))
}
