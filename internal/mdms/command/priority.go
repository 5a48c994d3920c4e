package command

import (
	"slices"

	"github.com/wattbus/wattbus/internal/api"
)

// priority is a command's rank in the queues of its meters.
type priority uint8

const (
	low priority = iota
	normal
	high
	priorities
)

// name is how a priority stands in a document: the normal one is not told.
func (p priority) name() string { return [...]string{api.PriorityLow, "", api.PriorityHigh}[p] }

// priorityOf reads a priority; where none is given a reconnection comes before all else: somebody sits in the dark.
func priorityOf(name, typ string) (priority, bool) {
	switch name {
	case "":
		if typ == api.CommandReconnect {
			return high, true
		}
		return normal, true
	case api.PriorityLow:
		return low, true
	case api.PriorityNormal:
		return normal, true
	case api.PriorityHigh:
		return high, true
	}
	return 0, false
}

// keptPriority reads what name wrote.
func keptPriority(name string) priority {
	switch name {
	case api.PriorityLow:
		return low
	case api.PriorityHigh:
		return high
	}
	return normal
}

// lineUp puts a command into the queues of its meters: behind all that has the same or a higher priority, behind what is in
// flight, and behind whatever changes the same thing, for the later one of two shall be what remains.
func (e *Engine) lineUp(c *control) {
	what := effect(c.op)
	for i := range c.members {
		m := &c.members[i]
		if m.state.finished() {
			continue
		}
		q := e.queues.of(m.dev)
		if q == nil {
			e.queues.alone(m)
			continue
		}
		at := len(q)
		for at > 0 {
			before := q[at-1]
			if before.c.priority >= c.priority || before.started() || what != "" && effect(before.c.op) == what {
				break
			}
			at--
		}
		if at == 0 && len(q) > 0 {
			q[0].due = 0 // its turn comes again when this one has left
		}
		e.queues.put(m.dev, slices.Insert(q, at, m))
	}
}

// started reports whether the meter may have heard of the command.
func (m *member) started() bool { return m.state != queued || m.last != 0 || !m.c.sentAt.IsZero() }
