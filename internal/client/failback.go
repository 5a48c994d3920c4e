package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// The way back from a fallback to a preferred server. The new connection is made before the old one is given up, so a preferred
// server that takes connections and refuses clients costs nothing, and Birth is on its way to the new server before Farewell is to
// the old:
//
//	client --CONNECT, Birth--> preferred        the fallback is still in use
//	client <--PUBACK...------- fallback         nothing new is sent; what is unacknowledged is waited for
//	client --UNSUBSCRIBE, Farewell, DISCONNECT--> fallback
//	client --SUBSCRIBE, the queue--> preferred
//
// The fallback keeps the session: what it holds for the client comes when the client is there again, and nothing is added.

// handover is a connection to a preferred server that has answered CONNECT and waits to become the client's link.
type handover struct {
	conn    net.Conn
	at      int
	present bool
	// farewell is for the server that is left.
	farewell *Message
	// announced says that Birth was sent and is not acknowledged.
	announced bool
	limits    limits
}

// failBack looks whether a preferred server takes the client again, and if so ends the link in order, for Run to go on there.
func (c *Client) failBack(l *link) {
	t := &l.timers
	defer t.running.Done()
	c.mu.Lock()
	draining := l.draining
	if draining && !t.stopped && c.handed != nil { // the fallback did not acknowledge in time: the rest is sent again
		c.leave(l, c.handed.farewell)
	}
	c.mu.Unlock()
	if draining {
		return
	}
	var next *handover
	var err error
	for i := 0; i < l.at && next == nil; i++ {
		var failed error
		if next, failed = c.prepare(t.ctx, i); failed != nil {
			err = errors.Join(err, failed)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case next != nil && c.dark: // killed: both end without a word
		_ = next.conn.Close()
	case next != nil:
		// The link may have failed meanwhile, because both names are one server: Run goes on with next all the same.
		c.handed = next
		c.drain(l)
	case !t.stopped && !l.failed:
		c.o.Logger.Debug("preferred server not available", "client", c.o.ClientID, "error", err)
		t.again(t.back, c.o.FailBack)
	}
}

// prepare makes a connection to server number at, up to CONNACK, and sends Birth on it.
func (c *Client) prepare(ctx context.Context, at int) (*handover, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.ConnectTimeout)
	defer cancel()
	c.mu.Lock()
	c.n.attempts++
	c.mu.Unlock()
	conn, present, lim, err := c.dial(ctx, at)
	if err != nil {
		return nil, err
	}
	birth := c.birth()
	if b := c.announcement(birth, idBirth, &lim); len(b) > 0 {
		_ = conn.SetWriteDeadline(time.Now().Add(leaveTimeout))
		_, err := conn.Write(b)
		_ = conn.SetWriteDeadline(time.Time{})
		if err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("connecting to %s: %w", c.server(at).name, err)
		}
	}
	return &handover{conn: conn, at: at, present: present, farewell: c.farewell(), announced: birth != nil && birth.QoS > 0, limits: lim}, nil
}

// drain begins to leave the link for c.handed: nothing of the queue is sent any more. The client's mutex is held.
func (c *Client) drain(l *link) {
	if l.failed || l.leaving || l.timers.stopped {
		return
	}
	l.draining, l.retry = true, true
	l.timers.again(l.timers.back, leaveTimeout)
	c.drained(l)
}

// drained goes on with leaving once nothing is unacknowledged. The client's mutex is held.
func (c *Client) drained(l *link) {
	if l.draining && !l.leaving && c.handed != nil && c.box.next == c.box.head {
		c.leave(l, c.handed.farewell)
	}
}

// giveUp ends the subscriptions at a server that the client leaves for a better one: it would go on to queue for the session.
func (c *Client) giveUp(l *link) {
	s := &c.subs
	if s.asked != nil || s.dropped != nil || len(s.want) == 0 {
		return // the identifier is in use: as before a plain loss of the connection
	}
	p := mqtt.Unsubscribe{PacketID: idSubscribe}
	for _, f := range s.want {
		p.Filters = append(p.Filters, f.Filter)
	}
	if b, err := mqtt.AppendUnsubscribe(l.control, c.o.Version, &p); err == nil {
		l.control = b
		s.synced = 0
	}
}

// takeOver gives the connection that waits, if there is one.
func (c *Client) takeOver() *handover {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.handed
	c.handed = nil
	return h
}

// handedTo tells Run which server a connection waits for.
func (c *Client) handedTo() (at int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handed == nil {
		return 0, false
	}
	return c.handed.at, true
}

// abandon ends a connection that was made and is not needed: in order, since Birth was sent on it.
func (c *Client) abandon() {
	h := c.takeOver()
	if h == nil {
		return
	}
	b, _ := mqtt.AppendDisconnect(c.announcement(c.farewell(), idFarewell, &h.limits), c.o.Version, &mqtt.Disconnect{}) // has nothing to refuse
	_ = h.conn.SetDeadline(time.Now().Add(leaveTimeout))
	if _, err := h.conn.Write(b); err != nil {
		c.o.Logger.Debug("connection abandoned", "client", c.o.ClientID, "error", err)
	}
	_ = h.conn.Close()
}
