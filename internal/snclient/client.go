package snclient

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wattbus/wattbus/internal/snlink"
)

// State is what a client is doing.
type State int32

// The states; see the package comment.
const (
	Idle State = iota // not running, dark, or between two attempts
	Searching
	Connecting
	Active
	Asleep
	Awake
)

// String is the state's name.
func (s State) String() string {
	return [...]string{"idle", "searching", "connecting", "active", "asleep", "awake"}[s]
}

// Client is an MQTT-SN client. Its methods are safe for concurrent use: they leave notes for the goroutine of Run, which alone
// knows the rest.
type Client struct {
	o     Options
	note  chan struct{} // there are new notes; 1 deep
	state atomic.Int32
	count counters

	mu      sync.Mutex
	running bool
	dark    bool // between Kill and Resume
	killed  bool // Kill was called, be Resume called since
	again   bool // Reconnect was called
	out     []*outgoing
	loose   []Message // of QoS -1
	bytes   int
	flushes []chan struct{}
	wanted  []Subscription // all that should be subscribed
	changes []change       // of the subscriptions, to be told to the gateway
	will    *Message       // set by SetWill, to be told
	newWill bool

	// What follows belongs to the goroutine of Run.
	link      snlink.Link
	in        chan datagram
	gateway   net.Addr
	known     []gateway
	lastSent  time.Time // to the gateway
	holdUntil time.Time // congestion: nothing is published before
	msgID     uint16
	ids       map[string]uint16 // topic ids that the gateway gave
	names     map[uint16]string // topics of the ids in what the gateway sends
	refused   map[uint16]bool   // predefined ids that the gateway does not know
	recent    [8]arrival        // QoS 1 messages
	recentAt  int
	half      map[uint16]bool // QoS 2 messages whose PUBREL has not come
	predef    map[string]uint16
	byID      bool // a predefined id was said in this session
	doubt     int  // sessions in a row that the gateway ended after that; certain: it knows such ids

	fallingAsleep bool      // DISCONNECT with a duration is under way: one from the gateway is its answer
	asleepAt      time.Time // when that came: it may come once more
	recentOf      net.Addr  // the gateway that recent is about
}

// change is a filter to subscribe to, or to leave.
type change struct {
	s     Subscription
	leave bool
}

type counters struct {
	sent, received, octetsOut, octetsIn, repeated, duplicates, refused, lost, sleeps, malformed atomic.Uint64
}

// Stats count since New.
type Stats struct {
	Sent, Received      uint64 // messages
	OctetsOut, OctetsIn uint64
	Repeated            uint64 // sent again after T_retry
	Duplicates          uint64 // received again, and not given to OnMessage
	Refused             uint64 // messages the gateway did not take, and names above the bound
	Lost                uint64 // gateways that did not answer
	Sleeps              uint64
	Malformed           uint64
}

// Stats returns the counts.
func (c *Client) Stats() Stats {
	n := &c.count
	return Stats{n.sent.Load(), n.received.Load(), n.octetsOut.Load(), n.octetsIn.Load(), n.repeated.Load(), n.duplicates.Load(),
		n.refused.Load(), n.lost.Load(), n.sleeps.Load(), n.malformed.Load()}
}

// New checks the options and makes a client; Run starts it.
func New(o Options) (*Client, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	c := &Client{o: o, note: make(chan struct{}, 1), wanted: append([]Subscription(nil), o.Subscriptions...),
		msgID: uint16(rand.Uint32()), names: make(map[uint16]string), half: make(map[uint16]bool), predef: make(map[string]uint16)}
	for id, name := range o.Predefined {
		c.predef[name] = id
	}
	c.forget()
	return c, nil
}

// State is what the client is doing.
func (c *Client) State() State { return State(c.state.Load()) }

func (c *Client) enter(s State) {
	if State(c.state.Swap(int32(s))) == s {
		return
	}
	c.o.Logger.Debug("state changed", "client", c.o.ClientID, "state", s.String())
	if c.o.OnState != nil {
		c.o.OnState(s)
	}
}

// Run finds a gateway, connects and stays connected until ctx ends; then it leaves in order, and returns nil when everything it
// started has ended. What is still queued stays queued.
func (c *Client) Run(ctx context.Context) error {
	c.mu.Lock()
	if c.running {
		c.mu.Unlock()
		return ErrRunning
	}
	c.running = true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.running = false
		c.mu.Unlock()
	}()
	for failures := 0; ; failures++ {
		if !c.light(ctx) {
			return nil
		}
		began := time.Now()
		connected, err := c.onLink(ctx)
		c.enter(Idle)
		if ctx.Err() != nil {
			return nil
		}
		c.o.Logger.Debug("link given up", "client", c.o.ClientID, "error", err)
		if errors.Is(err, errKilled) || connected && time.Since(began) > c.o.MaxBackoff {
			failures = -1
			continue
		}
		backoff := min(c.o.MinBackoff<<min(failures, 20), c.o.MaxBackoff)
		c.pause(ctx, backoff/2+rand.N(backoff/2+1))
	}
}

// light waits while the client is dark; it returns false when ctx has ended.
func (c *Client) light(ctx context.Context) bool {
	for {
		c.mu.Lock()
		dark := c.dark
		if !dark {
			c.killed = false
		}
		c.mu.Unlock()
		if ctx.Err() != nil || !dark {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
		case <-c.note:
		}
	}
}

// pause waits for d, the end of ctx, Kill or Resume.
func (c *Client) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return
		case <-ctx.Done():
			return
		case <-c.note:
			if c.isKilled() {
				return
			}
		}
	}
}

func (c *Client) nudge() {
	select {
	case c.note <- struct{}{}:
	default:
	}
}

func (c *Client) isKilled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.killed
}

// TryPublish queues a message; false if there is no room, or no connection for one of QoS 0, which is then dropped.
func (c *Client) TryPublish(m Message) bool {
	size := len(m.Topic) + len(m.Payload) + 64
	c.mu.Lock()
	defer c.nudge()
	defer c.mu.Unlock()
	if m.QoS == 0 && c.State() < Active || c.bytes+size > c.o.QueueBytes || m.QoS < -1 || m.QoS > 2 || m.Topic == "" {
		return false
	}
	m.Payload = append([]byte(nil), m.Payload...)
	if m.QoS < 0 {
		if len(c.loose) >= maxLoose {
			return false
		}
		c.loose = append(c.loose, m)
		return true
	}
	c.bytes += size
	c.out = append(c.out, &outgoing{m: m, size: size})
	return true
}

// Flush waits until nothing is queued, or ctx ends.
func (c *Client) Flush(ctx context.Context) error {
	c.mu.Lock()
	if len(c.out) == 0 {
		c.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	c.flushes = append(c.flushes, done)
	c.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Subscribe adds to what the client is subscribed to, now or on the next connection.
func (c *Client) Subscribe(subs ...Subscription) {
	c.mu.Lock()
	for _, s := range subs {
		c.drop(s.Filter)
		c.wanted = append(c.wanted, s)
		c.changes = append(c.changes, change{s: s})
	}
	c.mu.Unlock()
	c.nudge()
}

// Unsubscribe takes filters away.
func (c *Client) Unsubscribe(filters ...string) {
	c.mu.Lock()
	for _, f := range filters {
		c.drop(f)
		c.changes = append(c.changes, change{s: Subscription{Filter: f}, leave: true})
	}
	c.mu.Unlock()
	c.nudge()
}

// drop takes a filter off the lists; mu is held.
func (c *Client) drop(filter string) {
	for i := range c.wanted {
		if c.wanted[i].Filter == filter {
			c.wanted = append(c.wanted[:i:i], c.wanted[i+1:]...)
			break
		}
	}
	for i := range c.changes {
		if c.changes[i].s.Filter == filter {
			c.changes = append(c.changes[:i:i], c.changes[i+1:]...)
			break
		}
	}
}

// SetWill tells the gateway another will on the present connection, or with nil that there is none (MQTT-SN 1.2, 6.4). The next
// connection asks Options.Will again.
func (c *Client) SetWill(m *Message) {
	c.mu.Lock()
	c.will, c.newWill = m, true
	c.mu.Unlock()
	c.nudge()
}

// Reconnect ends the present connection in order and connects anew.
func (c *Client) Reconnect() {
	c.mu.Lock()
	c.again = true
	c.mu.Unlock()
	c.nudge()
}

// Kill falls silent at once, as without power: the gateway publishes the will. The client stays dark, keeping its queue, until Resume.
func (c *Client) Kill() {
	c.mu.Lock()
	c.dark, c.killed = true, true
	c.mu.Unlock()
	c.nudge()
}

// Resume ends what Kill began.
func (c *Client) Resume() {
	c.mu.Lock()
	c.dark = false
	c.mu.Unlock()
	c.nudge()
}

func (c *Client) nextID() uint16 {
	if c.msgID++; c.msgID == 0 {
		c.msgID = 1
	}
	return c.msgID
}

// forget drops what belongs to one gateway's session: it may give other topic ids now.
func (c *Client) forget() {
	c.ids, c.refused = make(map[string]uint16), make(map[uint16]bool)
	if c.o.Clean || c.recentOf != c.gateway { // else it may still send again what it has no PUBACK of
		c.recent, c.recentOf = [8]arrival{}, c.gateway
	}
	if c.o.Clean {
		clear(c.half)
	}
}
