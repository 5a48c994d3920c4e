package command

import (
	"fmt"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
)

// Answer says what a result was to the engine.
type Answer uint8

// The answers of OnResult.
const (
	NotOurs  Answer = iota // the id is none of a command here: a backfill request, or one that ended long ago
	Applied                // the device's first word on the command: the breaker position in it is news
	Repeated               // said before, or not believed: a breaker position in it may be old
)

// OnResult takes a device's result.
func (e *Engine) OnResult(dev *cim.EndDevice, r record.Result) Answer {
	e.stats.Results++
	c := e.commands[r.Command]
	if c == nil {
		e.stats.Unknown++
		e.staleGroups(dev, &r)
		return NotOurs
	}
	now := e.o.Wall()
	m := e.member(c, dev)
	switch {
	case m == nil:
		return e.afterwards(c, dev, &r, now)
	case r.Opcode != c.op:
		e.stats.Mismatched++
		e.log.Warn("result with another opcode than its command", "command", c.id, "device", dev.ID, "opcode", uint8(r.Opcode), "want", uint8(c.op))
		return Repeated
	case r.Outcome == record.Delivered:
		if m.state == delivered || c.settling != nil {
			e.stats.Duplicates++
			return Repeated
		}
		e.stats.Delivered++
		e.move(m, delivered)
		m.due = 0 // Outcome 5 stops the repeats, not the expiry.
		if !c.bulk {
			e.step(c, delivered, now, nil)
		}
		e.touch(c)
		return Applied
	case c.settling != nil:
		e.stats.Duplicates++
		return Repeated
	case r.Outcome == record.Done && c.extra != nil && !c.extra.complete(c.op, r.Detail):
		// The readings come before the result on the same way, so they are lost or late: the meter sends them again when
		// asked again.
		c.settling = &r
		m.tries = 0
		if e.queues.of(dev)[0] != m {
			return Applied // it went out before a restart that did not know; its turn comes
		}
		if m.due == 0 || e.ns(now.Add(FirstRepeat)) < m.due {
			e.plan(m, now.Add(FirstRepeat))
		}
		return Applied
	}
	e.finish(m, &r, now)
	return Applied
}

// member finds the device's unfinished part in c.
func (e *Engine) member(c *control, dev *cim.EndDevice) *member {
	for _, m := range e.queues.of(dev) {
		if m.c == c {
			return m
		}
	}
	return nil
}

// afterwards takes a result for which nothing waits.
func (e *Engine) afterwards(c *control, dev *cim.EndDevice, r *record.Result, now time.Time) Answer {
	e.staleGroups(dev, r)
	if c.bulk {
		e.stats.Duplicates++
		return Repeated
	}
	if c.members[0].dev != dev {
		e.stats.Foreign++
		e.log.Warn("result from a device that the command was not for", "command", c.id, "device", dev.ID, "target", c.members[0].dev.ID)
		return Repeated
	}
	if c.doc.Result != nil || r.Outcome == record.Delivered || r.Opcode != c.op {
		e.stats.Duplicates++
		return Repeated
	}
	// It expired or was cancelled here, and the meter had it all the same: the state stays, what happened is told.
	e.stats.Late++
	c.doc.Result = result(r)
	c.doc.History = append(c.doc.History, api.NewTransition(c.doc.State, now, api.Say("command.late", "outcome", r.Outcome)))
	e.note(c, "late-result", "", "", transition{State: c.doc.State, Result: c.doc.Result})
	e.touch(c)
	return Applied
}

// finish ends a member by a result.
func (e *Engine) finish(m *member, r *record.Result, now time.Time) {
	c := m.c
	st := failed
	switch r.Outcome {
	case record.Done:
		st = done
	case record.Refused, record.NotSupported:
		st = refused
	case record.Expired:
		st = expired
	}
	if !c.bulk {
		c.doc.Result = result(r)
		if c.extra != nil {
			e.attach(c, r)
		}
	}
	if c.op == record.OpGroups && st == done {
		e.confirm(m.dev, c)
	}
	e.noteMember(m, st, r)
	var seen *record.Reading
	if c.verifies != 0 && c.extra != nil && st == done {
		seen = c.extra.reading(r.Detail)
	}
	e.leave(m, st, now)
	e.touch(c)
	if c.open == 0 {
		var said *api.Said
		if !c.bulk {
			said = c.doc.Result.Said
		}
		c.seen = seen
		e.conclude(c, st, now, said)
	}
	if st == done && effect(c.op) == "breaker" {
		e.verify(c, m.dev)
	}
}

// settle ends a read or profile whose result came, with the readings that came.
func (e *Engine) settle(c *control, now time.Time) {
	r := c.settling
	c.settling = nil
	e.finish(&c.members[0], r, now)
}

// conclude ends a command whose members have all ended, the last of them as st.
func (e *Engine) conclude(c *control, st state, now time.Time, said *api.Said) {
	if c.bulk && st != cancelled && said == nil {
		st, said = c.sum()
	}
	e.step(c, st, now, said)
	if c.verifies != 0 {
		e.checked(c, c.seen, now)
		c.seen = nil
	}
	if c.extra != nil {
		e.values -= c.extra.values
		c.extra = nil
	}
	c.payload = nil
	e.finished = append(e.finished, c.id)
	if c.doc.Result != nil {
		e.readings += len(c.doc.Result.Readings)
	}
}

// total is how many meters the command is or was for; after a restart members holds the unfinished ones only.
func (c *control) total() (n int) {
	for _, k := range c.counts {
		n += k
	}
	return n
}

// sum is the state of a bulk command whose members have all answered.
func (c *control) sum() (state, *api.Said) {
	all := c.total()
	if c.counts[done] == all {
		return done, nil
	}
	var parts []string
	for st := refused; st < states; st++ {
		if n := c.counts[st]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, st))
		}
	}
	st := failed
	switch took := c.counts[cancelled]; { // by a later command
	case c.counts[done] > 0 && c.counts[done]+took == all:
		st = done
	case c.counts[done]+c.counts[expired] > 0 && c.counts[done]+c.counts[expired]+took == all:
		st = expired
	}
	return st, api.Say("command.sum", "all", all, "states", strings.Join(parts, ", "))
}

func result(r *record.Result) *api.CommandResult {
	out := &api.CommandResult{Outcome: r.Outcome.String(), Detail: r.Detail, Time: time.Unix(int64(r.Time), 0).UTC(), Said: why(r)}
	if r.Breaker != record.BreakerNone {
		out.Breaker = r.Breaker.String()
	}
	out.Reason = out.Said.String()
	return out
}

// Reason is why a meter did not carry out a command, as one of few words; "" where it did.
func Reason(r *record.Result) string {
	said := why(r)
	if said == nil {
		return ""
	}
	return strings.TrimPrefix(said.Code, "result.")
}

func why(r *record.Result) *api.Said {
	switch {
	case r.Outcome == record.NotSupported && r.Opcode == record.OpReconnect && r.Breaker != record.BreakerNone:
		return api.Say("result.no-arming")
	case r.Outcome == record.NotSupported:
		return api.Say("result.unsupported")
	case r.Outcome == record.Expired:
		return api.Say("result.expired")
	case r.Outcome == record.Refused && r.Detail == record.DetailClock:
		return api.Say("result.clock")
	case r.Outcome == record.Refused && r.Detail == record.DetailNoExpiry:
		return api.Say("result.no-expiry")
	case r.Outcome == record.Refused && r.Detail == record.DetailSpent:
		return api.Say("result.spent")
	case r.Outcome == record.Refused && r.Detail == record.DetailMode:
		return api.Say("result.mode")
	case r.Outcome == record.Refused && r.Detail == record.DetailImage:
		return api.Say("result.image")
	case r.Outcome == record.Refused && r.Detail == record.DetailValue:
		return api.Say("result.value")
	case r.Outcome == record.Failed && r.Detail == record.DetailUnfinished:
		return api.Say("result.unfinished")
	case r.Outcome == record.Failed && r.Detail == 0:
		return api.Say("result.failed")
	case r.Outcome == record.Refused || r.Outcome == record.Failed:
		return api.Say("result.detail", "n", r.Detail)
	}
	return nil
}
