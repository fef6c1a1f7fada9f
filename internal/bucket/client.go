// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"sluice.dev/sluice/internal/fault"
	"sluice.dev/sluice/internal/transport"
)

// Config says what is read, and how it is reached.
type Config struct {
	// Bucket is its name. Required.
	Bucket string
	// Prefix is what the keys begin with that are listed; empty lists all.
	Prefix string
	// Service speaks the dialect of the server. Required; NewS3 makes one.
	Service Service
	// TLS is whom to trust. The zero value is the system's authorities.
	TLS transport.TLS
	// Proxy is the way to the server; the zero value is the environment's.
	Proxy transport.Proxy
	// UserAgent is how the client names itself.
	UserAgent string
	// Limits bound what the server sends.
	Limits Limits
}

// Service is the dialect of an object store. Only this package has implementations.
type Service interface {
	// list is the request for a page of a listing; an empty mark asks for the first.
	list(ctx context.Context, prefix, mark string) (*http.Request, error)
	// parse reads a page.
	parse(body []byte) (page, error)
	// object is a request about an object. One that was listed is asked for as it was listed.
	object(ctx context.Context, method string, o Object) (*http.Request, error)
	// described reads an answer about an object.
	described(key string, resp *http.Response) Object
	// authorize adds the credential.
	authorize(ctx context.Context, req *http.Request) error
	// learn takes something from a refusal and reports whether the request is worth another try.
	learn(refused *Error) bool
}

// page is a part of a listing. An empty mark is that of the last.
type page struct {
	objects []Object
	mark    string
}

// Client reads one bucket. It lives for one run: Close it.
type Client struct {
	config Config
	http   *http.Client
}

// Parallel is how many objects a client gets at the same time over connections of its own.
const Parallel = 10

// New returns a client. It does not connect yet.
func New(config Config) (*Client, error) {
	if config.Bucket == "" || config.Service == nil {
		return nil, errors.New("client of a bucket: Bucket and Service are required")
	}
	config.Limits = config.Limits.withDefaults()
	web, err := transport.NewClient(transport.ClientOptions{
		TLS: config.TLS, Proxy: config.Proxy, ProxyFromEnvironment: true, UserAgent: cmp.Or(config.UserAgent, "sluice"),
		MaxRedirects: -1, NoCompression: true, // what is stored compressed stays so
	})
	if err != nil {
		return nil, fault.New(fault.Retry, ReasonAuthenticationFailed, "%w", err)
	}
	return &Client{config: config, http: web}, nil
}

// Close gives the connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// List returns all objects with the prefix, sorted by key.
func (c *Client) List(ctx context.Context) ([]Object, error) {
	objects, err := c.list(ctx)
	if err != nil {
		return nil, c.operation(ctx, "list objects of", err)
	}
	slices.SortFunc(objects, func(a, b Object) int { return strings.Compare(a.Key, b.Key) })
	for i := 1; i < len(objects); i++ {
		if objects[i].Key == objects[i-1].Key {
			return nil, c.operation(ctx, "list objects of", fmt.Errorf("object %q is listed twice: %w", objects[i].Key, errAnswer))
		}
	}
	return objects, nil
}

func (c *Client) list(ctx context.Context) (all []Object, err error) {
	limits := c.config.Limits
	var names int64
	for n, mark := 0, ""; ; n++ {
		if n == limits.Pages {
			return nil, &LimitError{"the number of pages of its listing", int64(limits.Pages)}
		}
		next, err := c.page(ctx, mark)
		if err != nil {
			return nil, err
		}
		for _, o := range next.objects {
			if err := o.check(); err != nil {
				return nil, err
			}
			names += int64(len(o.Key))
		}
		all = append(all, next.objects...)
		switch {
		case len(all) > limits.Listed:
			return nil, &LimitError{"the number of objects", int64(limits.Listed)}
		case names > limits.NameBytes:
			return nil, &LimitError{"the length of all keys", limits.NameBytes}
		case next.mark == "":
			return all, nil
		case next.mark == mark:
			return nil, fmt.Errorf("a page of the listing leads to itself: %w", errAnswer)
		}
		mark = next.mark
	}
}

func (c *Client) page(ctx context.Context, mark string) (page, error) {
	resp, err := c.do(ctx, func() (*http.Request, error) { return c.config.Service.list(ctx, c.config.Prefix, mark) })
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close() // read to the end or given up
	body, err := transport.ReadAll(resp.Body, c.config.Limits.PageBytes)
	if _, large := errors.AsType[*transport.TooLargeError](err); large {
		return page{}, &LimitError{"a page of its listing", c.config.Limits.PageBytes}
	}
	if err != nil {
		return page{}, fmt.Errorf("read the listing: %w", err)
	}
	return c.config.Service.parse(body)
}

// Find asks for one object, and returns false where there is none.
func (c *Client) Find(ctx context.Context, key string) (Object, bool, error) {
	resp, err := c.do(ctx, func() (*http.Request, error) {
		return c.config.Service.object(ctx, http.MethodHead, Object{Key: key})
	})
	if refused, ok := errors.AsType[*Error](err); ok && refused.Status == http.StatusNotFound && refused.Code != codeNoSuchBucket {
		return Object{}, false, nil
	}
	if err != nil {
		return Object{}, false, c.operation(ctx, fmt.Sprintf("look for object '%s' in", key), err)
	}
	resp.Body.Close() // there is none
	o := c.config.Service.described(key, resp)
	if err := o.check(); err != nil {
		return Object{}, false, c.operation(ctx, "look into", err)
	}
	return o, true, nil
}

// Get writes an object as it was listed. An error wraps ErrChanged where it is another by now.
func (c *Client) Get(ctx context.Context, o Object, to io.Writer) error {
	if err := c.get(ctx, o, to); err != nil {
		return c.operation(ctx, fmt.Sprintf("get object '%s' of", o.Key), err)
	}
	return nil
}

func (c *Client) get(ctx context.Context, o Object, to io.Writer) error {
	if o.Size > c.config.Limits.ObjectBytes {
		return &LimitError{fmt.Sprintf("the size of object %q", o.Key), c.config.Limits.ObjectBytes}
	}
	resp, err := c.do(ctx, func() (*http.Request, error) { return c.config.Service.object(ctx, http.MethodGet, o) })
	if refused, ok := errors.AsType[*Error](err); ok &&
		(refused.Status == http.StatusPreconditionFailed || refused.Status == http.StatusNotFound && refused.Code != codeNoSuchBucket) {
		return fmt.Errorf("%w: %w", ErrChanged, err)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close() // read to the end or given up
	if sent := c.config.Service.described(o.Key, resp); sent.version != "" && sent.version != o.version || resp.ContentLength >= 0 && resp.ContentLength != o.Size {
		return ErrChanged // a server that does not know the condition
	}
	n, err := io.Copy(to, transport.LimitReader(resp.Body, o.Size))
	if _, large := errors.AsType[*transport.TooLargeError](err); large || err == nil && n != o.Size {
		return ErrChanged
	}
	return err
}

// do sends a request and returns its answer, or a *Error. It tries again once when the service has learned something.
func (c *Client) do(ctx context.Context, make func() (*http.Request, error)) (*http.Response, error) {
	resp, err := c.send(ctx, make)
	if refused, ok := errors.AsType[*Error](err); ok && c.config.Service.learn(refused) {
		return c.send(ctx, make)
	}
	return resp, err
}

func (c *Client) send(ctx context.Context, make func() (*http.Request, error)) (*http.Response, error) {
	req, err := make()
	if err != nil {
		return nil, err
	}
	if err := c.config.Service.authorize(ctx, req); err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, transport.Cause(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()                                // given up
	body, _ := transport.ReadAll(resp.Body, maxErrorBytes) // what cannot be read tells no more than the status
	return nil, refusal(resp, resp.Header.Get("X-Ms-Error-Code"), body)
}
