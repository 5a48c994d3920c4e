package conformance

import (
	"strings"
	"testing"
	"time"
)

func testFirstIsConnect(t *testing.T, b *target) {
	for name, bytes := range map[string][]byte{
		"PINGREQ": pingreq, "DISCONNECT": disconnect, "PUBLISH": publish{topic: b.topic("x")}.encode(b.v),
		"SUBSCRIBE": subscribe{id: 1, filters: []string{"x"}}.encode(b.v), "PUBREL": ackOf(typePubrel, 1), "CONNACK": {0x20, 2, 0, 0},
	} {
		t.Run(name, func(t *testing.T) { b.dial(t).refuses(bytes) })
	}
}

func testSecondConnect(t *testing.T, b *target) {
	c := b.client("a")
	p := b.open(t, c)
	p.refuses(c.encode(b.v), 0x82)
}

func testProtocolName(t *testing.T, b *target) {
	for _, name := range []string{"MQTX", "mqtt", "", "MQTTT", "MQT"} {
		t.Run(name, func(t *testing.T) {
			b.dial(t).refuses(connectBytes(b.v, name, b.v, 2, 0, nil, str(b.id(""))), 0x84, 0x81, 0x82)
		})
	}
}

// testLevel: a level that is not spoken is answered in the words of 3.1.1; those of
// MQTT 5 serve for a level above it.
func testLevel(t *testing.T, b *target) {
	for level, codes := range map[byte][]byte{1: {1}, 6: {1, 0x84}, 0x7f: {1, 0x84}} {
		p := b.dial(t)
		p.send(connectBytes(v311, "MQTT", level, 2, 0, nil, str(b.id(""))))
		q := p.want(typeConnack)
		if len(q.body) < 2 || q.body[0] != 0 || !strings.Contains(string(codes), string(q.body[1:2])) {
			t.Errorf("level %d: %v", level, q)
		}
		p.closed()
	}
}

func flagsRefused(flags ...byte) func(*testing.T, *target) {
	return func(t *testing.T, b *target) {
		for _, f := range flags {
			payload := str(b.id(""))
			if f&4 != 0 {
				payload = join(payload, section(b.v, nil), str(b.topic("w")), str("x"))
			}
			if f&0x80 != 0 {
				payload = join(payload, str("user"))
			}
			if f&0x40 != 0 {
				payload = join(payload, str("password"))
			}
			b.dial(t).refuses(connectBytes(b.v, "MQTT", b.v, f, 0, nil, payload), 0x81, 0x82)
		}
	}
}

// payloadRefused sends a CONNECT whose payload does not fit its flags.
func payloadRefused(flags byte, parts ...string) func(*testing.T, *target) {
	return func(t *testing.T, b *target) {
		payload := str(b.id(""))
		for _, p := range parts {
			payload = join(payload, str(p))
		}
		b.dial(t).refuses(connectBytes(b.v, "MQTT", b.v, flags, 0, nil, payload), 0x81, 0x82)
	}
}

// testMalformedConnect: not a byte of an answer in 3.1.1.
func testMalformedConnect(t *testing.T, b *target) {
	good := connect{id: b.id("a"), clean: true, user: "u", password: "p",
		will: &will{publish: publish{topic: b.topic("w"), payload: "x"}}}.encode(b.v)
	for n := 2; n < len(good); n++ { // ends early, with a length that fits
		p := b.dial(t)
		p.refuses(frame(good[0], good[2:n]), 0x81, 0x82, 0x84)
	}
	b.dial(t).refuses(join(u8(good[0], good[1]+1), good[2:], u8(0)), 0x81, 0x82) // goes on too long
}

func testKeepAlive(t *testing.T, b *target) {
	c := b.client("a")
	c.keepAlive = 1
	begin := time.Now() // before the server has heard anything
	p, lively := b.open(t, c), b.open(t, connect{id: b.id("b"), clean: true, keepAlive: 1})
	late := make(chan bool, 1)
	go func() { // longer than the other lives
		slow, last := false, begin
		defer func() { late <- slow }()
		for range 6 {
			time.Sleep(500 * time.Millisecond)
			_, err := lively.nc.Write(pingreq)
			slow = slow || time.Since(last) > 1200*time.Millisecond
			last = time.Now()
			if err != nil {
				return
			}
		}
	}()
	p.closed()
	if took := time.Since(begin); took < 1400*time.Millisecond {
		t.Errorf("closed after %v of a keep alive of 1 s", took)
	}
	if <-late {
		t.Log("the machine was too busy for a client that says something all the time")
	} else {
		for range 6 {
			lively.want(typePingresp)
		}
	}
	never := b.client("c") // 0: no limit
	b.open(t, never).ping()
}

// testPayloadOrder: all fields at once, each arrives as what it is.
func testPayloadOrder(t *testing.T, b *target) {
	watch := b.clean(t)
	watch.subscribe(1, b.topic("w"))
	c := b.client("a")
	c.user, c.password = "user", "password"
	c.will = &will{publish: publish{topic: b.topic("w"), payload: "gone", qos: 1}}
	b.open(t, c).cut()
	watch.wantMessage(publish{topic: b.topic("w"), payload: "gone", qos: 1})
}

func testClientIDs(t *testing.T, b *target) {
	const all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for from := 0; from < len(all); from += 23 {
		b.open(t, connect{id: all[from:min(from+23, len(all))], clean: true}).leave()
	}
	for n := 1; n <= 23; n++ {
		b.open(t, connect{id: (b.id("") + all)[:n], clean: true}).leave()
	}
}

func testNoClientID(t *testing.T, b *target) {
	b.dial(t).refuses(connectBytes(b.v, "MQTT", b.v, 2, 0, nil, nil), 0x81, 0x82)
}

// testEmptyID: each client without an id is a client of its own.
func testEmptyID(t *testing.T, b *target) {
	one, two := b.open(t, connect{clean: true}), b.open(t, connect{clean: true})
	one.subscribe(0, b.topic("x"))
	two.put(publish{topic: b.topic("x"), payload: "1"})
	one.wantMessage(publish{topic: b.topic("x"), payload: "1"})
	two.silent()
}

// testEmptyIDNotClean: refused with code 2, session not present, closed.
func testEmptyIDNotClean(t *testing.T, b *target) {
	p := b.dial(t)
	p.send(connect{}.encode(b.v))
	if ack := p.connack(); ack.code != 2 || ack.present {
		t.Errorf("%+v", ack)
	}
	p.closed()
}

// refusedConnect is a CONNECT that the version refuses.
func (b *target) refusedConnect(t *testing.T) []byte {
	t.Helper()
	if b.v == v311 {
		return connect{}.encode(b.v)
	}
	return connect{id: b.id(""), clean: true, props: join(u8(propAuthMethod), str("no such method"))}.encode(b.v)
}

func testRefused(t *testing.T, b *target) {
	p := b.dial(t)
	p.send(b.refusedConnect(t))
	if ack := p.connack(); ack.code == 0 || ack.present || b.v == v5 && ack.code < 0x80 {
		t.Errorf("%+v", ack)
	}
	p.closed()
}

func testBadPassword(t *testing.T, b *target) {
	b.configured(t)
	p := b.dial(t)
	p.send(connect{id: b.id(""), clean: true, user: "u", password: badPassword}.encode(b.v))
	want := byte(4)
	if b.v == v5 {
		want = 0x86
	}
	if ack := p.connack(); ack.code != want || ack.present {
		t.Errorf("%+v", ack)
	}
	p.closed()
}

// testRefusedIsDeaf: what comes behind a refused CONNECT is not looked at.
func testRefusedIsDeaf(t *testing.T, b *target) {
	watch := b.clean(t)
	watch.subscribe(0, b.topic("#"))
	p := b.dial(t)
	p.try(join(b.refusedConnect(t), publish{topic: b.topic("x"), payload: "no"}.encode(b.v)))
	p.drain()
	watch.silent()
}

// testTakeover: the newer connection of a client has it.
func testTakeover(t *testing.T, b *target) {
	old := b.open(t, b.client("a"))
	p := b.open(t, b.client("a"))
	if reason := old.closed(); reason != 0 && reason != 0x8e {
		t.Errorf("reason %#02x", reason)
	}
	p.ping()
	s := b.open(t, b.session("s"))
	s.subscribe(1, b.topic("x"))
	s2, ack := b.openAck(t, b.session("s"))
	s.closed()
	if !ack.present {
		t.Error("the session has not moved")
	}
	p.put(publish{topic: b.topic("x"), payload: "1", qos: 1})
	s2.wantMessage(publish{topic: b.topic("x"), payload: "1", qos: 1})
}

// testConnackFirst: CONNACK comes before anything else, even if more was asked for.
func testConnackFirst(t *testing.T, b *target) {
	from := b.clean(t)
	s := b.session("a")
	p := b.open(t, s)
	p.subscribe(1, b.topic("x"))
	p.leave()
	from.put(publish{topic: b.topic("x"), payload: "1", qos: 1})
	p = b.dial(t)
	p.send(s.encode(b.v), subscribe{id: 2, filters: []string{b.topic("y")}}.encode(b.v), pingreq)
	if ack := p.connack(); ack.code != 0 {
		t.Fatalf("%+v", ack)
	}
	for range 3 { // the message, SUBACK and PINGRESP; no second CONNACK
		if q := p.read(); q.head>>4 == typeConnack {
			t.Errorf("%v", q)
		}
	}
}

func testAccepts(t *testing.T, b *target) {
	if _, ack := b.openAck(t, b.client("a")); ack.code != 0 || ack.present {
		t.Errorf("%+v", ack)
	}
}

// testExtension: a client that knows nothing beyond the specification is served, beside one
// that says with a bit of the level that it is a bridge.
func testExtension(t *testing.T, b *target) {
	testAccepts(t, b)
	bridge := b.client("bridge").encode(b.v)
	const level = 2 + 2 + len("MQTT")
	bridge[level] |= 0x80
	p := b.dial(t)
	p.send(bridge)
	if b.ours { // another server may refuse it
		if ack := p.connack(); ack.code != 0 {
			t.Errorf("%+v", ack)
		}
	}
	b.clean(t).ping()
}

// reservedFlags sends a good packet with other flags in its first byte.
func reservedFlags(kinds ...byte) func(*testing.T, *target) {
	return func(t *testing.T, b *target) {
		for _, kind := range kinds {
			good := map[byte][]byte{
				typeConnect: b.client("c").encode(b.v), typePuback: ackOf(typePuback, 1), typePubrec: ackOf(typePubrec, 1),
				typePubrel: ackOf(typePubrel, 1), typePubcomp: ackOf(typePubcomp, 1), typePingreq: pingreq, typeDisconnect: disconnect,
				typeSubscribe:   subscribe{id: 1, filters: []string{"x"}}.encode(b.v),
				typeUnsubscribe: unsubscribe(b.v, 1, "x"),
				typeAuth:        {typeAuth << 4, 0},
			}[kind]
			for flags := range byte(16) {
				if flags == good[0]&15 {
					continue
				}
				p := b.dial(t)
				if kind != typeConnect {
					p = b.clean(t)
				}
				p.refuses(join(u8(kind<<4|flags), good[1:]), 0x81, 0x82)
			}
		}
	}
}

// testNotForServers: types that no client sends, and 0, end the connection.
func testNotForServers(t *testing.T, b *target) {
	for name, bytes := range map[string][]byte{
		"type 0": {0, 0}, "CONNACK": {0x20, 2, 0, 0}, "SUBACK": {0x90, 3, 0, 1, 0}, "UNSUBACK": {0xb0, 2, 0, 1},
		"PINGRESP": {0xd0, 0}, "type 15": {0xf0, 0}, "length of five bytes": {0x30, 0xff, 0xff, 0xff, 0xff, 1},
	} {
		t.Run(name, func(t *testing.T) { b.clean(t).refuses(bytes, 0x81, 0x82) })
	}
}
