// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// request is what the demo reads of an entry in the API server's audit log.
type request struct {
	Stage string `json:"stage"`
	Verb  string `json:"verb"`
	User  struct {
		Username string `json:"username"`
	} `json:"user"`
	Object struct {
		Resource    string `json:"resource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	Response struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

// writes reports whether the request has written the object itself.
func (r request) writes(o ref) bool {
	return r.Stage == "ResponseComplete" && slices.Contains([]string{"create", "patch", "update"}, r.Verb) && r.Response.Code < 300 &&
		r.Object.Resource == o.kind.Resource && r.Object.Namespace == o.namespace && r.Object.Name == o.name && r.Object.Subresource == ""
}

// logPause is the time between two looks at the log. The API server writes an entry after it has answered, and a file cannot
// be watched without help of the operating system.
const logPause = 50 * time.Millisecond

// writer returns who was the first to write an object, as the API server's audit log has it.
func (c *cluster) writer(ctx context.Context, o ref) (string, error) {
	ticker := time.NewTicker(logPause)
	defer ticker.Stop()
	for {
		user, err := c.findWriter(o)
		if user != "" || err != nil {
			return user, err
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("the audit log does not say who has written %s: %w", o, ctx.Err())
		case <-ticker.C:
		}
	}
}

func (c *cluster) findWriter(o ref) (string, error) {
	if c.bed.AuditLog == "" {
		return "", errors.New("the control plane has no audit log")
	}
	f, err := os.Open(c.bed.AuditLog)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for lines := bufio.NewReader(f); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			return "", fmt.Errorf("audit log: %w", err)
		}
		if r.writes(o) {
			return r.User.Username, nil
		}
	}
}
