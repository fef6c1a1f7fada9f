// SPDX-License-Identifier: Apache-2.0

package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// maxAnswer bounds what is read of an answer, so that its connection can be used again.
const maxAnswer = 16 << 10

// webhook posts events as JSON.
type webhook struct {
	address string
	http    Doer
}

// prepare encodes the record once.
func (w webhook) prepare(r record) (func(context.Context) error, error) {
	body, err := json.Marshal(r.post())
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", errRejected)
	}
	return func(ctx context.Context) error { return w.post(ctx, body) }, nil
}

func (w webhook) post(ctx context.Context, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.address, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("request: %w", errRejected)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.http.Do(req)
	if err != nil {
		return cause(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // an answer that cannot be read was still given
	return verdict(resp.StatusCode)
}

// verdict says what a status code means for an event. 429 means that the receiver has had it already (spec §3.4).
func verdict(code int) error {
	switch {
	case code >= 200 && code < 300, code == http.StatusTooManyRequests:
		return nil
	case code >= 500, code == http.StatusRequestTimeout:
		return fmt.Errorf("answer %d", code)
	default:
		return fmt.Errorf("answer %d: %w", code, errRejected)
	}
}

// cause takes the URL out of an error: --events-addr may carry credentials.
func cause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
