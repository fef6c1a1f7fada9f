// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"regexp"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/transport"
)

// The condition reasons of this package's faults (spec row S-10).
const (
	ReasonOperationFailed      = "BucketOperationFailed"
	ReasonAuthenticationFailed = "AuthenticationFailed"
	ReasonURLInvalid           = "URLInvalid"
	ReasonInvalidConfiguration = "InvalidProviderConfiguration"
	ReasonStorageFailed        = "ArchiveOperationFailed"
)

// conditionStorageFailed tells of a failure of our disk.
const conditionStorageFailed = "StorageOperationFailed"

// The words of servers that mean something here.
const (
	codeNoSuchBucket      = "NoSuchBucket"
	codeContainerNotFound = "ContainerNotFound"
	codeWrongRegion       = "AuthorizationHeaderMalformed"
)

// maxErrorBytes bounds what is read of a refusal.
const maxErrorBytes = 64 << 10

// ErrChanged is wrapped by the error of an object that is not what was listed, or not there any more.
var ErrChanged = errors.New("the object is not what was listed")

// errAnswer is wrapped by errors about an answer that contradicts itself or the protocol.
var errAnswer = errors.New("the answer of the server cannot be right")

// Error says that a server refused. Find it with errors.As.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code is the server's word for what is wrong, for example AccessDenied; empty if it gave none that can be one.
	Code string
	// Region is where the bucket is, if the server said so.
	Region string
}

// Error names status and code. What else a server says could quote what we have sent.
func (e *Error) Error() string {
	text := fmt.Sprintf("the server answers %d %s", e.Status, http.StatusText(e.Status))
	if e.Code != "" {
		text += " (" + e.Code + ")"
	}
	return text
}

var (
	errorCode  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9.]{1,63}$`)
	regionName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
)

// refusal reads an answer that is an error. Its body was read up to a bound.
func refusal(resp *http.Response, code string, body []byte) *Error {
	e := &Error{Status: resp.StatusCode}
	var answer struct {
		Code   string
		Region string
	}
	if xml.Unmarshal(body, &answer) == nil && code == "" {
		code = answer.Code
	}
	if errorCode.MatchString(code) {
		e.Code = code
	}
	for _, region := range []string{resp.Header.Get("X-Amz-Bucket-Region"), answer.Region} {
		if regionName.MatchString(region) {
			e.Region = region
			break
		}
	}
	return e
}

// operation turns an error into a fault about the bucket.
func (c *Client) operation(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Fault](err); ok {
		return err
	}
	name := c.config.Bucket
	refused, isRefused := errors.AsType[*Error](err)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.New(fault.Retry, ReasonOperationFailed, "%s bucket '%s': timed out: %w", doing, name, context.DeadlineExceeded)
	case ctx.Err() != nil:
		return fault.New(fault.Retry, ReasonOperationFailed, "%s bucket '%s': %w", doing, name, ctx.Err())
	case isRefused && (refused.Code == codeNoSuchBucket || refused.Code == codeContainerNotFound):
		return fault.New(fault.Retry, ReasonOperationFailed, "bucket '%s' not found: %w", name, err)
	}
	return fault.New(fault.Retry, ReasonOperationFailed, "%s bucket '%s': %w", doing, name, transport.Cause(err))
}
