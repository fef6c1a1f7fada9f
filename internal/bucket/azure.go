// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/fips"
)

// AzureConfig says where an account of Azure Blob Storage is, and who asks: one of Token, Key and SAS, or nobody.
type AzureConfig struct {
	TokenConfig
	// Key is the account's own, decoded.
	Key []byte
	// SAS is the query of a shared access signature.
	SAS cloud.Secret
	// Digests computes signatures with Key. Required.
	Digests fips.Digests
	// Now is the clock. Required.
	Now func() time.Time
}

// azureVersion is that of the API: the first whose errors and listings are as they are read here.
const azureVersion = "2021-12-02"

// azureHosts are where Microsoft's clouds have blobs. Tokens and keys of accounts go nowhere else.
func azureHosts() []string {
	return []string{".blob.core.windows.net", ".blob.core.usgovcloudapi.net", ".blob.core.chinacloudapi.cn", ".blob.storage.azure.net"}
}

// azure is the API of Azure Blob Storage, read only.
type azure struct {
	config  AzureConfig
	base    *url.URL // of the container
	account string
	sas     url.Values
}

// NewAzure returns the dialect of Azure Blob Storage.
func NewAzure(c AzureConfig) (Service, error) {
	base, err := parseEndpoint(c.Endpoint, false)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(azureHosts(), func(suffix string) bool { return strings.HasSuffix(base.Host, suffix) }) {
		return nil, fault.New(fault.Invalid, ReasonInvalidConfiguration, "spec.endpoint %q is none of Azure Blob Storage: want https://<account>.blob.core.windows.net", base.Host)
	}
	if err := checkBucketName(c.Bucket); err != nil {
		return nil, err
	}
	a := &azure{config: c, base: base.JoinPath(c.Bucket)}
	a.account, _, _ = strings.Cut(base.Host, ".")
	if a.sas, err = url.ParseQuery(strings.TrimPrefix(string(c.SAS), "?")); err != nil || c.SAS != "" && !a.sas.Has("sig") {
		return nil, fault.New(fault.Retry, ReasonAuthenticationFailed, "sasKey is no shared access signature")
	}
	return a, nil
}

// request makes a request with the parameters and those of the shared access signature.
func (a *azure) request(ctx context.Context, method, key string, query url.Values) (*http.Request, error) {
	u := *a.base
	if key != "" {
		u.Path += "/" + key
		u.RawPath = escape(u.Path)
	}
	maps.Copy(query, a.sas)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("the key cannot stand in an address: %w", errAnswer)
	}
	req.Header.Set("X-Ms-Version", azureVersion)
	return req, nil
}

func (a *azure) list(ctx context.Context, prefix, mark string) (*http.Request, error) {
	query := url.Values{"restype": {"container"}, "comp": {"list"}, "maxresults": {"1000"}}
	if prefix != "" {
		query.Set("prefix", prefix)
	}
	if mark != "" {
		query.Set("marker", mark)
	}
	return a.request(ctx, http.MethodGet, "", query)
}

func (*azure) parse(body []byte) (page, error) {
	var answer struct {
		XMLName xml.Name `xml:"EnumerationResults"`
		Blobs   []struct {
			Name struct {
				Text    string `xml:",chardata"`
				Encoded bool   `xml:"Encoded,attr"`
			}
			ETag string `xml:"Properties>Etag"`
			Size int64  `xml:"Properties>Content-Length"`
			Type string `xml:"Properties>ResourceType"`
		} `xml:"Blobs>Blob"`
		NextMarker string
	}
	if err := xml.Unmarshal(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), &answer); err != nil {
		return page{}, fmt.Errorf("the listing cannot be read: %w", errAnswer)
	}
	p := page{mark: answer.NextMarker, objects: make([]Object, 0, len(answer.Blobs))}
	for _, blob := range answer.Blobs {
		if blob.Type == "directory" { // of an account that is a file system
			continue
		}
		name := blob.Name.Text
		if blob.Name.Encoded {
			var err error
			if name, err = url.PathUnescape(name); err != nil {
				return page{}, fmt.Errorf("a name is escaped wrongly: %w", errAnswer)
			}
		}
		p.objects = append(p.objects, azureObject(name, blob.ETag, blob.Size))
	}
	return p, nil
}

// azureObject writes an entity tag as Flux has it in revisions.
func azureObject(key, tag string, size int64) Object {
	tag = strings.Trim(tag, `"`)
	return Object{Key: key, ETag: hex.EncodeToString([]byte(tag)), Size: size, version: tag}
}

func (a *azure) object(ctx context.Context, method string, o Object) (*http.Request, error) {
	req, err := a.request(ctx, method, o.Key, url.Values{})
	if err == nil && o.version != "" {
		req.Header.Set("If-Match", `"`+o.version+`"`)
	}
	return req, err
}

func (*azure) described(key string, resp *http.Response) Object {
	return azureObject(key, resp.Header.Get("ETag"), resp.ContentLength)
}

func (a *azure) authorize(ctx context.Context, req *http.Request) error {
	switch {
	case a.config.Token != nil:
		return a.config.bearer(ctx, req)
	case len(a.config.Key) > 0:
		return a.sign(req)
	default:
		return nil
	}
}

// sign signs with the account's key (Shared Key).
func (a *azure) sign(req *http.Request) error {
	req.Header.Set("X-Ms-Date", a.config.Now().UTC().Format(http.TimeFormat))
	var text strings.Builder
	text.WriteString(req.Method + strings.Repeat("\n", 8) + req.Header.Get("If-Match") + strings.Repeat("\n", 4) +
		"x-ms-date:" + req.Header.Get("X-Ms-Date") + "\nx-ms-version:" + azureVersion + "\n/" + a.account + req.URL.EscapedPath())
	query := req.URL.Query()
	for _, name := range slices.Sorted(maps.Keys(query)) {
		text.WriteString("\n" + name + ":" + strings.Join(query[name], ","))
	}
	state, err := a.config.Digests.HMAC(crypto.SHA256, a.config.Key)
	if err != nil {
		return fault.New(fault.Retry, ReasonAuthenticationFailed, "sign the request: %w", err)
	}
	state.Write([]byte(text.String())) // a hash never fails
	req.Header.Set("Authorization", "SharedKey "+a.account+":"+base64.StdEncoding.EncodeToString(state.Sum(nil)))
	return nil
}

func (*azure) learn(*Error) bool { return false }
