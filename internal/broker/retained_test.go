package broker

import (
	"fmt"
	"math/rand/v2"
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
