package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/wattbus/wattbus/internal/api"
)

const (
	problemHeader  = "Wattbus-Problem" // the answer is a problem document
	timeoutHeader  = "Wattbus-Timeout" // how long the asker waits, in milliseconds
	requestTimeout = 10 * time.Second  // without a deadline
	serveLimit     = 64                // questions of one name at work at once; more wait
)

// Request asks the question name (api.Query…) and waits for the answer, until ctx's deadline or 10 s. A refusal, and that
// nobody answers, is an *api.Problem.
func Request[Req, Resp any](ctx context.Context, b *Bus, name string, req Req) (Resp, error) {
	var resp Resp
	data, err := json.Marshal(req)
	if err != nil {
		return resp, fmt.Errorf("bus: encode question %s: %w", name, err)
	}
	wait := requestTimeout
	if d, ok := ctx.Deadline(); ok {
		wait = time.Until(d)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	q := nats.NewMsg(querySubjects + name)
	q.Data = data
	q.Header.Set(timeoutHeader, strconv.FormatInt(max(wait.Milliseconds(), 1), 10))
	m, err := b.nc.RequestMsgWithContext(ctx, q)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return resp, &api.Problem{Title: "Unavailable", Status: 503, Detail: "no role answers " + name + " at the moment"}
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout):
		return resp, &api.Problem{Title: "No answer", Status: 504, Detail: fmt.Sprintf("%s was not answered within %v", name, wait.Round(time.Millisecond))}
	case errors.Is(err, context.Canceled):
		return resp, err
	case !b.nc.IsConnected():
		return resp, &api.Problem{Title: "Unavailable", Status: 503, Detail: "the bus cannot be reached; " + name + " was not asked"}
	case err != nil:
		return resp, &api.Problem{Title: "Unavailable", Status: 503, Detail: fmt.Sprintf("%s could not be asked: %v", name, err)}
	}
	if m.Header.Get(problemHeader) != "" {
		var p api.Problem
		if err := json.Unmarshal(m.Data, &p); err != nil {
			return resp, fmt.Errorf("bus: decode the refusal of %s: %w", name, err)
		}
		return resp, &p
	}
	if err := json.Unmarshal(m.Data, &resp); err != nil {
		return resp, fmt.Errorf("bus: decode the answer to %s: %w", name, err)
	}
	return resp, nil
}

// Serve answers the question name with f, up to 64 at a time. Processes that serve the same name share the questions. f's
// ctx ends when the asker gives up, and when stop is called. An error that is an *api.Problem goes to the asker as it is,
// any other as status 500 without its text, which is logged. stop returns when the last f has; do not call it in f.
func Serve[Req, Resp any](b *Bus, name string, f func(context.Context, Req) (Resp, error)) (stop func(), err error) {
	base, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	places := make(chan struct{}, serveLimit)
	s, err := b.subscribe(querySubjects+name, "wattbus", func(m *nats.Msg) {
		places <- struct{}{}
		wg.Add(1)
		b.work.Go(func() {
			defer func() { <-places; wg.Done() }()
			ctx, cancel := context.WithTimeout(base, asked(m))
			defer cancel()
			b.reply(m, name, answerTo(ctx, b, name, m.Data, f))
		})
	})
	if err != nil {
		cancel()
		return nil, err
	}
	return func() {
		b.unsubscribe(s)
		cancel()
		wg.Wait()
	}, nil
}

func asked(m *nats.Msg) time.Duration {
	ms, err := strconv.ParseInt(m.Header.Get(timeoutHeader), 10, 64)
	if err != nil || ms <= 0 || ms > time.Hour.Milliseconds() {
		return requestTimeout
	}
	return time.Duration(ms) * time.Millisecond
}

// answerTo returns an answer or a *api.Problem.
func answerTo[Req, Resp any](ctx context.Context, b *Bus, name string, data []byte, f func(context.Context, Req) (Resp, error)) (answer any) {
	defer func() {
		if r := recover(); r != nil {
			b.log.Error("answering a question failed", "name", name, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			answer = &api.Problem{Title: "Internal error", Status: 500, Detail: name + " failed; see the log"}
		}
	}()
	var req Req
	if err := json.Unmarshal(data, &req); err != nil {
		return api.BadRequest("", "%s: %v", name, err)
	}
	resp, err := f(ctx, req)
	var p *api.Problem
	switch {
	case errors.As(err, &p):
		return p
	case err != nil && ctx.Err() != nil:
		return &api.Problem{Title: "No answer", Status: 504, Detail: name + " took too long"}
	case err != nil:
		b.log.Error("answering a question failed", "name", name, "error", err)
		return &api.Problem{Title: "Internal error", Status: 500, Detail: name + " failed; see the log"}
	}
	return resp
}

func (b *Bus) reply(q *nats.Msg, name string, answer any) {
	if q.Reply == "" {
		return
	}
	p, refused := answer.(*api.Problem)
	data, err := json.Marshal(answer)
	if err == nil && len(data) > MaxMessage-1024 {
		err = fmt.Errorf("answer of %d bytes, want at most %d", len(data), MaxMessage-1024)
	}
	if err != nil {
		b.log.Error("answering a question failed", "name", name, "error", err)
		p, refused = &api.Problem{Title: "Internal error", Status: 500, Detail: name + ": " + err.Error()}, true
		data, _ = json.Marshal(p) // a Problem always encodes
	}
	m := nats.NewMsg(q.Reply)
	m.Data = data
	result := "ok"
	if refused {
		m.Header.Set(problemHeader, "1")
		result = strconv.Itoa(p.Status)
	}
	b.m.requests.WithLabelValues(name, result).Inc()
	if err := b.nc.PublishMsg(m); err != nil {
		b.log.Warn("answer could not be sent", "name", name, "error", err)
	}
}
