package command

import (
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/record"
)

// entry is a planned send. It is valid as long as the member's due still is what it says: a change of plan pushes a new
// entry and lets the old one run into nothing.
type entry struct {
	due int64 // ns, see Engine.ns
	m   *member
}

func (a entry) before(b entry) bool { //nolint:unused // heap calls it through its type parameter
	if a.due != b.due {
		return a.due < b.due
	}
	if a.m.c.priority != b.m.c.priority {
		return a.m.c.priority > b.m.c.priority
	}
	return a.m.c.id < b.m.c.id // sends due at the same time keep the order of their commands
}

// expiry is the end of a command. It names the command only by its id, so that one that ended long before its expiry is
// not held in RAM until then.
type expiry struct {
	end int64
	id  uint64
}

func (a expiry) before(b expiry) bool { //nolint:unused // as above
	return a.end < b.end
}

// heap keeps the earliest element on top. Package container/heap would box every element.
type heap[T interface{ before(T) bool }] []T

func (h *heap[T]) push(x T) {
	*h = append(*h, x)
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if !s[i].before(s[up]) {
			return
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

func (h *heap[T]) pop() {
	s := *h
	n := len(s) - 1
	var none T
	s[0], s[n] = s[n], none
	*h = s[:n]
	h.down(0)
}

// down brings an element to where it belongs below.
func (h *heap[T]) down(i int) {
	s := *h
	n := len(s)
	for {
		least := i
		for _, down := range [...]int{2*i + 1, 2*i + 2} {
			if down < n && s[down].before(s[least]) {
				least = down
			}
		}
		if least == i {
			break
		}
		s[i], s[least] = s[least], s[i]
		i = least
	}
}

// manyMembers is from how many on the planned sends of a command that ended are taken out of the heap at once: one by one, each as it comes
// to the top, a million of them would hold up one Tick.
const manyMembers = 1000

// drop takes out what of says.
func (h *heap[T]) drop(of func(T) bool) {
	s := slices.DeleteFunc(*h, of)
	*h = s
	for i := len(s)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

// due returns the member whose valid planned send is the earliest, nil if there is none.
func due(s *heap[entry]) *member {
	for len(*s) > 0 {
		if t := (*s)[0]; t.m.due == t.due && t.due != 0 {
			return t.m
		}
		s.pop()
	}
	return nil
}

// ends plans the command's expiry.
func (e *Engine) ends(c *control, at time.Time) {
	c.end = at
	e.expiries.push(expiry{e.ns(at), c.id})
}

// nextExpiry returns the unfinished command that expires first, nil if there is none.
func (e *Engine) nextExpiry() *control {
	for len(e.expiries) > 0 {
		top := e.expiries[0]
		if c := e.commands[top.id]; c != nil && c.open > 0 && e.ns(c.end) == top.end {
			return c
		}
		e.expiries.pop()
	}
	return nil
}

// ns is a wall time in ns since the engine was made, above 0; by the monotonic clock where t has it, so that a step of the
// wall clock neither stops the repeats nor lets commands expire.
func (e *Engine) ns(t time.Time) int64 { return max(int64(t.Sub(e.base)), 1) }

func (e *Engine) wall(ns int64) time.Time { return e.base.Add(time.Duration(ns)) }

// plan schedules the member's next send. Whether the command may still be sent by then is looked at when the time comes.
func (e *Engine) plan(m *member, at time.Time) {
	m.due = e.ns(at)
	if m.c.bulk {
		e.paced[m.c.priority].push(entry{m.due, m})
	} else {
		e.single.push(entry{m.due, m})
	}
}

// planAtOnce bounds the members that one Tick plans: a million take several, so that the loop stays responsive. They are sent more slowly anyway.
const planAtOnce = 10_000

// goOut plans the members of a command that the centre keeps, meter by meter; a command for very many goes on in the next Ticks.
func (e *Engine) goOut(c *control, now time.Time) {
	c.planned = c.low
	if e.planSome(c, now, planAtOnce); c.planned < len(c.members) {
		e.going = append(e.going, c)
	}
}

func (e *Engine) goOn(now time.Time) {
	if len(e.going) == 0 {
		return
	}
	c := e.going[0]
	if e.planSome(c, now, planAtOnce); c.open == 0 || c.planned >= len(c.members) {
		e.going = slices.Delete(e.going, 0, 1)
	}
}

func (e *Engine) planSome(c *control, now time.Time, n int) {
	to := min(max(c.planned, c.low)+n, len(c.members))
	for i := max(c.planned, c.low); i < to; i++ {
		if m := &c.members[i]; !m.state.finished() {
			e.head(m, now)
		}
	}
	c.planned = to
}

// head lets the meter's next command go, if the centre keeps it and it waits for no answer.
func (e *Engine) head(m *member, now time.Time) {
	if q := e.queues.of(m.dev); len(q) == 0 || q[0] != m || !m.c.kept || m.state == delivered || m.due != 0 {
		return
	}
	switch c := m.c; {
	case !c.broadcast:
		e.plan(m, now)
	case !c.sentAt.IsZero():
		if at := c.sentAt.Add(c.patience()); at.After(now) {
			now = at
		}
		e.plan(m, now)
	}
}

// patience is how long after a broadcast the stragglers' turn comes: many answers take their time.
func (c *control) patience() time.Duration {
	return FirstRepeat + time.Duration(len(c.members))*time.Second/5000
}

// leave ends a member and lets the meter's next command go.
func (e *Engine) leave(m *member, st state, now time.Time) {
	c := m.c
	e.notCutOff(m)
	c.counts[m.state]--
	m.state, m.due = st, 0
	c.counts[st]++
	c.open--
	e.members--
	for c.low < len(c.members) && c.members[c.low].state.finished() {
		c.low++
	}
	q := e.queues.of(m.dev)
	for i := range q {
		if q[i] == m {
			q = append(q[:i], q[i+1:]...)
			break
		}
	}
	if e.queues.put(m.dev, q); len(q) > 0 {
		e.head(q[0], now)
	}
	if c.op == record.OpGroups && st != done {
		e.groups.dropCarrier(m.dev.ID, c.id)
	}
}
