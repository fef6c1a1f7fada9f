// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"unicode"

	rtransport "github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"sluice.dev/sluice/internal/transport"
)

// ErrNotFound is wrapped by the error of a manifest, blob or repository that does not exist.
var ErrNotFound = errors.New("not found")

// ErrUnauthorized is wrapped by the error of a request that the registry refused for lack of a credential or a right.
var ErrUnauthorized = errors.New("unauthorized")

// ErrTooLarge is wrapped by the error of an answer that goes beyond its bound.
var ErrTooLarge = errors.New("answer is too large")

// registryError is a foreign error made fit for a condition message. It keeps what callers decide by, and nothing else of
// the foreign chain, whose texts hold URLs, token answers and whatever a registry chose to say.
type registryError struct {
	text string
	is   error
}

func (e *registryError) Error() string { return e.text }
func (e *registryError) Unwrap() error { return e.is }

// clean turns an error of the registry library into a registryError.
func clean(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if already, ok := errors.AsType[*registryError](err); ok {
		return already
	}
	if cause := untrusted(err); cause != nil {
		// Found first: where plain HTTP is allowed, the answer to that attempt comes together with it and hides it.
		return &registryError{text: clip(cause.Error())}
	}
	if answer, ok := errors.AsType[*rtransport.Error](err); ok {
		return cleanAnswer(answer)
	}
	if large, ok := errors.AsType[*transport.TooLargeError](err); ok {
		return &registryError{text: fmt.Sprintf("registry answered with %s", large), is: ErrTooLarge}
	}
	for _, ended := range []error{context.DeadlineExceeded, context.Canceled} {
		// The library's own client reports a timeout of its own kind; the context knows better.
		if errors.Is(err, ended) || errors.Is(ctx.Err(), ended) {
			return &registryError{text: "registry did not answer in time", is: ended}
		}
	}
	if errors.Is(err, errPlainHTTP) && errors.Is(err, http.ErrSchemeMismatch) {
		// The library tries http after every failure over TLS, on loopback and private addresses. Only where the registry speaks
		// http is that the news; a certificate that nobody trusts must not lead to the advice to do without.
		return &registryError{text: errPlainHTTP.Error()}
	}
	return &registryError{text: clip(scrub(transport.Cause(err).Error()))}
}

// untrusted returns what is wrong with the registry's certificate, if that is what err is about.
func untrusted(err error) error {
	if cause, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return cause
	}
	if cause, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return cause
	}
	if cause, ok := errors.AsType[x509.HostnameError](err); ok {
		return cause
	}
	return nil
}

// cleanAnswer describes an HTTP answer that is an error.
func cleanAnswer(answer *rtransport.Error) error {
	text := fmt.Sprintf("registry answered %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
	if len(answer.Errors) > 0 {
		first := answer.Errors[0]
		text += fmt.Sprintf(" (%s: %s)", clip(scrub(string(first.Code))), clip(scrub(first.Message)))
	}
	switch answer.StatusCode {
	case http.StatusNotFound:
		return &registryError{text: text, is: ErrNotFound}
	case http.StatusUnauthorized, http.StatusForbidden:
		return &registryError{text: text, is: ErrUnauthorized}
	default:
		return &registryError{text: text}
	}
}

// secrets finds what a library or a registry may echo: credentials after their scheme, user information and queries of
// URLs, and the token answer that the library quotes when it cannot use it.
var secrets = []*regexp.Regexp{ //nolint:gochecknoglobals // compiled once, never changed
	regexp.MustCompile(`(?s)no token in bearer response:.*`),
	regexp.MustCompile(`(?i)\b(?:bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}`),
	regexp.MustCompile(`//[^/\s@"]+@`),
	regexp.MustCompile(`\?[^\s"]+`),
	regexp.MustCompile(`(?i)"?(?:access_token|refresh_token|token|password|identitytoken)"?\s*[:=]\s*"?[^\s",}]+`),
}

// scrub replaces what looks like a secret.
func scrub(text string) string {
	for _, secret := range secrets {
		text = secret.ReplaceAllString(text, "[redacted]")
	}
	return text
}

// maxText bounds foreign text in a message.
const maxText = 256

// clip makes foreign text short and printable.
func clip(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	if len(text) > maxText {
		return strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}
