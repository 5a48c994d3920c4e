package broker

import (
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/topic"
)

// LocalMessage is what the client of a Local publishes.
type LocalMessage struct {
	Topic    string
	Payload  []byte // until Publish returns
	QoS      byte
	Retain   bool
	Dup      bool
	PacketID uint16 // QoS 2: one that was not released yet is not published again; see Release
}

// Publish spreads a message of the client. It blocks where a session or a handler
// exerts back-pressure. done is called, from any goroutine, when the message may be
// acknowledged to the client: at once if no handler defers. It is not called if Publish
// fails, nor for the repeat of a QoS 2 message that is still on its way.
func (l *Local) Publish(m *LocalMessage, done func()) error {
	if err := topic.CheckName(m.Topic); err != nil {
		return fmt.Errorf("broker: publish to %.64q: %w", m.Topic, err)
	}
	if m.QoS > 2 || len(m.Payload) > l.b.opt.MaxPacketSize {
		return fmt.Errorf("broker: publish to %.64q: %d bytes at QoS %d: %w", m.Topic, len(m.Payload), m.QoS, ErrDenied)
	}
	s := l.s
	handlersOnly := false
	s.mu.Lock()
	if l.closed {
		s.mu.Unlock()
		return ErrEnded
	}
	if m.QoS == 2 && m.PacketID != 0 { // [MQTT-4.3.3-2]
		r, known := s.received.get(m.PacketID)
		if known && r.cut {
			known, handlersOnly = false, true
		}
		if known {
			s.mu.Unlock()
			if r.acked && done != nil {
				done()
			}
			return nil
		}
		if n := s.received.len(); n >= l.b.opt.MaxInflight {
			s.mu.Unlock()
			return fmt.Errorf("broker: %d messages of QoS 2 not released by %.64q: %w", n, s.id, ErrDenied)
		}
		s.setReceived(m.PacketID, received{})
		first, id := done, m.PacketID // m is the caller's again when Publish returns
		done = func() {
			s.mu.Lock()
			if _, ok := s.received.get(id); ok {
				s.setReceived(id, received{acked: true})
			}
			s.mu.Unlock()
			if first != nil {
				first()
			}
		}
	}
	s.mu.Unlock()
	in := Inbound{Topic: m.Topic, Payload: m.Payload, QoS: m.QoS, Retain: m.Retain, Dup: m.Dup, packetID: m.PacketID, handlersOnly: handlersOnly}
	switch a := l.opt.Access; {
	case l.b.reserved(m.Topic): // acknowledged all the same
	case a != nil && !a.Publish(m.Topic):
		l.b.drop(dropDenied, 1)
		return fmt.Errorf("broker: publish to %.64q: %w", m.Topic, ErrDenied)
	default:
		return l.publish(&in, done)
	}
	if done != nil {
		done()
	}
	return nil
}

func (l *Local) publish(in *Inbound, done func()) (err error) {
	b := l.b
	w := b.getWork()
	defer b.putWork(w)
	in.ClientID, in.Version = l.s.id, mqtt.V311
	w.in = *in
	w.once = in.QoS == 2 && in.packetID != 0 && l.s.stored()
	var ack *localAck
	if in.QoS > 0 && done != nil {
		ack = &localAck{done: done, l: l}
		ack.waits.Store(1) // this call
		w.in.local = ack
	}
	func() {
		defer b.settle(w)
		defer func() {
			if r := recover(); r != nil {
				b.log.Error("fault in a handler", slog.Any("panic", r), slog.String("client_id", l.s.id))
				err = fmt.Errorf("broker: publish to %.64q: a handler failed", in.Topic)
			}
		}()
		b.dispatch(w, l.s)
		if ack != nil && (w.stored || w.once) {
			ack.store = true
			if w.once && w.handlers > 0 {
				ack.handled = in.packetID
			}
		}
		if len(w.full) > 0 || w.fullTotal {
			b.owe(w)
		}
	}()
	for _, s := range w.wait {
		b.waitFor(s.roomIn(), nil)
	}
	if w.waitTotal {
		b.waitFor(b.roomInTotal(), nil)
	}
	if err != nil {
		return err
	}
	if ack != nil {
		ack.release()
	} else if done != nil {
		done()
	}
	return nil
}

// localAck waits for those who deferred the acknowledgement of a message of a Local.
type localAck struct {
	waits   atomic.Int32
	done    func()
	l       *Local
	store   bool   // then it waits for the journal
	handled uint16 // the packet identifier of QoS 2 that the journal is told the handlers are done with; 0: none
}

func (a *localAck) release() {
	switch {
	case a.waits.Add(-1) > 0:
	case a.store:
		a.store = false
		a.waits.Store(1)
		if a.handled != 0 {
			a.l.s.mu.Lock()
			if j := a.l.s.journal; j != nil {
				j.receive(StoredReceived{Session: a.l.s.nr, PacketID: a.handled, Done: true})
			}
			a.l.s.mu.Unlock()
		}
		a.l.b.journal.ack(Ack{local: a})
	default:
		a.done()
	}
}

// Release is the client's PUBREL: the packet identifier is free again. done, which may be
// nil, is called when the client may be told so by PUBCOMP, see whenStored.
func (l *Local) Release(id uint16, done func()) {
	s := l.s
	s.mu.Lock()
	if r, ok := s.received.get(id); ok && r.acked {
		s.forgetReceived(id)
	}
	j := s.journal
	s.mu.Unlock()
	whenStored(j, done)
}

// whenStored calls done when everything that was noted so far is stored: at once where j
// is nil, because nothing of the session is, else on the goroutine of the journal, also
// if the Local has ended meanwhile. What a client repeats, because the answer took too
// long, changes nothing, and its answer waits all the same. No lock is held.
func whenStored(j *journal, done func()) {
	switch {
	case done == nil:
	case j == nil:
		done()
	default:
		j.then(done)
	}
}
