// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"errors"
	"net/url"
)

// RedactURL returns the URL fit for a message: without user information, query and fragment. Text that is no URL is
// replaced as a whole, because nobody can say where a secret in it would be.
func RedactURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "[unparsable URL]"
	}
	clean := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	if u.Opaque != "" {
		clean = url.URL{Scheme: u.Scheme, Opaque: "[redacted]"}
	}
	return clean.String()
}

// Cause returns what is wrong below net/http's *url.Error, whose text holds the whole URL with its query.
func Cause(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}
