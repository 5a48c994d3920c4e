package mdms

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// Events for other systems are kept in the store by the commit that they tell of, published to the bus once it is durable, and
// taken out of the store by a later commit. So none is lost and none tells of what did not happen, whenever the power goes; one may
// come twice, with the same id.
//
//	collect ──> Commit.Out ──> sender ──> WB_OUT, synced ──> Commit.OutDone
//
// While no target is declared nothing of this is done.

// outQueue is how many messages may wait for the sender; the loop waits beyond.
const outQueue = 64

// sender publishes what commits handed to it, in order.
type sender struct {
	in     chan store.Out
	done   atomic.Uint64 // id up to which all is on the bus
	closed uint64        // of these, what a commit has taken out; the loop's
	enc    bus.OutEncoder
}

// pack adds the events for other systems that the commit covers, and takes out those that are on the bus.
func (m *MDMS) pack(c *store.Commit) {
	if done := m.sender.done.Load(); done > m.sender.closed {
		c.OutDone, m.sender.closed = done, done
	}
	w := m.outbox.wanted
	if len(w) == 0 {
		return
	}
	for i := range m.outbox.ready {
		if e, ok := outEvent(&m.outbox.ready[i]); ok && w[e.Name] {
			m.sender.enc.Append(&e)
		}
	}
	for _, data := range m.sender.enc.Take() {
		c.Out = append(c.Out, store.Out{ID: m.newID(), Data: data})
	}
}

// outEvent splits an event into the parts that are kept.
func outEvent(ev *api.Event) (bus.OutEvent, bool) {
	rest, id := topic.Parent(strings.TrimPrefix(ev.Source, "/"))
	path, kind := topic.Parent(rest)
	name, ok := strings.CutPrefix(ev.Type, "wattbus.")
	return bus.OutEvent{Kind: kind, Name: strings.TrimSuffix(name, ".v1"), ID: id, Path: path, UID: ev.ID, Time: ev.Time.UnixMilli(),
		Data: ev.Data}, ok
}

// handOver gives the sender what a commit has made durable.
func (m *MDMS) handOver(ctx context.Context, out []store.Out) {
	for _, o := range out {
		select {
		case m.sender.in <- o:
		case <-ctx.Done(): // it is in the store
			return
		}
	}
}

// send publishes, first what an earlier run left, until ctx ends.
func (m *MDMS) send(ctx context.Context, left []store.Out) {
	for {
		var o store.Out
		if len(left) > 0 {
			o, left = left[0], left[1:]
		} else {
			select {
			case o = <-m.sender.in:
			case <-ctx.Done():
				return
			}
		}
		for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
			err := m.o.Bus.PublishOut(ctx, o.ID, o.Data)
			if err == nil {
				m.sender.done.Store(o.ID)
				break
			}
			if ctx.Err() != nil {
				return
			}
			m.log.Warn("events for other systems not published, will be tried again", "error", err, "wait", wait)
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
		}
	}
}

// restoreOut returns what an earlier run has kept and not published, or not noted that it has, and begins to watch what other
// systems want, until unwatch is called.
func (m *MDMS) restoreOut(ctx context.Context) (left []store.Out, unwatch func(), err error) {
	err = m.o.Store.Outbox(ctx, func(o store.Out) error {
		left = append(left, o)
		m.lastID = max(m.lastID, o.ID)
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("events for other systems in the store: %w", err)
	}
	unwatch, err = m.o.Bus.WatchTargets(ctx)
	return left, unwatch, err
}

// profile tells of a part of a load profile.
func (o *outbox) profile(d *device, p *record.Profile, received int64) {
	ev := api.ProfileEvent{Meter: d.ID, Path: d.EndDevice.Path, Channel: cim.Channel(p.Channel).String(), Start: unix(p.Time), Minutes: int(p.Slot),
		Values: make([]*int64, p.Count), Received: time.UnixMilli(received).UTC()}
	for i, v := range p.Values[:p.Count] {
		ev.Values[i] = wattHours(v)
	}
	if p.Register != record.NoRegister {
		ev.Register = &p.Register
	}
	if p.Command&requestBit == 0 && p.Command != 0 {
		ev.Command = strconv.FormatUint(p.Command, 10)
	}
	o.add(d, api.EventProfile, o.clock.Now(), ev)
}
