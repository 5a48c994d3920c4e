package client_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/client"
)

// proxy forwards to a server and can cut what goes through it.
type proxy struct {
	ln    net.Listener
	to    string
	mu    sync.Mutex
	conns []net.Conn
	wg    sync.WaitGroup
}

func newProxy(tb testing.TB, to string) *proxy {
	p := &proxy{ln: listen(tb), to: to}
	p.wg.Go(func() {
		for {
			in, err := p.ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", p.to)
			if err != nil {
				_ = in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			for _, c := range [][2]net.Conn{{in, out}, {out, in}} {
				p.wg.Go(func() {
					_, _ = io.Copy(c[0], c[1])
					_ = c[0].Close()
					_ = c[1].Close()
				})
			}
		}
	})
	tb.Cleanup(func() { _ = p.ln.Close(); p.cut(); p.wg.Wait() })
	return p
}

func (p *proxy) url() string { return "mqtt://" + p.ln.Addr().String() }

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		if tc, ok := c.(*net.TCPConn); ok {
			_ = tc.SetLinger(0)
		}
		_ = c.Close()
	}
	p.conns = nil
}

// TestNothingIsLostWhenTheLinkIsCut cuts the connection again and again while messages flow: every one arrives, and the first
// arrivals come in order.
func TestNothingIsLostWhenTheLinkIsCut(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		t.Run(fmt.Sprintf("qos%d", qos), func(t *testing.T) {
			b, url := newBroker(t)
			const messages, cuts = 20000, 40
			next, duplicates := 0, 0
			var mu sync.Mutex
			b.Handle("t", func(m *broker.Inbound) {
				n, err := strconv.Atoi(string(m.Payload))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil || n > next:
					t.Errorf("got %s, want %d", m.Payload, next)
				case n < next:
					duplicates++
				default:
					next++
				}
			})
			p := newProxy(t, url[len("mqtt://"):])
			c := run(t, client.Options{URL: p.url(), ClientID: "M1", MinBackoff: time.Millisecond, MaxBackoff: 4 * time.Millisecond})
			var wg sync.WaitGroup
			wg.Go(func() {
				for range cuts {
					time.Sleep(10 * time.Millisecond)
					p.cut()
				}
			})
			for i := range messages {
				if err := c.Publish(t.Context(), client.Message{Topic: "t", Payload: strconv.AppendInt(nil, int64(i), 10), QoS: qos}); err != nil {
					t.Fatal(err)
				}
				if i%50 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			wg.Wait()
			if err := c.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if next != messages || qos == 2 && duplicates > 0 {
				t.Errorf("%d of %d arrived, %d twice", next, messages, duplicates)
			}
			t.Logf("%d connections, %d duplicates", c.Stats().Connects, duplicates)
		})
	}
}

// counted counts the writes on a connection; it hides that it is a socket, so the other way of reading is tested too.
type counted struct {
	net.Conn
	writes atomic.Int64
}

func (c *counted) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

func TestABurstTakesFewWrites(t *testing.T) {
	_, url := newBroker(t)
	var conn *counted
	connected := make(chan struct{})
	c := run(t, client.Options{ClientID: "M1", Clean: true, QueueBytes: 4 << 20, MaxInflight: client.MaxInflight,
		Dial: func(context.Context) (net.Conn, error) {
			tcp, err := net.Dial("tcp", url[len("mqtt://"):])
			conn = &counted{Conn: tcp}
			return conn, err
		},
		OnConnect: func(bool) { close(connected) },
	})
	<-connected
	before := conn.writes.Load()
	for range 10000 {
		if err := c.Publish(t.Context(), client.Message{Topic: "up/meter/M1/reading", Payload: make([]byte, 32), QoS: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := conn.writes.Load() - before; n > 500 {
		t.Errorf("10,000 messages took %d writes", n)
	} else {
		t.Logf("10,000 messages took %d writes", n)
	}
}
