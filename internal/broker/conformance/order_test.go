package conformance

import (
	"fmt"
	"testing"
)

// burst sends n messages of one QoS in one write and waits for the answers, which
// have to come in the order of the messages.
func (b *target) burst(t *testing.T, p *peer, topic string, qos byte, n int) {
	t.Helper()
	var all []byte
	for i := range n {
		all = append(all, publish{topic: topic, payload: fmt.Sprint(i), qos: qos, id: uint16(i + 1)}.encode(b.v)...)
	}
	p.send(all)
	if qos == 0 {
		p.ping()
		return
	}
	kind := byte(typePuback)
	if qos == 2 {
		kind = typePubrec
	}
	for i := range n {
		p.ack(kind, uint16(i+1))
	}
	if qos == 2 {
		for i := range n {
			p.send(ackOf(typePubrel, uint16(i+1)))
			p.ack(typePubcomp, uint16(i+1))
		}
	}
}

// burstSize stays below what a server of MQTT 5 may allow on the way.
const burstSize = 16

func testAckOrder(qos byte) func(*testing.T, *target) {
	return func(t *testing.T, b *target) { b.burst(t, b.clean(t), b.topic("x"), qos, burstSize) }
}

// testPubrelOrder: PUBREL in the order of PUBREC, which need not be that of PUBLISH.
func testPubrelOrder(t *testing.T, b *target) {
	from, sub := b.clean(t), b.clean(t)
	sub.subscribe(2, b.topic("x"))
	b.burst(t, from, b.topic("x"), 2, 6)
	var ids []uint16
	for range 6 {
		ids = append(ids, sub.message().id)
	}
	order := []uint16{ids[2], ids[0], ids[1], ids[5], ids[4], ids[3]}
	var all []byte
	for _, id := range order {
		all = append(all, ackOf(typePubrec, id)...)
	}
	sub.send(all)
	for _, id := range order {
		sub.ack(typePubrel, id)
	}
}

// testOrder: what one client publishes arrives in that order at every subscriber,
// connected or away, whatever it subscribed with.
func testOrder(t *testing.T, b *target) {
	from := b.clean(t)
	exact, wild := b.clean(t), b.clean(t)
	exact.subscribe(2, b.topic("x"))
	wild.subscribe(1, b.topic("+"))
	away := b.open(t, b.session("away"))
	away.subscribe(2, b.topic("#"))
	away.leave()
	for qos := range byte(3) {
		b.burst(t, from, b.topic("x"), qos, burstSize)
	}
	away = b.open(t, b.session("away"))
	for _, p := range []*peer{exact, wild, away} {
		for qos := range byte(3) {
			if p == away && qos == 0 {
				continue
			}
			for i := range burstSize {
				m := p.flow()
				for p == away && m.qos == 0 { // which a server may keep
					m = p.flow()
				}
				if m.payload != fmt.Sprint(i) {
					t.Fatalf("QoS %d: %v, want %d", qos, m, i)
				}
			}
		}
	}
}

// flow reads PUBLISH and answers it, while other exchanges are under way.
func (p *peer) flow() publish {
	p.t.Helper()
	for {
		q := p.read()
		if q.head>>4 == typePubrel {
			p.send(frame(typePubcomp<<4, q.body[:2]))
			continue
		}
		m, err := decodePublish(p.v, q)
		if err != nil || q.head>>4 != typePublish {
			p.t.Fatalf("%v: %v", q, err)
		}
		if m.qos > 0 {
			p.send(ackOf(typePuback+m.qos-1, m.id))
		}
		return m
	}
}

// settle completes what flow has begun; no message may come.
func (p *peer) settle() {
	p.t.Helper()
	p.send(pingreq, pingreq)
	for pings := 0; pings < 2; {
		switch q := p.read(); q.head >> 4 {
		case typePubrel:
			p.send(frame(typePubcomp<<4, q.body[:2]))
		case typePingresp:
			pings++
		default:
			p.t.Fatalf("%v", q)
		}
	}
}

// testOwnership: a message is in the session of everyone who asked for it.
func testOwnership(t *testing.T, b *target) {
	from := b.clean(t)
	here, away := b.open(t, b.session("here")), b.open(t, b.session("away"))
	here.subscribe(1, b.topic("x"))
	away.subscribe(1, b.topic("+"))
	away.leave()
	from.put(publish{topic: b.topic("x"), payload: "1", qos: 1})
	from.leave()
	here.wantMessage(publish{topic: b.topic("x"), payload: "1", qos: 1})
	b.open(t, b.session("away")).wantMessage(publish{topic: b.topic("x"), payload: "1", qos: 1})
}
