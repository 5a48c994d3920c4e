package gateway

import (
	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/snlink"
)

// ping handles PINGREQ. One with a client id is from a client that slept (6.14): it is known by its id, since its address may
// have changed while it slept. What waits for it goes out one by one, and PINGRESP after the last acknowledgement. There are
// clients that leave their id out when they poll: who sleeps has no other reason to ask.
func (g *Gateway) ping(from peer, id string) {
	if id == "" {
		c := g.heard(from)
		if c == nil {
			return
		}
		id = c.id
	}
	c := g.clients[id]
	if c == nil || !c.state.connected() || !g.allowed(id, from) {
		g.drop(dropNotConnected)
		g.send(from, mqttsn.Disconnect{})
		return
	}
	if c.session == nil || c.opening { // being restored: it asks again
		g.drop(dropNotConnected)
		return
	}
	g.move(c, from)
	c.seen = g.now()
	switch c.state {
	case active: // our answer to its DISCONNECT was lost, or it uses this form always
		g.send(from, mqttsn.Pingresp{})
	case asleep:
		g.become(c, awake)
		g.collect(c)
	case awake: // it has not got all: what it waits for comes again
		g.become(c, awake)
		g.collect(c)
	}
}

// collect gives a client that is awake what waits for it.
func (g *Gateway) collect(c *client) {
	if c.out != nil {
		g.resend(c)
		return
	}
	g.deliver(c)
}

// searched handles SEARCHGW (6.1): everyone hears the answer, or the one who asked where nobody else can.
func (g *Gateway) searched(from peer, _ mqttsn.Searchgw) {
	if !g.reachable() {
		return
	}
	if from.link.Broadcast {
		from.addr = snlink.Everyone
	}
	g.send(from, mqttsn.Gwinfo{GwID: g.o.GwID})
}
