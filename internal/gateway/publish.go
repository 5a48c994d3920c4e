package gateway

import (
	"bytes"
	"hash/crc32"
	"log/slog"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/mqttsn"
)

// publish handles PUBLISH of a client that is connected (6.6). One that sleeps may publish without a CONNECT: it stays asleep.
func (g *Gateway) publish(c *client, p *mqttsn.Publish) {
	name, code := g.name(c, p.TopicType, p.TopicID)
	if code != mqttsn.Accepted { // at any QoS: the client shall register again
		g.refuse(c, p, code, dropTopic)
		return
	}
	if p.QoS == 1 && g.repeated(c, p) {
		return
	}
	if g.congested(c) || p.QoS > 0 && int(c.inbound) >= g.o.Window {
		if p.QoS == 0 {
			g.drop(dropCongestion)
			return
		}
		g.refuse(c, p, mqttsn.Congestion, dropCongestion)
		return
	}
	m := broker.LocalMessage{Topic: name, Payload: bytes.Clone(p.Payload), QoS: byte(p.QoS), Retain: p.Retain, Dup: p.Dup, PacketID: p.MsgID}
	if p.QoS > 0 {
		if p.QoS == 1 {
			c.recent[c.recentAt%uint8(len(c.recent))] = recent{id: p.MsgID, topic: p.TopicID, sum: crc32.ChecksumIEEE(p.Payload),
				at: uint32(g.now() / time.Millisecond), fresh: true}
			c.recentAt++
		}
		c.inbound++
	}
	g.n.published.Add(1)
	g.do(op{c: c, session: c.session, m: m, topic: p.TopicID})
}

// refuse answers a PUBLISH that is not passed on.
func (g *Gateway) refuse(c *client, p *mqttsn.Publish, code mqttsn.ReturnCode, why dropReason) {
	g.drop(why)
	g.send(c.at, mqttsn.Puback{TopicID: p.TopicID, MsgID: p.MsgID, Code: code})
}

// doubled is the part of T_retry within which a message that says no DUP is the same one again, if its id and content are. A
// client repeats nothing so soon, but a network may deliver twice.
const doubled = 4

// repeated reports whether a message of QoS 1 is one of the last few, sent again because its PUBACK was lost or is not there
// yet, or doubled on its way. A client that begins its ids anew says no DUP, and has connected anew before.
func (g *Gateway) repeated(c *client, p *mqttsn.Publish) bool {
	for i := range c.recent {
		r := &c.recent[i]
		if r.id != p.MsgID || r.topic != p.TopicID {
			continue
		}
		if !p.Dup {
			age := time.Duration(uint32(g.now()/time.Millisecond)-r.at) * time.Millisecond
			if !r.fresh || age > g.o.Retry/doubled || r.sum != crc32.ChecksumIEEE(p.Payload) {
				*r = recent{}
				return false
			}
		}
		g.n.duplicates.Add(1)
		if r.acked {
			g.send(c.at, mqttsn.Puback{TopicID: p.TopicID, MsgID: p.MsgID})
		}
		return true
	}
	return false
}

// acknowledge answers a message that the server has taken or refused.
func (g *Gateway) acknowledge(e event) {
	c := e.c
	if c.inbound > 0 {
		c.inbound--
	}
	if c.session == nil {
		return
	}
	if e.qos == 1 {
		for i := range c.recent {
			if r := &c.recent[i]; r.id == e.id && r.topic == e.topic {
				if r.acked = true; e.code != mqttsn.Accepted {
					*r = recent{}
				}
			}
		}
	}
	if e.qos == 1 || e.code != mqttsn.Accepted {
		g.send(c.at, mqttsn.Puback{TopicID: e.topic, MsgID: e.id, Code: e.code})
		return
	}
	g.send(c.at, mqttsn.Pubrec{MsgID: e.id})
}

// anonymous handles PUBLISH of QoS -1 (6.8), which belongs to no connection. The device is the one that connected from this
// address last, if the topic is not one that anybody may publish to; nothing is answered.
func (g *Gateway) anonymous(from peer, p *mqttsn.Publish) {
	c := g.lookup(from)
	now := g.now()
	if c != nil && c.state.connected() {
		c.seen = now
	}
	open, isOpen := g.o.Anonymous[AnonymousTopic{p.TopicType, p.TopicID}]
	switch {
	case g.o.AnonymousRate < 0:
		g.drop(dropAnonymousOff)
		return
	case isOpen:
		g.fromAnybody(open, p)
		return
	case c == nil:
		g.drop(dropUnknownAddress)
		return
	case c.state.connected():
	case p.TopicType != mqttsn.Predefined: // without a connection nobody has checked what it may do
		g.drop(dropTopic)
		return
	}
	if !c.mayAnonymously(now, g.o.AnonymousRate) {
		g.drop(dropRate)
		return
	}
	name, code := g.name(c, p.TopicType, p.TopicID)
	switch {
	case code != mqttsn.Accepted:
		g.drop(dropTopic)
	case g.congested(c):
		g.drop(dropCongestion)
	case c.session != nil:
		g.n.published.Add(1)
		g.do(op{c: c, session: c.session, m: broker.LocalMessage{Topic: name, Payload: bytes.Clone(p.Payload), Retain: p.Retain}})
	default:
		g.n.published.Add(1)
		payload, retain := bytes.Clone(p.Payload), p.Retain
		g.call(c, func() func(*Gateway) {
			if err := g.o.Server.PublishFor(c.id, name, payload, retain); err != nil {
				g.drop(refusal(err))
				g.log.Debug("message of QoS -1 refused", slog.String("client", c.id), slog.Any("error", err))
			}
			return nil
		})
	}
}

// fromAnybody publishes to one of Options.Anonymous. Who sent it is not known, so the rate is one for all.
func (g *Gateway) fromAnybody(name string, p *mqttsn.Publish) {
	c := &g.anybody
	switch {
	case !c.mayAnonymously(g.now(), anybodyShare*g.o.AnonymousRate):
		g.drop(dropRate)
		return
	case g.congested(c):
		g.drop(dropCongestion)
		return
	}
	g.n.published.Add(1)
	payload, retain := bytes.Clone(p.Payload), p.Retain
	g.call(c, func() func(*Gateway) {
		if err := g.o.Server.PublishFor("", name, payload, retain); err != nil {
			g.drop(refusal(err))
			g.log.Debug("message of QoS -1 refused", slog.String("topic", name), slog.Any("error", err))
		}
		return nil
	})
}

// mayAnonymously counts a message of QoS -1 if there may be one more in this second.
func (c *client) mayAnonymously(now time.Duration, rate int) bool {
	if second := now.Truncate(time.Second); c.rateAt != second {
		c.rateAt, c.rate = second, 0
	}
	if int(c.rate) >= min(rate, 255) {
		return false
	}
	c.rate++
	return true
}
