package gateway

import (
	"time"

	"github.com/wattbus/wattbus/internal/mqttsn"
)

// deliver gives a client that is active or awake what waits for it, one message of QoS 1 or 2 at a time. When a client that
// woke up has got everything it hears PINGRESP and sleeps on (6.14). g.mu is held.
//
//	                known topic                   PUBACK
//	Next ──┬──────────────────────> publishing ─────────────────────────> Next …
//	       │ REGISTER      REGACK    ^  │  ^ │ PUBREC    stored  PUBCOMP   ^
//	       └───────> registering ────┘  │  │ └─> received ─> releasing ────┘
//	                     ^              │  └ again after Retry, MaxRetries times
//	                     └──────────────┘ PUBACK: invalid topic id
func (g *Gateway) deliver(c *client) {
	for c.out == nil && c.session != nil && c.at.link != nil {
		d, ok := c.session.Next()
		if !ok {
			if c.state == awake {
				g.send(c.at, mqttsn.Pingresp{})
				g.become(c, asleep)
			}
			return
		}
		x := &exchange{d: d}
		if d.Released {
			c.out = x
			g.stage(c, releasing)
			return
		}
		if mqttsn.PublishSize(len(d.Payload)) > c.at.link.MTU { // 6.10: nobody is told
			g.skip(c, x, dropTooLarge)
			continue
		}
		if !g.address(c, x) {
			continue
		}
		if x.stage == publishing && d.QoS == 0 {
			g.send(c.at, x.message(false))
			continue
		}
		c.out = x
		g.stage(c, x.stage)
	}
}

// address finds how to say the topic of a message to a client: as a predefined id, as a short name, or as an id that may have to
// be registered first. It returns false if the message is not for this client.
func (g *Gateway) address(c *client, x *exchange) bool {
	x.stage = publishing
	if g.o.Predefined != nil {
		if id, ok := g.o.Predefined.ID(c.id, x.d.Topic); ok {
			x.typ, x.topic = mqttsn.Predefined, id
			return true
		}
	}
	if id, ok := mqttsn.ShortID(x.d.Topic); ok {
		x.typ, x.topic = mqttsn.Short, id
		return true
	}
	if x.topic = g.topicID(c, x.d.Topic); x.topic == 0 {
		g.skip(c, x, dropTopics)
		return false
	}
	switch c.topic(x.topic).state {
	case refused:
		g.skip(c, x, dropRefused)
		return false
	case offered:
		if len(x.d.Topic)+8 > c.at.link.MTU {
			g.skip(c, x, dropTooLarge)
			return false
		}
		x.stage = registering
	}
	return true
}

// skip lets go of a message that the client cannot get.
func (g *Gateway) skip(c *client, x *exchange, why dropReason) {
	g.drop(why)
	if x.d.QoS > 0 {
		c.session.Done(x.d.PacketID)
	}
}

// finish ends the exchange with a client and goes on with the next message.
func (g *Gateway) finish(c *client) {
	x := c.out
	c.out = nil
	if x.d.QoS > 0 {
		c.session.Done(x.d.PacketID)
	}
	g.deliver(c)
}

// stage begins a stage of the exchange.
func (g *Gateway) stage(c *client, s stage) {
	x := c.out
	x.stage, x.tries, x.first = s, 0, g.now()
	if s == registering {
		if c.regID++; c.regID == 0 {
			c.regID = 1
		}
	}
	g.transmit(c, x.d.Dup && s == publishing)
}

// transmit sends what the stage is about, and notes when to do it again.
func (g *Gateway) transmit(c *client, dup bool) {
	x := c.out
	switch x.stage {
	case registering:
		g.promise(c, c.at, mqttsn.Register{TopicID: x.topic, MsgID: c.regID, Topic: x.d.Topic})
	case publishing:
		g.send(c.at, x.message(dup))
	case received: // PUBREL goes out as soon as it may
	case releasing:
		g.send(c.at, mqttsn.Pubrel{MsgID: x.d.PacketID})
	}
	x.at = g.now() + g.o.Retry
	g.schedule(c)
}

func (x *exchange) message(dup bool) mqttsn.Message {
	return mqttsn.Publish{Dup: dup, QoS: mqttsn.QoS(x.d.QoS), Retain: x.d.Retain, TopicType: x.typ, TopicID: x.topic,
		MsgID: x.d.PacketID, Payload: x.d.Payload}
}

// resend sends the exchange again to a client that came back.
func (g *Gateway) resend(c *client) {
	c.out.tries, c.out.first = 0, g.now()
	g.transmit(c, true)
}

// retry sends again what a client has not answered (6.13). When it was tried often enough a client that is awake is left alone
// until it wakes the next time; an active one that said nothing meanwhile is lost; one that is there and does not answer this
// message does not want it.
func (g *Gateway) retry(c *client, now time.Duration) {
	x := c.out
	if x.stage == received { // it is not the client that takes its time
		x.at = now + g.o.Retry
		g.schedule(c)
		return
	}
	if x.tries++; x.tries <= g.o.MaxRetries {
		g.n.retries.Add(1)
		g.transmit(c, true)
		return
	}
	switch {
	case c.state == awake:
		g.become(c, asleep)
	case c.seen <= x.first:
		g.lose(c, "no answer")
	default:
		g.drop(dropNoAnswer)
		g.finish(c)
	}
}

// regack handles REGACK of a client for what the gateway registered.
func (g *Gateway) regack(c *client, p mqttsn.Regack) {
	x := c.out
	if x == nil || x.stage != registering || p.MsgID != c.regID || p.TopicID != x.topic {
		return // late
	}
	switch p.Code {
	case mqttsn.Accepted:
		c.topic(x.topic).state = known
		g.remember(c)
		if x.d.QoS == 0 {
			g.send(c.at, x.message(false))
			g.finish(c)
			return
		}
		g.stage(c, publishing)
	case mqttsn.Congestion:
		g.pause(c)
	default: // 6.10: as if it had unsubscribed from this name
		c.topic(x.topic).state = refused
		g.remember(c)
		g.drop(dropRefused)
		g.finish(c)
	}
}

// pause leaves a client alone that said congestion.
func (g *Gateway) pause(c *client) {
	c.out.tries = 0
	c.out.at = g.now() + g.o.Wait
	g.schedule(c)
}

// puback handles PUBACK of a client: the end of QoS 1, or no to any QoS.
func (g *Gateway) puback(c *client, p mqttsn.Puback) {
	x := c.out
	if p.Code == mqttsn.InvalidTopicID && p.MsgID == 0 { // it does not know what came at QoS 0
		if n := c.topic(p.TopicID); n != nil && n.state == known {
			n.state = offered
		}
		return
	}
	if x == nil || x.stage != publishing || p.MsgID != x.d.PacketID || x.d.QoS == 0 {
		return // late
	}
	switch {
	case p.Code == mqttsn.Accepted && x.d.QoS == 1:
		g.finish(c)
	case p.Code == mqttsn.Accepted: // no answer to QoS 2
	case p.Code == mqttsn.Congestion:
		g.pause(c)
	case p.Code == mqttsn.InvalidTopicID && x.typ == mqttsn.Normal && !x.again: // it has forgotten
		x.again = true
		c.topic(x.topic).state = offered
		g.stage(c, registering)
	default:
		g.drop(dropRefused)
		g.finish(c)
	}
}

// pubrec handles PUBREC. What is released to a client is not sent to it again, whoever is killed then, so the server stores first
// that the client has it.
func (g *Gateway) pubrec(c *client, id uint16) {
	x := c.out
	switch {
	case x == nil: // it is over here, or its turn comes again after a restart
		c.session.Received(id, g.answer(c, func(g *Gateway) { g.send(c.at, mqttsn.Pubrel{MsgID: id}) }))
	case x.d.QoS != 2 || x.d.PacketID != id || x.stage == registering:
		g.send(c.at, mqttsn.Pubrel{MsgID: id}) // so that the client can let go of what is over here
	case x.stage == publishing:
		x.d.Released, x.d.Payload = true, nil
		g.stage(c, received)
		c.session.Received(id, g.answer(c, func(g *Gateway) {
			switch {
			case c.out != x || x.stage != received:
			case c.state == active || c.state == awake:
				g.stage(c, releasing)
			default: // it has fallen asleep meanwhile, and hears PUBREL when it wakes
				x.stage = releasing
			}
		}))
	case x.stage == releasing:
		g.transmit(c, false)
	}
}

func (g *Gateway) pubcomp(c *client, id uint16) {
	if x := c.out; x != nil && x.stage == releasing && x.d.PacketID == id {
		g.finish(c)
	}
}
