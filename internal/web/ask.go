package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
)

// PageIn are the paging parameters of every list. (huma looks into exported embedded structs only; so here and below.)
type PageIn struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Items in a page."`
	Cursor string `query:"cursor" maxLength:"512" doc:"The \"next\" of the page before."`
}

func (p PageIn) paging() api.Paging { return api.Paging{Limit: p.Limit, Cursor: p.Cursor} }

// out is an answer with a body and nothing else.
type out[T any] struct{ Body T }

// ask puts a question to the role that answers it. A role that does not answer is a problem that names it.
func ask[Req, Resp any](ctx context.Context, s *Server, name string, req Req) (Resp, error) {
	return askWithin[Req, Resp](ctx, s, s.opt.AskTimeout, name, req)
}

func askWithin[Req, Resp any](ctx context.Context, s *Server, within time.Duration, name string, req Req) (Resp, error) {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	resp, err := bus.Request[Req, Resp](limited, s.opt.Bus, name, req)
	var p *api.Problem
	switch {
	case err == nil:
		return resp, nil
	case errors.As(err, &p) && (p.Status == http.StatusServiceUnavailable || p.Status == http.StatusGatewayTimeout):
		return resp, problem(http.StatusServiceUnavailable, fmt.Sprintf("the role %s does not answer: %s", roleOf(name), p.Detail))
	case p != nil:
		return resp, p
	case ctx.Err() != nil:
		return resp, problem(http.StatusRequestTimeout, "the request was given up") // by the client: nobody reads it
	}
	return resp, fmt.Errorf("asking the %s %q: %w", roleOf(name), name, err)
}

// roleOf is the role that answers a question.
func roleOf(name string) string {
	switch name {
	case api.QueryLocation, api.QueryRegistrationBudget:
		return "eeb"
	case api.QueryTargets, api.QueryTargetReplay:
		return "connect"
	}
	return "mdms"
}

// deadLetters reads them off the bus, which keeps them. The cursor is the sequence of the last one shown.
func (s *Server) deadLetters(ctx context.Context, p api.Paging) (api.Page[api.DeadLetter], error) {
	got := api.Page[api.DeadLetter]{Items: []api.DeadLetter{}}
	var before uint64
	if p.Cursor != "" {
		n, err := strconv.ParseUint(p.Cursor, 10, 64)
		if err != nil || n == 0 {
			return got, api.BadRequest("cursor", "%q is not from a page before", clip(p.Cursor))
		}
		before = n
	}
	limited, cancel := context.WithTimeout(ctx, s.opt.AskTimeout)
	defer cancel()
	letters, err := s.opt.Bus.DeadLetters(limited, p.Limit, before)
	if err != nil {
		return got, problem(http.StatusServiceUnavailable, fmt.Sprintf("the bus does not answer: %v", err))
	}
	for _, d := range letters {
		got.Items = append(got.Items, api.DeadLetter{ID: strconv.FormatUint(d.Sequence, 10), Topic: d.Topic, Reason: d.Reason, Detail: d.Detail, Said: api.RecogniseLetter(d.Detail),
			Client: d.Client, Received: d.Received, Size: d.Size, Payload: d.Payload})
	}
	if n := len(letters); n == p.Limit && letters[n-1].Sequence > 1 {
		got.Next = strconv.FormatUint(letters[n-1].Sequence, 10)
	}
	return got, nil
}

// page is ask for a list; a list without items is [], never null.
func page[Req, T any](ctx context.Context, s *Server, within time.Duration, name string, req Req) (*out[api.Page[T]], error) {
	got, err := askWithin[Req, api.Page[T]](ctx, s, within, name, req)
	if err != nil {
		return nil, s.asError(err)
	}
	if got.Items == nil {
		got.Items = []T{}
	}
	return &out[api.Page[T]]{Body: got}, nil
}

// slicePage is ask for a list that comes whole and is paged here. Items have a key that none shares, in the order of the list; the cursor is that
// of the last one shown.
func slicePage[Req, T any](ctx context.Context, s *Server, name string, req Req, p PageIn, key func(i int, item T) string) (*out[api.Page[T]], error) {
	got, err := ask[Req, api.Page[T]](ctx, s, name, req)
	if err != nil {
		return nil, s.asError(err)
	}
	from := 0
	for i, it := range got.Items {
		if p.Cursor != "" && key(i, it) == p.Cursor {
			from = i + 1
		}
	}
	if p.Cursor != "" && from == 0 {
		return nil, s.asError(api.BadRequest("cursor", "%q is not from a page before, or what it named is gone", clip(p.Cursor)))
	}
	to := min(len(got.Items), from+p.Limit)
	page := api.Page[T]{Items: append([]T{}, got.Items[from:to]...)}
	if to < len(got.Items) {
		page.Next = key(to-1, got.Items[to-1])
	}
	return &out[api.Page[T]]{Body: page}, nil
}

// one is ask for one thing.
func one[Req, T any](ctx context.Context, s *Server, within time.Duration, name string, req Req) (*out[T], error) {
	got, err := askWithin[Req, T](ctx, s, within, name, req)
	if err != nil {
		return nil, s.asError(err)
	}
	return &out[T]{Body: got}, nil
}
