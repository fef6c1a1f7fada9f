// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sluice.dev/sluice/internal/cloud"
	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/transport"
)

// LDAP is a token service of MinIO that gives access keys to who is in a directory.
type LDAP struct {
	// Endpoint is its address. Required.
	Endpoint string
	// Username and Password are those of the directory.
	Username string
	Password cloud.Secret
	// TLS, Proxy and UserAgent are as in Config.
	TLS       transport.TLS
	Proxy     transport.Proxy
	UserAgent string
}

// ReasonInvalidSTS is the reason of a fault about spec.sts.
const ReasonInvalidSTS = "InvalidSTSConfiguration"

// stsTimeout bounds the exchange.
const stsTimeout = 30 * time.Second

// Credential exchanges name and password for an access key, and tells how long that is good.
func (l LDAP) Credential(ctx context.Context) (cloud.AWSCredential, time.Time, error) {
	endpoint, err := url.Parse(l.Endpoint)
	if err != nil || endpoint.Hostname() == "" || endpoint.Scheme != "http" && endpoint.Scheme != "https" || endpoint.User != nil {
		return cloud.AWSCredential{}, time.Time{}, fault.New(fault.Invalid, ReasonURLInvalid, "spec.sts.endpoint is no address of a token service: want https://<host>")
	}
	cred, expires, err := l.exchange(ctx, endpoint)
	if err != nil {
		return cloud.AWSCredential{}, time.Time{}, fault.New(fault.Retry, ReasonAuthenticationFailed, "get an access key of the token service at %q: %w", endpoint.Host, err)
	}
	return cred, expires, nil
}

func (l LDAP) exchange(ctx context.Context, endpoint *url.URL) (cloud.AWSCredential, time.Time, error) {
	web, err := transport.NewClient(transport.ClientOptions{
		TLS: l.TLS, Proxy: l.Proxy, ProxyFromEnvironment: true, UserAgent: cmp.Or(l.UserAgent, "sluice"), Timeout: stsTimeout, MaxRedirects: -1, NoKeepAlive: true,
	})
	if err != nil {
		return cloud.AWSCredential{}, time.Time{}, err
	}
	form := url.Values{
		"Action": {"AssumeRoleWithLDAPIdentity"}, "Version": {"2011-06-15"}, "LDAPUsername": {l.Username}, "LDAPPassword": {string(l.Password)},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return cloud.AWSCredential{}, time.Time{}, errors.New("no valid address")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := web.Do(req)
	if err != nil {
		return cloud.AWSCredential{}, time.Time{}, transport.Cause(err)
	}
	defer resp.Body.Close() // read to the end or given up
	body, err := transport.ReadAll(resp.Body, maxErrorBytes)
	if err != nil {
		return cloud.AWSCredential{}, time.Time{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return cloud.AWSCredential{}, time.Time{}, stsRefusal(resp, body)
	}
	var answer struct {
		ID      string    `xml:"AssumeRoleWithLDAPIdentityResult>Credentials>AccessKeyId"`
		Secret  string    `xml:"AssumeRoleWithLDAPIdentityResult>Credentials>SecretAccessKey"`
		Session string    `xml:"AssumeRoleWithLDAPIdentityResult>Credentials>SessionToken"`
		Expires time.Time `xml:"AssumeRoleWithLDAPIdentityResult>Credentials>Expiration"`
	}
	if xml.Unmarshal(body, &answer) != nil || answer.ID == "" || answer.Secret == "" {
		return cloud.AWSCredential{}, time.Time{}, errors.New("it answers without one")
	}
	return cloud.NewAWSCredential(answer.ID, cloud.Secret(answer.Secret), cloud.Secret(answer.Session)), answer.Expires, nil
}

// stsRefusal reads a refusal, whose code stands a level deeper than a store's.
func stsRefusal(resp *http.Response, body []byte) *Error {
	var answer struct {
		Code string `xml:"Error>Code"`
	}
	_ = xml.Unmarshal(body, &answer) // what is no XML has no code
	return refusal(resp, answer.Code, body)
}
