package broker

import (
	"bytes"
	"log/slog"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// will is what is published when the client is lost.
type will struct {
	id      uint64 // what the journal knows it by; 0: it is not stored
	topic   string
	payload []byte
	qos     byte
	retain  bool
	version mqtt.Version

	// MQTT 5.
	delay     time.Duration
	props     []byte
	hasExpiry bool
	expiry    uint32 // seconds from when it is published
}

// newWill keeps what a client sent [MQTT-3.1.2-7].
func newWill(v mqtt.Version, p *mqtt.Will) *will {
	if p == nil {
		return nil
	}
	w := &will{topic: p.Topic, payload: bytes.Clone(p.Payload), qos: p.QoS, retain: p.Retain, version: v}
	if p.Properties != nil {
		w.delay = seconds(p.Properties.WillDelay)
		w.hasExpiry, w.expiry = p.Properties.Has(mqtt.PropMessageExpiry), p.Properties.MessageExpiry
		message := *p.Properties
		message.Present &^= mqtt.Present(mqtt.PropWillDelay, mqtt.PropMessageExpiry)
		w.props, _ = mqtt.AppendProperties(nil, mqtt.PUBLISH, &message) // as they were decoded
	}
	return w
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

// delayedWill waits at a session that is not connected for its time, which the end of
// the session cuts short.
type delayedWill struct {
	*will
	due *due
	// grace: its client was connected when the broker ended, and is not lost if it comes back.
	grace bool
}

// delayWill keeps the will of a session that waits for its client. b.mu is held.
func (b *Broker) delayWill(s *session, w *will) {
	s.will = &delayedWill{will: w, due: b.plan(w.delay, s, true)}
	if b.journal != nil {
		b.journal.will(s, w, time.Now().Add(w.delay))
	}
}

// takeWill takes the will that waits, if any does. b.mu is held.
func (b *Broker) takeWill(s *session) *will {
	d := s.will
	if d == nil {
		return nil
	}
	s.will = nil
	b.cancel(d.due)
	return d.will
}

// forgetWill lets go of the will of a session whose client has come back: the one that
// waits for the end of the session only if the client is not lost after all. b.mu is held.
func (b *Broker) forgetWill(s *session, ends bool) {
	if s.will != nil && (!ends || s.will.grace) {
		b.noWill(b.takeWill(s))
	}
}

// noWill tells the journal that a will has gone out, or is not to; nil is none.
func (b *Broker) noWill(w *will) {
	if w != nil && w.id != 0 {
		b.journal.willGone(w.id)
	}
}

// sendLater publishes a will on a goroutine of its own, since handlers may block.
func (b *Broker) sendLater(s *session, p *will) {
	if p == nil {
		return
	}
	b.mu.Lock()
	closing := b.closing // then a stored one goes out after the next start
	if !closing {
		b.wg.Add(1)
	}
	b.mu.Unlock()
	if closing {
		return
	}
	go func() {
		defer b.wg.Done()
		b.publishWill(s, p)
	}()
}

func (b *Broker) publishWill(s *session, p *will) {
	defer b.noWill(p)
	if b.reserved(p.topic) {
		return
	}
	w := b.getWork()
	defer b.putWork(w)
	w.in = Inbound{
		Topic: p.topic, Payload: p.payload, QoS: p.qos, Retain: p.retain,
		Will: true, ClientID: s.id, Version: p.version, props: p.props,
	}
	if p.hasExpiry {
		w.in.expiry, w.in.expires = p.expiry, b.expiresIn(p.expiry)
	}
	defer func() {
		if r := recover(); r != nil {
			b.log.Error("fault in a handler of a will", slog.Any("panic", r), slog.String("client_id", s.id))
		}
	}()
	defer b.settle(w)
	b.dispatch(w, s)
}

// expiresIn is when a message with this expiry interval is over, in terms of now.
func (b *Broker) expiresIn(interval uint32) time.Duration {
	return max(1, b.now()) + seconds(interval)
}
