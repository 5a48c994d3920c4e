package bridge

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/client"
)

// line is a link that can be cut.
type line struct {
	mu    sync.Mutex
	to    string
	down  bool
	conns []net.Conn
}

func (l *line) dial(ctx context.Context) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, fmt.Errorf("the line is cut")
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", l.to)
	if err == nil {
		l.conns = append(l.conns, c)
	}
	return c, err
}

func (l *line) set(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
	if down {
		for _, c := range l.conns {
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}
		l.conns = nil
	}
}

// TestCutUnderLoad cuts the link while many meters send as fast as they can: all of it arrives, the first arrivals of each meter
// in order, and the queue stays within its bound.
func TestCutUnderLoad(t *testing.T) {
	up, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const meters, each, bound = 20, 10_000, 2 << 20
	var mu sync.Mutex
	next := map[string]uint32{}
	var arrived, again atomic.Int64
	up.Handle("up/C7/meter/+/reading", func(m *broker.Inbound) {
		n := binary.BigEndian.Uint32(m.Payload)
		mu.Lock()
		defer mu.Unlock()
		switch want := next[m.Topic]; {
		case n == want:
			next[m.Topic]++
			arrived.Add(1)
		case n < want:
			again.Add(1)
		default:
			t.Errorf("%s: message %d before %d", m.Topic, n, want)
		}
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	background(t, func(ctx context.Context) error { return up.Run(ctx, ln) })
	local := newNode(t, "")
	l := &line{to: ln.Addr().String()}
	b, err := New(Options{ID: "C7", Local: local.Broker, Dial: l.dial, QueueBytes: bound, MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	background(t, b.Run)
	var wg sync.WaitGroup
	most := 0
	stop := make(chan struct{})
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				l.set(false)
				return
			case <-time.After(5 * time.Millisecond):
			}
			most = max(most, b.Stats().QueuedBytes)
			switch i % 10 {
			case 4:
				l.set(true)
			case 8:
				l.set(false)
			}
		}
	})
	var senders sync.WaitGroup
	for i := range meters {
		c, _ := newClient(t, client.Options{URL: local.url(), ClientID: fmt.Sprintf("M%d", i), QueueBytes: 64 << 10})
		senders.Go(func() {
			topic := fmt.Sprintf("up/meter/M%d/reading", i)
			for n := range uint32(each) {
				p := make([]byte, 32)
				binary.BigEndian.PutUint32(p, n)
				if err := c.Publish(t.Context(), client.Message{Topic: topic, Payload: p, QoS: 1}); err != nil {
					t.Error(err)
					return
				}
			}
			if err := c.Flush(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	senders.Wait()
	close(stop)
	wg.Wait()
	moving(t, "all arrived", func() int { return int(arrived.Load()) }, func() bool { return arrived.Load() == meters*each })
	if most > bound {
		t.Errorf("queue of %d bytes, bound %d", most, bound)
	}
	t.Logf("%d connections, %d duplicates, at most %d bytes queued", b.Stats().Connects, again.Load(), most)
}

// BenchmarkBridge is the way of a reading over a bridge: meters on the local broker, one link, a handler at the upstream. All of
// it shares the process; cpu-s/M is the processor time of meters, local broker, bridge and upstream for a million readings.
func BenchmarkBridge(b *testing.B) {
	up, err := broker.New(broker.Options{})
	if err != nil {
		b.Fatal(err)
	}
	var arrived atomic.Int64
	up.Handle("up/C7/meter/#", func(*broker.Inbound) { arrived.Add(1) })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	background(b, func(ctx context.Context) error { return up.Run(ctx, ln) })
	for _, meters := range []int{0, 1, 100} {
		name := fmt.Sprintf("meters=%d", meters)
		if meters == 0 {
			name = "in-process" // the bridge and its link alone
		}
		b.Run(name, func(b *testing.B) {
			local := &node{}
			if local.Broker, err = broker.New(broker.Options{}); err != nil {
				b.Fatal(err)
			}
			lln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			local.addr = lln.Addr().String()
			background(b, func(ctx context.Context) error { return local.Run(ctx, lln) })
			br, _ := newBridge(b, local, "mqtt://"+ln.Addr().String())
			clients := make([]*client.Client, meters)
			for i := range clients {
				clients[i], _ = newClient(b, client.Options{URL: local.url(), ClientID: fmt.Sprintf("M%d", i), MaxInflight: 4096})
			}
			eventually(b, "connected", func() bool {
				return br.Stats().Connected && local.Stats().Connections == meters
			})
			payload := make([]byte, 32)
			before := arrived.Load()
			b.ReportAllocs()
			b.ResetTimer()
			cpu, began := cpuTime(), time.Now()
			var wg sync.WaitGroup
			if meters == 0 {
				for range b.N {
					if _, err := local.Publish("up/meter/M1/reading", payload, 1, false); err != nil {
						b.Fatal(err)
					}
				}
			}
			for i, c := range clients {
				wg.Go(func() {
					topic := fmt.Sprintf("up/meter/M%d/reading", i)
					for n := i; n < b.N; n += meters {
						if err := c.Publish(b.Context(), client.Message{Topic: topic, Payload: payload, QoS: 1}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			for arrived.Load()-before < int64(b.N) {
				time.Sleep(100 * time.Microsecond)
			}
			b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "msg/s")
			b.ReportMetric((cpuTime()-cpu).Seconds()/float64(b.N)*1e6, "cpu-s/M")
		})
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
