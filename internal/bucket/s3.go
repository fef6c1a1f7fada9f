// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"cmp"
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
)

// S3Config says where a store is that speaks the API of S3, and who asks.
type S3Config struct {
	// Endpoint is host and port of the server, with or without a scheme that is the right one. Required.
	Endpoint string
	// Insecure is plain HTTP.
	Insecure bool
	// Bucket is its name. Required.
	Bucket string
	// Region is what requests are signed for. Empty is found out.
	Region string
	// Credential returns what requests are signed with. Nil asks as nobody.
	Credential func(ctx context.Context) (cloud.AWSCredential, error)
	// Digests computes the signatures. Required.
	Digests fips.Digests
	// Now is the clock. Required.
	Now func() time.Time
}

// s3 is the API of S3, read only.
type s3 struct {
	config S3Config
	base   *url.URL // of the bucket
	region atomic.Pointer[string]
	asked  bool // the region was given
}

// NewS3 returns the dialect of S3.
func NewS3(c S3Config) (Service, error) {
	base, err := parseEndpoint(c.Endpoint, c.Insecure)
	if err != nil {
		return nil, err
	}
	if err := checkBucketName(c.Bucket); err != nil {
		return nil, err
	}
	if ownHost(base.Hostname(), c.Bucket) {
		base.Host = c.Bucket + "." + base.Host
	} else {
		base = base.JoinPath(c.Bucket)
	}
	s := &s3{config: c, base: base, asked: c.Region != ""}
	region := cmp.Or(c.Region, hostRegion(base.Hostname()), defaultRegion)
	if !regionName.MatchString(region) {
		return nil, fault.New(fault.Invalid, ReasonURLInvalid, "spec.region %q is not the name of a region", region)
	}
	s.region.Store(&region)
	return s, nil
}

// defaultRegion is what stores without regions go by.
const defaultRegion = "us-east-1"

// parseEndpoint reads spec.endpoint. Some write it with a scheme; one that contradicts spec.insecure is refused.
func parseEndpoint(endpoint string, insecure bool) (*url.URL, error) {
	scheme, text := "https", endpoint
	if insecure {
		scheme = "http"
	}
	if !strings.Contains(text, "://") {
		text = scheme + "://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "":
		return nil, invalidEndpoint("want <host> or <host>:<port>")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return nil, invalidEndpoint("it must be a host without user, path or query")
	case u.Scheme != scheme:
		return nil, invalidEndpoint(fmt.Sprintf("its scheme must be %s, or left out: see spec.insecure", scheme))
	}
	return &url.URL{Scheme: scheme, Host: u.Host}, nil
}

func invalidEndpoint(why string) error {
	return fault.New(fault.Invalid, ReasonURLInvalid, "spec.endpoint is no address of an object store: %s", why)
}

// maxBucketName stands apart from the expression, where each character that a bound allows costs memory.
const maxBucketName = 223

var bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._$-]*[A-Za-z0-9]$|^\$(root|web)$`)

// checkBucketName refuses names that could lead a request elsewhere. The servers know their own rules.
func checkBucketName(name string) error {
	if len(name) > maxBucketName || !bucketName.MatchString(name) || strings.Contains(name, "..") {
		return fault.New(fault.Invalid, ReasonURLInvalid, "spec.bucketName %q is not the name of a bucket", name)
	}
	return nil
}

var amazonHost = regexp.MustCompile(`(?:^|\.)s3(?:[.-](?:fips|dualstack))*(?:[.-]([a-z]{2}(?:-[a-z]+)+-[0-9]+))?\.amazonaws\.com(?:\.cn)?$`)

// ownHost reports whether a bucket has a host of its own below the endpoint's. MinIO's client, which Flux has, decides the same way.
func ownHost(host, bucket string) bool {
	if strings.Contains(bucket, ".") { // no certificate is good for it
		return false
	}
	return amazonHost.MatchString(host) || strings.HasSuffix(host, ".aliyuncs.com")
}

// HostRegion is the region that stands in an endpoint of AWS, and empty for every other.
func HostRegion(endpoint string) string {
	u, err := parseEndpoint(endpoint, false)
	if err != nil {
		return ""
	}
	return hostRegion(u.Hostname())
}

// hostRegion is the region in the name of a host of AWS.
func hostRegion(host string) string {
	if parts := amazonHost.FindStringSubmatch(host); parts != nil {
		return parts[1]
	}
	return ""
}

// list is ListObjectsV2.
func (s *s3) list(ctx context.Context, prefix, mark string) (*http.Request, error) {
	query := url.Values{"list-type": {"2"}, "encoding-type": {"url"}, "max-keys": {"1000"}}
	if prefix != "" {
		query.Set("prefix", prefix)
	}
	if mark != "" {
		query.Set("continuation-token", mark)
	}
	u := *s.base
	if u.Path == "" {
		u.Path = "/"
	} else {
		u.Path += "/"
	}
	u.RawQuery = query.Encode()
	return http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
}

// s3Page is the answer of ListObjectsV2.
type s3Page struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	IsTruncated           bool
	NextContinuationToken string
	EncodingType          string
	Contents              []struct {
		Key  string
		ETag string
		Size string
	}
}

func (*s3) parse(body []byte) (page, error) {
	var answer s3Page
	if err := xml.Unmarshal(body, &answer); err != nil {
		return page{}, fmt.Errorf("the listing cannot be read: %w", errAnswer)
	}
	if answer.IsTruncated != (answer.NextContinuationToken != "") {
		return page{}, fmt.Errorf("the listing says that it goes on and not where, or where and not that it does: %w", errAnswer)
	}
	p := page{mark: answer.NextContinuationToken, objects: make([]Object, 0, len(answer.Contents))}
	for _, entry := range answer.Contents {
		size, err := strconv.ParseInt(entry.Size, 10, 64)
		if err != nil {
			return page{}, fmt.Errorf("an object has the size %.32q: %w", entry.Size, errAnswer)
		}
		key := entry.Key
		if answer.EncodingType == "url" {
			if key, err = url.QueryUnescape(key); err != nil {
				return page{}, fmt.Errorf("a key is escaped wrongly: %w", errAnswer)
			}
		}
		p.objects = append(p.objects, s3Object(key, entry.ETag, size))
	}
	return p, nil
}

// s3Object takes the quotes off an entity tag, as MinIO's client does.
func s3Object(key, tag string, size int64) Object {
	tag = strings.TrimSuffix(strings.TrimPrefix(tag, `"`), `"`)
	return Object{Key: key, ETag: tag, Size: size, version: tag}
}

// object is GetObject or HeadObject.
func (s *s3) object(ctx context.Context, method string, o Object) (*http.Request, error) {
	u := *s.base
	u.Path += "/" + o.Key
	u.RawPath = escape(u.Path)
	req, err := http.NewRequestWithContext(ctx, method, u.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("the key cannot stand in an address: %w", errAnswer)
	}
	if o.version != "" {
		req.Header.Set("If-Match", `"`+o.version+`"`)
	}
	return req, nil
}

// escape escapes a path as AWS signs it.
func escape(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		parts[i] = strings.ReplaceAll(url.QueryEscape(part), "+", "%20")
	}
	return strings.Join(parts, "/")
}

func (*s3) described(key string, resp *http.Response) Object {
	return s3Object(key, resp.Header.Get("ETag"), resp.ContentLength)
}

func (s *s3) authorize(ctx context.Context, req *http.Request) error {
	if s.config.Credential == nil {
		return nil
	}
	cred, err := s.config.Credential(ctx)
	if err != nil {
		return err
	}
	if err := (cloud.S3{Credential: cred, Region: *s.region.Load(), Digests: s.config.Digests}).Sign(req, "", s.config.Now()); err != nil {
		return fault.New(fault.Retry, ReasonAuthenticationFailed, "sign the request: %w", err)
	}
	return nil
}

// learn finds out the region of a bucket, where none was given.
func (s *s3) learn(refused *Error) bool {
	if s.asked || refused.Region == "" || refused.Region == *s.region.Load() || refused.Code != codeWrongRegion {
		return false
	}
	s.region.Store(&refused.Region)
	return true
}
