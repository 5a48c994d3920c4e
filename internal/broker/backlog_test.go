package broker

import (
	"fmt"
	"testing"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// TestBacklog: what the process publishes to many reaches each of them in order, also
// those that came and left meanwhile, and what was published before the end is written.
func TestBacklog(t *testing.T) {
	s := start(t, Options{})
	const clients, messages = 20, 500
	peers := make([]*peer, clients)
	for i := range peers {
		peers[i] = s.clean(t, fmt.Sprint("M", i))
		peers[i].subscribe(0, "dn/#") // they acknowledge nothing
	}
	for i := range messages {
		if n, err := s.Publish("dn/a", fmt.Append(nil, i), 1, false); err != nil || n < clients {
			t.Fatalf("message %d: %d take it, %v", i, n, err)
		}
		if i%100 == 50 { // one that leaves while it is written to
			p := s.clean(t, "short")
			p.subscribe(0, "dn/#")
			_ = p.nc.Close()
		}
	}
	s.stop()
	for i, p := range peers {
		for n := range messages {
			if m, ok := p.read().(mqtt.Publish); !ok || string(m.Payload) != fmt.Sprint(n) {
				t.Fatalf("client %d got %+v as message %d", i, m, n)
			}
		}
	}
}

// TestBacklogAfterEnd: nothing is put into it once the broker ends, and few are written to
// at once.
func TestBacklogAfterEnd(t *testing.T) {
	s := start(t, Options{})
	var l backlog
	if dirty := make([]*conn, backlogFew); l.take(s.Broker, dirty) {
		t.Error("few were not left to who publishes")
	}
	l.end()
	if l.take(s.Broker, make([]*conn, 100)) {
		t.Error("taken after the end")
	}
}
