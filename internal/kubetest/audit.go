// SPDX-License-Identifier: Apache-2.0

package kubetest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"
)

// longestEvent bounds one line of the audit log.
const longestEvent = 1 << 20

// Request is what the audit log says of one request: who asked for what, and the answer.
type Request struct {
	User        string
	Verb        string
	Group       string
	Resource    string
	Subresource string
	Namespace   string
	Name        string
	// URI is the only description of a request that is not about a resource.
	URI  string
	Code int
	// Received is when the API server got the request.
	Received time.Time
}

// event is the part of an audit.k8s.io/v1 Event that a Request is made from.
type event struct {
	Verb       string `json:"verb"`
	RequestURI string `json:"requestURI"`
	User       struct {
		Username string `json:"username"`
	} `json:"user"`
	ImpersonatedUser *struct {
		Username string `json:"username"`
	} `json:"impersonatedUser"`
	ObjectRef struct {
		APIGroup    string `json:"apiGroup"`
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	RequestReceivedTimestamp time.Time `json:"requestReceivedTimestamp"`
	ResponseStatus           struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

// Requests are those the user made so far, in the order in which they were answered. A ServiceAccount is the user
// system:serviceaccount:<namespace>:<name>; who impersonates counts as whom it impersonates. A request appears once
// it is answered, which may be a moment after its client has the answer; a watch also when it begins.
func (p *Plane) Requests(t testing.TB, user string) []Request {
	t.Helper()
	f, err := os.Open(p.AuditLog())
	if err != nil {
		t.Fatalf("read the audit log: %v", err)
	}
	defer f.Close()
	var requests []Request
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, longestEvent)
	for lines.Scan() {
		if !bytes.Contains(lines.Bytes(), []byte(user)) {
			continue // decoding all of a long log takes seconds
		}
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			continue // the last line, which is being written, or one at which the API server was killed
		}
		if request := e.request(); request.User == user {
			requests = append(requests, request)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatalf("read the audit log: %v", err)
	}
	return requests
}

func (e event) request() Request {
	user := e.User.Username
	if e.ImpersonatedUser != nil {
		user = e.ImpersonatedUser.Username
	}
	return Request{
		User: user, Verb: e.Verb, Group: e.ObjectRef.APIGroup, Resource: e.ObjectRef.Resource,
		Subresource: e.ObjectRef.Subresource, Namespace: e.ObjectRef.Namespace, Name: e.ObjectRef.Name,
		URI: e.RequestURI, Code: e.ResponseStatus.Code, Received: e.RequestReceivedTimestamp,
	}
}
