package broker

import (
	"math/rand/v2"
	"testing"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// TestExchanges holds the packet identifiers against a map, through every kind of change.
func TestExchanges(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s, want := &session{}, map[uint16]received{}
	for range 200_000 {
		id := uint16(r.IntN(3000) * 21)
		switch state := [...]received{{acked: true}, {acked: true}, {}, {cut: true}, {waiter: Ack{seq: 7}}}; r.IntN(3) {
		case 0:
			delete(want, id)
			s.forgetReceived(id)
		default:
			want[id] = state[r.IntN(len(state))]
			s.setReceived(id, want[id])
		}
		got, known := s.received.get(id)
		if w, ok := want[id]; got != w || known != ok || s.received.len() != len(want) {
			t.Fatalf("%d: %+v, %v; %d in all, want %+v, %v; %d", id, got, known, s.received.len(), w, ok, len(want))
		}
	}
	n := 0
	s.received.all(func(id uint16, r received) {
		n++
		if want[id] != r {
			t.Errorf("%d: %+v, want %+v", id, r, want[id])
		}
	})
	if n != len(want) {
		t.Errorf("%d of %d", n, len(want))
	}
	for id := range want {
		s.forgetReceived(id)
	}
	if s.received != nil {
		t.Errorf("%+v left", s.received)
	}
}

// TestUnreleasedTakeLittle: a client that releases nothing of QoS 2 leaves a bit for each in its session, connected or not.
func TestUnreleasedTakeLittle(t *testing.T) {
	s := start(t, Options{})
	p, _ := s.connect(t, mqtt.Connect{ClientID: "hoarder"})
	for id := 1; id <= 0xffff; id += 1000 {
		var out []any
		for i := id; i < id+1000 && i <= 0xffff; i++ {
			out = append(out, pub(2, uint16(i), "a", ""))
		}
		p.send(out...)
		for range out {
			p.read()
		}
	}
	s.mu.Lock()
	hoarder := s.sessions["hoarder"]
	s.mu.Unlock()
	hoarder.mu.Lock()
	defer hoarder.mu.Unlock()
	if x := hoarder.received; x.n != 0xffff || len(x.busy) > fewExchanges || len(x.acked) > 256 {
		t.Errorf("%d, of which %d are no bits, in %d parts", x.n, len(x.busy), len(x.acked))
	}
}
