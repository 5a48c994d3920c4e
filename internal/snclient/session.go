package snclient

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/snlink"
)

// onLink opens the link and serves it until no gateway on it answers, or a reason to stop. It reports whether there was a connection.
func (c *Client) onLink(ctx context.Context) (connected bool, err error) {
	c.enter(Searching)
	link, err := c.o.Dial(ctx)
	if err != nil {
		c.fail(err)
		return false, err
	}
	done := make(chan struct{})
	c.link, c.in = link, make(chan datagram)
	var readers sync.WaitGroup
	for _, conn := range []snlink.Conn{link.Conn, link.Group} {
		if conn != nil {
			readers.Go(func() { listen(conn, c.in, done) })
		}
	}
	defer func() {
		close(done)
		_ = link.Conn.Close()
		if link.Group != nil {
			_ = link.Group.Close()
		}
		readers.Wait()
	}()
	tried := 0
	for {
		if err := c.find(ctx); err != nil {
			return connected, err
		}
		c.sendLoose()
		began := time.Now()
		c.byID = false
		was, err := c.session(ctx)
		connected = connected || was
		if was && c.byID && c.doubt != certain && errors.Is(err, errUnknown) {
			if c.doubt++; c.doubt == maxDoubt {
				c.o.Logger.Info("the gateway seems to know no predefined topic ids: it is told names", "client", c.o.ClientID)
			}
		}
		var refused *RefusedError
		switch {
		case ctx.Err() != nil || errors.Is(err, errKilled):
			return connected, err
		case errors.Is(err, errAgain), errors.Is(err, errUnknown) && was && time.Since(began) > c.o.MinBackoff:
			tried = 0
			continue // the same gateway, at once
		case errors.Is(err, errLost), errors.As(err, &refused):
			c.gone(c.gateway)
			if tried++; c.link.Gateway == nil && tried < maxGateways {
				continue // another one on this link
			}
		}
		return connected, err
	}
}

func (c *Client) fail(err error) {
	if errors.Is(err, errStopped) {
		err = nil
	}
	if c.o.OnDisconnect != nil {
		c.o.OnDisconnect(err)
	}
}

// session is one connection with one gateway, its sleeps included.
func (c *Client) session(ctx context.Context) (connected bool, err error) {
	c.enter(Connecting)
	defer func() { c.fail(err) }()
	if err := c.connect(ctx); err != nil {
		return false, err
	}
	c.enter(Active)
	if c.o.OnConnect != nil {
		c.o.OnConnect()
	}
	if err := c.greet(ctx); err != nil {
		return true, c.leave(ctx, err)
	}
	return true, c.leave(ctx, c.active(ctx))
}

// connect makes a new connection (MQTT-SN 1.2, 6.2).
//
//	client ──CONNECT──> gateway
//	       <──WILLTOPICREQ──          if there is a will
//	       ──WILLTOPIC──>
//	       <──WILLMSGREQ──
//	       ──WILLMSG──>
//	       <──CONNACK──
func (c *Client) connect(ctx context.Context) error {
	var will *Message
	if c.o.Will != nil {
		will = c.o.Will()
	}
	if c.isKilled() { // while Will kept what it had to
		return errKilled
	}
	c.forget()
	c.mu.Lock()
	c.again, c.newWill, c.changes = false, false, nil
	for _, s := range c.wanted {
		c.changes = append(c.changes, change{s: s})
	}
	c.mu.Unlock()

	var code mqttsn.ReturnCode
	var got mqttsn.MsgType
	expect := func(other mqttsn.MsgType) func(mqttsn.Message) bool {
		return func(m mqttsn.Message) bool {
			if a, ok := m.(mqttsn.Connack); ok {
				code = a.Code
			} else if m.Type() != other {
				return false
			}
			got = m.Type()
			return true
		}
	}
	err := c.ask(ctx, mqttsn.Connect{Will: will != nil, Clean: c.o.Clean, Duration: uint16(c.o.KeepAlive / time.Second), ClientID: c.o.ClientID},
		expect(mqttsn.WILLTOPICREQ))
	if err == nil && got == mqttsn.WILLTOPICREQ {
		t := mqttsn.Willtopic{}
		if will != nil {
			t = mqttsn.Willtopic{QoS: will.QoS, Retain: will.Retain, Topic: will.Topic}
		}
		err = c.ask(ctx, t, expect(mqttsn.WILLMSGREQ))
	}
	if err == nil && got == mqttsn.WILLMSGREQ {
		m := mqttsn.Willmsg{}
		if will != nil {
			m.Payload = will.Payload
		}
		err = c.ask(ctx, m, expect(mqttsn.CONNACK))
	}
	if err == nil && code != mqttsn.Accepted {
		err = &RefusedError{"CONNECT", code}
		if code == mqttsn.Congestion {
			c.avoid(c.gateway, c.o.Wait)
		}
	}
	return err
}

// greet subscribes, and says hello, on a new connection.
func (c *Client) greet(ctx context.Context) error {
	for {
		busy, err := c.subscribeNext(ctx)
		if err != nil {
			return err
		}
		if !busy {
			break
		}
	}
	if c.o.Birth == nil {
		return nil
	}
	m := c.o.Birth()
	if m == nil {
		return nil
	}
	err := c.publish(ctx, &outgoing{m: *m})
	var refused *RefusedError
	if errors.As(err, &refused) {
		return nil // the connection stands without it
	}
	return err
}

// active is what a connected client does, until something ends the connection.
func (c *Client) active(ctx context.Context) error {
	idleSince := time.Now()
	for {
		if ctx.Err() != nil {
			return errStopped
		}
		c.mu.Lock()
		again, killed := c.again, c.killed
		c.mu.Unlock()
		switch {
		case killed:
			return errKilled
		case again:
			return errAgain
		}
		busy, err := c.work(ctx)
		if err != nil {
			return err
		}
		if busy {
			idleSince = time.Now()
			continue
		}
		deadline := c.pingAt()
		if c.o.sleeps() {
			rest := idleSince.Add(c.o.Linger)
			if !rest.After(time.Now()) {
				if err := c.sleep(ctx); err != nil {
					return err
				}
				idleSince = time.Now()
				continue
			}
			deadline = earlier(deadline, rest)
		}
		deadline = earlier(deadline, c.gatewayExpires())
		if c.holdUntil.After(time.Now()) {
			deadline = earlier(deadline, c.holdUntil)
		}
		before := c.count.received.Load()
		if _, err := c.receive(ctx, deadline); err != nil {
			return err
		}
		if c.count.received.Load() != before {
			idleSince = time.Now()
		}
		if at := c.gatewayExpires(); !at.IsZero() && !at.After(time.Now()) {
			return errLost // N_ADV in a row missed
		}
		if at := c.pingAt(); !at.IsZero() && !at.After(time.Now()) && ctx.Err() == nil {
			if err := c.ask(ctx, mqttsn.Pingreq{}, is(mqttsn.PINGRESP)); err != nil {
				return err
			}
		}
	}
}

// work does one thing that waits to be done; false if there is none.
func (c *Client) work(ctx context.Context) (bool, error) {
	if busy, err := c.subscribeNext(ctx); busy || err != nil {
		return busy, err
	}
	if busy, err := c.updateWill(ctx); busy || err != nil {
		return busy, err
	}
	return c.publishNext(ctx)
}

// pingAt is when a sign of life is due: a fifth before the keep-alive time is over, zero for never.
func (c *Client) pingAt() time.Time {
	if c.o.KeepAlive == 0 {
		return time.Time{}
	}
	return c.lastSent.Add(c.o.KeepAlive * 4 / 5)
}

func is(t mqttsn.MsgType) func(mqttsn.Message) bool {
	return func(m mqttsn.Message) bool { return m.Type() == t }
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// leave ends a connection in order where that is wanted: with DISCONNECT, so that the gateway drops the will. It returns why.
func (c *Client) leave(ctx context.Context, why error) error {
	if !errors.Is(why, errStopped) && !errors.Is(why, errAgain) {
		return why
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(c.o.Retry*2, 3*time.Second))
	defer cancel()
	err := c.ask(ctx, mqttsn.Disconnect{}, func(mqttsn.Message) bool { return false })
	if errors.Is(err, errKilled) {
		return err
	}
	return why // with or without an answer, which comes as errUnknown
}

// subscribeNext tells the gateway the next change of the subscriptions.
func (c *Client) subscribeNext(ctx context.Context) (bool, error) {
	c.mu.Lock()
	if len(c.changes) == 0 {
		c.mu.Unlock()
		return false, nil
	}
	ch := c.changes[0]
	c.mu.Unlock()
	id := c.nextID()
	var code mqttsn.ReturnCode
	var err error
	if ch.leave {
		m := mqttsn.Unsubscribe{MsgID: id}
		m.TopicType, m.Topic, m.TopicID = c.filter(ch.s.Filter)
		err = c.ask(ctx, m, func(m mqttsn.Message) bool { a, ok := m.(mqttsn.Unsuback); return ok && a.MsgID == id })
	} else {
		m := mqttsn.Subscribe{MsgID: id, QoS: ch.s.QoS}
		m.TopicType, m.Topic, m.TopicID = c.filter(ch.s.Filter)
		err = c.ask(ctx, m, func(got mqttsn.Message) bool {
			a, ok := got.(mqttsn.Suback)
			if !ok || a.MsgID != id {
				return false
			}
			if code = a.Code; code == mqttsn.Accepted && a.TopicID != 0 && m.TopicType == mqttsn.Normal && !wild(m.Topic) {
				c.learn(a.TopicID, m.Topic) // a wildcard's id would mean nothing: our own filter tells (docs/interpretation.md)
			}
			return true
		})
		if err == nil && code == mqttsn.Accepted && m.TopicType == mqttsn.Predefined {
			c.doubt = certain
		}
		if err == nil && code == mqttsn.InvalidTopicID && m.TopicType == mqttsn.Predefined {
			c.refused[m.TopicID] = true
			return true, nil // again, by its name
		}
	}
	if err != nil {
		return true, err
	}
	if code == mqttsn.Congestion {
		return true, c.hold(ctx)
	}
	c.mu.Lock()
	if len(c.changes) > 0 && c.changes[0] == ch {
		c.changes = c.changes[1:]
	}
	c.mu.Unlock()
	if code != mqttsn.Accepted {
		c.count.refused.Add(1)
		c.o.Logger.Warn("subscription refused", "client", c.o.ClientID, "filter", ch.s.Filter, "code", code.String())
	}
	return true, nil
}

// filter says a topic filter the shortest way.
func (c *Client) filter(f string) (mqttsn.TopicType, string, uint16) {
	if id, ok := c.predefinedID(f); ok {
		return mqttsn.Predefined, "", id
	}
	if id, ok := mqttsn.ShortID(f); ok {
		return mqttsn.Short, "", id
	}
	return mqttsn.Normal, f, 0
}

func wild(f string) bool {
	for i := range len(f) {
		if f[i] == '+' || f[i] == '#' {
			return true
		}
	}
	return false
}

// hold waits T_WAIT, as after "rejected: congestion", while messages from the gateway are served.
func (c *Client) hold(ctx context.Context) error {
	c.holdUntil = time.Now().Add(c.o.Wait)
	for time.Now().Before(c.holdUntil) {
		if ctx.Err() != nil {
			return errStopped
		}
		if _, err := c.receive(ctx, earlier(c.pingAt(), c.holdUntil)); err != nil {
			return err
		}
		if at := c.pingAt(); !at.IsZero() && !at.After(time.Now()) {
			if err := c.ask(ctx, mqttsn.Pingreq{}, is(mqttsn.PINGRESP)); err != nil {
				return err
			}
		}
	}
	return nil
}

// updateWill tells the gateway the will that SetWill set (MQTT-SN 1.2, 6.4).
func (c *Client) updateWill(ctx context.Context) (bool, error) {
	c.mu.Lock()
	m, changed := c.will, c.newWill
	c.newWill = false
	c.mu.Unlock()
	if !changed {
		return false, nil
	}
	t := mqttsn.Willtopicupd{}
	if m != nil {
		t = mqttsn.Willtopicupd{QoS: m.QoS, Retain: m.Retain, Topic: m.Topic}
	}
	var code mqttsn.ReturnCode
	err := c.ask(ctx, t, func(m mqttsn.Message) bool {
		a, ok := m.(mqttsn.Willtopicresp)
		code = a.Code
		return ok
	})
	if err == nil && code == mqttsn.Accepted && m != nil {
		err = c.ask(ctx, mqttsn.Willmsgupd{Payload: m.Payload}, func(m mqttsn.Message) bool {
			a, ok := m.(mqttsn.Willmsgresp)
			code = a.Code
			return ok
		})
	}
	if err == nil && code != mqttsn.Accepted {
		c.count.refused.Add(1)
		c.o.Logger.Warn("will update refused", "client", c.o.ClientID, "code", code.String())
	}
	return true, err
}
