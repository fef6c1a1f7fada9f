// SPDX-License-Identifier: Apache-2.0

package faultproxy

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Weather says how bad a storm is, in shares of the requests, each from 0 to 1.
type Weather struct {
	// Refused is the share of requests that come to nothing for the client: 409, 429, 500, 504, silence, lost answers.
	Refused float64
	// Delayed is the share of requests that are slow.
	Delayed float64
	// Watches is the share of watches that are refused, late, or end before their time.
	Watches float64
}

// mostInARow is how often a storm refuses requests of one method and path before it lets one through: bad weather, not a
// power cut.
const mostInARow = 4

// Storm draws what happens to each request from a seed. A seed fixes the order of what happens; which request comes next is
// the clients'.
func Storm(seed uint64, w Weather) Plan {
	s := &storm{weather: w, random: rand.New(rand.NewPCG(seed, 1)), refused: map[string]int{}}
	return s.fault
}

type storm struct {
	weather Weather

	mu      sync.Mutex
	random  *rand.Rand
	refused map[string]int // in a row, by method and path
}

func (s *storm) fault(req *http.Request) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := req.Method + " " + req.URL.Path
	f := s.draw(req)
	switch f.Kind {
	case None, Slow, Cut, Ended:
		delete(s.refused, key)
	default:
		if s.refused[key]++; s.refused[key] > mostInARow {
			delete(s.refused, key)
			return Fault{}
		}
	}
	return f
}

func (s *storm) draw(req *http.Request) Fault {
	luck := s.random.Float64()
	if watches(req) {
		if luck >= s.weather.Watches {
			return Fault{}
		}
		return Fault{
			Kind:  pick(s.random, Cut, Cut, Ended, Ended, Slow, Expired, Throttled, Broken),
			Delay: s.between(100*time.Millisecond, 3*time.Second),
		}
	}
	switch {
	case luck < s.weather.Refused:
		kinds := []Kind{Throttled, Broken, Broken, Silent, Late, Lost}
		if writes(req) {
			kinds = append(kinds, Conflict, Conflict)
		}
		if lists(req) {
			kinds = append(kinds, Expired)
		}
		return Fault{Kind: pick(s.random, kinds...), Delay: s.between(50*time.Millisecond, time.Second)}
	case luck < s.weather.Refused+s.weather.Delayed:
		return Fault{Kind: Slow, Delay: s.between(5*time.Millisecond, 500*time.Millisecond)}
	default:
		return Fault{}
	}
}

func (s *storm) between(least, most time.Duration) time.Duration {
	return least + time.Duration(s.random.Int64N(int64(most-least)))
}

func pick(random *rand.Rand, kinds ...Kind) Kind { return kinds[random.IntN(len(kinds))] }
