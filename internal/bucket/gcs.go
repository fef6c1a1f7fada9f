// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fault"
)

// TokenConfig says where a store is that takes bearer tokens.
type TokenConfig struct {
	// Endpoint is host and port of the server, with or without its scheme. Required.
	Endpoint string
	// Bucket is its name. Required.
	Bucket string
	// Token returns what requests carry.
	Token func(ctx context.Context) (cloud.Token, error)
}

// bearer adds a token.
func (c TokenConfig) bearer(ctx context.Context, req *http.Request) error {
	token, err := c.Token(ctx)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+string(token.Value))
	return nil
}

// gcs is the JSON API of Google Cloud Storage, read only.
type gcs struct {
	config TokenConfig
	base   *url.URL // of the objects
}

// NewGCS returns the dialect of Google Cloud Storage. Its tokens go to Google alone.
func NewGCS(c TokenConfig) (Service, error) {
	base, err := parseEndpoint(c.Endpoint, false)
	if err != nil {
		return nil, err
	}
	if host := base.Host; host != "storage.googleapis.com" && !strings.HasSuffix(host, ".storage.googleapis.com") && !strings.HasSuffix(host, ".rep.googleapis.com") {
		return nil, fault.New(fault.Invalid, ReasonInvalidConfiguration, "spec.endpoint %q is none of Google Cloud Storage: want %q", host, "storage.googleapis.com")
	}
	if err := checkBucketName(c.Bucket); err != nil {
		return nil, err
	}
	return &gcs{config: c, base: base.JoinPath("storage", "v1", "b", c.Bucket, "o")}, nil
}

func (g *gcs) list(ctx context.Context, prefix, mark string) (*http.Request, error) {
	query := url.Values{"maxResults": {"1000"}, "fields": {"items(name,etag,generation,size),nextPageToken"}}
	if prefix != "" {
		query.Set("prefix", prefix)
	}
	if mark != "" {
		query.Set("pageToken", mark)
	}
	u := *g.base
	u.RawQuery = query.Encode()
	return http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
}

func (*gcs) parse(body []byte) (page, error) {
	var answer struct {
		Items []struct {
			Name       string `json:"name"`
			ETag       string `json:"etag"`
			Generation string `json:"generation"`
			Size       string `json:"size"`
		} `json:"items"`
		Next string `json:"nextPageToken"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return page{}, fmt.Errorf("the listing cannot be read: %w", errAnswer)
	}
	p := page{mark: answer.Next, objects: make([]Object, 0, len(answer.Items))}
	for _, item := range answer.Items {
		size, err := strconv.ParseInt(item.Size, 10, 64)
		if err != nil {
			return page{}, fmt.Errorf("an object has the size %.32q: %w", item.Size, errAnswer)
		}
		p.objects = append(p.objects, Object{Key: item.Name, ETag: item.ETag, Size: size, version: item.Generation})
	}
	return p, nil
}

// object asks for the content in any case: of what the API says of an object alone, nothing stands in a header.
func (g *gcs) object(ctx context.Context, _ string, o Object) (*http.Request, error) {
	u := *g.base
	u.Path, u.RawPath = u.Path+"/"+o.Key, escape(u.Path)+"/"+strings.ReplaceAll(escape(o.Key), "/", "%2F")
	query := url.Values{"alt": {"media"}}
	if o.version != "" {
		query.Set("ifGenerationMatch", o.version)
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("the key cannot stand in an address: %w", errAnswer)
	}
	return req, nil
}

func (*gcs) described(key string, resp *http.Response) Object {
	generation := resp.Header.Get("X-Goog-Generation")
	return Object{Key: key, ETag: generation, Size: resp.ContentLength, version: generation}
}

func (g *gcs) authorize(ctx context.Context, req *http.Request) error {
	return g.config.bearer(ctx, req)
}

func (*gcs) learn(*Error) bool { return false }
