package conformance

import "testing"

// mortal opens a client with a will, and one that watches for it.
func (b *target) mortal(t *testing.T, w will) (p, watch *peer) {
	t.Helper()
	watch = b.clean(t)
	watch.subscribe(2, b.topic("w"))
	c := b.client("m")
	w.topic = b.topic("w")
	c.will = &w
	return b.open(t, c), watch
}

// testWill: it goes out when the connection is lost, or ended by the server.
func testWill(t *testing.T, b *target) {
	for qos := range byte(3) {
		p, watch := b.mortal(t, will{publish: publish{payload: "gone", qos: qos}})
		p.cut()
		watch.wantMessage(publish{topic: b.topic("w"), payload: "gone", qos: qos})
	}
	p, watch := b.mortal(t, will{publish: publish{payload: "gone"}})
	p.refuses(publish{topic: "a/#"}.encode(b.v))
	watch.wantMessage(publish{topic: b.topic("w"), payload: "gone"})
	p, watch = b.mortal(t, will{publish: publish{payload: "gone"}})
	b.open(t, b.client("m"))
	p.closed()
	watch.wantMessage(publish{topic: b.topic("w"), payload: "gone"})
	watch.silent()
}

// testWillOnce: published or given up, it is gone.
func testWillOnce(t *testing.T, b *target) {
	p, watch := b.mortal(t, will{publish: publish{payload: "gone"}})
	p.cut()
	watch.wantMessage(publish{topic: b.topic("w"), payload: "gone"})
	s := b.open(t, connect{id: b.id("m"), expiry: 300}) // the same client without a will
	s.cut()
	b.open(t, b.client("m")).leave()
	watch.silent()
	p, watch = b.mortal(t, will{publish: publish{payload: "gone"}})
	p.leave()
	watch.silent()
}

func testWillDiscarded(t *testing.T, b *target) {
	p, watch := b.mortal(t, will{publish: publish{payload: "gone"}})
	p.leave()
	watch.silent()
}

func testNoWill(t *testing.T, b *target) {
	watch := b.clean(t)
	watch.subscribe(0, b.topic("#"))
	p := b.open(t, b.client("m"))
	p.cut()
	b.open(t, b.client("m")).leave()
	watch.silent()
}

func testWillNotRetained(t *testing.T, b *target) {
	p, watch := b.mortal(t, will{publish: publish{payload: "gone", qos: 1}})
	p.cut()
	watch.wantMessage(publish{topic: b.topic("w"), payload: "gone", qos: 1})
	late := b.clean(t)
	late.subscribe(1, b.topic("w"))
	late.silent()
}

func testWillRetained(t *testing.T, b *target) {
	p, watch := b.mortal(t, will{publish: publish{payload: "gone", qos: 1, retain: true}})
	p.cut()
	watch.wantMessage(publish{topic: b.topic("w"), payload: "gone", qos: 1})
	late := b.clean(t)
	late.subscribe(1, b.topic("w"))
	late.wantMessage(publish{topic: b.topic("w"), payload: "gone", qos: 1, retain: true})
	b.clean(t).put(publish{topic: b.topic("w"), qos: 1, retain: true})
}

// testWillFields: the flag wants topic and message in the payload.
func testWillFields(t *testing.T, b *target) {
	id := str(b.id(""))
	for _, payload := range [][]byte{id, join(id, section(b.v, nil), str(b.topic("w"))), join(id, section(b.v, nil), str(b.topic("w")), u16(9))} {
		b.dial(t).refuses(connectBytes(b.v, "MQTT", b.v, 6, 0, nil, payload), 0x81, 0x82)
	}
}

// testWillFieldsWithoutFlag: without the flag they may not be there.
func testWillFieldsWithoutFlag(t *testing.T, b *target) {
	flagsRefused(2|0x08, 2|0x10, 2|0x20)(t, b)
	payloadRefused(2, b.topic("w"), "gone")(t, b)
}
