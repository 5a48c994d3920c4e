package bridge

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/topic"
)

// Defaults of Batch, for what is 0 while something else is not.
const (
	DefaultBatchCount = 100
	DefaultBatchBytes = 32 << 10
	DefaultBatchAge   = time.Second
)

// MaxBatchBytes is the largest Batch.Bytes.
const MaxBatchBytes = 128 << 10

// Batch says when messages that were put together go up. All zero: every message goes by itself.
type Batch struct {
	Count int           // messages, at most 65,535
	Bytes int           // of the batch, header included, 256 to MaxBatchBytes
	Age   time.Duration // since its first message came
}

// Check returns an error for a value outside its range.
func (o Batch) Check() error { return o.complete() }

func (o *Batch) complete() error {
	if *o == (Batch{}) {
		return nil
	}
	if o.Count == 0 {
		o.Count = DefaultBatchCount
	}
	if o.Bytes == 0 {
		o.Bytes = DefaultBatchBytes
	}
	if o.Age == 0 {
		o.Age = DefaultBatchAge
	}
	switch {
	case o.Count < 1 || o.Count > math.MaxUint16:
		return fmt.Errorf("batch of %d messages: want 1 to %d", o.Count, math.MaxUint16)
	case o.Bytes < 256 || o.Bytes > MaxBatchBytes:
		return fmt.Errorf("batch of %d bytes: want 256 to %d", o.Bytes, MaxBatchBytes)
	case o.Age < 0:
		return fmt.Errorf("batch of age %s: want a positive one", o.Age)
	}
	return nil
}

// aggregate is the batch that is being filled (docs/contract.md, message 0x08). It is part of the bridge's queue: what is in it
// is acknowledged to the device, and goes up before anything that comes later from the same device.
//
//	device ──reading──> add ──> open batch ──full, old, or something urgent──> client's queue ~~> up/concentrator/C7/batch
//
// It holds Batch.Bytes at most, beyond the bound of the client's queue.
type aggregate struct {
	o     Batch
	topic string // of the batches, at the upstream
	strip int    // length of "up/" before the topic below this concentrator
	alone func(below string) string
	now   func() uint32
	send  func(context.Context, client.Message) error
	large func(client.Message, error) // one that the upstream takes in no form: it is dropped and counted
	begun chan struct{}               // the batch got its first message

	mu    sync.Mutex
	batch record.Batch
	first string    // topic of the first message, below this concentrator
	since time.Time // when it came
	buf   []byte

	// For Stats, which must not wait for mu: it is held while a batch waits for room in the queue.
	held, heldBytes atomic.Int64
	batches, inside atomic.Uint64 // batches sent, and the messages in them
}

// batchable says whether a message may wait for others. QoS 0 is dropped rather than kept, and repeated by who sends it, so it
// goes as it is; a will, a status, a last gasp and a device's event are news and go at once; a batch of a concentrator
// below is one already.
func batchable(m *broker.Inbound) bool {
	if m.QoS == 0 || m.Retain || m.Will {
		return false
	}
	t, err := topic.Parse(m.Topic)
	if err != nil || t.Kind == topic.Concentrator {
		return false
	}
	switch t.Event {
	case record.TypeLost.Event(), record.TypePower.Event(), record.TypeEvent.Event():
		return false
	}
	return true
}

// add puts a message into the batch. An error means that it is not in it, and must not be acknowledged.
func (g *aggregate) add(ctx context.Context, m *broker.Inbound) error {
	below := m.Topic[g.strip:]
	size := record.EntrySize(len(below), len(m.Payload))
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(below) > math.MaxUint8 || len(m.Payload) > math.MaxUint16 || record.BatchHeaderSize+size > g.o.Bytes {
		return g.pass(ctx, client.Message{Topic: g.alone(m.Topic), Payload: m.Payload, QoS: qos})
	}
	if g.batch.Size()+size > g.o.Bytes || int(g.batch.Count) >= g.o.Count {
		if err := g.flush(ctx); err != nil {
			return err
		}
	}
	if g.batch.Count == 0 {
		g.first, g.since = below, time.Now()
		select {
		case g.begun <- struct{}{}:
		default:
		}
	}
	if err := g.batch.Add(below, m.Payload); err != nil {
		return err
	}
	g.held.Store(int64(g.batch.Count))
	g.heldBytes.Store(int64(g.batch.Size()))
	if int(g.batch.Count) >= g.o.Count {
		// The message is in the batch whatever becomes of it: an error here is met again by whoever flushes next.
		_ = g.flush(ctx)
	}
	return nil
}

// urgent sends a message behind what was put together before it.
func (g *aggregate) urgent(ctx context.Context, m client.Message) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pass(ctx, m)
}

// pass is urgent with g.mu held.
func (g *aggregate) pass(ctx context.Context, m client.Message) error {
	if err := g.flush(ctx); err != nil {
		return err
	}
	return g.send(ctx, m)
}

// flush hands the batch to the client's queue and waits for room there; with an error the batch stays as it is. g.mu is held.
func (g *aggregate) flush(ctx context.Context) error {
	m, ok := g.message()
	if !ok {
		return nil
	}
	err := g.send(ctx, m)
	switch {
	case err == nil:
		if g.batch.Count > 1 {
			g.batches.Add(1)
			g.inside.Add(uint64(g.batch.Count))
		}
		g.reset(record.Batch{}, "")
	case errors.Is(err, client.ErrTooLarge): // for this upstream, which said so when it accepted us
		err = g.split(ctx)
	}
	return err
}

// split sends the messages of the batch one by one; with an error those that are left stay in it. g.mu is held.
func (g *aggregate) split(ctx context.Context) (err error) {
	var left record.Batch
	var first string
	g.batch.All(func(below, payload []byte) {
		if err == nil {
			m := client.Message{Topic: g.alone("up/" + string(below)), Payload: payload, QoS: qos}
			if err = g.send(ctx, m); errors.Is(err, client.ErrTooLarge) { // and so would it be without batches
				g.large(m, err)
				err = nil
			}
			if err == nil {
				return
			}
			first = string(below)
		}
		_ = left.Add(string(below), payload) // fits: it was in a batch
	})
	g.reset(left, first)
	return err
}

// message makes a message of the batch; one that is alone goes as it came. g.mu is held.
func (g *aggregate) message() (client.Message, bool) {
	switch g.batch.Count {
	case 0:
		return client.Message{}, false
	case 1:
		m := client.Message{Topic: g.alone("up/" + g.first), QoS: qos}
		g.batch.All(func(_, payload []byte) { m.Payload = payload })
		return m, true
	}
	g.batch.Time = g.now()
	g.buf = g.batch.Append(g.buf[:0])
	return client.Message{Topic: g.topic, Payload: g.buf, QoS: qos}, true
}

// reset leaves in the batch what could not be sent. g.mu is held.
func (g *aggregate) reset(left record.Batch, first string) {
	if g.first = first; left.Count > 0 {
		g.batch = left
		g.held.Store(int64(left.Count))
		g.heldBytes.Store(int64(left.Size()))
		return
	}
	g.batch.Reset() // keeps its memory
	g.held.Store(0)
	g.heldBytes.Store(0)
}

// run sends batches that have become old, until ctx ends. When the queue is full they wait for another Age.
func (g *aggregate) run(ctx context.Context) {
	atOnce, cancel := context.WithCancel(ctx)
	cancel() // for sending without waiting for room: add and Stats are not to wait meanwhile
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	for {
		wait := time.Hour
		g.mu.Lock()
		if g.batch.Count > 0 {
			wait = g.o.Age - time.Since(g.since)
		}
		if wait <= 0 {
			if wait = time.Hour; g.flush(atOnce) != nil {
				wait = g.o.Age
			}
		}
		g.mu.Unlock()
		t.Reset(wait)
		select {
		case <-t.C:
		case <-g.begun:
		case <-ctx.Done():
			return
		}
	}
}

// end hands the last batch to the queue.
func (g *aggregate) end(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.flush(ctx)
}

func newAggregate(o *Options, m *mapping, c *client.Client, large func(client.Message, error)) *aggregate {
	return &aggregate{
		o: o.Batch, topic: "up/" + topic.Concentrator + "/" + o.ID + "/" + record.TypeBatch.Event(), strip: len(m.out.local),
		alone: func(local string) string { return m.out.remote + strings.TrimPrefix(local, m.out.local) },
		now:   o.Now, send: c.Publish, large: large, begun: make(chan struct{}, 1),
	}
}
