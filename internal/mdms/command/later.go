package command

import (
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
)

// A command that is to go out later stands in no meter's queue until then, so that it holds nothing up; its place is behind
// what came before that moment, and its life begins with it:
//
//	queued, waiting ──start──> queued, in its meters' queues ──> as any command
//	                ──Cancel─> cancelled
//
// One that has to be approved waits for both. A centre that was away at the start begins it late, but never behind the start
// and its life together.

// holdUntil makes a command wait for its start.
func (e *Engine) holdUntil(c *control, start time.Time, lasts time.Duration) {
	c.waiting, c.start, c.lasts = true, start, lasts
	c.deadline = start.Add(lasts)
	c.end = c.deadline.Add(e.o.Grace)
	at, until := start.UTC(), c.deadline.UTC()
	c.doc.At, c.doc.Expires = &at, &until
	said := api.Say("command.at", "time", at.Format(time.RFC3339))
	c.doc.History[0].Detail, c.doc.History[0].Said = said.String(), said
}

// begin lets the commands go whose time has come. They go out once that is kept.
func (e *Engine) begin(now time.Time) {
	for len(e.starts) > 0 && e.starts[0].end <= e.ns(now) {
		c := e.commands[e.starts[0].id]
		e.starts.pop()
		if c == nil || c.open == 0 || !c.waiting || c.pending || !now.Before(c.deadline) {
			continue
		}
		c.waiting, c.kept = false, false
		c.since = now
		c.expiry = e.wireExpiry(c.deadline.Sub(now))
		e.outlived(c, c.devices(), now)
		e.lineUp(c)
		e.step(c, queued, now, api.Say("command.begins"))
	}
}

// checkStart reads when a command is to go out.
func (e *Engine) checkStart(p *plan) error {
	if p.req.At == nil {
		return nil
	}
	now := e.o.Wall()
	switch at := *p.req.At; {
	case p.req.Type == api.CommandGroups:
		return api.BadRequest("at", "a membership counts from now on: groups take no time")
	case at.Before(now):
		return api.BadRequest("at", "%s has passed, it is %s", at.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case at.After(now.Add(MaxExpiry)):
		return api.BadRequest("at", "%s is more than %d days ahead", at.UTC().Format(time.RFC3339), int(MaxExpiry/(24*time.Hour)))
	default:
		p.start = at
	}
	return nil
}

// devices are the meters that the command is for.
func (c *control) devices() []*cim.EndDevice {
	out := make([]*cim.EndDevice, len(c.members))
	for i := range c.members {
		out[i] = c.members[i].dev
	}
	return out
}
