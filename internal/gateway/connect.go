package gateway

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/mqttsn"
)

// connect handles CONNECT (6.3). A client that is connected, or asleep, or at another address, connects anew: its lost CONNACK is
// the usual cause, and its session goes on.
func (g *Gateway) connect(from peer, p *mqttsn.Connect) {
	if len(p.ClientID) > g.o.MaxClientID || !g.allowed(p.ClientID, from) {
		g.n.refused.Add(1)
		g.send(from, mqttsn.Connack{Code: mqttsn.NotSupported})
		return
	}
	c := g.clients[p.ClientID]
	if c == nil {
		if len(g.clients) >= g.o.MaxClients && !g.evict() {
			g.n.refused.Add(1)
			g.send(from, mqttsn.Connack{Code: mqttsn.Congestion})
			return
		}
		c = &client{id: p.ClientID, place: -1, since: g.now()}
		g.clients[c.id] = c
	}
	if c.opening {
		if c.prompt != nil {
			c.prompt.from = from // CONNACK goes where the client is now
		}
		return
	}
	if g.congested(c) {
		g.n.refused.Add(1)
		g.send(from, mqttsn.Connack{Code: mqttsn.Congestion})
		if c.stored || c.state != disconnected || c.at.link != nil {
			return
		}
		g.forget(c)
		return
	}
	c.seen = g.now()
	c.prompt = &handshake{p: *p, from: from, end: c.seen + g.o.Retry*time.Duration(g.o.MaxRetries)}
	g.move(c, from) // so that the answers to prompts are found
	if p.Will {
		g.send(from, mqttsn.Willtopicreq{})
		g.schedule(c)
		return
	}
	g.open(c)
}

// prompted gives the client at an address that was asked for something.
func (g *Gateway) prompted(from peer, want step) *client {
	c := g.lookup(from)
	if c == nil || c.prompt == nil || c.prompt.step > want {
		g.drop(dropUnexpected) // late, or twice
		return nil
	}
	c.seen = g.now()
	return c
}

func (g *Gateway) willTopic(from peer, p *mqttsn.Willtopic) {
	c := g.prompted(from, wantMessage) // once more: WILLMSGREQ was lost
	switch {
	case c == nil:
	case p.Topic == "": // 6.3: no will, and CONNACK at once
		c.prompt.will = nil
		g.open(c)
	default:
		c.prompt.will = &mqtt.Will{Topic: p.Topic, QoS: byte(p.QoS), Retain: p.Retain}
		c.prompt.step = wantMessage
		g.send(from, mqttsn.Willmsgreq{})
	}
}

func (g *Gateway) willMessage(from peer, payload []byte) {
	c := g.prompted(from, wantMessage)
	if c == nil {
		return
	}
	if c.prompt.step != wantMessage {
		g.drop(dropUnexpected)
		return
	}
	c.prompt.will.Payload = append([]byte(nil), payload...)
	g.open(c)
}

// open gets the client its session and ends the CONNECT. A session that is open goes on, unless the client wants to begin
// anew.
func (g *Gateway) open(c *client) {
	h := c.prompt
	h.step = wantSession
	c.opening = true
	// 6.3: the flag is about subscriptions and will alike; without both flags the will that there is stays.
	will := c.will
	if h.p.Clean || h.p.Will {
		will = h.will
	}
	o := SessionOptions{ClientID: c.id, Identity: c.identity, Clean: h.p.Clean, Temporary: h.p.Clean, From: h.from.addr}
	old := c.session
	reuse := old != nil && !h.p.Clean
	if !reuse {
		c.gen++
		gen := c.gen
		o.Ready = func() { g.happened(event{c: c, kind: ready, gen: gen}) }
		o.Ended = func() { g.happened(event{c: c, kind: ended, gen: gen}) }
	}
	g.call(c, func() func(*Gateway) {
		s, err := old, error(nil)
		if !reuse {
			if old != nil {
				old.Close(false)
			}
			s, _, err = g.o.Server.Open(g.ctx, o)
		}
		if err == nil {
			s.Keep(h.p.Clean)
			if err = s.SetWill(will); err != nil && !reuse {
				s.Close(false)
			}
		}
		return func(g *Gateway) { g.opened(c, h, s, will, err) }
	})
	g.schedule(c)
}

// opened is the end of a CONNECT: CONNACK.
func (g *Gateway) opened(c *client, h *handshake, s Session, will *mqtt.Will, err error) {
	c.opening = false
	if c.prompt != h { // it has left meanwhile, or another connection has its session
		if err == nil && s != c.session {
			g.call(c, func() func(*Gateway) { s.Close(false); return nil })
		}
		return
	}
	c.prompt = nil
	if err != nil {
		g.n.refused.Add(1)
		code := codeOf(err)
		g.log.Debug("client refused", slog.String("client", c.id), slog.String("code", code.String()), slog.Any("error", err))
		g.send(h.from, mqttsn.Connack{Code: code})
		if c.session != nil && c.session != s { // closed above
			c.session, c.out = nil, nil
			g.become(c, disconnected)
		}
		return
	}
	if h.p.Clean {
		c.topics, c.subs = nil, nil
	}
	if c.session != s {
		c.session, c.out, c.inbound = s, nil, 0
		c.recent = [len(c.recent)]recent{}
	}
	for i := range c.recent {
		c.recent[i].fresh = false
	}
	c.clean, c.will, c.keepAlive = h.p.Clean, will, h.p.Duration
	c.seen = g.now()
	g.n.connects.Add(1)
	g.become(c, active)
	g.remember(c)
	g.promise(c, c.at, mqttsn.Connack{Code: mqttsn.Accepted})
	if c.out != nil { // what it had not acknowledged when it fell asleep
		g.resend(c)
	}
	g.deliver(c)
}

// become changes the state of a client and its deadlines.
func (g *Gateway) become(c *client, s state) {
	if c.counted {
		g.n.states[c.state].Add(-1)
	}
	c.counted = true
	g.n.states[s].Add(1)
	c.state, c.since = s, g.now()
	g.schedule(c)
}

// lose ends the connection of a client that is gone: the will goes out, and a session that is not clean waits for it.
func (g *Gateway) lose(c *client, why string) {
	g.log.Debug("client lost", slog.String("client", c.id), slog.String("state", c.state.String()), slog.String("reason", why))
	g.n.lost.Add(1)
	g.leave(c, lost)
}

// leave ends the connection of a client.
func (g *Gateway) leave(c *client, to state) {
	s := c.session
	c.session, c.out, c.prompt = nil, nil, nil
	c.gen++ // what the old session still says is not about this client any more
	if c.clean {
		c.topics, c.subs, c.will = nil, nil, nil
	}
	g.become(c, to)
	g.remember(c)
	if s != nil {
		g.call(c, func() func(*Gateway) { s.Close(to == lost); return nil })
	}
}

// taken: another connection has the session. Its will was published; the client is told to connect again.
func (g *Gateway) taken(c *client) {
	if c.session == nil {
		return
	}
	g.n.lost.Add(1)
	c.session, c.out, c.prompt = nil, nil, nil
	c.gen++
	if c.at.link != nil {
		g.send(c.at, mqttsn.Disconnect{})
	}
	g.become(c, disconnected)
	g.remember(c)
}

// disconnect handles DISCONNECT: the end, or sleep (6.12, 6.14).
func (g *Gateway) disconnect(c *client, duration uint16) {
	if duration == 0 {
		g.leave(c, disconnected)
	} else {
		c.sleep = duration
		g.become(c, asleep)
		g.remember(c)
	}
	g.promise(c, c.at, mqttsn.Disconnect{})
}

// evict forgets a client that is not connected, to make room for another.
func (g *Gateway) evict() bool {
	tries := 64 // the order of a map is random enough
	for _, c := range g.clients {
		if c.session == nil && !c.opening && c.prompt == nil && !c.state.connected() {
			g.forget(c)
			return true
		}
		if tries--; tries == 0 {
			break
		}
	}
	return false
}

// forget lets go of a client that is not connected. Its session at the server, if it has one, is the server's to expire.
func (g *Gateway) forget(c *client) {
	g.unschedule(c)
	if c.counted {
		g.n.states[c.state].Add(-1)
	}
	delete(g.clients, c.id)
	if g.peers[c.at] == c {
		delete(g.peers, c.at)
	}
	for k, r := range g.restored {
		if r == c {
			delete(g.restored, k)
		}
	}
	c.gone = true
	g.remember(c)
}

// codeOf is the return code for what the server said.
func codeOf(err error) mqttsn.ReturnCode {
	switch {
	case err == nil:
		return mqttsn.Accepted
	case errors.Is(err, broker.ErrUnavailable), errors.Is(err, broker.ErrEnded), errors.Is(err, context.Canceled),
		errors.Is(err, context.DeadlineExceeded):
		return mqttsn.Congestion
	}
	return mqttsn.NotSupported // also what is not allowed: 1.2 has no code for that
}

func refusal(err error) dropReason {
	if codeOf(err) == mqttsn.Congestion {
		return dropServer
	}
	return dropDenied
}
