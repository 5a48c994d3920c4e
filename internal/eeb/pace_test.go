package eeb

import (
	"fmt"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/record"
)

func reg(path, id string, seq uint32) registration { return registration{path, "meter", id, seq} }

func TestPacer(t *testing.T) {
	var sent []registration
	p := newPacer(10, 5, 100, func(r registration) { sent = append(sent, r) })
	now := time.Unix(1000, 0)
	count := func(want int, what string) {
		t.Helper()
		if len(sent) != want {
			t.Fatalf("%s: %d acknowledged, want %d", what, len(sent), want)
		}
	}
	// 60 devices register at once below a new concentrator: 5 are answered, the rest waits.
	for i := range 60 {
		p.acknowledge([]registration{reg("C1", fmt.Sprintf("M%d", i), 1)}, now)
	}
	count(5, "the burst")
	if !p.waits("meter", "M5", "C1", 1) || p.waits("meter", "M4", "C1", 1) || p.waits("meter", "M5", "C1", 2) || p.waits("meter", "M5", "C2", 1) {
		t.Error("who waits")
	}
	// Another concentrator has its own budget.
	p.acknowledge([]registration{reg("C2", "M99", 7)}, now)
	count(6, "another concentrator")
	// A repeat takes no second place; a newer registration takes the place of the one that waits.
	p.acknowledge([]registration{reg("C1", "M5", 1), reg("C1", "M6", 3)}, now)
	if n, full := p.counts(); n != 55 || full != 0 {
		t.Errorf("%d wait, %d had no room", n, full)
	}
	out, next := p.due(now)
	if len(out) != 0 || next <= 0 || next > 100*time.Millisecond {
		t.Errorf("%d due, next in %v", len(out), next)
	}
	// A second brings ten, in their order, but never more than the burst at once.
	total := 0
	for i := range 60 {
		now = now.Add(100 * time.Millisecond)
		out, next = p.due(now)
		for _, r := range out {
			if want := fmt.Sprintf("M%d", 5+total); r.id != want || r.id == "M6" && r.seq != 3 {
				t.Fatalf("%+v in place of %s", r, want)
			}
			total++
		}
		if len(out) > 2 {
			t.Fatalf("%d at once", len(out))
		}
		if i == 9 && (total < 9 || total > 11) {
			t.Errorf("%d in the first second", total)
		}
	}
	if n, _ := p.counts(); total != 55 || n != 0 || next != 0 {
		t.Errorf("%d came, %d wait, next %v", total, n, next)
	}
	if p.due(now.Add(time.Minute)); len(p.queues) != 0 {
		t.Errorf("%d concentrators remembered", len(p.queues))
	}
	// At the bound nothing more waits, and it is counted.
	for i := range 200 {
		p.acknowledge([]registration{reg("C3", fmt.Sprintf("M%d", i), 1)}, now)
	}
	if n, full := p.counts(); n != 100 || full != 95 {
		t.Errorf("%d wait, %d had no room", n, full)
	}
}

// A concentrator is replaced, and all its devices register at once, and repeat until they are answered: each is answered in its
// turn, and what they repeat meanwhile goes no further.
func TestRegistrationStorm(t *testing.T) {
	const n = 60
	r := newRig(t, func(o *Options) { o.AckRate, o.AckBurst = 50, 5 }, nil)
	r.read()
	c := r.connect("C", "dn/#")
	for range 3 {
		for i := range n {
			c.send(fmt.Sprintf("up/C9/meter/M%d/location", i), location(4))
		}
		c.flush() // nothing that comes down meanwhile fills the peer's 100 messages: 5 at once and 50 a second, each once
	}
	c.put("up/C8/meter/E1/location", location(2))
	acked := map[string]bool{}
	for len(acked) < n+1 {
		m := c.next()
		a, err := record.DecodeLocationAck(m.Payload)
		if err != nil || a.Sequence != 4 && a.Sequence != 2 {
			t.Fatal(m.Topic, a, err)
		}
		acked[m.Topic] = true
	}
	if !acked["dn/C8/meter/E1/location-ack"] {
		t.Errorf("acknowledged: %v", acked)
	}
	if w := r.metric("wattbus_uplink_ignored_total", "waiting_location"); w == 0 {
		t.Error("no repeat was held back")
	}
	for i := range n {
		r.wantPath("meter", fmt.Sprintf("M%d", i), "C9")
	}
}
