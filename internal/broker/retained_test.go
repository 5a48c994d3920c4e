package broker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// TestRetainedStale: where a new retained message finds no room, a subscriber does not
// get the old one either.
func TestRetainedStale(t *testing.T) {
	s := start(t, Options{MaxRetainedBytes: 4 << 10})
	from := s.clean(t, "from")
	publish := func(id uint16, name, text string) {
		t.Helper()
		m := pub(1, id, name, text)
		m.Retain = true
		from.send(m)
		from.want(mqtt.Puback{PacketID: id})
	}
	publish(1, "door", "open")
	publish(2, "other", "x")
	publish(3, "door", strings.Repeat("shut", 1024))
	if st := s.Stats(); st.Retained != 1 || st.Dropped["retained_full"] != 1 {
		t.Errorf("%d retained, %d not", st.Retained, st.Dropped["retained_full"])
	}
	sub := s.clean(t, "sub")
	sub.subscribe(0, "door")
	sub.quiet()
	publish(4, "door", "shut")
	want := pub(0, 0, "door", "shut")
	sub.want(want)
}

// TestRetainedDeep: a topic with more levels than a filter may have is delivered and not
// retained, and one that was kept before there was the bound does not stay.
func TestRetainedDeep(t *testing.T) {
	s := start(t, Options{MaxFilterLevels: 3})
	sub, from := s.clean(t, "sub"), s.clean(t, "from")
	sub.subscribe(0, "#")
	s.retained.mu.Lock()
	s.retained.put(&message{topic: "a/b/c/d", payload: []byte("old")}, 0, 0)
	s.retained.mu.Unlock()
	for i, name := range []string{"a/b/c", "a/b/c/d", "///////"} {
		from.send(retainedPub(1, uint16(i+1), name, "x"))
		from.want(mqtt.Puback{PacketID: uint16(i + 1)})
		sub.want(pub(0, 0, name, "x"))
	}
	if st := s.Stats(); st.Retained != 1 || st.Dropped["retained_full"] != 2 {
		t.Errorf("%d retained, %d not", st.Retained, st.Dropped["retained_full"])
	}
	later := s.clean(t, "later")
	later.subscribe(0, "#")
	later.want(retainedPub(0, 0, "a/b/c", "x"))
	later.quiet()
}

// TestRetainedBooks: count and bytes are those of what is there, whatever came before.
func TestRetainedBooks(t *testing.T) {
	r := retained{maxCount: 20, maxBytes: 24 << 10}
	have := map[string]*message{}
	random := rand.New(rand.NewPCG(1, 2))
	now := time.Second
	refused := 0
	for range 20_000 {
		now += time.Duration(random.IntN(100)) * time.Millisecond
		m := &message{topic: fmt.Sprintf("a/%d/%d", random.IntN(6), random.IntN(6)), payload: make([]byte, random.IntN(8)*200)}
		if random.IntN(4) == 0 {
			m.more = &more{expires: now + time.Second}
		}
		kept := r.set(m, 0, now)
		delete(have, m.topic)
		if kept && len(m.payload) > 0 {
			have[m.topic] = m
		}
		if !kept {
			refused++
		}
		found := 0
		r.match("#", func(m *message, _ byte) {
			found++
			if have[m.topic] != m {
				t.Fatalf("%s is retained and should not be", m.topic)
			}
		})
		count, bytes := r.size()
		var want int64
		for _, m := range have {
			if !m.expiredAt(now) { // sweep may have been here
				want += m.size()
			}
		}
		if found != count || count > r.maxCount || bytes > r.maxBytes || bytes < want {
			t.Fatalf("%d of %d found, %d bytes for %d", found, count, bytes, want)
		}
	}
	if refused == 0 || refused > 15_000 {
		t.Errorf("%d refused", refused)
	}
	for name := range have {
		r.set(&message{topic: name}, 0, now)
	}
	if count, bytes := r.size(); count != 0 || bytes != 0 {
		t.Errorf("%d messages and %d bytes left of nothing", count, bytes)
	}
}

// TestRetainedBeyondTheQueue: who subscribes gets all that is retained [MQTT-3.3.1-9], also where that is more than
// may wait for a session of what is published; asking again and again for what it does not take it gets no more.
func TestRetainedBeyondTheQueue(t *testing.T) {
	const topics = 2000 // of some 300 bytes each
	s := start(t, Options{MaxSessionQueueBytes: 64 << 10, MaxRetainedBytes: 2 << 20})
	for i := range topics {
		if _, err := s.Publish(fmt.Sprintf("a/%04d", i), make([]byte, 200), 1, true); err != nil {
			t.Fatal(err)
		}
	}
	p := s.clean(t, "p")
	p.subscribe(0, "a/#")
	for seen := map[string]bool{}; len(seen) < topics; {
		m, ok := p.read().(mqtt.Publish)
		if !ok || !m.Retain || seen[m.Topic] {
			t.Fatalf("%+v after %d", m, len(seen))
		}
		seen[m.Topic] = true
	}
	p.quiet()
	if st := s.Stats(); st.Dropped["retained_full"] != 0 || st.QueuedBytes != 0 {
		t.Errorf("%+v", st)
	}
	greedy := s.clean(t, "greedy")
	got := greedy.retainedOf(slices.Repeat([]mqtt.Subscription{{Filter: "a/#"}}, 50))
	if lost := int(s.Stats().Dropped["retained_full"]); lost+got != 50*topics || got < topics || got > 5*topics {
		t.Errorf("%d of %d at once, %d lost", got, 50*topics, lost)
	}
}

// retainedOf counts what comes at once of a SUBSCRIBE.
func (p *peer) retainedOf(subs []mqtt.Subscription) (got int) {
	p.tb.Helper()
	p.subscribe(1, "end")
	p.send(mqtt.Subscribe{PacketID: 1, Subscriptions: subs}, pub(1, 1, "end", ""))
	for {
		switch m := p.read().(type) {
		case mqtt.Suback, mqtt.Puback:
		case mqtt.Publish:
			if m.Topic == "end" {
				return got
			}
			got++
		default:
			p.tb.Fatalf("%+v", m)
		}
	}
}
