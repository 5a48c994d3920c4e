package bridge

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/client"
)

// tally remembers, over any number of upstreams, which reading of each meter comes next, and the words of the concentrator.
type tally struct {
	tb           testing.TB
	mu           sync.Mutex
	next         map[string]uint32
	total, again int
	words        []string
}

func newTally(tb testing.TB) *tally { return &tally{tb: tb, next: map[string]uint32{}} }

// reading takes number n of a meter.
func (y *tally) reading(meter string, n uint32) {
	y.mu.Lock()
	defer y.mu.Unlock()
	switch want := y.next[meter]; {
	case n == want:
		y.next[meter]++
		y.total++
	case n < want:
		y.again++
	default:
		y.tb.Errorf("%s: reading %d before %d", meter, n, want)
	}
}

func (y *tally) count() int { y.mu.Lock(); defer y.mu.Unlock(); return y.total }

func (y *tally) status() []string { y.mu.Lock(); defer y.mu.Unlock(); return slices.Clone(y.words) }

// upstream starts a broker at addr whose readings and words, with its name before them, count in y.
func (y *tally) upstream(name, addr string) (url string, stop func()) {
	y.tb.Helper()
	b, err := broker.New(broker.Options{})
	if err != nil {
		y.tb.Fatal(err)
	}
	b.Handle("up/C7/meter/+/reading", func(m *broker.Inbound) { y.reading(m.Topic, binary.BigEndian.Uint32(m.Payload)) })
	b.Handle("up/concentrator/C7/status", func(m *broker.Inbound) {
		y.mu.Lock()
		defer y.mu.Unlock()
		y.words = append(y.words, name+" "+string(m.Payload))
	})
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		y.tb.Fatal(err)
	}
	return "mqtt://" + ln.Addr().String(), background(y.tb, func(ctx context.Context) error { return b.Run(ctx, ln) })
}

// send publishes readings from number from on, of several meters, until the given function says that it is enough, and returns
// how many of each were published when the bridge's side has acknowledged all.
func send(t *testing.T, local *node, meters int, enough func() bool) (sent int) {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for i := range meters {
		c, _ := newClient(t, client.Options{URL: local.url(), ClientID: fmt.Sprintf("M%d", i), QueueBytes: 64 << 10})
		wg.Go(func() {
			n := uint32(0)
			for ; !enough(); n++ {
				p := binary.BigEndian.AppendUint32(make([]byte, 0, 32), n)[:32]
				if err := c.Publish(t.Context(), client.Message{Topic: fmt.Sprintf("up/meter/M%d/reading", i), Payload: p, QoS: 1}); err != nil {
					t.Error(err)
					return
				}
			}
			if err := c.Flush(t.Context()); err != nil {
				t.Error(err)
			}
			mu.Lock()
			sent += int(n)
			mu.Unlock()
		})
	}
	wg.Wait()
	return sent
}

// TestPreferredUpstreamReturnsUnderLoad: the preferred upstream comes, goes and comes again while readings flow. None is lost, none
// overtakes another, and each upstream hears online when the concentrator comes and offline when it leaves.
func TestPreferredUpstreamReturnsUnderLoad(t *testing.T) {
	y, local, addr := newTally(t), newNode(t, ""), freeAddr(t)
	second, _ := y.upstream("second", "")
	b, err := New(Options{ID: "C7", Local: local.Broker, Upstreams: []string{"mqtt://" + addr, second}, QueueBytes: 1 << 20,
		MinBackoff: 2 * time.Millisecond, MaxBackoff: 10 * time.Millisecond, FailBack: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	background(t, b.Run)
	over := make(chan struct{})
	go func() {
		defer close(over)
		on := func(url string, more int) {
			from := y.count()
			eventually(t, "readings flow to "+url, func() bool { return b.Stats().Upstream == url && y.count() > from+more })
		}
		on(second, 2000)
		first, stop := y.upstream("first", addr)
		on(first, 2000)
		stop() // the broker ends, and with it the connection
		on(second, 2000)
		y.upstream("first", addr)
		on(first, 2000)
	}()
	sent := send(t, local, 10, func() bool {
		select {
		case <-over:
			return true
		default:
			return false
		}
	})
	moving(t, "all arrived", y.count, func() bool { return y.count() == sent && b.Stats().Queued == 0 })
	// Which of two upstreams hears its word first is between them; each for itself hears them in order.
	words := map[string]string{}
	for _, w := range y.status() {
		name, word, _ := strings.Cut(w, " ")
		words[name] += word + " "
	}
	if words["first"] != "online online " || words["second"] != "online offline online offline " {
		t.Errorf("status %q", y.status())
	}
	t.Logf("%d readings, %d of them twice", sent, y.again)
}
