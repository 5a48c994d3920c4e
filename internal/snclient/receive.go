package snclient

import (
	"hash/crc32"
	"time"

	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/snlink"
)

// Bounds of what is kept for gateways; see the package comment.
const (
	maxNames    = 256
	maxHalf     = 64
	maxGateways = 16
	maxLoose    = 64
)

var errTooLong = snlink.ErrTooLong

// arrival is a QoS 1 message that was received. One with the same id and content is the same one again, if it says so or comes
// soon after: networks double messages too.
type arrival struct {
	id  uint16
	sum uint32
	at  time.Time
}

func (a arrival) again(b arrival, dup bool, soon time.Duration) bool {
	return a.id == b.id && a.sum == b.sum && (dup || b.at.Sub(a.at) < soon)
}

// arrived deals with a datagram. It returns the message if it may be the answer to a request.
func (c *Client) arrived(d datagram) (mqttsn.Message, error) {
	m, err := mqttsn.Decode(d.b)
	if err != nil {
		c.count.malformed.Add(1)
		return nil, nil //nolint:nilerr // what is no message is not there
	}
	switch a := m.(type) {
	case mqttsn.Advertise:
		c.heard(d.from, a.GwID, time.Duration(a.Duration)*time.Second)
		return m, nil
	case mqttsn.Gwinfo:
		if len(a.Address) == 0 { // from a gateway itself: its address is where it comes from (6.1)
			c.heard(d.from, a.GwID, 0)
		}
		return m, nil
	case mqttsn.Searchgw:
		return m, nil
	}
	if d.from != c.gateway {
		return nil, nil // the client is connected with one gateway alone
	}
	c.count.received.Add(1)
	c.count.octetsIn.Add(uint64(len(d.b)))
	switch a := m.(type) {
	case mqttsn.Publish:
		return m, c.published(a)
	case mqttsn.Pubrel:
		delete(c.half, a.MsgID)
		return m, c.send(mqttsn.Pubcomp(a))
	case mqttsn.Register:
		code := mqttsn.Accepted
		if !c.learn(a.TopicID, a.Topic) {
			code = mqttsn.Congestion
		}
		return m, c.send(mqttsn.Regack{TopicID: a.TopicID, MsgID: a.MsgID, Code: code})
	case mqttsn.Pingreq:
		return m, c.send(mqttsn.Pingresp{})
	case mqttsn.Disconnect:
		switch {
		case c.fallingAsleep:
			c.asleepAt = time.Now()
		case time.Since(c.asleepAt) > c.o.Retry*3/4: // else it is the same answer twice; if not, the next repetition gets it again
			return nil, errUnknown
		}
	}
	return m, nil
}

// learn keeps the topic of an id that the gateway uses; false at the bound.
func (c *Client) learn(id uint16, topic string) bool {
	if _, ok := c.names[id]; !ok && len(c.names) >= maxNames || id == 0 {
		c.count.refused.Add(1)
		return false
	}
	c.names[id] = topic
	return true
}

// published takes a message and acknowledges it.
func (c *Client) published(p mqttsn.Publish) error {
	topic, ok := "", false
	switch p.TopicType {
	case mqttsn.Predefined:
		if topic, ok = c.o.Predefined[p.TopicID]; ok {
			c.doubt = certain
		}
	case mqttsn.Short:
		topic, ok = mqttsn.ShortName(p.TopicID)
	case mqttsn.Normal:
		topic, ok = c.names[p.TopicID]
	}
	if !ok { // 6.10: the gateway shall register it again
		return c.send(mqttsn.Puback{TopicID: p.TopicID, MsgID: p.MsgID, Code: mqttsn.InvalidTopicID})
	}
	switch {
	case p.QoS == 1:
		a := arrival{p.MsgID, crc32.ChecksumIEEE(append([]byte(topic), p.Payload...)), time.Now()}
		for _, r := range c.recent {
			if r.again(a, p.Dup, c.o.Retry) {
				c.count.duplicates.Add(1)
				return c.send(mqttsn.Puback{TopicID: p.TopicID, MsgID: p.MsgID})
			}
		}
		c.recent[c.recentAt%len(c.recent)] = a
		c.recentAt++
	case p.QoS == 2 && c.half[p.MsgID]:
		c.count.duplicates.Add(1)
		return c.send(mqttsn.Pubrec{MsgID: p.MsgID})
	case p.QoS == 2 && len(c.half) >= maxHalf:
		c.count.refused.Add(1)
		return c.send(mqttsn.Puback{TopicID: p.TopicID, MsgID: p.MsgID, Code: mqttsn.Congestion})
	}
	if c.o.OnMessage != nil {
		c.o.OnMessage(&Message{Topic: topic, Payload: p.Payload, QoS: p.QoS, Retain: p.Retain, Dup: p.Dup})
	}
	switch p.QoS {
	case 1:
		return c.send(mqttsn.Puback{TopicID: p.TopicID, MsgID: p.MsgID})
	case 2:
		c.half[p.MsgID] = true
		return c.send(mqttsn.Pubrec{MsgID: p.MsgID})
	}
	return nil
}
