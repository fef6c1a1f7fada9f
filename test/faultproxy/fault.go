// SPDX-License-Identifier: Apache-2.0

package faultproxy

import (
	"net/http"
	"strings"
	"time"
)

// Kind is what happens to a request.
type Kind string

const (
	// None lets the request through.
	None Kind = ""
	// Slow lets it through after the delay. What a watch has to tell comes late by it.
	Slow Kind = "slow"
	// Conflict answers 409 as if somebody else had been faster. The API server never sees the request.
	Conflict Kind = "409"
	// Throttled answers 429 with a Retry-After of one second. The API server never sees the request.
	Throttled Kind = "429"
	// Broken answers 500. The API server never sees the request.
	Broken Kind = "500"
	// Missing answers 404 as a web server does that knows nothing of Kubernetes: what a gateway says whose backend is gone.
	Missing Kind = "404"
	// Expired answers 410, as the API server does to a watch or a list that would go on from a revision it no longer has.
	Expired Kind = "410"
	// Silent gives no answer until the delay is over and then drops the request. The API server never sees it.
	Silent Kind = "silent"
	// Late answers 504: the API server has done what was asked, or has not, and the client cannot know which.
	Late Kind = "504"
	// Lost passes the request on and drops the answer.
	Lost Kind = "lost"
	// Cut ends a watch after the delay as a broken connection does.
	Cut Kind = "cut"
	// Partial leaves the group of Hidden out of what the API server says that it serves. One that has just started does so for a
	// moment, with the groups of CustomResourceDefinitions.
	Partial Kind = "partial"
	// Ended ends a watch after the delay in good order, as the API server does when it has lasted long enough.
	Ended Kind = "ended"
)

// MaxDelay is the longest that a fault delays, or keeps silent.
const MaxDelay = 5 * time.Second

// Fault is what happens to one request.
type Fault struct {
	Kind Kind
	// Delay is that of Slow, Silent, Cut and Ended. It is cut to MaxDelay.
	Delay time.Duration
	// Hidden is that of Partial.
	Hidden string
}

// Plan says what happens to a request. It is called for several requests at a time.
type Plan func(req *http.Request) Fault

// Always does the same to every request.
func Always(f Fault) Plan { return func(*http.Request) Fault { return f } }

// Only limits a plan to the requests that match.
func Only(match func(req *http.Request) bool, plan Plan) Plan {
	return func(req *http.Request) Fault {
		if !match(req) {
			return Fault{}
		}
		return plan(req)
	}
}

// watches reports whether the request asks for a watch.
func watches(req *http.Request) bool {
	switch req.URL.Query().Get("watch") {
	case "", "0", "false":
		return false
	default:
		return true
	}
}

// writes reports whether the request could change an object that exists, so that it can meet a conflict.
func writes(req *http.Request) bool {
	switch req.Method {
	case http.MethodPut, http.MethodPatch, http.MethodDelete:
		return true
	default:
		return false
	}
}

// lists reports whether the request reads from a revision that may be forgotten.
func lists(req *http.Request) bool {
	q := req.URL.Query()
	return watches(req) || q.Get("continue") != "" || req.Method == http.MethodGet && strings.Trim(q.Get("resourceVersion"), "0") != ""
}
