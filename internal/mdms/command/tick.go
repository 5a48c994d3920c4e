package command

import (
	"maps"
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

// maxSingles bounds the sends to single meters in one Tick, so that the loop stays responsive.
const maxSingles = 5_000

// Tick does what is due at the wall time now: expiries first, then sends. It returns when it wants to be called next, the
// zero time for not before something else happens. Calling it more often does no harm.
func (e *Engine) Tick(now time.Time) (next time.Time) {
	for c := e.nextExpiry(); c != nil && !now.Before(c.end); c = e.nextExpiry() {
		e.expire(c, now)
	}
	e.begin(now)
	e.reissue(now)
	e.broadcasts(now)
	e.goOn(now)
	at := e.ns(now)
	n := 0
	for m := due(&e.single); m != nil && m.due <= at; m = due(&e.single) {
		if n++; n > maxSingles {
			return now
		}
		e.single.pop()
		e.send(m, now)
	}
	if now.Sub(e.pace.since) >= e.o.PaceEvery || now.Before(e.pace.since) {
		e.pace.since, e.pace.used = now, 0
	}
	for p := range slices.Backward(e.paced[:]) {
		paced := &e.paced[p]
		for m := due(paced); m != nil && m.due <= at && e.pace.used < e.o.Pace; m = due(paced) {
			paced.pop()
			if e.send(m, now) {
				e.pace.used++
			}
		}
	}
	return e.next(now)
}

func (e *Engine) next(now time.Time) (next time.Time) {
	sooner := func(t time.Time) {
		if t.Before(now) {
			t = now
		}
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if m := due(&e.single); m != nil {
		sooner(e.wall(m.due))
	}
	for p := range e.paced {
		if m := due(&e.paced[p]); m != nil {
			t := e.wall(m.due)
			if more := e.pace.since.Add(e.o.PaceEvery); e.pace.used >= e.o.Pace && more.After(t) {
				t = more
			}
			sooner(t)
		}
	}
	if len(e.starts) > 0 {
		sooner(e.wall(e.starts[0].end))
	}
	if c := e.nextExpiry(); c != nil {
		sooner(c.end)
	}
	for _, c := range e.fresh {
		sooner(c.retry)
	}
	if !e.flush.IsZero() {
		sooner(e.flush)
	}
	if len(e.going) > 0 {
		sooner(now)
	}
	return next
}

func (e *Engine) expire(c *control, now time.Time) {
	if c.settling != nil {
		e.settle(c, now)
		return
	}
	var said *api.Said
	switch never := c.counts[queued]; {
	case c.pending:
		said = api.Say("command.unapproved")
	case c.waiting:
		said = api.Say("command.away")
	case c.bulk:
		said = api.Say("command.no-results", "n", c.open, "all", c.total())
	case never > 0:
		said = api.Say("command.never-sent")
	case c.counts[delivered] > 0:
		said = api.Say("command.no-result")
	}
	e.finishRest(c, expired, now, said)
}

// late reports whether c must not be sent any more, by the wall clock that its author meant or by the business clock that
// its meters go by. A business clock that ran ahead brings the end nearer: no meter can still accept the command.
func (e *Engine) late(c *control, now time.Time) bool {
	if !now.Before(c.deadline) {
		return true
	}
	if e.o.Clock.Now().Unix() < int64(c.expiry) {
		return false
	}
	c.deadline = now
	if end := now.Add(e.o.Grace); end.Before(c.end) {
		e.ends(c, end)
	}
	return true
}

// broadcasts sends the bulk commands that have not yet gone out.
func (e *Engine) broadcasts(now time.Time) {
	wait := e.fresh[:0]
	for _, c := range e.fresh {
		switch {
		case c.open == 0 || e.late(c, now):
			continue
		case now.Before(c.retry):
			wait = append(wait, c)
			continue
		}
		if !c.broadcast || c.op == record.OpDisconnect && !e.atOnce(c, now) || c.op == record.OpReconnect && !e.withinStagger(c, now) {
			c.broadcast = false // meter by meter, as the budgets allow
			e.goOut(c, now)
			continue
		}
		d := Down{Target: topic.All, Path: c.doc.Target.Path, Kind: topic.Meter, Event: record.TypeCommand.Event(), QoS: 1, Payload: e.encode(c)}
		if g := c.doc.Target.Group; g != nil {
			d.Target, d.Group, d.Path, d.Kind = topic.Group, *g, "", ""
		}
		if err := e.o.Send(d); err != nil {
			e.sendFailed(c, err)
			if c.op == record.OpDisconnect {
				e.budgets.spend(-c.open)
				for i := c.low; i < len(c.members); i++ {
					if m := &c.members[i]; !m.state.finished() {
						e.giveBack(m)
					}
				}
			}
			c.retry = now.Add(FirstRepeat)
			wait = append(wait, c)
			continue
		}
		e.stats.Sends++
		c.doc.Sends++
		c.sentAt = now
		for i := c.low; i < len(c.members); i++ {
			if m := &c.members[i]; m.state == queued {
				m.last = e.ns(now)
				e.noteMember(m, sent, nil)
				e.move(m, sent)
				e.head(m, now)
			}
		}
		e.step(c, sent, now, nil)
	}
	clear(e.fresh[len(wait):])
	e.fresh = wait
}

// send sends a command to one meter and plans its repeat. It returns false if nothing was sent.
func (e *Engine) send(m *member, now time.Time) bool {
	c := m.c
	m.due = 0
	if e.late(c, now) {
		return false
	}
	if c.settling != nil {
		if c.settled++; c.settled > settleTries {
			e.settle(c, now)
			return false
		}
	}
	if c.op == record.OpDisconnect && m.state == queued {
		e.spent = len(e.budgets) > 0
		if !e.budgets.take(1, now) {
			e.waitForBudget(m, e.budgets, now)
			return false
		}
		if !e.allow(m, now) {
			e.budgets.spend(-1)
			return false
		}
	}
	if c.op == record.OpReconnect && c.bulk && m.state == queued {
		if b := e.stagger(m.dev, now); b != nil {
			if !b.take(1, now) {
				e.waitForBudget(m, b, now)
				return false
			}
			e.staggering[e.feeder(m.dev)] = struct{}{}
		}
	}
	d := Down{Target: topic.Device, Kind: m.dev.Kind, ID: m.dev.ID, Event: record.TypeCommand.Event(), QoS: 1}
	if c.op == record.OpGroups {
		d.Event, d.Payload = record.TypeGroups.Event(), e.encodeGroups(c, m.dev)
	} else {
		d.Payload = e.encode(c)
	}
	if err := e.o.Send(d); err != nil {
		e.sendFailed(c, err)
		if c.op == record.OpDisconnect && m.state == queued {
			e.budgets.spend(-1)
			e.giveBack(m)
		}
	} else {
		e.stats.Sends++
		c.doc.Sends++
		m.last = e.ns(now)
		if m.state == queued {
			e.noteMember(m, sent, nil)
			e.move(m, sent)
			if c.doc.State == queued.String() {
				e.step(c, sent, now, e.queuedUntil(m, now))
			}
			e.touch(c)
		}
	}
	wait := MaxRepeat
	if m.tries < 6 {
		wait = min(FirstRepeat<<m.tries, MaxRepeat)
		m.tries++
	}
	if nap := e.asleep(m.dev); nap > 0 {
		wait = max(wait, nap+fetched) // until then it lies at the gateway; a repeat would only lie beside it
	}
	e.plan(m, now.Add(wait))
	return true
}

// atOnce reports whether all meters of a disconnection may hear it at once; if so they are taken off all budgets.
func (e *Engine) atOnce(c *control, now time.Time) bool {
	e.spent = len(e.budgets) > 0
	if !e.budgets.take(c.open, now) {
		return false
	}
	if !e.withinAllowances(c, now) {
		e.budgets.spend(-c.open)
		return false
	}
	return true
}

// waitForBudget plans a switch for when it may be sent. The meter's repeats are of no concern to the budgets.
func (e *Engine) waitForBudget(m *member, bs budgets, now time.Time) {
	at, b := bs.next(now)
	e.plan(m, at)
	if c := m.c; !c.throttled {
		c.throttled = true
		e.note(c, "throttled", "", "", transition{State: c.doc.State, Why: b.String()})
		c.doc.History = append(c.doc.History, api.NewTransition(c.doc.State, now, api.Say("command.budget", "type", c.doc.Type, "budget", b)))
		e.touch(c)
	}
}

func (e *Engine) asleep(dev *cim.EndDevice) time.Duration {
	if e.o.Asleep == nil {
		return 0
	}
	return e.o.Asleep(dev)
}

// wakes is when a device that sleeps wakes, to the nearest second: what is told of it at different times is the same.
func (e *Engine) wakes(dev *cim.EndDevice, now time.Time) (at time.Time, ok bool) {
	nap := e.asleep(dev)
	return now.Add(nap).UTC().Round(time.Second), nap > 0
}

// queuedUntil says when a meter that sleeps fetches what was sent to it, "" for one that is awake.
func (e *Engine) queuedUntil(m *member, now time.Time) *api.Said {
	at, ok := e.wakes(m.dev, now)
	if !ok || m.c.bulk {
		return nil
	}
	if !at.Before(m.c.deadline) {
		return api.Say("command.sleeps-longer", "time", at.UTC().Format(time.RFC3339))
	}
	return api.Say("command.sleeps", "time", at.UTC().Format(time.RFC3339))
}

func (e *Engine) sendFailed(c *control, err error) {
	e.stats.SendErrors++
	e.log.Warn("command not sent, will be repeated", "command", c.id, "error", err)
}

// move changes the state of an unfinished member.
func (e *Engine) move(m *member, st state) {
	m.c.counts[m.state]--
	m.state = st
	m.c.counts[st]++
}

// Wake tells that a device has just registered: what waits for it goes out at once instead of at its next repeat, and a
// membership that it never confirmed is sent anew.
func (e *Engine) Wake(dev *cim.EndDevice) {
	now := e.o.Wall()
	if q := e.queues.of(dev); len(q) > 0 {
		// One that went out a moment ago, to where the device was before, gets its first repeat and no more.
		if m := q[0]; m.due != 0 && m.last != 0 {
			if at := max(e.ns(now), m.last+int64(FirstRepeat)); m.due > at {
				m.tries = 0
				e.plan(m, e.wall(at))
			}
		}
	}
	e.groups.wake(dev.ID)
}

func (e *Engine) header() record.Header {
	return record.Header{Time: uint32(max(e.o.Clock.Now().Unix(), 0))}
}

// encode makes the message of a command other than groups. Repeats differ in their header only, and for a set clock in the
// time that it sets: the one that the meter carries out is the one that arrives first.
func (e *Engine) encode(c *control) []byte {
	m := record.Command{Header: e.header(), ID: c.id, Opcode: c.op, Expiry: c.expiry}
	p := &c.doc.Params
	switch c.op {
	case record.OpProfile:
		m.Channel = channelOf(p.Channel)
		if p.From != nil {
			m.A, m.B = uint32(p.From.Unix()), uint32(p.To.Unix())
		}
	case record.OpReconnect:
		if p.Arm {
			m.A = 1
		}
	case record.OpSetInterval:
		m.A = uint32(p.Minutes)
	case record.OpSetClock:
		m.A = m.Time
	case record.OpFirmwareActivate, record.OpFirmwareDrop:
		id, _ := record.ParseImageID(p.Image) // it was checked when it was asked for
		m.SetImage(id)
	}
	return m.Append(nil)
}

func channelOf(c api.Channel) record.Channel {
	switch c {
	case api.ChannelExport:
		return record.ChannelExport
	case api.ChannelAll:
		return record.ChannelAll
	}
	return record.ChannelImport
}

func (e *Engine) encodeGroups(c *control, dev *cim.EndDevice) []byte {
	m := record.Groups{Header: e.header(), ID: c.id, Expiry: c.expiry}
	m.Count = uint8(copy(m.Groups[:], c.payload[dev]))
	return m.Append(nil)
}

// view is the API form of a command in RAM.
func (e *Engine) view(c *control) api.Command {
	doc := c.doc
	doc.History = append([]api.Transition(nil), c.doc.History...)
	if !c.bulk {
		if len(c.members) == 0 {
			return doc
		}
		if m := &c.members[0]; m.state == queued || m.state == sent {
			if at, ok := e.wakes(m.dev, e.o.Wall()); ok {
				doc.QueuedUntil = &at
			}
		}
		return doc
	}
	b := &api.Bulk{Total: c.total(), States: map[string]int{}, Stragglers: []string{}}
	for st, n := range c.counts {
		if n > 0 {
			b.States[state(st).String()] = n
		}
	}
	if c.pending && c.open > 0 {
		delete(b.States, queued.String())
		b.States[api.CommandPendingApproval] = c.open
	}
	low := c.low
	if c.open == 0 {
		low = 0
	}
	for i := low; i < len(c.members) && len(b.Stragglers) < maxStragglers; i++ {
		if m := &c.members[i]; !m.state.finished() || c.open == 0 && m.state != done {
			b.Stragglers = append(b.Stragglers, m.dev.ID)
		}
	}
	if len(c.checks) > 0 {
		b.Verification = maps.Clone(c.checks)
	}
	doc.Bulk = b
	return doc
}
