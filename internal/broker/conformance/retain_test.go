package conformance

import "testing"

// retained gives what a new subscriber gets.
func (b *target) retained(t *testing.T, filter string) map[string]publish {
	t.Helper()
	p := b.clean(t)
	p.subscribe(2, filter)
	got := map[string]publish{}
	pings := 2
	p.send(pingreq, pingreq)
	for pings > 0 {
		q := p.read()
		if q.head>>4 == typePingresp {
			pings--
			continue
		}
		m, err := decodePublish(b.v, q)
		if err != nil {
			t.Fatal(err)
		}
		if !m.retain {
			t.Errorf("without RETAIN: %v", m)
		}
		if _, twice := got[m.topic]; twice {
			t.Errorf("twice: %v", m)
		}
		got[m.topic] = m
	}
	return got
}

func (b *target) wantRetained(t *testing.T, filter string, want map[string]string) {
	t.Helper()
	got := b.retained(t, filter)
	for topic, payload := range want {
		if got[topic].payload != payload {
			t.Errorf("%s: %v, want %q", topic, got[topic], payload)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d retained messages, want %d: %v", len(got), len(want), got)
	}
}

// testRetain: the last one of each topic, with its QoS, for every matching topic.
func testRetain(t *testing.T, b *target) {
	p := b.clean(t)
	for i, name := range []string{"a", "a/b", "a/b/c", "x"} {
		p.put(publish{topic: b.topic(name), payload: "old", qos: 1, retain: true})
		p.put(publish{topic: b.topic(name), payload: name, qos: byte(i % 3), retain: true})
	}
	p.leave() // they belong to no session
	b.wantRetained(t, b.topic("a/#"), map[string]string{b.topic("a"): "a", b.topic("a/b"): "a/b", b.topic("a/b/c"): "a/b/c"})
	b.wantRetained(t, b.topic("+"), map[string]string{b.topic("a"): "a", b.topic("x"): "x"})
	for i, name := range []string{"a", "a/b", "a/b/c", "x"} {
		if m := b.retained(t, b.topic(name))[b.topic(name)]; m.qos != byte(i%3) {
			t.Errorf("retained at QoS %d, %v", i%3, m)
		}
	}
	low := b.clean(t)
	low.subscribe(1, b.topic("a/b/c")) // published at QoS 2
	low.wantMessage(publish{topic: b.topic("a/b/c"), payload: "a/b/c", qos: 1, retain: true})
}

// testRetainQoS0: also a message of QoS 0 takes the place of the one before.
func testRetainQoS0(t *testing.T, b *target) {
	p := b.clean(t)
	p.put(publish{topic: b.topic("a"), payload: "old", qos: 1, retain: true})
	p.put(publish{topic: b.topic("a"), payload: "new", retain: true})
	if m, ok := b.retained(t, b.topic("a"))[b.topic("a")]; ok && m.payload != "new" {
		t.Errorf("%v", m)
	}
}

// testRetainFlag: 1 for a new subscription, 0 for one that was there.
func testRetainFlag(t *testing.T, b *target) {
	p, sub := b.clean(t), b.clean(t)
	sub.subscribe(1, b.topic("a"))
	p.put(publish{topic: b.topic("a"), payload: "1", qos: 1, retain: true})
	sub.wantMessage(publish{topic: b.topic("a"), payload: "1", qos: 1})
	b.wantRetained(t, b.topic("a"), map[string]string{b.topic("a"): "1"})
}

// testRetainClear: an empty one is delivered, removes what is there, and is not kept.
func testRetainClear(t *testing.T, b *target) {
	p, sub := b.clean(t), b.clean(t)
	sub.subscribe(1, b.topic("a"))
	for qos := range byte(3) {
		p.put(publish{topic: b.topic("a"), payload: "1", qos: 1, retain: true})
		sub.wantMessage(publish{topic: b.topic("a"), payload: "1", qos: 1})
		p.put(publish{topic: b.topic("a"), qos: qos, retain: true})
		sub.wantMessage(publish{topic: b.topic("a"), qos: min(qos, 1)})
		b.wantRetained(t, b.topic("#"), nil)
	}
	p.put(publish{topic: b.topic("never"), qos: 1, retain: true})
	b.wantRetained(t, b.topic("#"), nil)
}

// testNotRetained: RETAIN 0 changes nothing of what is retained.
func testNotRetained(t *testing.T, b *target) {
	p := b.clean(t)
	p.put(publish{topic: b.topic("a"), payload: "kept", qos: 1, retain: true})
	for _, payload := range []string{"other", ""} {
		p.put(publish{topic: b.topic("a"), payload: payload, qos: 1})
		p.put(publish{topic: b.topic("b"), payload: payload, qos: 1})
	}
	b.wantRetained(t, b.topic("#"), map[string]string{b.topic("a"): "kept"})
}

// testRetainOutlives: a clean session that ends takes no retained message with it.
func testRetainOutlives(t *testing.T, b *target) {
	for _, c := range []connect{b.client("a"), b.session("a"), b.client("a")} {
		p := b.open(t, c)
		p.put(publish{topic: b.topic("a"), payload: "1", qos: 1, retain: true})
		p.leave()
		b.wantRetained(t, b.topic("a"), map[string]string{b.topic("a"): "1"})
	}
}
