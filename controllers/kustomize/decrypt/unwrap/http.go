// SPDX-License-Identifier: Apache-2.0

package unwrap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"sluice.dev/sluice/internal/transport"
)

// maxAnswer bounds what a Vault may answer, in bytes.
const maxAnswer = 64 << 10

// secureURL parses the address of a service. Plain HTTP would show the token and the data key to the network.
func secureURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("no valid address")
	}
	if u.Scheme != "https" {
		return nil, fmt.Errorf("the scheme %q is refused: a key service is spoken to over https", u.Scheme)
	}
	return u, nil
}

// request makes a POST request.
func request(ctx context.Context, address, contentType string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("no valid address") // the parser's text quotes it
	}
	req.Header.Set("Content-Type", contentType)
	return req, nil
}

// call sends a request and reads the answer. Of a failure it tells the status alone: the text of a service that a file names could
// say anything, a credential we have just sent included.
func (o *Opener) call(req *http.Request, trust transport.TLS, answer any) error {
	client, err := o.config.Client(trust)
	if err != nil {
		return fmt.Errorf("entry %s: %w", caEntry, err)
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask %s: %w", req.URL.Host, transport.Cause(err))
	}
	defer res.Body.Close() // read to the end or given up
	data, err := transport.ReadAll(res.Body, maxAnswer)
	switch {
	case err != nil:
		return fmt.Errorf("answer of %s: %w", req.URL.Host, err)
	case res.StatusCode != http.StatusOK:
		return &statusError{req.URL.Host, res.StatusCode, hint(res.StatusCode)}
	case json.Unmarshal(data, answer) != nil:
		return fmt.Errorf("%s answers with something that cannot be read", req.URL.Host)
	}
	return nil
}

// statusError is a service's refusal.
type statusError struct {
	host   string
	status int
	// meaning is what it usually means, after a colon; may be empty.
	meaning string
}

// Error tells who refused, with which status, and what it means.
func (e *statusError) Error() string {
	return fmt.Sprintf("%s answers %d %s%s", e.host, e.status, http.StatusText(e.status), e.meaning)
}

// hint says what a status usually means here.
func hint(status int) string {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return ": the credential is not valid, or may not decrypt with this key"
	case http.StatusNotFound:
		return ": there is no such key"
	case http.StatusBadRequest:
		return ": the service cannot decrypt this data key, or does not accept the credential"
	default:
		return ""
	}
}

// plainSegments reports whether a text can stand in a path as it is: names between slashes, none of which leads elsewhere.
func plainSegments(text string) bool {
	for segment := range strings.SplitSeq(text, "/") {
		if segment == "" || segment == "." || segment == ".." || url.PathEscape(segment) != segment {
			return false
		}
	}
	return true
}
