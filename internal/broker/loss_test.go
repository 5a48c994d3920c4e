package broker

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// logLines is a log in memory.
type logLines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}
func (l *logLines) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

// TestLossIsTold: what is dropped for a client that is away is counted, and told when it begins and when the client is back,
// not for each message.
func TestLossIsTold(t *testing.T) {
	log := &logLines{}
	s := start(t, Options{MaxSessionQueueBytes: 2000, Logger: slog.New(slog.NewTextHandler(log, nil))})
	sub := persistent(t, s, "sub", false)
	sub.subscribe(1, "a")
	sub.send(bare(mqtt.DISCONNECT))
	sub.wantClosed()
	eventually(t, "the end", func() bool { return s.Stats().Connections == 0 })
	p := s.clean(t, "p")
	const n = 200
	for i := range n {
		p.send(pub(1, uint16(i+1), "a", "x"))
		p.want(mqtt.Puback{PacketID: uint16(i + 1)})
	}
	lost := s.Stats().Dropped["offline_session_full"]
	if lost == 0 || lost >= n {
		t.Fatalf("%d dropped", lost)
	}
	if log.count("messages for a client that is away are dropped") != 1 || log.count("client_id=sub messages=1 reason=offline_session_full") != 1 {
		t.Errorf("%s", log.b.String())
	}
	sub = persistent(t, s, "sub", true)
	for range n - int(lost) {
		sub.read()
	}
	if log.count(fmt.Sprintf("client is back and has missed messages\" component=broker client_id=sub messages=%d ", lost)) != 1 {
		t.Errorf("%s", log.b.String())
	}
}

// TestSharedLossIsTold: so is what no member of a shared subscription has room for.
func TestSharedLossIsTold(t *testing.T) {
	log := &logLines{}
	s := start(t, Options{MaxSessionQueueBytes: 2000, Logger: slog.New(slog.NewTextHandler(log, nil))})
	sub := persistent(t, s, "sub", false)
	sub.subscribe(1, "$share/g/a")
	sub.send(bare(mqtt.DISCONNECT))
	sub.wantClosed()
	eventually(t, "the end", func() bool { return s.Stats().Connections == 0 })
	p := s.clean(t, "p")
	for i := range 200 {
		p.send(pub(1, uint16(i+1), "a", "x"))
		p.want(mqtt.Puback{PacketID: uint16(i + 1)})
	}
	if s.Stats().Dropped["offline_session_full"] == 0 {
		t.Fatal("nothing was dropped")
	}
	if log.count("no member has room for them") != 1 || log.count("filter=$share/g/a messages=1") != 1 {
		t.Errorf("%s", log.b.String())
	}
}

// TestLossLines: many sessions do not fill the log.
func TestLossLines(t *testing.T) {
	var l lossLines
	n := 0
	for range 1000 {
		if l.take(lossEvery) {
			n++
		}
	}
	if n != lossMost || !l.take(2*lossEvery) {
		t.Errorf("%d lines", n)
	}
}
