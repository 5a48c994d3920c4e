package snclient

import (
	"context"
	"errors"
	"time"

	"github.com/wattbus/wattbus/internal/mqttsn"
)

// outgoing is a queued message. Its id stays the same over connections, so that a gateway which kept the session knows a
// repetition for what it is.
type outgoing struct {
	m        Message
	size     int
	id       uint16
	received bool // QoS 2: PUBREC came, PUBREL is next
}

// publishNext sends the first message of the queue.
func (c *Client) publishNext(ctx context.Context) (bool, error) {
	if time.Now().Before(c.holdUntil) {
		return false, nil
	}
	c.mu.Lock()
	if len(c.out) == 0 {
		c.mu.Unlock()
		return false, nil
	}
	m := c.out[0]
	c.mu.Unlock()
	err := c.publish(ctx, m)
	var refused *RefusedError
	switch {
	case err == nil:
	case errors.As(err, &refused) && refused.Code == mqttsn.Congestion:
		c.holdUntil = time.Now().Add(c.o.Wait) // 6.6: nothing is published for T_WAIT
		return true, nil
	case fatal(err):
		return true, err
	default: // this message cannot be sent: it would never be otherwise
		c.count.refused.Add(1)
		c.o.Logger.Warn("message dropped", "client", c.o.ClientID, "topic", m.m.Topic, "error", err)
	}
	c.mu.Lock()
	c.out[0] = nil
	if c.out = c.out[1:]; len(c.out) == 0 {
		c.out = nil
	}
	c.bytes -= m.size
	var flushed []chan struct{}
	if len(c.out) == 0 {
		flushed, c.flushes = c.flushes, nil
	}
	c.mu.Unlock()
	if m.m.QoS > 0 && m.m.Done != nil {
		m.m.Done(err)
	}
	for _, f := range flushed {
		close(f)
	}
	return true, nil
}

// fatal tells errors of the session from those of one message.
func fatal(err error) bool {
	var refused *RefusedError
	var message *mqttsn.MessageError
	return !errors.As(err, &refused) && !errors.As(err, &message) && !errors.Is(err, errTooLong) && !errors.Is(err, errTopic)
}

// sendLoose sends the messages of QoS -1, if it is known where to (MQTT-SN 1.2, 6.8). It ends no sleep.
func (c *Client) sendLoose() {
	if c.gateway == nil {
		return
	}
	c.mu.Lock()
	all := c.loose
	c.loose = nil
	c.mu.Unlock()
	for _, m := range all {
		p := mqttsn.Publish{QoS: -1, Retain: m.Retain, Payload: m.Payload}
		var err error
		if p.TopicType, p.TopicID, err = c.topicID(context.Background(), m.Topic, -1); err == nil {
			err = c.send(p)
		}
		if err != nil {
			c.count.refused.Add(1)
			c.o.Logger.Warn("message dropped", "client", c.o.ClientID, "topic", m.Topic, "error", err)
		}
	}
}

var errTopic = errors.New("QoS -1 needs a predefined topic or one of two characters")

// publish sends a message and waits for what its QoS wants (MQTT-SN 1.2, 6.6).
//
//	client ──REGISTER──> gateway       if the topic has no id yet
//	       <──REGACK──
//	       ──PUBLISH──>
//	       <──PUBACK──                 QoS 1; QoS 2: <──PUBREC── ──PUBREL──> <──PUBCOMP──
func (c *Client) publish(ctx context.Context, o *outgoing) error {
	for {
		err := c.publishOnce(ctx, o)
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Code != mqttsn.InvalidTopicID || o.m.QoS < 0 {
			return err
		}
		// The gateway does not know the id (any more): a predefined one is told by its name from now on, a registered one anew.
		if id, ok := c.predef[o.m.Topic]; ok && !c.refused[id] {
			c.refused[id] = true
			continue
		}
		if _, ok := c.ids[o.m.Topic]; !ok {
			return err
		}
		delete(c.ids, o.m.Topic)
		if err := c.register(ctx, o.m.Topic); err != nil {
			return err
		}
		if err := c.publishOnce(ctx, o); !errors.As(err, &refused) || refused.Code != mqttsn.InvalidTopicID {
			return err
		}
		delete(c.ids, o.m.Topic)
		return refused
	}
}

func (c *Client) publishOnce(ctx context.Context, o *outgoing) error {
	if !o.received {
		p := mqttsn.Publish{QoS: o.m.QoS, Retain: o.m.Retain, Payload: o.m.Payload}
		var err error
		if p.TopicType, p.TopicID, err = c.topicID(ctx, o.m.Topic, o.m.QoS); err != nil {
			return err
		}
		if o.m.QoS <= 0 {
			return c.send(p)
		}
		if p.Dup = o.id != 0; !p.Dup {
			o.id = c.nextID()
		}
		p.MsgID = o.id
		var code mqttsn.ReturnCode
		err = c.ask(ctx, p, func(m mqttsn.Message) bool {
			switch a := m.(type) {
			case mqttsn.Puback: // at QoS 2 it can only be a refusal
				code = a.Code
				return a.MsgID == o.id && (o.m.QoS == 1 || a.Code != mqttsn.Accepted)
			case mqttsn.Pubrec:
				o.received = o.m.QoS == 2 && a.MsgID == o.id
				return o.received
			}
			return false
		})
		if err != nil {
			return err
		}
		if code == mqttsn.Accepted && p.TopicType == mqttsn.Predefined {
			c.doubt = certain
		}
		if code != mqttsn.Accepted {
			o.id = 0 // a next attempt is another exchange
			return &RefusedError{"PUBLISH to " + o.m.Topic, code}
		}
	}
	if o.m.QoS < 2 {
		return nil
	}
	return c.ask(ctx, mqttsn.Pubrel{MsgID: o.id}, func(m mqttsn.Message) bool {
		a, ok := m.(mqttsn.Pubcomp)
		return ok && a.MsgID == o.id
	})
}

// topicID says a topic the shortest way, and registers it where that needs it.
func (c *Client) topicID(ctx context.Context, topic string, qos mqttsn.QoS) (mqttsn.TopicType, uint16, error) {
	if id, ok := c.predef[topic]; ok && qos < 0 {
		return mqttsn.Predefined, id, nil
	}
	if id, ok := c.predefinedID(topic); ok {
		return mqttsn.Predefined, id, nil
	}
	if id, ok := mqttsn.ShortID(topic); ok {
		return mqttsn.Short, id, nil
	}
	if qos < 0 {
		return 0, 0, errTopic
	}
	if _, ok := c.ids[topic]; !ok {
		if err := c.register(ctx, topic); err != nil {
			return 0, 0, err
		}
	}
	return mqttsn.Normal, c.ids[topic], nil
}

// certain and maxDoubt are values of Client.doubt. A gateway that does not know a predefined id should refuse it; there is one that
// ends the connection instead. After maxDoubt times in a row it is told names.
const (
	certain  = -1
	maxDoubt = 2
)

// predefinedID is the predefined id of a topic, if the gateway may know it.
func (c *Client) predefinedID(topic string) (uint16, bool) {
	id, ok := c.predef[topic]
	if !ok || c.refused[id] || c.doubt >= maxDoubt {
		return 0, false
	}
	c.byID = true
	return id, true
}

// register asks the gateway for the id of a topic (MQTT-SN 1.2, 6.5).
func (c *Client) register(ctx context.Context, topic string) error {
	id := c.nextID()
	var ack mqttsn.Regack
	err := c.ask(ctx, mqttsn.Register{MsgID: id, Topic: topic}, func(m mqttsn.Message) bool {
		a, ok := m.(mqttsn.Regack)
		if ok && a.MsgID == id {
			ack = a
		}
		return ok && a.MsgID == id
	})
	if err != nil {
		return err
	}
	if ack.Code != mqttsn.Accepted {
		return &RefusedError{"REGISTER of " + topic, ack.Code}
	}
	if len(c.ids) >= maxNames {
		clear(c.ids) // they cost a REGISTER each
	}
	c.ids[topic] = ack.TopicID
	c.learn(ack.TopicID, topic) // 6.5: the id is good in both directions
	return nil
}
