package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/meter"
	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

// standInQueue bounds what waits for the upstream, bytes.
const standInQueue = 16 << 20

// StandInOptions says for which concentrator to stand in. ID, Upstream and Clock are needed.
type StandInOptions struct {
	ID       string
	Upstream string // URL of the centre or of another concentrator
	Username string
	Password []byte
	Version  mqtt.Version
	Clock    *clock.Clock
	Logger   *slog.Logger
}

// StandIn is a concentrator as its upstream sees it: one connection with its id, its will and status, and the prefix mapping of
// docs/contract.md, section 1. Below it there are agents in the same process instead of a broker: they are acknowledged when
// the upstream acknowledges.
type StandIn struct {
	o  StandInOptions
	up *client.Client

	mu    sync.Mutex
	links map[*link]struct{}
	byID  map[string]*link // <kind>/<id> to the connection made last
}

// NewStandIn checks the options and makes a stand-in; Run connects it.
func NewStandIn(o StandInOptions) (*StandIn, error) {
	if err := topic.CheckID(o.ID); err != nil {
		return nil, fmt.Errorf("stand-in: %w", err)
	}
	if o.Clock == nil {
		return nil, fmt.Errorf("stand-in %s: it needs a clock", o.ID)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &StandIn{o: o, links: make(map[*link]struct{}), byID: make(map[string]*link)}
	status := func(word string) func() *client.Message {
		return func() *client.Message {
			return &client.Message{Topic: "up/concentrator/" + o.ID + "/status", Payload: []byte(word), QoS: 1}
		}
	}
	var err error
	s.up, err = client.New(client.Options{URL: o.Upstream, ClientID: o.ID, Username: o.Username, Password: o.Password, Version: o.Version,
		Will: status("lost"), Birth: status("online"), Farewell: status("offline"), OnMessage: s.receive,
		Subscriptions: []client.Subscription{{Filter: "dn/" + o.ID + "/#", QoS: 1}, {Filter: "dn/all/#", QoS: 1},
			{Filter: "dn/group/#", QoS: 1}, {Filter: "dn/concentrator/" + o.ID + "/#", QoS: 1}},
		QueueBytes: standInQueue, Logger: o.Logger})
	if err != nil {
		return nil, fmt.Errorf("stand-in %s: %w", o.ID, err)
	}
	return s, nil
}

// Run keeps the connection until ctx ends. Agents may come and go meanwhile; they are to be gone before ctx ends.
func (s *StandIn) Run(ctx context.Context) error { return s.up.Run(ctx) }

// receive maps a message from the upstream and gives it to those below whom it addresses.
func (s *StandIn) receive(m *client.Message) {
	local := m.Topic
	if rest, ok := strings.CutPrefix(m.Topic, "dn/"+s.o.ID+"/"); ok {
		local = "dn/" + rest
	}
	t, err := topic.Parse(local)
	if err != nil || t.Path != "" { // there are no concentrators below
		return
	}
	if t.Kind == topic.Concentrator && (t.Target == topic.All || t.ID == s.o.ID) {
		s.answer(t, m.Payload)
		return
	}
	s.mu.Lock()
	var to []*link
	if t.Target == topic.Device {
		if l := s.byID[t.Kind+"/"+t.ID]; l != nil {
			to = append(to, l)
		}
	} else {
		for l := range s.links {
			to = append(to, l)
		}
	}
	s.mu.Unlock()
	for _, l := range to {
		if l.wants(local) {
			l.o.OnMessage(&client.Message{Topic: local, Payload: m.Payload, QoS: m.QoS})
		}
	}
}

// answer answers commands to the concentrator itself: it carries out ping.
func (s *StandIn) answer(t topic.Topic, b []byte) {
	if t.Event != record.TypeCommand.Event() {
		return
	}
	c, err := record.DecodeCommand(b)
	if err != nil && !errors.Is(err, record.ErrOpcode) {
		return
	}
	now := s.o.Clock.Unix()
	r := record.Result{Header: record.Header{Time: now}, Command: c.ID, Opcode: c.Opcode, Outcome: record.NotSupported, Breaker: record.BreakerNone}
	switch {
	case c.Expiry != 0 && now > c.Expiry:
		r.Outcome = record.Expired
	case c.Opcode == record.OpPing:
		r.Outcome = record.Done
	}
	s.up.TryPublish(client.Message{Topic: "up/concentrator/" + s.o.ID + "/result", Payload: r.Append(nil), QoS: 1})
}

// uplink is a topic of a device as the upstream gets it.
func (s *StandIn) uplink(local string) string {
	return "up/" + s.o.ID + strings.TrimPrefix(local, "up")
}

// link is an agent's place at a stand-in, in the place of an MQTT connection.
//
//	      Run                     ctx ends: no will
//	idle ─────> connected ─────────────────────────> (Run returns)
//	                │   ^
//	           Kill │   │ Resume, or at once after Reconnect
//	     (the will) v   │
//	               dark ┘
type link struct {
	s    *StandIn
	o    client.Options
	key  string // <kind>/<id>
	wake chan struct{}

	mu        sync.Mutex
	connected bool
	dark      bool
	killed    bool // this connection, even if Resume came already
	renew     bool
	will      *client.Message
	filters   []string
}

var _ meter.Link = (*link)(nil)

func (s *StandIn) link(o client.Options) *link {
	l := &link{s: s, o: o, wake: make(chan struct{}, 1)}
	for _, sub := range o.Subscriptions {
		l.filters = append(l.filters, sub.Filter)
	}
	if t, err := topic.Parse(strings.TrimSuffix(l.filters[0], "#") + "x"); err == nil { // dn/<kind>/<id>/#
		l.key = t.Kind + "/" + t.ID
	}
	return l
}

// Run implements meter.Link.
func (l *link) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		l.mu.Lock()
		dark := l.dark
		l.renew, l.killed = false, false
		l.mu.Unlock()
		if !dark {
			l.connect()
			l.stay(ctx)
			l.disconnect(ctx.Err() == nil)
			continue
		}
		select {
		case <-ctx.Done():
		case <-l.wake:
		}
	}
	return nil
}

func (l *link) connect() {
	will := l.o.Will()
	l.mu.Lock()
	l.will, l.connected = will, true
	l.mu.Unlock()
	l.s.mu.Lock()
	l.s.links[l] = struct{}{}
	l.s.byID[l.key] = l
	l.s.mu.Unlock()
	if b := l.o.Birth(); b != nil {
		l.TryPublish(*b)
	}
	l.o.OnConnect(false)
}

// stay waits until the connection is to end.
func (l *link) stay(ctx context.Context) {
	for {
		l.mu.Lock()
		over := l.killed || l.renew
		l.mu.Unlock()
		if over {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
	}
}

func (l *link) disconnect(again bool) {
	l.s.mu.Lock()
	delete(l.s.links, l)
	if l.s.byID[l.key] == l {
		delete(l.s.byID, l.key)
	}
	l.s.mu.Unlock()
	l.mu.Lock()
	l.connected = false
	will := l.will
	l.will = nil
	fire := l.killed
	l.mu.Unlock()
	if fire && will != nil { // it was killed: no orderly end
		will.Topic = l.s.uplink(will.Topic)
		l.s.up.TryPublish(*will)
	}
	if again {
		l.o.OnDisconnect(nil)
	}
}

// TryPublish implements meter.Link.
func (l *link) TryPublish(m client.Message) bool {
	l.mu.Lock()
	up := l.connected && !l.killed
	l.mu.Unlock()
	if !up {
		return false
	}
	m.Topic = l.s.uplink(m.Topic)
	return l.s.up.TryPublish(m)
}

// Flush implements meter.Link.
func (l *link) Flush(ctx context.Context) error { return l.s.up.Flush(ctx) }

// Subscribe implements meter.Link.
func (l *link) Subscribe(subs ...client.Subscription) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range subs {
		l.filters = append(l.filters, s.Filter)
	}
	return nil
}

// Unsubscribe implements meter.Link.
func (l *link) Unsubscribe(filters ...string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var left []string
	for _, f := range l.filters {
		keep := true
		for _, g := range filters {
			keep = keep && f != g
		}
		if keep {
			left = append(left, f)
		}
	}
	l.filters = left
	return nil
}

func (l *link) wants(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.filters {
		if topic.Match(f, name) {
			return l.connected && !l.killed
		}
	}
	return false
}

// Reconnect implements meter.Link.
func (l *link) Reconnect() { l.set(func() { l.renew = true }) }

// Kill implements meter.Link.
func (l *link) Kill() { l.set(func() { l.dark, l.killed = true, true }) }

// Resume implements meter.Link.
func (l *link) Resume() { l.set(func() { l.dark = false }) }

func (l *link) set(change func()) {
	l.mu.Lock()
	change()
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}
