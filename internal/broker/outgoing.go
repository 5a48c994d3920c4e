package broker

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/topic"
)

// Outgoing keeps, in Options.Store, messages on their way to another server, so that
// those of a bridge outlive the process. It holds no message in memory once that is
// stored: whoever puts one in has it, and bounds how many there are.
//
//	publisher              broker   handler              store        other server
//	PUBLISH ──────────────────────> Put ───────────────>
//	<───────────────────────────────── PUBACK, PUBREC ── synced
//	                                sends ───────────────────────────────────────>
//	                                <──────────────────────────────────── PUBACK
//	                                done ──────────────>
type Outgoing struct {
	b  *Broker
	nr uint64
}

// OutgoingMessage is a message that an Outgoing keeps.
type OutgoingMessage struct {
	Topic      string
	Payload    []byte // Put copies it
	QoS        byte   // 1 or 2
	Retain     bool
	Properties *mqtt.Properties // nil: none
}

// Waiting is a message that was put in before the broker was started. It may have
// reached the other server already.
type Waiting struct {
	OutgoingMessage
	Done func() // as of Put
}

// Outgoing gives the queue of that name, and what waits in it, the oldest first. It is
// nil if the broker stores nothing. It is to be called before Run, once for a name.
func (b *Broker) Outgoing(name string) (*Outgoing, []Waiting) {
	j := b.journal
	if j == nil {
		return nil, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.outgoing[name]
	delete(b.outgoing, name)
	if s == nil {
		b.lastNr++
		s = &restored{session: &session{id: name, nr: b.lastNr}}
	}
	j.noteSession(StoredSession{Nr: s.nr, ClientID: name, Expiry: -1, Outgoing: true})
	o := &Outgoing{b: b, nr: s.nr}
	s.mu.Lock()
	defer s.mu.Unlock()
	var waiting []Waiting
	for s.pending.n > 0 {
		it := s.pending.pop()
		s.release(b, it.m)
		m := OutgoingMessage{Topic: it.m.topic, Payload: it.m.payload, QoS: it.qos(), Retain: it.flags&itemRetain != 0}
		in := Inbound{props: it.m.more.props}
		if at := it.m.expires(); at > 0 {
			in.expires, in.expiry = at, uint32(max(0, at-b.now()+time.Second-1)/time.Second)
		}
		m.Properties = in.Properties()
		waiting = append(waiting, Waiting{m, o.done(it.seq, it.m)})
	}
	return o, waiting
}

// Put keeps a message that a handler makes of in, whose acknowledgement waits until it
// is stored. done is to be called when it is not needed any more.
func (o *Outgoing) Put(in *Inbound, m *OutgoingMessage) (done func(), err error) {
	if err := topic.CheckName(m.Topic); err != nil {
		return nil, fmt.Errorf("broker: outgoing message to %.64q: %w", m.Topic, err)
	}
	if m.QoS != 1 && m.QoS != 2 {
		return nil, fmt.Errorf("broker: outgoing message to %.64q: %w", m.Topic, mqtt.ErrQoS)
	}
	kept := Inbound{Topic: m.Topic, Payload: m.Payload, QoS: m.QoS}
	if m.Properties != nil {
		if err := o.b.takeProperties(&kept, m.Properties); err != nil {
			return nil, fmt.Errorf("broker: outgoing message to %.64q: %w", m.Topic, err)
		}
	}
	it := item{m: o.b.newMessage(&kept), flags: itemFlags(m.QoS)}
	if m.Retain {
		it.flags |= itemRetain
	}
	o.b.journal.put(o.nr, &it)
	in.kept = true
	return o.done(it.seq, it.m), nil
}

// done does not hold the message itself.
func (o *Outgoing) done(seq uint64, m *message) func() {
	j, st, size := o.b.journal, m.more.stored, m.size()
	return func() { j.removeStored(seq, st, size) }
}

// leftOutgoing says what waits for bridges that nobody has asked for, and drops it once
// it has waited for longer than sessions do.
func (b *Broker) leftOutgoing() {
	for name, s := range b.outgoing {
		n, left := s.pending.n, s.left
		if b.opt.SessionExpiry >= 0 && time.Since(left) > b.opt.SessionExpiry {
			s.end(b)
			delete(b.outgoing, name)
			b.log.Warn("dropped what waited for a bridge that is not there", slog.String("bridge", name), slog.Int("messages", n), slog.Time("since", left))
		} else if n > 0 {
			b.log.Warn("messages wait for a bridge that is not there", slog.String("bridge", name), slog.Int("messages", n), slog.Time("since", left))
		}
	}
}
