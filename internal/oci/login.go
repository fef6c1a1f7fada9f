// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice.dev/sluice/internal/transport"
)

const (
	// greetingLife is for how long a registry's answer to the first question of every client is believed.
	greetingLife = 10 * time.Minute
	// maxTokenAnswer bounds the answer of a token service in bytes, as the registry library does.
	maxTokenAnswer = 64 << 10
	// maxTokens bounds the tokens whose end is remembered, one for each repository.
	maxTokens = 4096
)

// login is the http.RoundTripper that spares a session the questions whose answers it has. The registry library asks each
// repository anew how to authenticate, over https and, where that is permitted, over http; and it learns that a token is spent
// from a request that fails. login remembers the answer of the registry and the life that the token service gave to a token, so that
// a run without news is one request, and one more when its token is spent.
type login struct {
	base http.RoundTripper
	now  func() time.Time

	mu        sync.Mutex
	greetings map[string]greeting  // by address
	tokens    map[string]time.Time // the end of each
}

// greeting is what a registry answers to GET /v2/.
type greeting struct {
	status    int
	challenge []string
	services  []string // the addresses of the token services in challenge
	failure   error
	until     time.Time
}

// RoundTrip implements http.RoundTripper.
func (l *login) RoundTrip(req *http.Request) (*http.Response, error) {
	switch {
	case isGreeting(req):
		return l.greet(req)
	case l.isToken(req):
		return l.token(req)
	}
	if challenge := l.spent(req); challenge != nil {
		return answer(req, http.StatusUnauthorized, challenge), nil
	}
	return l.base.RoundTrip(req)
}

// isGreeting reports whether this is the question how to authenticate, asked of the registry itself.
func isGreeting(req *http.Request) bool {
	return req.Method == http.MethodGet && req.URL.Path == "/v2/" && req.URL.RawQuery == "" && req.Response == nil &&
		req.Header.Get("Authorization") == ""
}

// greet answers from memory, or asks.
func (l *login) greet(req *http.Request) (*http.Response, error) {
	if g, ok := l.greeting(req.URL.Scheme, req.URL.Host); ok {
		if g.failure != nil {
			return nil, g.failure
		}
		return answer(req, g.status, g.challenge), nil
	}
	resp, err := l.base.RoundTrip(req)
	g := greeting{failure: err, until: l.now().Add(greetingLife)}
	if err == nil {
		if g.status = resp.StatusCode; g.status != http.StatusOK && g.status != http.StatusUnauthorized {
			return resp, nil // a redirect or an error, which may pass
		}
		g.challenge = resp.Header.Values("WWW-Authenticate")
		g.services = services(g.challenge)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.greetings == nil {
		l.greetings = map[string]greeting{}
	}
	l.greetings[req.URL.Scheme+"://"+req.URL.Host] = g
	return resp, err
}

// greeting finds what a registry has answered. That it does not speak https counts only where it has answered over http since:
// any other failure may pass.
func (l *login) greeting(scheme, host string) (greeting, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g, ok := l.greetings[scheme+"://"+host]
	if !ok || !l.now().Before(g.until) {
		return greeting{}, false
	}
	if g.failure != nil {
		plain := l.greetings["http://"+host]
		return g, scheme == "https" && plain.status != 0 && l.now().Before(plain.until)
	}
	return g, true
}

// realm finds the address of the token service in a challenge.
var realm = regexp.MustCompile(`(?i)\brealm="([^"]*)"`)

// scope finds what a token is asked for. In the answer to the first question it is an example, if anything.
var scope = regexp.MustCompile(`(?i),?\s*\bscope="[^"]*"`)

// isToken reports whether a request goes to the token service that the registry has named.
func (l *login) isToken(req *http.Request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	address := req.URL.Scheme + "://" + req.URL.Host + req.URL.Path
	for _, g := range l.greetings {
		if slices.Contains(g.services, address) {
			return true
		}
	}
	return false
}

// services returns the addresses in challenges, without their queries.
func services(challenges []string) []string {
	var out []string
	for _, c := range challenges {
		if m := realm.FindStringSubmatch(c); m != nil {
			address, _, _ := strings.Cut(m[1], "?")
			out = append(out, address)
		}
	}
	return out
}

// token asks for a token and notes until when it is good.
func (l *login) token(req *http.Request) (*http.Response, error) {
	asked := l.now()
	resp, err := l.base.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	body, err := transport.ReadAll(resp.Body, maxTokenAnswer)
	_ = resp.Body.Close() // read to its end, or given up
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	var given struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
	}
	if json.Unmarshal(body, &given) != nil || given.ExpiresIn <= 0 {
		return resp, nil // the registry says when it is spent
	}
	end := asked.Add(time.Duration(min(given.ExpiresIn, 24*60*60)) * time.Second * 9 / 10)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tokens == nil || len(l.tokens) >= maxTokens {
		l.tokens = map[string]time.Time{} // what is forgotten here, the registry says
	}
	maps.DeleteFunc(l.tokens, func(_ string, end time.Time) bool { return asked.After(end.Add(time.Hour)) })
	for _, token := range []string{given.Token, given.AccessToken} {
		if token != "" {
			l.tokens[token] = end
		}
	}
	return resp, nil
}

// spent returns the registry's challenge when the token of a request is good no more.
func (l *login) spent(req *http.Request) []string {
	token, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	end, known := l.tokens[token]
	if !known || l.now().Before(end) {
		return nil
	}
	var challenge []string
	for _, c := range l.greetings[req.URL.Scheme+"://"+req.URL.Host].challenge {
		challenge = append(challenge, scope.ReplaceAllString(c, ""))
	}
	return challenge
}

// answer makes a response that nobody has sent.
func answer(req *http.Request, status int, challenge []string) *http.Response {
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Www-Authenticate": challenge}, Body: http.NoBody, Request: req,
	}
}
