package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	mqttclient "github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/topic"
)

// A connection that is ended again within shortAfter, shortLimit times in a row, is one that somebody else with the same client
// id ends. Only servers of MQTT 5 say so.
const (
	shortAfter = 15 * time.Second
	shortLimit = 3
)

// upstreamSession is one client's connection at the server.
type upstreamSession struct {
	u            *Upstream
	v            mqtt.Version
	c            *mqttclient.Client
	ctx          context.Context
	stop         context.CancelFunc
	done         chan struct{}
	ready, ended func()
	connected    chan bool
	failed       chan error

	mu       sync.Mutex
	will     *mqtt.Will
	closed   bool
	queue    []waitingMessage // for the client
	out      bool             // the first one was given
	idle     bool             // Next had nothing
	withheld bool             // the server has some that did not fit; what comes behind them does not overtake
	fetching bool             // the connection is given up for them
	lastID   uint16
	since    time.Time       // of the connection; zero: there is none
	short    int             // connections in a row that did not last
	acked    map[uint16]bool // of former connections: what the client has acknowledged and the server does not know of
	received map[uint16]bool // QoS 2 from the client, not released; true: the server has it
}

// waitingMessage is a message that waits for the client.
type waitingMessage struct {
	broker.Delivery
	server uint16      // the server's identifier, 0: it has none, or has forgotten it
	ack    func() bool // nil: its connection has ended, the server may bring it again
}

// online begins a connection.
func (s *upstreamSession) online(present bool) {
	s.mu.Lock()
	s.since = time.Now()
	s.u.n.online.Add(1)
	s.u.away.Store(false)
	s.withheld, s.fetching = false, false
	if !present { // the server brings nothing again
		s.acked = nil
		for i := range s.queue {
			s.queue[i].server = 0
		}
	}
	s.mu.Unlock()
	select {
	case s.connected <- present:
	default:
	}
}

// offline ends a connection, or an attempt. One that somebody else took is not tried again.
func (s *upstreamSession) offline(err error) {
	s.mu.Lock()
	for i := range s.queue {
		s.queue[i].ack = nil
	}
	var reason *mqttclient.ReasonError
	taken := errors.As(err, &reason) && reason.Reason == mqtt.ReasonSessionTakenOver
	switch {
	case err == nil || s.fetching || s.since.IsZero() || s.v == mqtt.V5: // ours, or never accepted, or it would have said so
	case time.Since(s.since) > shortAfter:
		s.short = 0
	default:
		s.short++
		taken = taken || s.short >= shortLimit
	}
	if !s.since.IsZero() {
		s.u.n.online.Add(-1)
	}
	s.u.away.Store(err != nil && !taken)
	s.since = time.Time{}
	taken = taken && !s.closed
	if taken {
		s.closed = true
	}
	s.mu.Unlock()
	select {
	case s.failed <- err:
	default:
	}
	if !taken {
		return
	}
	s.u.n.takenOver.Add(1)
	s.u.o.Logger.Warn("session taken by somebody else at the server", slog.Any("error", err))
	s.stop()
	if s.ended != nil {
		s.ended()
	}
}

// arrived takes a message of the server.
func (s *upstreamSession) arrived(m *mqttclient.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.QoS > 0 && m.Dup && s.again(m) {
		return
	}
	if m.QoS > 0 && s.withheld || len(s.queue) >= s.u.o.MaxMessages && !s.dropOldest() {
		if m.QoS > 0 {
			s.withheld = true
			s.u.n.withheld.Add(1)
			m.Withhold()
		} else {
			s.u.n.dropped.Add(1)
		}
		return
	}
	w := waitingMessage{Delivery: broker.Delivery{Topic: m.Topic, Payload: append([]byte(nil), m.Payload...), QoS: m.QoS, Retain: m.Retain}}
	if m.QoS > 0 {
		if s.lastID++; s.lastID == 0 {
			s.lastID = 1
		}
		w.PacketID, w.server, w.ack = s.lastID, m.PacketID, m.Defer()
	}
	s.queue = append(s.queue, w)
	s.u.n.waiting.Add(1)
	wake := s.idle
	s.idle = false
	if wake && s.ready != nil {
		s.ready() // does not block
	}
}

// again handles a message that the server brings again on a new connection [MQTT-4.4.0-1]: it still waits here, or the client has
// it already. mu is held.
func (s *upstreamSession) again(m *mqttclient.Message) bool {
	if s.acked[m.PacketID] {
		delete(s.acked, m.PacketID)
		return true // acknowledged when arrived returns
	}
	for i := range s.queue {
		w := &s.queue[i]
		if w.ack == nil && w.server != 0 && w.server == m.PacketID && w.Topic == m.Topic && w.QoS == m.QoS {
			w.ack = m.Defer()
			return true
		}
	}
	return false
}

func (s *upstreamSession) dropOldest() bool {
	for i := range s.queue {
		if s.queue[i].QoS == 0 {
			s.queue = append(s.queue[:i], s.queue[i+1:]...)
			s.u.n.waiting.Add(-1)
			s.u.n.dropped.Add(1)
			return true
		}
	}
	return false
}

// Publish implements Session.
func (s *upstreamSession) Publish(m *broker.LocalMessage, done func()) error {
	id := m.PacketID
	if m.QoS == 2 {
		s.mu.Lock()
		has, known := s.received[id]
		if !known {
			if s.received == nil {
				s.received = make(map[uint16]bool)
			}
			s.received[id] = false
		}
		s.mu.Unlock()
		if known {
			if has && done != nil {
				done()
			}
			return nil
		}
	}
	msg := mqttclient.Message{Topic: m.Topic, Payload: m.Payload, QoS: m.QoS, Retain: m.Retain}
	if m.QoS > 0 {
		msg.Acked = func() {
			s.mu.Lock()
			if _, ok := s.received[id]; ok {
				s.received[id] = true
			}
			s.mu.Unlock()
			if done != nil {
				done()
			}
		}
		// To the client it is done with: it would send the same again and again. That the server has dropped it is counted and logged.
		msg.Refused = func(err *mqttclient.ReasonError) {
			s.u.o.Logger.Warn("message refused by the server", slog.String("topic", msg.Topic), slog.Any("error", err))
			msg.Acked()
		}
	}
	if err := s.c.Publish(s.ctx, msg); err != nil {
		s.Release(id, nil)
		if errors.Is(err, mqttclient.ErrTooLarge) {
			return errors.Join(broker.ErrDenied, err)
		}
		return errors.Join(broker.ErrUnavailable, err)
	}
	if m.QoS == 0 && done != nil {
		done()
	}
	return nil
}

// Release implements Session. The exchange with the server is its client's, and over or not.
func (s *upstreamSession) Release(id uint16, done func()) {
	s.mu.Lock()
	delete(s.received, id)
	s.mu.Unlock()
	if done != nil {
		done()
	}
}

// Subscribe implements Session. It waits for the server's answer.
func (s *upstreamSession) Subscribe(filter string, qos byte, done func()) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.u.o.Timeout)
	defer cancel()
	err := s.c.SubscribeWait(ctx, mqttclient.Subscription{Filter: filter, QoS: qos})
	var refused *mqttclient.ReasonError
	if errors.As(err, &refused) {
		if refused.Reason == mqtt.ReasonQuotaExceeded {
			return errors.Join(broker.ErrUnavailable, err)
		}
		return errors.Join(broker.ErrDenied, err)
	}
	if err == nil && done != nil {
		done()
	}
	return err
}

// Unsubscribe implements Session. It does not wait: the server is told as soon as it can be.
func (s *upstreamSession) Unsubscribe(filter string, done func()) {
	_ = s.c.Unsubscribe(filter)
	if done != nil {
		done()
	}
}

// SetWill implements Session.
func (s *upstreamSession) SetWill(w *mqtt.Will) error {
	if w != nil {
		if err := topic.CheckName(w.Topic); err != nil {
			return fmt.Errorf("gateway: will: %w", err)
		}
	}
	s.mu.Lock()
	s.will = w
	s.mu.Unlock()
	return nil
}

// Keep implements Session. What the server keeps was said when the connection was made.
func (s *upstreamSession) Keep(bool) {}

// Next implements Session.
func (s *upstreamSession) Next() (broker.Delivery, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.out || len(s.queue) == 0 {
		s.idle = true
		return broker.Delivery{}, false
	}
	d := s.queue[0].Delivery
	if d.QoS == 0 {
		s.drop()
	} else {
		s.out = true
	}
	return d, true
}

// drop takes the first message out; mu is held.
func (s *upstreamSession) drop() {
	s.queue[0] = waitingMessage{}
	if s.queue = s.queue[1:]; len(s.queue) == 0 {
		s.queue = nil
	}
	s.u.n.waiting.Add(-1)
}

// Received implements Session. There is nothing here that would outlive the process, see Upstream.
func (s *upstreamSession) Received(id uint16, done func()) {
	s.mu.Lock()
	if s.out && s.queue[0].PacketID == id {
		s.queue[0].Released, s.queue[0].Payload = true, nil
	}
	s.mu.Unlock()
	if done != nil {
		done()
	}
}

// Done implements Session: now the server may forget the message, too.
func (s *upstreamSession) Done(id uint16) {
	s.mu.Lock()
	if !s.out || s.queue[0].PacketID != id {
		s.mu.Unlock()
		return
	}
	w := s.queue[0]
	s.out = false
	s.drop()
	fetch := s.withheld && !s.fetching && len(s.queue) == 0
	s.fetching = s.fetching || fetch
	if (w.ack == nil || !w.ack()) && w.server != 0 { // its connection has ended: the server brings it again
		if s.acked == nil {
			s.acked = make(map[uint16]bool)
		}
		s.acked[w.server] = true
	}
	s.mu.Unlock()
	if fetch {
		s.c.Reconnect()
	}
}

// clear lets go of what waits, when the session has ended here.
func (s *upstreamSession) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.u.n.waiting.Add(-int64(len(s.queue)))
	s.queue, s.out, s.closed = nil, false, true
}

func (s *upstreamSession) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Close implements Session. What the client said last, at QoS 0 too, reaches the server first, if there is a connection.
func (s *upstreamSession) Close(lost bool) {
	s.mu.Lock()
	w, connected := s.will, !s.since.IsZero()
	s.will = nil
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(s.ctx, s.u.o.Timeout)
	defer cancel()
	if lost && w != nil {
		connected = true // or will be
		if err := s.c.Publish(ctx, mqttclient.Message{Topic: w.Topic, Payload: w.Payload, QoS: w.QoS, Retain: w.Retain}); err != nil {
			s.u.o.Logger.Warn("will not published", slog.String("topic", w.Topic), slog.Any("error", err))
		}
	}
	if connected {
		_ = s.c.Flush(ctx) // what is late is lost
	}
	s.end()
}

// Shutdown implements Session.
func (s *upstreamSession) Shutdown() { s.end() }

func (s *upstreamSession) end() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	<-s.done
}
