package gateway

import (
	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/mqttsn"
)

// Updates of the will inside a connection (6.4). The gateway publishes the will itself, so it can change it at any time. Topic and
// message are changed one by one; a will with a topic and no message yet has an empty one.

func (g *Gateway) willTopicUpdate(c *client, p *mqttsn.Willtopicupd) {
	var w *mqtt.Will // the empty form deletes both
	if p.Topic != "" {
		w = &mqtt.Will{Topic: p.Topic, QoS: byte(p.QoS), Retain: p.Retain}
		if c.will != nil {
			w.Payload = c.will.Payload
		}
	}
	g.setWill(c, w, func(code mqttsn.ReturnCode) mqttsn.Message { return mqttsn.Willtopicresp{Code: code} })
}

func (g *Gateway) willMessageUpdate(c *client, payload []byte) {
	if c.will == nil { // a message for no topic
		g.send(c.at, mqttsn.Willmsgresp{Code: mqttsn.NotSupported})
		return
	}
	w := *c.will
	w.Payload = append([]byte(nil), payload...)
	g.setWill(c, &w, func(code mqttsn.ReturnCode) mqttsn.Message { return mqttsn.Willmsgresp{Code: code} })
}

func (g *Gateway) setWill(c *client, w *mqtt.Will, answer func(mqttsn.ReturnCode) mqttsn.Message) {
	if g.congested(c) {
		g.send(c.at, answer(mqttsn.Congestion))
		return
	}
	s := c.session
	before := c.will
	c.will = w // the next update builds on it
	g.call(c, func() func(*Gateway) {
		err := s.SetWill(w)
		return func(g *Gateway) {
			if c.session != s {
				return
			}
			if err != nil && c.will == w {
				c.will = before
			}
			g.remember(c)
			g.promise(c, c.at, answer(codeOf(err)))
		}
	})
}
