package broker

import (
	"io"
	"net"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// goodbyeTime bounds what it takes to tell a client why it is disconnected, and
// lingerTime how long it may go on sending before the connection is closed all the
// same: data that was not read would make the close a reset, which may overtake what
// the client was told.
const (
	goodbyeTime  = time.Second
	lingerTime   = time.Second
	lingerBytes  = 256 << 10
	maxLingering = 256 // connections at once; more are closed without
)

// reasonFor is what DISCONNECT says for a cause; success: there is none to send.
func reasonFor(why cause) mqtt.Reason {
	switch why {
	case causeKeepAlive:
		return mqtt.ReasonKeepAliveTimeout
	case causeTakeover: // [MQTT-3.1.4-3]
		return mqtt.ReasonSessionTakenOver
	case causeProtocol:
		return mqtt.ReasonProtocolError
	case causeTooLarge:
		return mqtt.ReasonPacketTooLarge
	case causeMemory:
		return mqtt.ReasonQuotaExceeded
	case causePanic:
		return mqtt.ReasonUnspecifiedError
	case causeShutdown:
		return mqtt.ReasonServerShuttingDown
	case causeRedirect:
		return mqtt.ReasonUseAnotherServer
	case causeAuth, causeRevoked:
		return mqtt.ReasonNotAuthorized
	}
	return mqtt.ReasonSuccess // the client has left, is gone, or takes nothing
}

// noteError keeps why the connection ends.
func (c *conn) noteError(err error) {
	if c.v5 == nil || err == nil {
		return
	}
	if why := causeOf(err); reasonFor(why) != mqtt.ReasonSuccess {
		c.v5.text = err.Error()
		if why == causeProtocol || why == causeAuth {
			c.v5.reason = reasonOf(err)
		}
	}
}

// sayGoodbye sends DISCONNECT to a client of MQTT 5 (3.14): not before CONNACK
// [MQTT-3.14.0-1], and not behind a packet that was written in part. c.closed is set, so
// nobody begins to write any more.
func (c *conn) sayGoodbye(why cause) {
	reason := reasonFor(why)
	if c.v5 == nil || !c.polite.Load() || reason == mqtt.ReasonSuccess {
		return
	}
	b := c.goodbye(why, reason)
	if b == nil || !c.freeToWrite(b) {
		return
	}
	if c.sock == nil {
		_ = c.nc.SetWriteDeadline(time.Now().Add(goodbyeTime))
	}
	if _, err := c.nc.Write(b); err != nil {
		return
	}
	if why == causeProtocol || why == causeTooLarge || why == causeMemory || why == causeAuth {
		c.linger()
	}
}

// freeToWrite reports whether b may be written now. It waits for who is at it; for a
// socket that a poller has, b is left to who is.
func (c *conn) freeToWrite(b []byte) bool {
	v, s := c.v5, c.s
	s.mu.Lock()
	if o := c.sock; o != nil {
		free := !o.writing && o.rest == nil && !v.broken
		if o.writing {
			v.last = &chunk{b: b}
		}
		s.mu.Unlock()
		return free
	}
	if c.flushing && !v.broken {
		idle := make(chan struct{})
		v.idle = idle
		s.mu.Unlock()
		select {
		case <-idle:
		case <-time.After(goodbyeTime):
		}
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	return !v.broken && !c.flushing
}

// goodbye encodes DISCONNECT, without words where they are too many for the client
// [MQTT-3.14.2-3], and always without user properties [MQTT-3.14.2-4] and a session
// expiry [MQTT-3.14.2-2]; nil: it takes none.
func (c *conn) goodbye(why cause, reason mqtt.Reason) []byte {
	v := c.v5
	p := mqtt.Disconnect{Reason: reason, Properties: &mqtt.Properties{}}
	if v.reason.AllowedIn(mqtt.DISCONNECT) && v.reason.Failed() {
		p.Reason = v.reason
	}
	if v.text != "" {
		p.Properties.Present, p.Properties.ReasonString = mqtt.Present(mqtt.PropReasonString), v.text
	}
	if why == causeRedirect {
		c.b.mu.Lock()
		p.Reason = v.redirect
		p.Properties.Present |= mqtt.Present(mqtt.PropServerReference)
		p.Properties.ServerReference = v.reference
		c.b.mu.Unlock()
	}
	if p.Properties.Present == 0 {
		p.Properties = nil
	}
	b, err := mqtt.AppendDisconnect(nil, mqtt.V5, &p)
	if err != nil || v.maxPacket > 0 && len(b) > v.maxPacket {
		p.Properties = nil
		if b, err = mqtt.AppendDisconnect(nil, mqtt.V5, &p); err != nil || v.maxPacket > 0 && len(b) > v.maxPacket {
			return nil
		}
	}
	return b
}

// linger takes what the client still sends, for a moment.
func (c *conn) linger() {
	if c.sock != nil {
		c.sock.drain()
		return
	}
	if half, ok := c.nc.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	if c.b.lingering.Add(1) <= maxLingering {
		c.b.lingerConn(c.nc)
	}
	c.b.lingering.Add(-1)
}

// lingerConn reads until the client has closed, for a moment, or until the broker ends.
func (b *Broker) lingerConn(nc net.Conn) {
	_ = nc.SetReadDeadline(time.Now().Add(lingerTime))
	done := make(chan struct{})
	b.wg.Go(func() {
		select {
		case <-done:
		case <-b.stop:
			_ = nc.SetReadDeadline(time.Unix(1, 0))
		}
	})
	_, _ = io.Copy(io.Discard, io.LimitReader(nc, lingerBytes))
	close(done)
}

// Redirect tells a client of MQTT 5 that is connected to go to another server, and
// disconnects it. reason is mqtt.ReasonUseAnotherServer or mqtt.ReasonServerMoved. It
// returns false if the client is not connected, or cannot be told.
func (b *Broker) Redirect(clientID string, reason mqtt.Reason, reference string) bool {
	b.mu.Lock()
	s := b.sessions[clientID]
	if s == nil || s.owner == nil || !s.owner.polite.Load() || s.owner.kicked() {
		b.mu.Unlock()
		return false
	}
	c := s.owner
	c.v5.reference = reference
	c.v5.redirect = reason
	b.mu.Unlock()
	c.kick(causeRedirect)
	return true
}

// RemoteAddr is the address from which a client is connected, "" if it is not.
func (b *Broker) RemoteAddr(clientID string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.sessions[clientID]
	if s == nil || s.owner == nil {
		return ""
	}
	return s.owner.nc.RemoteAddr().String()
}
