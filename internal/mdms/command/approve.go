package command

import (
	"context"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
)

// A disconnection of many meters, or of protected ones, waits until somebody else has approved it:
//
//	pending-approval ──Decide, by another──> queued, and on as any command
//	                 ──rejected, Cancel────> cancelled
//	                 ──ApproveWithin───────> expired
//
// Its meters are those of the time when it was asked for, for they are what the other one sees; its life begins with the
// approval. Until then it stands in no meter's queue, so that it holds nothing up.

// quotaSpan is over how long one person's disconnections are added up: many small ones are a large one.
const quotaSpan = time.Hour

// cut is how many meters somebody disconnected in a minute without approval.
type cut struct {
	minute time.Time
	meters int
}

// recent adds up what somebody disconnected lately without approval. At most 61 entries a person are kept.
func (e *Engine) recent(by string, now time.Time) (n int) {
	cuts := e.cuts[by]
	for len(cuts) > 0 && now.Sub(cuts[0].minute) >= quotaSpan {
		cuts = cuts[1:]
	}
	if len(cuts) == 0 {
		delete(e.cuts, by)
		return 0
	}
	e.cuts[by] = cuts
	for _, c := range cuts {
		n += c.meters
	}
	return n
}

func (e *Engine) cutOff(by string, meters int, at time.Time) {
	minute := at.Truncate(time.Minute)
	cuts := e.cuts[by]
	if last := len(cuts) - 1; last >= 0 && !cuts[last].minute.Before(minute) {
		cuts[last].meters += meters
		return
	}
	e.cuts[by] = append(cuts, cut{minute, meters})
}

// notCutOff takes back what cutOff counted for a meter whose disconnection ended without having gone out. What is from before a restart
// stays counted: it may have gone out right before that.
func (e *Engine) notCutOff(m *member) {
	c := m.c
	if c.op != record.OpDisconnect || c.doc.Approval != nil || m.restored || m.started() {
		return
	}
	minute := c.doc.Created.Truncate(time.Minute)
	for i, cut := range e.cuts[c.doc.By] {
		if !cut.minute.Before(minute) {
			e.cuts[c.doc.By][i].meters = max(cut.meters-1, 0)
			return
		}
	}
}

// approval says why a command has to be approved by somebody else, nil if it need not.
func (e *Engine) approval(p *plan, now time.Time) *api.Said {
	if p.op != record.OpDisconnect {
		return nil
	}
	if e.o.Protected != nil {
		f := p.found
		if f == nil {
			f = &Found{devices: p.devices}
		}
		if !f.looked {
			f.protect(e.o.Protected)
		}
		switch n, first := f.protected, f.first; {
		case n == 1:
			return api.Say("approval.protected", "meter", first)
		case n > 1:
			return api.Say("approval.protected-many", "n", n, "meter", first)
		}
	}
	if e.o.ApproveFrom < 0 {
		return nil
	}
	before := e.recent(p.req.By, now)
	switch n := len(p.devices); {
	case n > 0 && e.o.ApproveFrom == 1:
		return api.Say("approval.always")
	case n >= e.o.ApproveFrom:
		return api.Say("approval.many", "n", n, "from", e.o.ApproveFrom)
	case n+before >= e.o.ApproveFrom:
		return api.Say("approval.quota", "before", before, "who", p.req.By, "n", n+before, "from", e.o.ApproveFrom)
	}
	return nil
}

// holdBack makes a command wait for its approval.
func (e *Engine) holdBack(c *control, why *api.Said, lasts time.Duration, now time.Time) {
	c.pending, c.lasts = true, lasts
	c.deadline = now.Add(e.o.ApproveWithin)
	if last := c.start.Add(lasts); c.waiting && last.Before(c.deadline) {
		c.deadline = last
	}
	c.end = c.deadline
	until := c.deadline.UTC()
	c.doc.Expires = &until
	c.doc.State = api.CommandPendingApproval
	c.doc.Approval = &api.Approval{Why: why.String(), Said: why}
	c.doc.History[0].State, c.doc.History[0].Detail, c.doc.History[0].Said = c.doc.State, why.String(), why
}

// Decide approves or rejects a command that waits for it. Errors are *api.Problem: 404, 409 for a command that does not
// wait, or for who approves what he asked for himself.
func (e *Engine) Decide(d api.CommandDecision) (api.Command, error) {
	id, err := ParseID(d.ID)
	if err != nil {
		return api.Command{}, err
	}
	if len(d.Comment) > 1000 {
		return api.Command{}, api.BadRequest("comment", "%d bytes, want at most 1000", len(d.Comment))
	}
	c, ok := e.commands[id]
	if !ok {
		got, err := e.Get(id)
		if err != nil {
			return api.Command{}, err
		}
		return got, conflict(got)
	}
	if !c.pending || c.open == 0 {
		return e.view(c), api.Conflict("command %s does not wait for approval: it is %s", c.doc.ID, c.doc.State)
	}
	if d.Approve && d.By == c.doc.By {
		return e.view(c), api.Conflict("command %s was asked for by %s, too: another person has to approve it, with a token of that person's own", c.doc.ID, d.By)
	}
	now := e.o.Wall()
	at := now.UTC()
	c.doc.Approval.By, c.doc.Approval.Time, c.doc.Approval.Comment = d.By, &at, d.Comment
	if !d.Approve {
		c.doc.Approval.Rejected = true
		e.note(c, "reject", d.By, "", transition{Meters: c.open, Comment: d.Comment})
		e.finishRest(c, cancelled, now, api.Say("command.rejected", "who", d.By))
		return e.view(c), nil
	}
	e.note(c, "approve", d.By, "", transition{Meters: c.open, Comment: d.Comment})
	c.pending, c.kept = false, false // it goes out once this is kept
	c.expiry = e.wireExpiry(c.lasts)
	c.deadline = now.Add(c.lasts)
	until := c.deadline.UTC()
	c.doc.Expires = &until
	c.broadcast = false // it is for those it was approved for, not for whoever is below the path, or in the group, by now
	if c.waiting {
		c.deadline = c.start.Add(c.lasts)
		until := c.deadline.UTC()
		c.doc.Expires = &until
		e.starts.push(expiry{e.ns(c.start), c.id})
		e.step(c, queued, now, api.Say("command.approved-later", "who", d.By, "wait", c.start.Sub(now).Round(time.Second)))
	} else {
		c.since = now
		e.lineUp(c)
		e.step(c, queued, now, api.Say("command.approved", "who", d.By))
	}
	e.ends(c, c.deadline.Add(e.o.Grace))
	return e.view(c), nil
}

// restoreCuts takes over what was disconnected before the restart: what the budgets and the quotas have lost by it.
func (e *Engine) restoreCuts(now time.Time) {
	if e.o.Reader == nil {
		return
	}
	old, err := e.o.Reader.Commands(context.Background(), store.CommandQuery{Limit: maxPage, Asked: true})
	if err != nil {
		e.log.Warn("disconnections before the restart are not known", "error", err)
		return
	}
	for i := len(old) - 1; i >= 0; i-- { // oldest first
		c, err := Decode(old[i])
		if err != nil || c.Type != api.CommandDisconnect {
			continue
		}
		if now := e.commands[old[i].ID]; now != nil { // with what the trail knew
			c = e.view(now)
		}
		if c.Sends == 0 {
			if old[i].Open && c.Approval == nil && now.Sub(c.Created) < quotaSpan { // it will go out, and is counted as of when it was asked for
				n := 1
				if c.Bulk != nil {
					n = c.Bulk.Total
				}
				e.cutOff(c.By, n, c.Created)
			}
			continue
		}
		n, last := 1, now // when it was sent last is not kept: an open one counts as of now
		if !old[i].Open {
			last = c.History[len(c.History)-1].Time
		}
		if c.Bulk != nil {
			n = c.Bulk.Total - c.Bulk.States[api.CommandQueued]
		}
		for k := range e.budgets {
			if e.told {
				break // it was kept to the meter
			}
			if b := &e.budgets[k]; now.Sub(last) < b.Per {
				b.left = max(b.left-float64(n), 0)
			}
		}
		if c.Approval == nil && now.Sub(c.Created) < quotaSpan {
			e.cutOff(c.By, n, c.Created)
		}
	}
}
