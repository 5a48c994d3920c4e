package apiclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// Options say where the centre is.
type Options struct {
	Server string       // http://host:port, or https
	Token  string       // shown as bearer token, if not empty
	TLS    *tls.Config  // for https; nil trusts the machine's authorities
	HTTP   *http.Client // default: one of its own, without an overall time limit
}

// Client calls the HTTP API of one centre. It is safe for concurrent use.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// ErrNoAnswer is in every error of a centre that cannot be reached.
var ErrNoAnswer = errors.New("no answer from the centre")

// maxAnswer bounds an answer that is no stream, maxRefusal one that says no: of an import it tells up to 10,000 lines. Both are bytes.
const (
	maxAnswer  = 256 << 20
	maxRefusal = 16 << 20
)

// New makes a client and contacts nobody. Its error names what is wrong with the server's address.
func New(opt Options) (*Client, error) {
	u, err := url.Parse(opt.Server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("server %q: want an address such as http://127.0.0.1:8080", opt.Server)
	}
	if u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("server %q: want only scheme, host, port and perhaps a path", u.Redacted())
	}
	c := &Client{base: strings.TrimSuffix(u.String(), "/"), token: opt.Token, http: opt.HTTP}
	if c.http == nil {
		c.http = &http.Client{Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:       opt.TLS,
			ForceAttemptHTTP2:     true,
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: 90 * time.Second, // longer than the server lets a request wait
			MaxIdleConnsPerHost:   4,
			IdleConnTimeout:       time.Minute,
			ReadBufferSize:        trailerBytes, // which has to hold all trailers of an answer
		}}
	}
	return c, nil
}

// Close gives back idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// request makes a request; body is sent as JSON unless it is nil.
func (c *Client) request(ctx context.Context, method, path string, query url.Values, body any) (*http.Request, error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	var text io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("%s %s: encoding the request: %w", method, path, err)
		}
		text = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, text)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

const (
	busyTries = 5                // of a request that is one too many
	busyMost  = 30 * time.Second // that one is waited with
)

// send sends a request; an answer that is no success comes back as *api.Problem. The caller closes the answer's body. A request that is one too
// many is sent again when the centre says so.
func (c *Client) send(req *http.Request) (*http.Response, error) {
	for try := 1; ; try++ {
		resp, err := c.sendOnce(req)
		var busy *busyError
		if !errors.As(err, &busy) {
			return resp, err
		}
		if try == busyTries || busy.wait > busyMost || req.Body != nil && req.GetBody == nil {
			return nil, busy.problem
		}
		select {
		case <-req.Context().Done():
			return nil, req.Context().Err()
		case <-time.After(busy.wait):
		}
		if req.GetBody != nil {
			if req.Body, err = req.GetBody(); err != nil {
				return nil, err
			}
		}
	}
}

// busyError is the refusal of a request that is one too many, and how long the centre wants one to wait.
type busyError struct {
	problem *api.Problem
	wait    time.Duration
}

func (e *busyError) Error() string { return e.problem.Error() }

func (c *Client) sendOnce(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		if cerr := req.Context().Err(); cerr != nil {
			return nil, cerr
		}
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // it repeats the address
		}
		return nil, fmt.Errorf("%w at %s: %w", ErrNoAnswer, c.base, err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	p := problemOf(resp)
	if wait, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && wait >= 0 && p.Status == http.StatusTooManyRequests {
		return nil, &busyError{problem: p, wait: time.Duration(min(wait, 86400)) * time.Second}
	}
	return nil, p
}

// problemOf reads a refusal. What stands between client and centre may refuse too, in words of its own.
func problemOf(resp *http.Response) *api.Problem {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // what came is better than nothing
	p := &api.Problem{}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if strings.HasSuffix(kind, "json") && json.Unmarshal(text, p) == nil && p.Title != "" {
		if p.Status == 0 {
			p.Status = resp.StatusCode
		}
		return p
	}
	return &api.Problem{Title: resp.Status, Status: resp.StatusCode, Detail: strings.TrimSpace(string(text[:min(len(text), 200)]))}
}

// call sends a request and reads its JSON answer.
func call[T any](c *Client, req *http.Request) (T, http.Header, error) {
	var got T
	resp, err := c.send(req)
	if err != nil {
		return got, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	dec := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer))
	if err := dec.Decode(&got); err != nil {
		if cerr := req.Context().Err(); cerr != nil {
			return got, nil, cerr
		}
		return got, nil, fmt.Errorf("%s %s: reading the answer: %w", req.Method, req.URL.Path, err)
	}
	_, _ = io.Copy(io.Discard, resp.Body) // the line's end, so that the connection can be used again
	return got, resp.Header, nil
}

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	req, err := c.request(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		var none T
		return none, err
	}
	got, _, err := call[T](c, req)
	return got, err
}

func send[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	req, err := c.request(ctx, method, path, nil, body)
	if err != nil {
		var none T
		return none, err
	}
	got, _, err := call[T](c, req)
	return got, err
}

// pageSize is how many items are asked for at once.
const pageSize = 1000

// pages collects up to limit items of a list, 0: all.
func pages[T any](ctx context.Context, c *Client, path string, query url.Values, limit int) ([]T, error) {
	items := []T{}
	cursor := ""
	for {
		q := url.Values{}
		for k, v := range query {
			q[k] = v
		}
		size := pageSize
		if limit > 0 {
			size = min(size, limit-len(items))
		}
		q.Set("limit", fmt.Sprint(size))
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		got, err := get[api.Page[T]](ctx, c, path, q)
		if err != nil {
			return items, err
		}
		items = append(items, got.Items...)
		if got.Next == "" || limit > 0 && len(items) >= limit {
			return items, nil
		}
		if got.Next == cursor {
			return items, fmt.Errorf("GET %s: the page after %q is itself", path, cursor)
		}
		cursor = got.Next
	}
}
