package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
)

// The properties of requests and answers; JMS can have them as names.
const (
	tokenProperty  = "wattbus_token"
	keyProperty    = "wattbus_key"
	statusProperty = "wattbus_status"
)

// Commands are the settings of a target that also sends commands.
type Commands struct {
	Address string `yaml:"address"` // where requests come from
	Window  int    `yaml:"window"`  // commands under way at once; default 100
}

// Tokens finds whose token it is; nil: nobody's.
type Tokens interface {
	Find(token string) *api.Principal
}

// source is where requests come from.
type source interface {
	// receive connects, calls ready, and then handle for every request, until ctx ends or the connection does. window is how many
	// are under way at most: handle waits for room. What is not done by then comes again.
	receive(ctx context.Context, window int, ready func(), handle func(*request)) error
}

// request is a message that asks for a command.
type request struct {
	id    string // of the message: one that comes again has the same
	key   string // the asker's own, in its place; "" for none
	token string
	body  []byte
	wrong string // what its body is instead of text; "" for nothing
	// answer sends an answer to where the asker wants it; nil: nowhere.
	answer func(ctx context.Context, status, contentType string, body []byte) error
	// done takes the message off the other side's hands.
	done func(ctx context.Context) error
}

// maxRequest is the largest request, in bytes.
const maxRequest = 1 << 20

// commander turns requests of one target into commands.
//
//	request ──> token, rights, form ──refused──> answer, dead letter, done
//	                  └──> command, once for each key ──> its end ──> answer ──> done
//
// A request is taken off the other side's hands when its answer is sent. Whatever ends before makes it come again: then its key finds
// the command that there is, which is waited for and answered.
type commander struct {
	spec   Spec
	source source
	tokens Tokens
	bus    *bus.Bus
	log    *slog.Logger
	m      *metrics
	status *runner // of the same target
}

func newCommander(s Spec, d *deps, b *bus.Bus, m *metrics, status *runner) (*commander, error) {
	src, err := kinds[s.Type].source(&s, d)
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", s.Name, err)
	}
	return &commander{spec: s, source: src, tokens: d.tokens, bus: b, m: m, status: status, log: d.log.With("target", s.Name)}, nil
}

// run takes requests until ctx ends, and returns when all that are under way have been given up.
func (c *commander) run(ctx context.Context) {
	wait := minWait
	for ctx.Err() == nil {
		err := c.round(ctx, func() {
			wait = minWait
			c.status.tellCommands(api.TargetConnected, nil)
			c.log.Info("commands are taken from target", "address", c.spec.Commands.Address)
		})
		if ctx.Err() != nil {
			return
		}
		c.m.failures.WithLabelValues(c.spec.Name).Inc()
		if c.status.tellCommands(api.TargetWaiting, err) {
			c.log.Warn("no commands from target; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait/2 + rand.N(wait/2+1)):
			wait = min(2*wait, maxWait)
		}
	}
}

func (c *commander) round(ctx context.Context, ready func()) error {
	ctx, cancel := context.WithCancel(ctx)
	places := make(chan struct{}, c.spec.Commands.Window)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	return c.source.receive(ctx, c.spec.Commands.Window, ready, func(q *request) {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		wg.Go(func() {
			defer func() { <-places }()
			c.handle(ctx, q)
		})
	})
}

// handle sees a request through.
func (c *commander) handle(ctx context.Context, q *request) {
	cmd, err := c.create(ctx, q)
	if err == nil {
		cmd, err = c.await(ctx, cmd)
	}
	if ctx.Err() != nil {
		return // it comes again
	}
	refused := err != nil
	status, ct, body, err := render(cmd, err)
	if err != nil {
		c.log.Error("request not answered", "error", err)
		return
	}
	c.m.commands.WithLabelValues(c.spec.Name, status).Inc()
	c.status.counted(refused)
	if q.answer != nil {
		if err := q.answer(ctx, status, ct, body); err != nil {
			if ctx.Err() != nil {
				return
			}
			// Nobody is there to hear it; what was asked for is done all the same.
			c.log.Warn("answer not delivered", "command", cmd.ID, "error", err)
		}
	}
	if err := q.done(ctx); err != nil && ctx.Err() == nil {
		c.log.Warn("request not acknowledged, it will come again", "command", cmd.ID, "error", err)
	}
}

func render(cmd api.Command, err error) (status, contentType string, body []byte, _ error) {
	var p *api.Problem
	var doc any = cmd
	status, contentType = cmd.State, dataType
	if err != nil {
		if !errors.As(err, &p) {
			p = &api.Problem{Title: "Internal error", Status: 500, Detail: "the request could not be carried out; the server's log says why"}
		}
		status, contentType, doc = strconv.Itoa(p.Status), "application/problem+json", p
	}
	body, err = json.Marshal(doc)
	return status, contentType, body, err
}

// create checks a request as the API does, and makes the command or finds the one that it made before.
func (c *commander) create(ctx context.Context, q *request) (api.Command, error) {
	r, p := c.check(q)
	if p != nil {
		c.bury(ctx, q, p)
		return api.Command{}, p
	}
	for wait := minWait; ; wait = min(2*wait, maxWait) {
		cmd, err := bus.Request[api.CommandRequest, api.Command](ctx, c.bus, api.QueryCommandCreate, r)
		if !unavailable(err) {
			if errors.As(err, &p) && p.Status < 500 {
				c.bury(ctx, q, p)
			}
			return cmd, err
		}
		select { // the key keeps it from being made twice
		case <-ctx.Done():
			return cmd, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// bury keeps a request that was refused.
func (c *commander) bury(ctx context.Context, q *request, p *api.Problem) {
	c.log.Warn("request refused", "why", p.Error())
	letter := bus.DeadLetter{Topic: "target/" + c.spec.Name + "/commands", Reason: "command", Detail: p.Error(), Received: time.Now().UTC(), Payload: q.body}
	if err := c.bus.PublishDead(ctx, letter); err != nil {
		c.log.Warn("request that was refused is not kept", "error", err)
	}
}

func unavailable(err error) bool {
	var p *api.Problem
	return errors.As(err, &p) && (p.Status == 503 || p.Status == 504 || p.Status == 429)
}

func (c *commander) check(q *request) (r api.CommandRequest, p *api.Problem) {
	who := c.tokens.Find(q.token)
	switch {
	case q.token == "":
		return r, &api.Problem{Title: "Unauthorized", Status: 401, Detail: "the message has no property " + tokenProperty}
	case who == nil:
		return r, &api.Problem{Title: "Unauthorized", Status: 401, Detail: "the property " + tokenProperty + " is nobody's token"}
	case !who.May(api.RightOperate):
		return r, &api.Problem{Title: "Forbidden", Status: 403, Detail: fmt.Sprintf("%s may not do this: it needs the right %q", who.Name, api.RightOperate)}
	case q.wrong != "":
		return r, api.BadRequest("", "the message's body is %s, want JSON as of POST /v1/commands, as text", q.wrong)
	case len(q.body) == 0 || len(q.body) > maxRequest:
		return r, api.BadRequest("", "the message has %d bytes, want JSON as of POST /v1/commands, at most %d", len(q.body), maxRequest)
	}
	key := q.key
	if key == "" {
		key = q.id
	}
	if key == "" || len(key) > 200 {
		return r, api.BadRequest(keyProperty, "want this property, or an id of the message, of 1 to 200 bytes: it keeps a message that comes twice from being carried out twice")
	}
	if r, p = parse(q.body); p != nil {
		return r, p
	}
	r.By, r.Key = who.Name, c.spec.Name+"/"+key
	return r, nil
}

// await returns the command when it has ended.
func (c *commander) await(ctx context.Context, cmd api.Command) (api.Command, error) {
	for wait := 20 * time.Millisecond; !api.Finished(cmd.State); wait = min(2*wait, time.Second) {
		select {
		case <-ctx.Done():
			return cmd, ctx.Err()
		case <-time.After(wait):
		}
		got, err := bus.Request[api.ByID, api.Command](ctx, c.bus, api.QueryCommand, api.ByID{ID: cmd.ID})
		switch {
		case err == nil:
			cmd = got
		case ctx.Err() != nil || !unavailable(err):
			return cmd, err
		}
	}
	return cmd, nil
}
