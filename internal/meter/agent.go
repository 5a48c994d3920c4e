package meter

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/seal"
	"github.com/wattbus/wattbus/internal/topic"
)

// Bounds of what waits in an agent beside the client's queue. What is dropped there is recovered as the contract has it: the
// centre repeats commands and fetches readings.
const (
	maxInbox = 64
	maxOut   = 2 * backlog
	maxJobs  = 64
)

// Times of the contract, section 2, Location, and of an answer that takes long (outcome 5).
const (
	firstRepeat = 2 * time.Second
	lastRepeat  = 5 * time.Minute
	longAnswer  = 2 * time.Second
	// maxSpread bounds how late a reading goes out, in business time: the centre asks for what is missing from 60 s after an
	// interval's end.
	maxSpread = 20 * time.Second
	// parting bounds how long the orderly end waits for what is still to be acknowledged.
	parting = time.Second
	// raiseEvery is how often a meter connects anew at most because the centre has a higher registration sequence.
	raiseEvery = 10 * time.Second
)

// Agent is one meter. Its methods are safe for concurrent use.
type Agent struct {
	o     Options
	up    string // up/<kind>/<id>/
	wake  chan struct{}
	alarm *alarm
	ring  seal.Ring // the keys
	count counters
	// Made once, since every message carries one.
	onAcked, onReadingAcked func()

	mu        sync.Mutex
	core      *core // nil before Run
	url       string
	connected bool
	sleeping  bool
	online    bool // set by the connection, not yet seen by the loop
	gasp      *message
	interrupt func() // ends the call of the hardware that is under way; nil: there is none
	moved     bool
	cut       bool  // DropLink was called
	lookAt    bool  // LookAtBreaker was called
	err       error // the store failed: nothing more may be done
	inbox     []inbound
	out       []message
	jobs      []job
	life      int       // counts losses of power
	dueAt     time.Time // business time of the next reading, with its share of Spread
	told      Status
	wakes     time.Time // one of the planned wake-ups, wall time
	wakesTold uint32    // registration for which the centre was told of them

	// Of the loop:
	measured     time.Time // when the hardware was asked last for the registers of an interval's end, wall time
	hardwareTold time.Time // when its failure was logged last
	sealTold     time.Time // when a message that is not sealed as it should be was logged last
	raised       time.Time // when the loop last connected anew for a higher registration sequence, wall time
}

// inbound is a message from the centre.
type inbound struct {
	topic topic.Topic
	b     []byte
}

// job is a command that is being answered.
type job struct {
	e       *Executed
	i, n    int // messages sent and in all
	began   time.Time
	interim bool // the centre was told that it takes longer
}

type counters struct {
	readings, acked, commands, repeats, refused, expired, rejected, unsealed, replayed, dropped, locations, hardware atomic.Uint64
}

// New checks the options and makes an agent; Run starts it.
func New(o Options) (*Agent, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	a := &Agent{o: o, up: "up/" + o.Kind + "/" + o.ID + "/", wake: make(chan struct{}, 1), url: o.URL}
	a.SetKeys(o.Keys)
	a.alarm = newAlarm(a.nudge)
	a.onAcked, a.onReadingAcked = a.nudge, a.readingAcked
	return a, nil
}

func (a *Agent) nudge() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Run is the meter's life until ctx ends: then it leaves its concentrator in order, and everything it started has ended when
// Run returns. The error is nil; that of the store, without which a meter must do nothing; or ErrRestart, when new firmware is to start.
func (a *Agent) Run(ctx context.Context) error {
	if err := a.start(ctx); err != nil {
		return err
	}
	if a.o.Scheduler == nil {
		own := NewScheduler(a.o.Clock)
		sctx, stop := context.WithCancel(context.WithoutCancel(ctx))
		var wg sync.WaitGroup
		wg.Go(func() { _ = own.Run(sctx) })
		defer func() { stop(); wg.Wait(); a.o.Scheduler = nil }()
		a.o.Scheduler = own
	}
	defer a.o.Scheduler.clear(a.alarm)
	for {
		a.changed()
		if err := a.waitForPower(ctx); err != nil || ctx.Err() != nil {
			return err
		}
		if err := a.powered(ctx); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// start makes the core from the kept state.
func (a *Agent) start(ctx context.Context) error {
	st, kept, err := a.o.Store.Load(a.o.ID)
	if err != nil {
		return fmt.Errorf("meter %s: loading its state: %w", a.o.ID, err)
	}
	a.mu.Lock()
	a.gasp = nil
	a.mu.Unlock()
	oldest := a.oldest(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.o.Clock.Unix()
	a.core = newCore(config{id: a.o.ID, kind: a.o.Kind, ring: &a.ring, firmware: a.o.Firmware, caps: a.o.Capabilities, mode: a.o.ControlMode, sources: [2]Source{a.o.Source, a.o.Export},
		interval: a.o.Interval, history: uint32(a.o.History / time.Second), unsynchronised: a.o.Unsynchronised,
		hardware: a.o.Hardware, oldest: oldest, update: a.o.Update}, st, kept, at)
	a.gasp, a.moved, a.cut, a.err = nil, false, false, nil
	a.inbox, a.out, a.jobs = nil, nil, nil
	if m, ok := a.core.powerRestored(at); ok { // a meter that starts has power
		a.out = append(a.out, m)
	}
	return a.save()
}

// save keeps what changed in the core; mu is held. After a failure nothing may be sent any more.
func (a *Agent) save() error {
	if a.err == nil && a.core.err != nil {
		a.err = fmt.Errorf("meter %s: %w", a.o.ID, a.core.err)
		a.nudge()
	}
	if a.err != nil {
		return a.err
	}
	if change := a.core.save(); change != nil {
		if err := a.o.Store.Save(a.o.ID, change); err != nil {
			a.err = fmt.Errorf("meter %s: keeping its state: %w", a.o.ID, err)
			a.nudge()
			return a.err
		}
		a.core.saved()
	}
	return nil
}

func (a *Agent) waitForPower(ctx context.Context) error {
	for {
		a.mu.Lock()
		on, err := a.core.st.PowerLost == 0, a.err
		a.mu.Unlock()
		if on || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake:
		}
	}
}

// powered is the meter's life from the return of power, or a move, to the next loss of power, the next move, or the end.
func (a *Agent) powered(ctx context.Context) error {
	a.settle(ctx)
	a.reverify(ctx)
	a.mu.Lock()
	a.moved = false
	o := a.clientOptions()
	a.mu.Unlock()
	connect := a.o.Connect
	if connect == nil {
		connect = a.connect
	}
	link, err := connect(o)
	if err != nil {
		return fmt.Errorf("meter %s: %w", a.o.ID, err)
	}
	lctx, leave := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- link.Run(lctx) }()
	err = a.serve(ctx, link)
	leave()
	if e := <-ended; err == nil && e != nil {
		err = fmt.Errorf("meter %s: %w", a.o.ID, e)
	}
	a.mu.Lock()
	a.connected, a.online, a.sleeping = false, false, false
	a.mu.Unlock()
	return err
}

// clientOptions describes the connection; mu is held.
func (a *Agent) clientOptions() client.Options {
	subs := []client.Subscription{{Filter: "dn/" + a.o.Kind + "/" + a.o.ID + "/#", QoS: 1}, {Filter: "dn/all/" + a.o.Kind + "/#", QoS: 1}}
	for _, g := range a.core.st.Groups {
		subs = append(subs, client.Subscription{Filter: groupFilter(g), QoS: 1})
	}
	return client.Options{
		URL: a.url, TLS: a.o.TLS, ClientID: a.o.ID, Username: a.o.Username, Password: a.o.Password, Version: a.o.Version, KeepAlive: a.o.KeepAlive,
		MinBackoff: a.o.MinBackoff, MaxBackoff: a.o.MaxBackoff, QueueBytes: a.o.QueueBytes, MaxInflight: 256, MaxPacketSize: 4 << 10, Aliases: 4,
		Subscriptions: subs, Will: a.will, Birth: a.birth, OnConnect: a.onConnect, OnDisconnect: a.onDisconnect, OnMessage: a.onMessage,
		Logger: a.o.Logger,
	}
}

// will begins an attempt to connect: the new sequence is kept before CONNECT carries it.
func (a *Agent) will() *client.Message {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.outgoing(a.core.attempt(a.o.Clock.Unix())) // nil: the loop ends the connection
}

// birth is the location, sent on every connection before anything else.
func (a *Agent) birth() *client.Message {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count.locations.Add(1)
	return a.outgoing(a.core.location(a.o.Clock.Unix()))
}

// outgoing puts a message into its topic, sealed where there is a key; mu is held. nil: the store failed, and nothing may be sent.
func (a *Agent) outgoing(m message) *client.Message {
	a.core.numbered(a.o.Clock.Unix())
	if a.save() != nil {
		return nil
	}
	m.payload = a.core.sealed(m.event, m.payload)
	return &client.Message{Topic: a.up + m.event, Payload: m.payload, QoS: m.qos}
}

func (a *Agent) onConnect(bool) {
	a.mu.Lock()
	a.connected, a.online = true, true
	a.mu.Unlock()
	a.nudge()
}

func (a *Agent) onDisconnect(err error) {
	a.mu.Lock()
	a.connected = false
	url := a.url
	a.mu.Unlock()
	if a.o.OnDisconnect != nil {
		a.o.OnDisconnect(url, err)
	}
	a.nudge()
}

func (a *Agent) onMessage(m *client.Message) {
	t, err := topic.Parse(m.Topic)
	if err != nil || t.Direction != topic.Down {
		a.count.rejected.Add(1)
		return
	}
	a.mu.Lock()
	if len(a.inbox) < maxInbox {
		a.inbox = append(a.inbox, inbound{topic: t, b: append([]byte(nil), m.Payload...)})
	} else {
		a.count.dropped.Add(1)
	}
	a.mu.Unlock()
	a.nudge()
}

func groupFilter(g uint32) string { return fmt.Sprintf("dn/group/%d/#", g) }

// repeatTimer paces the repetition of location: 2 s doubling to 5 min, each a quarter more or less.
type repeatTimer struct {
	timer *time.Timer
	delay time.Duration
}

func (r *repeatTimer) start() {
	r.delay = firstRepeat
	r.set()
}

func (r *repeatTimer) again() {
	r.delay = min(2*r.delay, lastRepeat)
	r.set()
}

func (r *repeatTimer) set() { r.timer.Reset(r.delay*3/4 + rand.N(r.delay/2)) }

func (r *repeatTimer) stop() { r.timer.Stop() }
