package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
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
	s, err := b.subscribe(EventSubjects+filter, "", func(m *nats.Msg) {
		if m.Header.Get(probeHeader) == "" {
			f(strings.TrimPrefix(m.Subject, EventSubjects), m.Data)
		}
	})
	if err != nil {
		return nil, err
	}
	b.interest.add(EventSubjects+filter, 1)
	return func() {
		b.interest.add(EventSubjects+filter, -1)
		b.unsubscribe(s)
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
	known   map[string]*answer // by kind.name
}

type answer struct {
	yes     bool
	at      time.Time
	version int
	asking  bool
}

func (i *interest) init() {
	i.filters, i.known = make(map[string]int), make(map[string]*answer)
}

func (i *interest) add(filter string, n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.filters[filter] += n; i.filters[filter] == 0 {
		delete(i.filters, filter)
	}
	i.version++
}

// EventInterest reports whether somebody listens to events of the kind and name, as of at most a second ago; for what is
// only produced while somebody does. It sees every subscription of this process, and those of other programs whose filter
// takes in all devices ("wb.ev.meter.reading.*" or wider).
func (b *Bus) EventInterest(kind, name string) bool {
	i := &b.interest
	key := kind + "." + name
	i.mu.Lock()
	defer i.mu.Unlock()
	a := i.known[key]
	if a == nil {
		a = &answer{}
		i.known[key] = a
	}
	if a.version != i.version || a.at.IsZero() {
		a.version = i.version
		if a.yes = i.local(key); a.yes {
			a.at = time.Now()
			return true
		}
		a.at = time.Time{}
	}
	if time.Since(a.at) > interestAge && !a.asking {
		// The first question is answered with no; the answer to it is there at the next.
		a.asking = true
		select {
		case <-b.done:
		default:
			b.work.Go(func() { b.probe(key, a) })
		}
	}
	return a.yes
}

// local is called with i.mu held.
func (i *interest) local(key string) bool {
	for f := range i.filters {
		if collide(f, EventSubjects+key+".>") {
			return true
		}
	}
	return false
}

// probe asks the server: a request that nobody listens to is answered by it at once.
func (b *Bus) probe(key string, a *answer) {
	m := nats.NewMsg(EventSubjects + key + "." + probeID)
	m.Header.Set(probeHeader, "1")
	_, err := b.nc.RequestMsg(m, probeWait)
	i := &b.interest
	i.mu.Lock()
	defer i.mu.Unlock()
	a.asking = false
	a.at = time.Now()
	a.yes = i.local(key) || err == nil || errors.Is(err, nats.ErrTimeout)
}
