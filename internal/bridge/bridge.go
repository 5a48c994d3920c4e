package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/topic"
)

// The words of a status, as they stand in the contract.
const (
	online  = "online"
	offline = "offline"
	lost    = "lost"
)

// Bridge links a local broker to its upstream.
type Bridge struct {
	o      Options
	log    *slog.Logger
	m      mapper
	sender string // of what is published locally: "" for the contract's
	mark   string // by which it knows what came round; "": it does not
	client *client.Client

	accepting context.Context // ends when Run begins to stop
	refuse    context.CancelFunc
	n         counters
	batch     *aggregate       // nil: no batches
	kept      *broker.Outgoing // nil: what waits is lost with the process

	self   chan string // gets the URL of an upstream that turns out to be the local broker
	mu     sync.Mutex
	status Status
	noted  time.Time // when the log last said that the upstream is away
	told   time.Time // and that it refuses messages
	flush  context.CancelFunc
}

type counters struct {
	up, down                        atomic.Uint64
	loop, tooLarge, badTopic, other atomic.Uint64
}

// Status is the state of the link.
type Status struct {
	Connected bool
	Upstream  string    // of the connection, "" while there is none
	Since     time.Time // of the state
	Error     string    // why the last connection or attempt ended, "" if none did
}

// New makes the bridge of a concentrator. It checks the options, and puts the bridge's handler into the local broker: from here
// on messages for the upstream are queued. Run connects.
func New(o Options) (*Bridge, error) {
	if err := topic.CheckID(o.ID); err != nil {
		return nil, fmt.Errorf("concentrator: %w", err)
	}
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("bridge of concentrator %s: %w", o.ID, err)
	}
	m := newMapping(o.ID)
	b := &Bridge{o: o, m: &m, log: o.Logger.With("component", "bridge", "concentrator", o.ID)}
	statusTopic := "up/concentrator/" + o.ID + "/status"
	co := o.client()
	co.Will = say(statusTopic, lost, false)
	co.Birth, co.Farewell = say(statusTopic, online, false), say(statusTopic, offline, false)
	if err := b.make(co); err != nil {
		return nil, fmt.Errorf("bridge of concentrator %s: %w", o.ID, err)
	}
	if o.Batch != (Batch{}) {
		b.batch = newAggregate(&b.o, &m, b.client, b.tooLarge)
	}
	b.handle()
	return b, nil
}

// say gives a message to be said at every connection.
func say(topic, word string, retain bool) func() *client.Message {
	m := &client.Message{Topic: topic, Payload: []byte(word), QoS: qos, Retain: retain}
	return func() *client.Message { return m }
}

// make makes the client.
func (b *Bridge) make(co client.Options) (err error) {
	b.accepting, b.refuse = context.WithCancel(context.Background())
	b.status.Since = time.Now()
	b.self = make(chan string, 1)
	co.Subscriptions = b.m.subscriptions()
	co.OnConnect, co.OnDisconnect, co.OnMessage, co.OnRefused = b.connected, b.disconnected, b.downward, b.refused
	b.client, err = client.New(co)
	return err
}

// handle puts the handlers into the local broker.
func (b *Bridge) handle() {
	for i, f := range b.m.filters() {
		b.o.Local.Handle(f, func(m *broker.Inbound) { b.upward(i, m) })
	}
}

// Run connects to the upstream and keeps the link until ctx ends. Then it takes no more messages from the local broker, waits up
// to Options.StopTimeout for the upstream to acknowledge what is queued, says offline, disconnects and returns. Run can be
// called once.
func (b *Bridge) Run(ctx context.Context) error {
	clientCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	done := make(chan error, 1)
	go func() { done <- b.client.Run(clientCtx) }()
	var batching sync.WaitGroup
	defer batching.Wait()
	if b.batch != nil {
		batching.Go(func() { b.batch.run(clientCtx) })
	}
	select {
	case err := <-done:
		b.refuse()
		stop()
		return err
	case url := <-b.self:
		b.refuse()
		stop()
		return errors.Join(fmt.Errorf("bridge %s: %s: %w", b.o.ID, url, ErrSelf), <-done)
	case <-ctx.Done():
	}
	b.refuse()
	b.drain()
	stop()
	err := <-done
	if s := b.Stats(); s.Queued > 0 && b.kept != nil {
		b.log.Info("stopped with messages that the upstream has not acknowledged; they are stored", "messages", s.Queued, "bytes", s.QueuedBytes)
	} else if s.Queued > 0 {
		b.log.Warn("stopped with messages that the upstream has not acknowledged", "messages", s.Queued, "bytes", s.QueuedBytes)
	}
	return err
}

// Refuse makes the bridge take no more messages from the local broker: those that wait for room return, and none of them is
// acknowledged to its sender. It is for an owner that ends the local broker before the bridge, so that the bridge knows all it
// has to pass on when it stops.
func (b *Bridge) Refuse() { b.refuse() }

// drain waits for the queue to empty, as long as there is a connection.
func (b *Bridge) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), b.o.StopTimeout)
	defer cancel()
	b.mu.Lock()
	b.flush = cancel // a connection that is lost ends the wait
	connected := b.status.Connected
	b.mu.Unlock()
	if !connected || b.batch != nil && b.batch.end(ctx) != nil {
		return
	}
	_ = b.client.Flush(ctx) // what is left is logged
}

// upward is the handler of the local broker for what matches filter number i. It runs on the reading goroutine of the publisher.
func (b *Bridge) upward(i int, m *broker.Inbound) {
	if b.accepting.Err() != nil {
		m.Defer() // never acknowledged: whoever sent it keeps it
		return
	}
	out, v := b.m.up(i, m)
	switch v {
	case notOurs:
		return
	case badTopic:
		b.n.badTopic.Add(1)
		return
	case loop:
		b.cameRound(m.Topic)
		return
	}
	if b.mark != "" {
		var ok bool
		if out.Properties, ok = marked(out.Properties, b.mark); !ok {
			b.cameRound(m.Topic)
			return
		}
	}
	err := b.queue(m, out)
	switch {
	case err == nil:
		b.n.up.Add(1)
	case errors.Is(err, client.ErrNotConnected): // the client counts it
	case b.accepting.Err() != nil:
		m.Defer()
	case errors.Is(err, client.ErrTooLarge):
		b.tooLarge(out, err)
	default:
		b.n.other.Add(1)
	}
}

// cameRound counts a message that is not passed on a second time.
func (b *Bridge) cameRound(topic string) {
	if b.n.loop.Add(1) == 1 {
		b.log.Error("message came round to its bridge: bridges are arranged in a ring", "topic", topic)
	}
}

// tooLarge counts a message that cannot be sent.
func (b *Bridge) tooLarge(m client.Message, err error) {
	if b.n.tooLarge.Add(1) == 1 {
		b.log.Error("message too large for the upstream", "topic", m.Topic, "bytes", len(m.Payload), "error", err)
	}
}

// refused is told of each message that the upstream acknowledges with a failure, which ends it; the client counts them. They may
// come as fast as messages do.
func (b *Bridge) refused(topic string, why *client.ReasonError) {
	b.mu.Lock()
	say := time.Since(b.told) >= remind
	if say {
		b.told = time.Now()
	}
	b.mu.Unlock()
	if say {
		b.log.Warn("message refused by the upstream", "topic", topic, "error", why, "refused", b.client.Stats().Refused)
	}
}

// queue puts a message for the upstream into the queue, or into a batch that is part of it.
func (b *Bridge) queue(m *broker.Inbound, out client.Message) error {
	switch {
	case b.kept != nil && out.QoS > 0:
		return b.keep(m, out)
	case b.batch == nil || m.QoS == 0:
		return b.client.Publish(b.accepting, out)
	case batchable(m):
		return b.batch.add(b.accepting, m)
	}
	return b.batch.urgent(b.accepting, out)
}

// downward publishes a message of the upstream into the local broker; the client acknowledges it afterwards.
func (b *Bridge) downward(m *client.Message) {
	if b.accepting.Err() != nil {
		m.Withhold() // the local broker is going; a kept session brings the message again
		return
	}
	topic, qos, retain, v := b.m.down(m)
	switch v {
	case notOurs:
		return
	case badTopic:
		b.n.badTopic.Add(1)
		return
	}
	props := m.Properties
	if b.mark != "" {
		var ok bool
		if props, ok = marked(props, b.mark); !ok {
			b.cameRound(topic)
			return
		}
	}
	if _, err := b.o.Local.Send(&broker.Message{Sender: b.sender, Topic: topic, Payload: m.Payload, QoS: qos, Retain: retain, Properties: props}); err != nil {
		b.n.other.Add(1)
		b.log.Debug("message of the upstream cannot be published", "topic", topic, "error", err)
		return
	}
	b.n.down.Add(1)
}

// TryPublish sends a message of the concentrator itself, under its topic at the upstream, at QoS 1. It does not wait: false
// means that the queue is full.
func (b *Bridge) TryPublish(topic string, payload []byte) bool {
	return b.accepting.Err() == nil && b.client.TryPublish(client.Message{Topic: topic, Payload: payload, QoS: qos})
}

func (b *Bridge) connected(present bool) {
	s := b.client.Stats()
	if s.Local != "" && b.o.Local.RemoteAddr(b.o.ID) == s.Local {
		select {
		case b.self <- s.Server:
		default:
		}
	}
	b.mu.Lock()
	away := time.Since(b.status.Since)
	b.status = Status{Connected: true, Upstream: s.Server, Since: time.Now()}
	b.noted = time.Time{}
	b.mu.Unlock()
	b.log.Info("upstream connected", "upstream", s.Server, "session_present", present, "away", away.Round(time.Millisecond), "queued_messages", s.Queued, "queued_bytes", s.QueuedBytes)
}

// remind is how often the log repeats that the upstream is still away, or refuses messages.
const remind = 5 * time.Minute

func (b *Bridge) disconnected(err error) {
	s := b.client.Stats()
	b.mu.Lock()
	if b.status.Connected {
		b.status = Status{Since: time.Now()}
	}
	if b.status.Error = ""; err != nil {
		b.status.Error = err.Error()
	}
	say := err != nil && time.Since(b.noted) >= remind
	if say {
		b.noted = time.Now()
	}
	since := b.status.Since
	if b.flush != nil {
		b.flush()
	}
	b.mu.Unlock()
	if say {
		b.log.Warn("upstream away", "since", since, "queued_messages", s.Queued, "queued_bytes", s.QueuedBytes, "error", err)
	}
}
