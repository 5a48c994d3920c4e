package broker

import (
	"fmt"
	"testing"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// manyFilters is a SUBSCRIBE that is long work, its SUBACK, and the way back.
func manyFilters(n int) (mqtt.Subscribe, mqtt.Suback, mqtt.Unsubscribe) {
	p := mqtt.Subscribe{PacketID: 1}
	ack := mqtt.Suback{PacketID: 1, Codes: make([]byte, n)}
	back := mqtt.Unsubscribe{PacketID: 2}
	for i := range n {
		filter := fmt.Sprintf("+/%d/#", i)
		p.Subscriptions = append(p.Subscriptions, mqtt.Subscription{Filter: filter})
		back.Filters = append(back.Filters, filter)
	}
	return p, ack, back
}

// TestLongWork: what comes before and behind it keeps its place, and all of it is done.
func TestLongWork(t *testing.T) {
	s := start(t, Options{})
	p := s.clean(t, "p")
	many, ack, back := manyFilters(1000)
	p.send(pub(1, 5, "x", ""), many, pub(1, 6, "a/999/b", ""), bare(mqtt.PINGREQ))
	p.want(mqtt.Puback{PacketID: 5}, ack)
	seen := map[any]bool{}
	for range 3 {
		switch m := p.read().(type) {
		case mqtt.Publish:
			seen["publish"] = m.Topic == "a/999/b"
		case mqtt.Puback:
			seen["puback"] = m.PacketID == 6
		default:
			seen["ping"] = m == bare(mqtt.PINGRESP)
		}
	}
	if !seen["publish"] || !seen["puback"] || !seen["ping"] {
		t.Errorf("%v", seen)
	}
	p.send(back)
	p.want(mqtt.Unsuback{PacketID: 2})
	if n := s.Stats().Subscriptions; n != 0 {
		t.Errorf("%d subscriptions left", n)
	}
	p.send(many)
	p.want(ack)
	_, _ = s.connect(t, mqtt.Connect{ClientID: "p", Clean: true}) // takes it over
	if n := s.Stats().Subscriptions; n != 0 {
		t.Errorf("%d subscriptions left of the session before", n)
	}
	if n := s.assembly.Load(); n != 0 {
		t.Errorf("%d bytes reserved for nothing", n)
	}
}

// TestAllSubscriptions: the bound on all sessions together holds, and frees.
func TestAllSubscriptions(t *testing.T) {
	s := start(t, Options{MaxAllSubscriptions: 3})
	p, q := s.clean(t, "p"), s.clean(t, "q")
	p.subscribe(0, "a", "$share/g/b")
	q.send(mqtt.Subscribe{PacketID: 1, Subscriptions: []mqtt.Subscription{{Filter: "a"}, {Filter: "b"}, {Filter: "a"}}})
	q.want(mqtt.Suback{PacketID: 1, Codes: []byte{0, mqtt.SubackFailure, 0}}) // the last one is there already
	_ = p.nc.Close()
	eventually(t, "room", func() bool { return s.subscribed.Load() == 1 })
	q.subscribe(0, "b", "c")
}

// TestLongWorkIsBounded: what waits to be done has room like what has arrived in part.
func TestLongWorkIsBounded(t *testing.T) {
	s := start(t, Options{MaxAssemblyBytes: 64 << 10})
	p := s.clean(t, "p")
	many, _, _ := manyFilters(1000)
	p.send(many)
	p.wantClosed()
	eventually(t, "the end", func() bool { return s.Stats().Disconnects["memory"] == 1 })
}

// TestLongWorkLeavesRoom: long work that waits is refused before it has taken the room of
// packets that have arrived in part.
func TestLongWorkLeavesRoom(t *testing.T) {
	s := start(t, Options{MaxAssemblyBytes: 256 << 10})
	s.longTurn.Lock() // it does not come to an end
	many, ack, _ := manyFilters(1000)
	p, q, large := s.clean(t, "p"), s.clean(t, "q"), s.clean(t, "large")
	p.send(many)
	eventually(t, "that it waits", func() bool { return s.longWaiting.Load() > 0 })
	q.send(many)
	q.wantClosed()
	b := encode(t, mqtt.V311, pub(1, 7, "x", string(make([]byte, 100_000))))
	large.send(b[:90_000])
	eventually(t, "the part", func() bool { return s.assembly.Load() > s.longWaiting.Load() })
	large.send(b[90_000:])
	large.want(mqtt.Puback{PacketID: 7})
	s.longTurn.Unlock()
	p.want(ack)
	if n := s.Stats().Disconnects["memory"]; n != 1 {
		t.Errorf("%d refused, want 1", n)
	}
	if n := s.longWaiting.Load(); n != 0 {
		t.Errorf("%d bytes wait for nothing", n)
	}
}
