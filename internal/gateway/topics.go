package gateway

import (
	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/topic"
)

// Topic ids. Each client has its own, from 1 on in the order in which they are given out, so an id that two clients use means
// two things. Predefined ids and short names are spaces of their own (3, 5.3.11).

// topicID gives the client's id of a name, and makes one if there is none; 0: it has too many.
func (g *Gateway) topicID(c *client, name string) uint16 {
	for i := range c.topics {
		if c.topics[i].name == name {
			return uint16(i + 1)
		}
	}
	if len(c.topics) >= g.o.MaxTopics {
		return 0
	}
	c.topics = append(c.topics, topicName{name: name})
	g.remember(c)
	return uint16(len(c.topics))
}

func (c *client) topic(id uint16) *topicName {
	if id == 0 || int(id) > len(c.topics) {
		return nil
	}
	return &c.topics[id-1]
}

// name resolves the topic of a message of the client. The code says what is wrong with it.
func (g *Gateway) name(c *client, t mqttsn.TopicType, id uint16) (string, mqttsn.ReturnCode) {
	switch t {
	case mqttsn.Predefined:
		if g.o.Predefined != nil {
			if name, ok := g.o.Predefined.Name(c.id, id); ok {
				return name, mqttsn.Accepted
			}
		}
	case mqttsn.Short:
		if name, ok := mqttsn.ShortName(id); ok {
			return name, mqttsn.Accepted
		}
	default:
		if n := c.topic(id); n != nil {
			n.state = known // whoever uses it knows it
			return n.name, mqttsn.Accepted
		}
	}
	return "", mqttsn.InvalidTopicID
}

// register handles REGISTER of a client (6.5). The same name gets the same id.
func (g *Gateway) register(c *client, p *mqttsn.Register) {
	ack := mqttsn.Regack{MsgID: p.MsgID}
	if topic.CheckName(p.Topic) != nil { // wildcards have no id
		ack.Code = mqttsn.NotSupported
	} else if ack.TopicID = g.topicID(c, p.Topic); ack.TopicID == 0 {
		ack.Code = mqttsn.Congestion
	} else {
		c.topic(ack.TopicID).state = known
	}
	g.promise(c, c.at, ack)
}
