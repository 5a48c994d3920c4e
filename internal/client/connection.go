package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// connection makes one connection to server number at and serves it to its end. lasted is how long, 0 if CONNACK did not accept it.
func (c *Client) connection(ctx context.Context, at int) (lasted time.Duration, err error) {
	l, present, err := c.open(ctx, at)
	if err != nil {
		if c.o.OnDisconnect != nil && ctx.Err() == nil {
			c.o.OnDisconnect(err)
		}
		return 0, err
	}
	c.o.Logger.Debug("connected", "client", c.o.ClientID, "server", c.server(at).name, "session_present", present)

	// The end of ctx is the orderly end of the connection; whoever takes part in it is waited for below.
	left := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(left)
		m := c.farewell()
		c.mu.Lock()
		c.leave(l, m)
		c.mu.Unlock()
	})
	if c.o.OnConnect != nil {
		c.o.OnConnect(present)
	}
	err = c.read(l)
	c.explain(l, err)
	if !stop() {
		<-left
	}

	c.mu.Lock()
	l.fail(err)
	if err = l.err; l.leaving && !l.retry {
		err = nil
	}
	c.link = nil
	c.subs.offline()
	if c.handed == nil {
		c.box.dropUnsent()
	}
	c.settle()
	c.mu.Unlock()
	l.timers.stop(c)
	l.writers.Wait()
	l.release()
	if c.o.OnDisconnect != nil {
		c.o.OnDisconnect(err)
	}
	return max(1, time.Duration(l.now())), err
}

// open makes a connection, or takes the one that waits, and makes it the client's link.
func (c *Client) open(ctx context.Context, at int) (*link, bool, error) {
	h := c.takeOver()
	var birth *Message
	if h == nil {
		var err error
		if h, err = c.dialed(ctx, at); err != nil {
			return nil, false, err
		}
		birth = c.birth()
	}
	same := h.present && c.last == at+1
	c.last = at + 1
	before := at < min(64, len(c.servers)) && c.visited&(1<<at) != 0 // one that another server named may be any
	c.visited |= 1 << at
	l := newLink(h.conn)
	l.limits = h.limits
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dark {
		_ = h.conn.Close()
		return nil, false, ErrKilled
	}
	if !same { // the identifiers of QoS 2 mean something to one server only, and as long as it has the session [MQTT-3.2.2-5]
		c.received = nil
	}
	c.link = l
	l.at = at
	c.n.connects++
	c.subs.online(at, h.present && c.o.Version != mqtt.V31) // MQTT 3.1 does not say whether it has the session
	c.subs.pump(c, l)
	l.control = append(l.control, c.announcement(birth, idBirth, &l.limits)...)
	l.birth = birth != nil && birth.QoS > 0 || birth == nil && h.announced
	c.box.limits = boxLimits{packet: l.limits.packet, qos: l.limits.qos, noRetain: l.limits.noRetain}
	c.box.aliases = newAliases(min(c.o.Aliases, l.limits.aliases))
	c.box.rewind(same)
	if !same && (h.present || c.o.Version == mqtt.V31 && !c.o.Clean) {
		c.box.stranger(before)
	}
	for s := c.box.head; s < c.box.fresh; s++ {
		if e := c.box.at(s); e.state == released { // [MQTT-4.4.0-1]
			l.control = mqtt.AppendPubrel(l.control, c.o.Version, mqtt.Pubrel{PacketID: c.box.id(s)})
		}
	}
	l.timers.start(c, l)
	c.kick(l)
	return l, h.present, nil
}

// dialed makes a connection that Kill can abort.
func (c *Client) dialed(ctx context.Context, at int) (*handover, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.ConnectTimeout)
	defer cancel()
	c.mu.Lock()
	if c.dark {
		c.mu.Unlock()
		return nil, ErrKilled
	}
	c.abort = cancel
	c.n.attempts++
	c.mu.Unlock()
	conn, present, limits, err := c.dial(ctx, at)
	c.mu.Lock()
	c.abort = nil
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return &handover{conn: conn, at: at, present: present, limits: limits}, nil
}

// dial connects to a server, sends CONNECT and waits for CONNACK.
func (c *Client) dial(ctx context.Context, at int) (net.Conn, bool, limits, error) {
	srv := c.server(at)
	conn, err := srv.open(ctx, c.o.TLS)
	if err != nil {
		return nil, false, limits{}, fmt.Errorf("connecting to %s: %w", srv.name, err)
	}
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { _ = conn.Close(); close(closed) })
	present, lim, err := c.handshake(conn, srv)
	if !stop() {
		<-closed
		switch {
		case err == nil:
			err = context.Cause(ctx)
		case errors.Is(ctx.Err(), context.DeadlineExceeded): // that the connection was closed then is no news
			err = fmt.Errorf("no CONNACK within %v: %w", c.o.ConnectTimeout, ctx.Err())
		}
	}
	if err != nil {
		_ = conn.Close()
		return nil, false, limits{}, fmt.Errorf("connecting to %s: %w", srv.name, err)
	}
	return conn, present, lim, nil
}

func (c *Client) birth() *Message {
	if c.o.Birth == nil {
		return nil
	}
	return c.o.Birth()
}

func (c *Client) farewell() *Message {
	if c.o.Farewell == nil {
		return nil
	}
	return c.o.Farewell()
}
