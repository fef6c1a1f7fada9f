// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"net/url"
	"slices"
	"strings"
)

// Servers are the base URLs of the artifact servers that the operator has named, one for each shard of sources; the first is that of
// sources that none of the others advertises. Whatever a status says, nothing else is ever asked.
type Servers []string

// For returns the server of a source whose status.artifact.url is given: the one at the same scheme, host and port, else the only one
// at the same host, else the first. A URL that somebody has forged thus chooses among the operator's servers at most, and
// content is believed by its statement, wherever it comes from.
func (s Servers) For(statusURL string) string {
	u, err := url.Parse(statusURL)
	if len(s) == 0 {
		return ""
	}
	if len(s) == 1 || err != nil || u.Host == "" {
		return s[0]
	}
	var there []string
	for _, server := range s {
		of, err := url.Parse(server)
		if err != nil || !strings.EqualFold(hostname(of), hostname(u)) {
			continue
		}
		if of.Scheme == u.Scheme && of.Port() == u.Port() {
			return server
		}
		there = append(there, server)
	}
	if len(there) == 1 {
		return there[0]
	}
	return s[0]
}

// Name reports whether one of the servers is at the scheme, host and port of a URL. That is asked of artifacts which none of our own
// source controllers has made.
func (s Servers) Name(statusURL string) bool {
	u, err := url.Parse(statusURL)
	return err == nil && u.Host != "" && slices.ContainsFunc(s, func(server string) bool {
		of, err := url.Parse(server)
		return err == nil && of.Scheme == u.Scheme && strings.EqualFold(hostname(of), hostname(u)) && of.Port() == u.Port()
	})
}

// hostname is without the dot that ends the name of a Service.
func hostname(u *url.URL) string { return strings.TrimSuffix(u.Hostname(), ".") }
