// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Class says what a request is spent on.
type Class string

const (
	// Work is everything else.
	Work Class = "work"
	// Lease is leader election.
	Lease Class = "lease"
	// Token is the minting of tokens, and asking about one's own rights before.
	Token Class = "token"
	// Watch is the opening or renewal of a watch.
	Watch Class = "watch"
)

// Classes returns all classes, work first.
func Classes() []Class { return []Class{Work, Lease, Token, Watch} }

// Event is what is read of one line.
type Event struct {
	Stage      string `json:"stage"`
	RequestURI string `json:"requestURI"`
	Verb       string `json:"verb"`
	UserAgent  string `json:"userAgent"`
	User       struct {
		Username string `json:"username"`
	} `json:"user"`
	ImpersonatedUser struct {
		Username string `json:"username"`
	} `json:"impersonatedUser"`
	ObjectRef struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		APIGroup    string `json:"apiGroup"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	StageTimestamp time.Time `json:"stageTimestamp"`
}

// Parse reads one line.
func Parse(line []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(line, &e); err != nil {
		return e, fmt.Errorf("audit line: %w", err)
	}
	if e.Verb == "" || e.Stage == "" {
		return e, fmt.Errorf("audit line without verb or stage: %.200s", line)
	}
	return e, nil
}

// Counts reports whether this line stands for a request. One that lasts has a line for its start and one for its end,
// and counts when it starts; a refused watch never starts.
func (e Event) Counts() bool {
	if e.Verb != "watch" {
		return e.Stage != "ResponseStarted"
	}
	return e.Stage == "ResponseStarted" || e.ResponseStatus.Code >= 400
}

// Class returns what the request is spent on.
func (e Event) Class() Class {
	ref := e.ObjectRef
	switch {
	case e.Verb == "watch":
		return Watch
	case ref.Resource == "leases" && ref.APIGroup == "coordination.k8s.io":
		return Lease
	case ref.Resource == "serviceaccounts" && ref.Subresource == "token", ref.APIGroup == "authorization.k8s.io":
		return Token
	}
	return Work
}

// Request describes the request in as few words as tell it from others: "patch deployments dry".
func (e Event) Request() string {
	resource := e.ObjectRef.Resource
	if resource == "" {
		path, _, _ := strings.Cut(e.RequestURI, "?")
		resource = "nonresource"
		if strings.HasPrefix(path, "/api") || strings.HasPrefix(path, "/openapi") {
			resource = "discovery"
		}
	}
	if e.ObjectRef.Subresource != "" {
		resource += "/" + e.ObjectRef.Subresource
	}
	text := e.Verb + " " + resource
	if strings.Contains(e.RequestURI, "dryRun=All") {
		text += " dry"
	}
	if e.ResponseStatus.Code >= 400 {
		text += fmt.Sprintf(" %d", e.ResponseStatus.Code)
	}
	return text
}

// Username is as whom the request was served.
func (e Event) Username() string {
	if e.ImpersonatedUser.Username != "" {
		return e.ImpersonatedUser.Username
	}
	return e.User.Username
}

// Writes reports whether the request was to change something.
func (e Event) Writes() bool {
	return slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, e.Verb)
}
