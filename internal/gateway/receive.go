package gateway

import (
	"errors"

	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/snlink"
)

// receive handles one datagram; b is the caller's again when it returns.
func (g *Gateway) receive(from peer, b []byte) {
	g.n.received.Add(1)
	h, err := mqttsn.ParseHeader(b)
	if err != nil {
		g.drop(dropMalformed)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopping {
		return
	}
	if err := g.message(from, h.Type, b[h.Size:h.Length], b); err != nil {
		g.drop(dropMalformed)
	}
}

// message handles one message. g.mu is held. An error says that it is malformed; it is dropped then, and nothing else happens.
func (g *Gateway) message(from peer, t mqttsn.MsgType, body, datagram []byte) error {
	switch t { // those that need no connection
	case mqttsn.PUBLISH:
		p, err := mqttsn.DecodePublish(body)
		if err != nil {
			return err
		}
		if p.QoS < 0 {
			g.anonymous(from, &p)
			return nil
		}
		if c := g.heard(from); c != nil {
			g.publish(c, &p)
		}
		return nil
	case mqttsn.CONNECT:
		p, err := mqttsn.DecodeConnect(body)
		if errors.Is(err, mqttsn.ErrProtocolID) { // MQTT-SN 2.0, or nothing we know
			g.n.refused.Add(1)
			g.send(from, mqttsn.Connack{Code: mqttsn.NotSupported})
			return nil
		}
		if err == nil {
			g.connect(from, &p)
		}
		return err
	case mqttsn.PINGREQ:
		p, err := mqttsn.DecodePingreq(body)
		if err == nil {
			g.ping(from, p.ClientID)
		}
		return err
	case mqttsn.SEARCHGW:
		p, err := mqttsn.DecodeSearchgw(body)
		if err == nil {
			g.searched(from, p)
		}
		return err
	case mqttsn.WILLTOPIC:
		p, err := mqttsn.DecodeWilltopic(body)
		if err == nil {
			g.willTopic(from, &p)
		}
		return err
	case mqttsn.WILLMSG:
		p, err := mqttsn.DecodeWillmsg(body)
		if err == nil {
			g.willMessage(from, p.Payload)
		}
		return err
	case mqttsn.ADVERTISE, mqttsn.GWINFO: // of other gateways, or of clients for them
		return nil
	case mqttsn.FORWARD, mqttsn.CONNACK, mqttsn.WILLTOPICREQ, mqttsn.WILLMSGREQ, mqttsn.SUBACK, mqttsn.UNSUBACK,
		mqttsn.WILLTOPICRESP, mqttsn.WILLMSGRESP: // a link takes the wrappers of its forwarders off
		g.drop(dropUnexpected)
		return nil
	}
	if c := g.lookup(from); c == nil || !c.state.connected() { // what is malformed is not answered
		if _, err := mqttsn.Decode(datagram); err != nil {
			return err
		}
	}
	c := g.heard(from)
	if c == nil {
		return nil
	}
	return g.connected(c, t, body)
}

// connected handles what only a client that is connected says.
func (g *Gateway) connected(c *client, t mqttsn.MsgType, body []byte) error {
	switch t {
	case mqttsn.REGISTER:
		p, err := mqttsn.DecodeRegister(body)
		if err == nil {
			g.register(c, &p)
		}
		return err
	case mqttsn.REGACK:
		p, err := mqttsn.DecodeRegack(body)
		if err == nil {
			g.regack(c, p)
		}
		return err
	case mqttsn.PUBACK:
		p, err := mqttsn.DecodePuback(body)
		if err == nil {
			g.puback(c, p)
		}
		return err
	case mqttsn.PUBREC:
		p, err := mqttsn.DecodePubrec(body)
		if err == nil {
			g.pubrec(c, p.MsgID)
		}
		return err
	case mqttsn.PUBREL:
		p, err := mqttsn.DecodePubrel(body)
		if err == nil {
			c.session.Release(p.MsgID, g.answer(c, func(g *Gateway) { g.send(c.at, mqttsn.Pubcomp(p)) }))
		}
		return err
	case mqttsn.PUBCOMP:
		p, err := mqttsn.DecodePubcomp(body)
		if err == nil {
			g.pubcomp(c, p.MsgID)
		}
		return err
	case mqttsn.SUBSCRIBE:
		p, err := mqttsn.DecodeSubscribe(body)
		if err == nil {
			g.subscribe(c, &p)
		}
		return err
	case mqttsn.UNSUBSCRIBE:
		p, err := mqttsn.DecodeUnsubscribe(body)
		if err == nil {
			g.unsubscribe(c, &p)
		}
		return err
	case mqttsn.DISCONNECT:
		p, err := mqttsn.DecodeDisconnect(body)
		if err == nil {
			g.disconnect(c, p.Duration)
		}
		return err
	case mqttsn.WILLTOPICUPD:
		p, err := mqttsn.DecodeWilltopicupd(body)
		if err == nil {
			g.willTopicUpdate(c, &p)
		}
		return err
	case mqttsn.WILLMSGUPD:
		p, err := mqttsn.DecodeWillmsgupd(body)
		if err == nil {
			g.willMessageUpdate(c, p.Payload)
		}
		return err
	case mqttsn.PINGRESP: // we have heard it, which is all
		_, err := mqttsn.DecodePingresp(body)
		return err
	}
	g.drop(dropUnexpected)
	return nil
}

// lookup gives the client at an address, connected or not, or nil.
func (g *Gateway) lookup(from peer) *client {
	if c := g.peers[from]; c != nil {
		return c
	}
	if len(g.restored) == 0 {
		return nil
	}
	c := g.restored[restoredKey(from.link.Name, from.addr.String())]
	if c != nil && g.allowed(c.id, from) {
		g.move(c, from)
		if c.state == active {
			g.deliver(c) // what came while nobody knew where it is
		}
		return c
	}
	return nil
}

// heard gives the client at an address if it is connected, and notes that it was heard of. Whoever is not has to CONNECT: we say
// so by DISCONNECT (6.12), at an address where a client was and at one that we know nothing of.
func (g *Gateway) heard(from peer) *client {
	c := g.lookup(from)
	if c == nil || c.session == nil || !c.state.connected() {
		if c == nil || !c.opening { // what comes ahead of CONNACK, or over a session being restored, comes again
			g.send(from, mqttsn.Disconnect{})
		}
		g.drop(dropNotConnected)
		return nil
	}
	c.seen = g.now()
	return c
}

// move notes where a client is now. Whatever was at that address before is there no more.
func (g *Gateway) move(c *client, to peer) {
	if c.at == to {
		return
	}
	if old := g.peers[to]; old != nil && old != c {
		old.at = peer{}
		old.prompt = nil
		g.remember(old)
		if old.state.connected() { // a client that began anew under another name
			g.lose(old, "address taken")
		}
	}
	if c.at.link != nil {
		if g.peers[c.at] == c {
			delete(g.peers, c.at)
		}
	}
	for k, r := range g.restored { // few, and only after a restart
		if r == c {
			delete(g.restored, k)
			break
		}
	}
	c.at, c.identity = to, snlink.Identity(to.addr)
	g.peers[to] = c
	g.remember(c)
}

// allowed reports whether a client may use its id at an address. An id that was proven once is not to be had without proof, as
// long as the gateway knows the client.
func (g *Gateway) allowed(id string, at peer) bool {
	name := snlink.Identity(at.addr)
	if name != "" && name != id {
		return false
	}
	if c := g.clients[id]; c != nil && c.identity != "" && name == "" {
		return false
	}
	return g.o.Admit == nil || g.o.Admit(id, at.addr)
}
