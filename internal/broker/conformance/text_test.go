package conformance

import "testing"

// spots are the places where a client sends text, each in an otherwise good packet.
func (b *target) spots(bad string) map[string][]byte {
	topic := b.topic("x")
	spots := map[string][]byte{
		"client id":      connect{id: bad, clean: true}.encode(b.v),
		"will topic":     connect{id: b.id(""), clean: true, will: &will{publish: publish{topic: bad}}}.encode(b.v),
		"user name":      connect{id: b.id(""), clean: true, user: bad}.encode(b.v),
		"topic":          publish{topic: bad, payload: "x"}.encode(b.v),
		"subscription":   subscribe{id: 1, filters: []string{topic, bad}}.encode(b.v),
		"unsubscription": unsubscribe(b.v, 1, topic, bad),
	}
	if b.v == v5 {
		for name, p := range map[string][]byte{
			"user property's key":   user(bad, "x"),
			"user property's value": user("x", bad),
			"content type":          join(u8(propContentType), str(bad)),
			"response topic":        join(u8(propResponseTopic), str(bad)),
		} {
			spots[name] = publish{topic: topic, payload: "x", props: p}.encode(b.v)
		}
		spots["authentication method"] = connect{id: b.id(""), clean: true, props: join(u8(propAuthMethod), str(bad))}.encode(b.v)
	}
	return spots
}

// refusesText wants a text refused wherever it stands, or at the named spots only.
func refusesText(t *testing.T, b *target, bad string, only ...string) {
	t.Helper()
	spots := b.spots(bad)
	if len(only) == 0 {
		for name := range spots {
			only = append(only, name)
		}
	}
	for _, name := range only {
		bytes, ok := spots[name]
		if !ok {
			t.Fatalf("no spot %q", name)
		}
		t.Run(name, func(t *testing.T) {
			var p *peer
			if bytes[0]>>4 == typeConnect {
				p = b.dial(t)
			} else {
				p = b.clean(t)
			}
			p.refuses(bytes)
		})
	}
}

var illFormed = []string{"a\xffb", "a\xed\xa0\x80b", "a\xc0\xafb", "a\xf8\x88\x80\x80\x80", "a\xe2\x82"}

func testIllFormed(t *testing.T, b *target) {
	for _, bad := range illFormed {
		refusesText(t, b, bad)
	}
}

func testNull(t *testing.T, b *target) { refusesText(t, b, "a\x00b") }

func textAt(spots ...string) func(*testing.T, *target) {
	return func(t *testing.T, b *target) {
		for _, bad := range illFormed {
			refusesText(t, b, bad, spots...)
		}
	}
}

// testByteOrderMark: U+FEFF is a character like others.
func testByteOrderMark(t *testing.T, b *target) {
	sub, from := b.clean(t), b.clean(t)
	with, without := b.topic("\ufeffx"), b.topic("x")
	sub.subscribe(0, with)
	from.put(publish{topic: without, payload: "1"})
	from.put(publish{topic: with, payload: "2"})
	sub.wantMessage(publish{topic: with, payload: "2"})
	sub.silent()
}

// testNoNormalization: topics are compared as bytes.
func testNoNormalization(t *testing.T, b *target) {
	sub, from := b.clean(t), b.clean(t)
	variants := []string{"e\u0301/a", "\u00e9/a", "\u00e9//a", "\u00e9/A", "\u00e9/a/", " \u00e9/a", "\u00e9/./a", "\u00e9/%61"}
	for _, v := range variants {
		sub.subscribe(0, b.topic(v))
		for _, other := range variants {
			from.put(publish{topic: b.topic(other), payload: v})
		}
		sub.wantMessage(publish{topic: b.topic(v), payload: v})
		sub.silent()
		sub.send(unsubscribe(b.v, 5, b.topic(v)))
		sub.ack(typeUnsuback, 5)
	}
}

// testLongTopic: the longest topic and filter are dealt with, or refused.
func testLongTopic(t *testing.T, b *target) {
	long := make([]byte, 65_535)
	for i := range long {
		long[i] = 'x'
	}
	for name, bytes := range map[string][]byte{
		"topic":  publish{topic: string(long), payload: "x", qos: 1, id: 1}.encode(b.v),
		"filter": subscribe{id: 1, filters: []string{string(long)}}.encode(b.v),
	} {
		t.Run(name, func(t *testing.T) {
			p := b.clean(t)
			p.try(bytes)
			_, _ = p.next() // an answer, or the end
			b.clean(t).ping()
		})
	}
}

// testEmptyTopic: a topic and a filter have a character at least.
func testEmptyTopic(t *testing.T, b *target) {
	spots := b.spots("")
	for _, name := range []string{"will topic", "topic", "subscription", "unsubscription"} {
		t.Run(name, func(t *testing.T) {
			p := b.dial(t)
			if name != "will topic" {
				p = b.clean(t)
			}
			p.refuses(spots[name])
		})
	}
}

// testEmptyFilter: an empty topic in MQTT 5 is the place of an alias; see testAliasZero.
func testEmptyFilter(t *testing.T, b *target) {
	spots := b.spots("")
	b.dial(t).refuses(spots["will topic"])
	for _, name := range []string{"topic", "subscription", "unsubscription"} {
		p := b.clean(t)
		p.try(spots[name])
		q, err := p.next()
		if err != nil || q.head>>4 == typeDisconnect {
			continue
		}
		r, err := decodeReply(b.v, q)
		if err != nil || len(r.codes) != 2 || r.codes[1] != 0x8f {
			t.Errorf("%s: %v", name, q)
		}
	}
}
