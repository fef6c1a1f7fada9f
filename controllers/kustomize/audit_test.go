// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"testing"
	"time"
)

func TestAuditDue(t *testing.T) {
	now := time.Unix(1000, 0)
	tests := map[string]struct {
		period  time.Duration
		auditAt time.Time
		want    bool
	}{
		"not yet":       {period: time.Hour, auditAt: now.Add(time.Second)},
		"now":           {period: time.Hour, auditAt: now, want: true},
		"never audited": {period: time.Hour, want: true},
		"turned off":    {auditAt: now},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c := &Controller{config: Config{AuditPeriod: tc.period, Now: func() time.Time { return now }}}
			if got := c.auditDue(remembered{auditAt: tc.auditAt}); got != tc.want {
				t.Errorf("due: %t, want %t", got, tc.want)
			}
		})
	}
}

func TestNextAudit(t *testing.T) {
	now := time.Unix(1000, 0)
	c := &Controller{config: Config{AuditPeriod: time.Hour, Now: func() time.Time { return now }}}
	last := remembered{auditAt: now.Add(time.Minute)}
	if got := c.nextAudit(&run{last: last}); got != last.auditAt {
		t.Errorf("a run that compared nothing moves the audit to %s", got)
	}
	spread := map[time.Time]bool{}
	for _, r := range []*run{{}, {last: last, audit: true}, {}, {last: last, audit: true}} {
		got := c.nextAudit(r)
		if after := got.Sub(now); after < 45*time.Minute || after > 75*time.Minute {
			t.Errorf("the next audit is after %s", after)
		}
		spread[got] = true
	}
	if len(spread) == 1 {
		t.Error("audits are not spread")
	}
}
