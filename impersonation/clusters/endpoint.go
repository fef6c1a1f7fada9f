// SPDX-License-Identifier: Apache-2.0

package clusters

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"sluice.dev/sluice/internal/transport"
)

// endpoint is a remote cluster as data: whom to call, whom to trust, and with what credentials.
type endpoint struct {
	// server is the address of the API server, with its path and without a slash at the end.
	server string
	proxy  *url.URL
	tls    transport.TLS
	// uncompressed asks the server for answers as they are.
	uncompressed bool

	// One of the three is set, or tls has a client certificate.
	token password
	basic *userInfo
	// account asks for tokens of a ServiceAccount of this cluster.
	account *account

	// vendor is set for a cluster of a cloud, which takes the account's tokens in exchange for its own, and knows the address and
	// the authorities of the cluster where they are not set.
	vendor vendor
}

// String never shows a credential.
func (e endpoint) String() string {
	if e.server == "" && e.vendor != nil {
		return "cluster of " + e.vendor.name()
	}
	return e.server
}

// GoString never shows a credential.
func (e endpoint) GoString() string { return e.String() }

// complete reports whether it is known whom to call and whom to trust.
func (e endpoint) complete() bool { return e.vendor == nil || e.server != "" && len(e.tls.CA) > 0 }

// password is a secret text. It does not show when printed.
type password string

// String hides the secret from %s and %v.
func (password) String() string { return "[redacted]" }

// GoString hides it from %#v.
func (password) GoString() string { return "[redacted]" }

type userInfo struct {
	name     string
	password password
}

// account is a ServiceAccount in the object's namespace, and the audiences of the tokens it is to have.
type account struct {
	// name is empty for the ServiceAccount that the object acts as.
	name      string
	audiences []string
}

// refusal is the error for a field that is understood and not accepted.
type refusal struct{ field, why string }

// Error names the field and the remedy.
func (r *refusal) Error() string { return fmt.Sprintf("%q is refused: %s", r.field, r.why) }

// parseServer reads the address of an API server. One without a scheme is taken for https, as kubectl does.
func parseServer(field, raw string) (string, error) {
	if raw == "" {
		return "", fmt.Errorf("%q is missing", field)
	}
	if !strings.Contains(raw, "://") {
		raw = "https://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return "", fmt.Errorf("%q is not the address of a server", field)
	}
	switch {
	case u.Scheme != "https":
		return "", &refusal{field, fmt.Sprintf("credentials are not sent over %q; use https", u.Scheme)}
	case u.User != nil:
		return "", &refusal{field, "credentials do not belong into an address; use the fields of the user"}
	case u.RawQuery != "" || u.Fragment != "":
		return "", &refusal{field, "the address of an API server has neither query nor fragment"}
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// parseProxy reads the address of a proxy. The connection through it is TLS from end to end.
func parseProxy(field, raw string) (*url.URL, error) {
	if raw == "" {
		return nil, nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is not the address of a proxy", field)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, &refusal{field, fmt.Sprintf("a proxy is asked over http or https, not over %q", u.Scheme)}
	}
	return u, nil
}

// checkTLS finds out whether certificates and key can be used, before anything is connected.
func checkTLS(t transport.TLS) error {
	if _, err := transport.ClientTLS(t); err != nil {
		return err // names the part, and never its content
	}
	return nil
}

// errTooLarge is for what no honest author needs.
var errTooLarge = errors.New("it is too large")
