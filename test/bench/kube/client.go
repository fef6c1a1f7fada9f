// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"k8s.io/client-go/rest"
)

// UserAgent is the harness's, by which its own requests are told from a candidate's.
const UserAgent = "sluice-bench/1"

// Content types of bodies.
const (
	JSON  = "application/json"
	Apply = "application/apply-patch+yaml"
	Merge = "application/merge-patch+json"
)

// Object is any object of the API.
type Object = map[string]any

// Client sends requests.
type Client struct {
	base string
	http *http.Client
}

// NewClient returns a client. The configuration's own limits do not apply.
func NewClient(config *rest.Config) (*Client, error) {
	config = rest.CopyConfig(config)
	config.UserAgent = UserAgent
	h, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return &Client{base: strings.TrimSuffix(config.Host, "/"), http: h}, nil
}

// StatusError is an answer other than success.
type StatusError struct {
	Code int
	Body string
}

// Error implements error.
func (e *StatusError) Error() string { return fmt.Sprintf("HTTP %d: %.500s", e.Code, e.Body) }

// Do sends a request and returns the body of the answer.
func (c *Client) Do(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	answer, err := c.send(ctx, method, path, contentType, body)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if answer.StatusCode >= 300 {
		return text, fmt.Errorf("%s %s: %w", method, path, &StatusError{answer.StatusCode, string(text)})
	}
	return text, nil
}

func (c *Client) send(ctx context.Context, method, path, contentType string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", JSON)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return c.http.Do(req)
}

// List returns the body of a list in the given representation.
func (c *Client) List(ctx context.Context, path, accept string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	answer, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("list %s: %w", path, &StatusError{Code: answer.StatusCode})
	}
	return io.ReadAll(answer.Body)
}

// Create creates an object.
func (c *Client) Create(ctx context.Context, o Object) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = c.Do(ctx, http.MethodPost, CollectionPath(o), JSON, body)
	return err
}

// Patch merges a change into the object at path.
func (c *Client) Patch(ctx context.Context, path string, change any) error {
	body, err := json.Marshal(change)
	if err != nil {
		return err
	}
	_, err = c.Do(ctx, http.MethodPatch, path, Merge, body)
	return err
}

// resources are the kinds that the benchmark deals with.
func resource(kind string) string {
	switch kind {
	case "GitRepository":
		return "gitrepositories"
	case "OCIRepository":
		return "ocirepositories"
	case "HelmRepository":
		return "helmrepositories"
	}
	return strings.ToLower(kind) + "s"
}

// CollectionPath is where an object is created.
func CollectionPath(o Object) string {
	version, _ := o["apiVersion"].(string)
	kind, _ := o["kind"].(string)
	metadata, _ := o["metadata"].(Object)
	path := "/apis/" + version
	if !strings.Contains(version, "/") {
		path = "/api/" + version
	}
	if namespace, _ := metadata["namespace"].(string); namespace != "" {
		path += "/namespaces/" + namespace
	}
	return path + "/" + resource(kind)
}

// AllPath is where the objects of an object's kind are, in all namespaces.
func AllPath(o Object) string {
	version, _ := o["apiVersion"].(string)
	kind, _ := o["kind"].(string)
	return "/apis/" + version + "/" + resource(kind)
}

// Path is where an object is.
func Path(o Object) string {
	metadata, _ := o["metadata"].(Object)
	name, _ := metadata["name"].(string)
	return CollectionPath(o) + "/" + name
}
