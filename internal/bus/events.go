package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/wattbus/wattbus/internal/api"
)

// NewEvent makes a CloudEvent: name is the middle of its type, source its /<path>/<kind>/<id>, subject the device id.
func NewEvent(name, source, subject string, at time.Time, data any) (api.Event, error) {
	raw, err := json.Marshal(data)
	if err != nil {
		return api.Event{}, fmt.Errorf("bus: data of event %s of %s: %w", name, subject, err)
	}
	return api.Event{SpecVersion: "1.0", ID: nuid.Next(), Type: "wattbus." + name + ".v1", Source: source, Subject: subject,
		Time: at.UTC(), ContentType: "application/json", Data: raw}, nil
}

// PublishEvent publishes an event of a device (kind, id) to whoever listens; name is the middle of its type.
func (b *Bus) PublishEvent(kind, name, id string, ev api.Event) error {
	data, err := json.Marshal(ev)
	if err != nil {
		return fmt.Errorf("bus: encode event %s of %s/%s: %w", name, kind, id, err)
	}
	if err := b.nc.Publish(EventSubject(kind, name, id), data); err != nil {
		return fmt.Errorf("bus: publish event %s of %s/%s: %w", name, kind, id, err)
	}
	b.m.events.WithLabelValues(name).Inc()
	return nil
}

// SubscribeEvents calls f with the events whose subject below "wb.ev." matches the filter ("meter.state.>", ">"), one at a
// time, in order. subject is the one below "wb.ev."; ev is the CloudEvent as JSON. A subscriber that falls behind by 64 MiB
// loses events, which is counted. stop ends it after the call under way.
func (b *Bus) SubscribeEvents(filter string, f func(subject string, ev []byte)) (stop func(), err error) {
	// The other way round a probe in between would take this subscription for one of another program.
	b.interest.add(EventSubjects+filter, 1)
	s, err := b.subscribe(EventSubjects+filter, "", func(m *nats.Msg) {
		if m.Header.Get(probeHeader) == "" {
			f(strings.TrimPrefix(m.Subject, EventSubjects), m.Data)
		}
	})
	if err != nil {
		b.interest.add(EventSubjects+filter, -1)
		return nil, err
	}
	return func() {
		b.unsubscribe(s)
		b.interest.add(EventSubjects+filter, -1)
	}, nil
}

const (
	probeHeader = "Wattbus-Probe"
	probeID     = "-" // no device can be called so
	interestAge = 500 * time.Millisecond
	probeWait   = 100 * time.Millisecond
)

// interest remembers for which events somebody listens.
type interest struct {
	mu      sync.Mutex
	filters map[string]int // subscriptions of this process
	version int
	known   map[eventType]*Interest
	closed  bool // nothing is asked any more
}

type eventType struct{ kind, name string }

func (i *interest) init() {
	i.filters, i.known = make(map[string]int), make(map[eventType]*Interest)
}

func (i *interest) add(filter string, n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.filters[filter] += n; i.filters[filter] == 0 {
		delete(i.filters, filter)
	}
	i.version++
	for _, x := range i.known {
		x.local.Store(i.local(x.subject))
		x.fresh.Store(false)
	}
}

// ask asks the server whether another program listens, unless the bus closes.
func (i *interest) ask(x *Interest) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.closed {
		x.bus.work.Go(x.probe)
	}
}

// close is called before the bus waits for its work: no question is put after it, and no answer ages.
func (i *interest) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	for _, x := range i.known {
		if x.age != nil {
			x.age.Stop()
		}
	}
}

// local is called with i.mu held.
func (i *interest) local(subject string) bool {
	for f := range i.filters {
		if collide(f, subject+">") {
			return true
		}
	}
	return false
}

// Interest knows whether somebody listens to the events of a kind and name.
type Interest struct {
	bus     *Bus
	subject string // to the device's id
	local   atomic.Bool
	far     atomic.Bool // another program does, as the server last said
	fresh   atomic.Bool // it said so less than interestAge ago, or is being asked
	age     *time.Timer // ends fresh; used with bus.interest.mu held
}

// Interest returns what knows of the events of a kind and name, for those who ask often.
func (b *Bus) Interest(kind, name string) *Interest {
	i := &b.interest
	i.mu.Lock()
	defer i.mu.Unlock()
	x := i.known[eventType{kind, name}]
	if x == nil {
		x = &Interest{bus: b, subject: EventSubjects + kind + "." + name + "."}
		x.local.Store(i.local(x.subject))
		i.known[eventType{kind, name}] = x
	}
	return x
}

// EventInterest reports whether somebody listens to events of the kind and name; see Somebody.
func (b *Bus) EventInterest(kind, name string) bool { return b.Interest(kind, name).Somebody() }

// Somebody reports whether somebody listens, as of at most a second ago where it is asked all the time; for what is only produced
// while somebody does. It sees every subscription of this process, and those of other programs whose filter takes in all devices
// ("wb.ev.meter.reading.*" or wider). It neither waits nor allocates: the first question is answered with no, and what the server
// says to it is there at the next.
func (x *Interest) Somebody() bool {
	if x.local.Load() {
		return true
	}
	if !x.fresh.Load() && x.fresh.CompareAndSwap(false, true) {
		x.bus.interest.ask(x)
	}
	return x.far.Load()
}

// probe asks the server: a request that nobody listens to is answered by it at once.
func (x *Interest) probe() {
	i := &x.bus.interest
	i.mu.Lock()
	version := i.version
	i.mu.Unlock()
	m := nats.NewMsg(x.subject + probeID)
	m.Header.Set(probeHeader, "1")
	_, err := x.bus.nc.RequestMsg(m, probeWait)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.version != version { // it may have been one of this process that listened
		x.fresh.Store(false)
		return
	}
	x.far.Store(err == nil || errors.Is(err, nats.ErrTimeout))
	switch {
	case i.closed:
	case x.age == nil:
		x.age = time.AfterFunc(interestAge, func() { x.fresh.Store(false) })
	default:
		x.age.Reset(interestAge)
	}
}
