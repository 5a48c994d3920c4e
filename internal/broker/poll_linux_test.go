package broker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// TestIdleHasNoGoroutine: connections that wait take none.
func TestIdleHasNoGoroutine(t *testing.T) {
	s := start(t, Options{})
	s.clean(t, "first")
	before := runtime.NumGoroutine()
	const n = 100
	for i := range n {
		s.clean(t, fmt.Sprintf("M%d", i)).subscribe(1, "dn/#")
	}
	eventually(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before+2 })
}

// TestBlockingHandler: a handler that blocks holds up its own connection and no
// other, however many do.
func TestBlockingHandler(t *testing.T) {
	s := start(t, Options{})
	release := make(chan struct{})
	var blocked atomic.Int32
	s.Handle("block/#", func(*Inbound) {
		blocked.Add(1)
		<-release
	})
	const n = firstWindow / 2 // those that are stuck acknowledge nothing
	stuck := make([]*peer, n)
	for i := range stuck {
		stuck[i] = s.clean(t, fmt.Sprintf("stuck%d", i))
		stuck[i].subscribe(1, "free/#")
		stuck[i].send(pub(1, 1, "block/a", "x"))
		stuck[i].send(pub(1, 2, "free/own", "x"))
	}
	eventually(t, "all handlers", func() bool { return blocked.Load() == n })
	others := make([]*peer, n)
	for i := range others {
		others[i] = s.clean(t, fmt.Sprintf("other%d", i))
		others[i].send(pub(1, 1, "free/other", "y"))
		others[i].want(mqtt.Puback{PacketID: 1})
	}
	for _, p := range stuck { // what others publish reaches them
		for range n {
			if m, ok := p.read().(mqtt.Publish); !ok || m.Topic != "free/other" {
				t.Fatalf("got %+v", m)
			}
		}
	}
	close(release)
	for _, p := range stuck { // theirs goes on in order, and none gets lost
		acks, own := 0, 0
		for acks < 2 || own < n {
			switch m := p.read().(type) {
			case mqtt.Puback:
				if acks++; int(m.PacketID) != acks {
					t.Fatalf("acknowledgement %d came as number %d", m.PacketID, acks)
				}
			case mqtt.Publish:
				own++
			default:
				t.Fatalf("got %+v", m)
			}
		}
	}
}

// TestBlockedIsTakenOver: a connection whose handler blocks can be kicked; it ends
// when the handler returns.
func TestBlockedIsTakenOver(t *testing.T) {
	s := start(t, Options{ConnectTimeout: 20 * time.Second})
	release, in := make(chan struct{}), make(chan struct{})
	s.Handle("block", func(*Inbound) {
		close(in)
		<-release
	})
	p := s.clean(t, "same")
	p.send(pub(1, 1, "block", "x"))
	<-in
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.clean(t, "same")
	}()
	other := s.clean(t, "other")
	other.send(bare(mqtt.PINGREQ))
	other.want(bare(mqtt.PINGRESP))
	close(release)
	<-done
	_ = p.nc.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, p.nc); errors.Is(err, os.ErrDeadlineExceeded) { // its acknowledgement may come first
		t.Error("not closed")
	}
}

// TestCutInTheMiddleOfWriting: connections end while much is being written to them,
// and their file descriptors go to others at once; nobody gets another's bytes.
func TestCutInTheMiddleOfWriting(t *testing.T) {
	s := start(t, Options{})
	payload := string(make([]byte, 4096))
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := s.Publish("flood", []byte(payload), 0, false); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for i := range 200 {
		p := s.clean(t, fmt.Sprintf("F%d", i%5))
		p.send(mqtt.Subscribe{PacketID: 1, Subscriptions: []mqtt.Subscription{{Filter: "flood"}}})
		_, _ = p.read(), p.read() // SUBACK and the first message, in any order
		q := s.clean(t, fmt.Sprintf("Q%d", i))
		_ = p.nc.Close()
		r := s.clean(t, fmt.Sprintf("R%d", i))
		for _, quiet := range []*peer{q, r} {
			quiet.send(bare(mqtt.PINGREQ))
			quiet.want(bare(mqtt.PINGRESP))
			_ = quiet.nc.Close()
		}
	}
	close(stop)
	<-done
}

// TestBroadcast: what one client publishes to very many reaches all, in order, and does
// not hold up what others publish meanwhile.
func TestBroadcast(t *testing.T) {
	s := start(t, Options{})
	const subscribers, messages = 5*wakesPerRound + 3, 10
	all := make([]*peer, subscribers)
	for i := range all {
		all[i] = s.clean(t, fmt.Sprintf("sub%d", i))
		all[i].subscribe(1, "all", fmt.Sprintf("one/%d", i))
	}
	from, other := s.clean(t, "from"), s.clean(t, "other")
	for i := range messages {
		from.send(pub(1, uint16(i+1), "all", fmt.Sprint(i)))
		other.send(pub(0, 0, fmt.Sprintf("one/%d", i), "x"))
	}
	for i := range messages {
		from.want(mqtt.Puback{PacketID: uint16(i + 1)})
	}
	for i, p := range all {
		want := messages
		if i < messages {
			want++
		}
		next := 0
		for range want {
			switch m := p.read().(mqtt.Publish); m.Topic {
			case "all":
				if string(m.Payload) != fmt.Sprint(next) {
					t.Fatalf("client %d has got message %s, want %d", i, m.Payload, next)
				}
				next++
				p.send(mqtt.Puback{PacketID: m.PacketID})
			case fmt.Sprintf("one/%d", i):
			default:
				t.Fatalf("client %d has got %q", i, m.Topic)
			}
		}
		if next != messages {
			t.Errorf("client %d has got %d messages, want %d", i, next, messages)
		}
	}
}
