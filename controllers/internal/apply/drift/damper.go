// SPDX-License-Identifier: Apache-2.0

package drift

import "time"

const (
	// firstCalm is the delay of the second wake-up in a row.
	firstCalm = 100 * time.Millisecond
	// quiet is how many delays, each counted as at least a second, an object must hold still to start over.
	quiet = 10
)

// damper spaces out wake-ups for one object. Two parties that both force their will on an object would otherwise keep
// each other, and the API server, busy at the speed of the watch.
type damper struct {
	delay time.Duration
	due   time.Time
	told  string
}

// next returns after how long to wake the owner for a state, and whether to do so at all: once for each state, and not
// while a wake-up is on its way.
func (d *damper) next(now time.Time, longest time.Duration, state string) (time.Duration, bool) {
	if state == d.told {
		return 0, false
	}
	d.told = state
	switch {
	case d.due.IsZero() || now.Sub(d.due) > quiet*max(d.delay, time.Second):
		d.delay = 0
	case now.Before(d.due):
		return 0, false
	case d.delay == 0:
		d.delay = firstCalm
	default:
		d.delay = min(2*d.delay, longest)
	}
	d.due = now.Add(d.delay)
	return d.delay, true
}
