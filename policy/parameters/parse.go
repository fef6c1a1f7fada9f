// SPDX-License-Identifier: Apache-2.0

package parameters

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The grammars, compiled once.
var (
	originGrammar = regexp.MustCompile(`^(https|http|ssh|oci|bucket)://(?:([A-Za-z0-9._~-]+)@)?` +
		`([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?((?:/(?:[A-Za-z0-9._~+-]|%[0-9A-Fa-f]{2})+)*)/?$`)
	registryGrammar = regexp.MustCompile(`^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?` +
		`((?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)/?$`)
	hostGrammar      = regexp.MustCompile(`^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$`)
	labelGrammar     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	subdomainGrammar = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)
	encodedTrick     = regexp.MustCompile(`(?i)%(2e|2f|5c|00|25)`)
)

// parseOrigin reads the URL of an allowed source. The grammar is narrower than RFC 3986 on purpose, and the same as the
// rules use for the URL of an object (policy/rules, package sluice.url): what both read alike cannot be told apart by a
// trick of spelling.
func parseOrigin(raw string) (Origin, error) {
	if len(raw) > maxText {
		return Origin{}, errors.New("url is too long")
	}
	m := originGrammar.FindStringSubmatch(raw)
	if m == nil {
		return Origin{}, fmt.Errorf("url %q: want https, http, ssh, oci or bucket, a host and plain path segments, "+
			"without password, query, fragment or empty segment", raw)
	}
	o := Origin{Scheme: m[1], User: m[2], Host: strings.ToLower(m[3]), Segments: segments(m[5])}
	if o.User != "" && o.Scheme != "ssh" {
		return Origin{}, fmt.Errorf("url %q: only an ssh URL has a user", raw)
	}
	if slices.ContainsFunc(o.Segments, dotted) {
		return Origin{}, fmt.Errorf("url %q: dot segments and encoded dots or slashes are refused", raw)
	}
	if o.Host += ":" + m[4]; m[4] == "" {
		o.Host += defaultPort(o.Scheme)
	}
	return o, nil
}

func defaultPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "ssh":
		return "22"
	default:
		return "443"
	}
}

func segments(path string) []string {
	if path == "" {
		return []string{}
	}
	return strings.Split(strings.TrimPrefix(path, "/"), "/")
}

// dotted reports a segment that some client may read as another path.
func dotted(segment string) bool {
	return segment == "." || segment == ".." ||
		encodedTrick.MatchString(segment)
}

// parseRegistry reads a registry with an optional path. Unlike in an image reference the host cannot be left out:
// "library" alone could be a host or a path of Docker Hub.
func parseRegistry(raw string) (Registry, error) {
	if len(raw) > maxText {
		return Registry{}, errors.New("too long")
	}
	m := registryGrammar.FindStringSubmatch(raw)
	if m == nil {
		return Registry{}, fmt.Errorf("%q: want host[:port][/path], without scheme, tag or digest", raw)
	}
	host := strings.ToLower(m[1] + m[2])
	if !strings.ContainsAny(host, ".:") && host != "localhost" {
		return Registry{}, fmt.Errorf("%q: the host is missing: write docker.io/%s if Docker Hub is meant", raw, raw)
	}
	if host == "index.docker.io" {
		host = "docker.io"
	}
	return Registry{Host: host, Segments: segments(m[3])}, nil
}

func hostPort(raw string) (string, error) {
	if !hostGrammar.MatchString(raw) || len(raw) > 260 {
		return "", fmt.Errorf("%q: want host or host:port", raw)
	}
	return strings.ToLower(raw), nil
}

func label(raw string) (string, error) {
	if !isLabel(raw) {
		return "", fmt.Errorf("%q is no namespace name", raw)
	}
	return raw, nil
}

// isLabel is RFC 1123's label, as Kubernetes uses it for namespaces.
func isLabel(s string) bool {
	return len(s) <= 63 && labelGrammar.MatchString(s)
}

func subdomain(raw string) (string, error) {
	if len(raw) > 253 || !subdomainGrammar.MatchString(raw) {
		return "", fmt.Errorf("%q is no ServiceAccount name", raw)
	}
	return raw, nil
}

// pathSegment is Kubernetes' rule for RBAC names.
func pathSegment(raw string) (string, error) {
	if raw == "" || len(raw) > 253 || raw == "." || raw == ".." || strings.ContainsAny(raw, "/%*") {
		return "", fmt.Errorf("%q is no ClusterRole name", raw)
	}
	return raw, nil
}
