package gateway

import (
	"slices"
	"strings"

	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/topic"
)

// subscribe handles SUBSCRIBE (6.9). SUBACK says the topic id of a plain name, the given one of a predefined id, and 0 of a short
// name and of a filter with wildcards, whose topics are registered when the first message comes.
func (g *Gateway) subscribe(c *client, p *mqttsn.Subscribe) {
	ack := mqttsn.Suback{QoS: p.QoS, MsgID: p.MsgID}
	filter, code := g.filter(c, p.TopicType, p.Topic, p.TopicID)
	switch {
	case code != mqttsn.Accepted:
	case g.congested(c):
		code = mqttsn.Congestion
	case p.TopicType == mqttsn.Predefined:
		ack.TopicID = p.TopicID
	case p.TopicType == mqttsn.Normal && !strings.ContainsAny(filter, "+#"):
		if ack.TopicID = g.topicID(c, filter); ack.TopicID == 0 {
			code = mqttsn.Congestion
		}
	}
	if code != mqttsn.Accepted {
		g.send(c.at, mqttsn.Suback{MsgID: p.MsgID, Code: code})
		return
	}
	s := c.session
	subscribed := g.answer(c, func(g *Gateway) {
		if p.TopicType == mqttsn.Normal && ack.TopicID != 0 {
			c.topic(ack.TopicID).state = known
		}
		c.unsubscribed(filter)
		c.subs = append(c.subs, subscription{filter, byte(p.QoS)})
		g.remember(c)
		g.promise(c, c.at, ack)
		if c.state == active || c.state == awake { // what is retained comes behind SUBACK
			g.deliver(c)
		}
	})
	g.call(c, func() func(*Gateway) {
		err := s.Subscribe(filter, byte(p.QoS), subscribed)
		if err == nil {
			return nil
		}
		return func(g *Gateway) {
			if c.session == s {
				g.send(c.at, mqttsn.Suback{MsgID: p.MsgID, Code: codeOf(err)})
			}
		}
	})
}

// unsubscribe handles UNSUBSCRIBE. It is answered whatever was there.
func (g *Gateway) unsubscribe(c *client, p *mqttsn.Unsubscribe) {
	filter, code := g.filter(c, p.TopicType, p.Topic, p.TopicID)
	if code != mqttsn.Accepted || g.congested(c) {
		if code != mqttsn.Accepted { // there can be no such subscription
			g.send(c.at, mqttsn.Unsuback{MsgID: p.MsgID})
		}
		return // the client asks again
	}
	s := c.session
	unsubscribed := g.answer(c, func(g *Gateway) {
		c.unsubscribed(filter)
		g.remember(c)
		g.promise(c, c.at, mqttsn.Unsuback{MsgID: p.MsgID})
	})
	g.call(c, func() func(*Gateway) {
		s.Unsubscribe(filter, unsubscribed)
		return nil
	})
}

func (c *client) unsubscribed(filter string) {
	c.subs = slices.DeleteFunc(c.subs, func(s subscription) bool { return s.filter == filter })
}

func (g *Gateway) filter(c *client, t mqttsn.TopicType, name string, id uint16) (string, mqttsn.ReturnCode) {
	if t != mqttsn.Normal {
		return g.name(c, t, id)
	}
	if topic.CheckFilter(name) != nil {
		return "", mqttsn.NotSupported
	}
	return name, mqttsn.Accepted
}
