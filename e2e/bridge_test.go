package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/client"
)

// TestBridgeKilled kills a broker whose bridge has messages for a Mosquitto that is away, and once more while they are on
// their way: all that was acknowledged arrives, in order. What was under way may come twice.
func TestBridgeKilled(t *testing.T) {
	mosquitto := need(t, "mosquitto")
	far, gate, near := freeAddr(t), freeAddr(t), freeAddr(t) // the bridge finds far behind gate
	_, port, _ := net.SplitHostPort(far)
	conf := filepath.Join(t.TempDir(), "mosquitto.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "listener %s 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n", port), 0o600); err != nil {
		t.Fatal(err)
	}
	launch(t, "mosquitto", mosquitto, "-c", conf)

	var mu sync.Mutex
	got, twice := map[string]int{}, 0 // by topic: the next number
	ready := make(chan struct{})
	up := sync.OnceFunc(func() { close(ready) })
	subscriber := runClient(t, client.Options{
		URL: "mqtt://" + far, ClientID: "watch", Subscriptions: []client.Subscription{{Filter: "#", QoS: 2}}, MinBackoff: 10 * time.Millisecond, MaxBackoff: 50 * time.Millisecond,
		OnMessage: func(m *client.Message) {
			mu.Lock()
			defer mu.Unlock()
			switch n, _ := strconv.Atoi(string(m.Payload)); {
			case m.Topic == "ready":
				up()
			case n < got[m.Topic]:
				twice++
			case n > got[m.Topic]:
				t.Errorf("%s: %d came when %d was due", m.Topic, n, got[m.Topic])
				fallthrough
			default:
				got[m.Topic] = n + 1
			}
		},
	})
	if err := subscriber.Publish(t.Context(), client.Message{Topic: "ready", QoS: 1}); err != nil {
		t.Fatal(err)
	}
	<-ready

	b := start(t, "broker", "broker", "--data", t.TempDir(), "--mqtt", near, "--bridge-upstream", "mqtt://"+gate, "--bridge-id", "site",
		"--bridge-topic", "# out 2 in/ site/", "--log-level", "warn")
	publisher := runClient(t, client.Options{URL: "mqtt://" + near, ClientID: "p", MinBackoff: 10 * time.Millisecond, MaxBackoff: 50 * time.Millisecond})
	sent := 0
	publish := func(n int) {
		t.Helper()
		for range n {
			for qos := byte(1); qos <= 2; qos++ {
				if err := publisher.Publish(t.Context(), client.Message{Topic: fmt.Sprint("in/", qos), Payload: []byte(strconv.Itoa(sent)), QoS: qos}); err != nil {
					t.Fatal(err)
				}
			}
			sent++
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := publisher.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	arrived := func(n int) func() string {
		return func() string {
			mu.Lock()
			defer mu.Unlock()
			if got["site/1"] < n || got["site/2"] < n {
				return fmt.Sprintf("%v of %d", got, n)
			}
			return ""
		}
	}
	publish(500)
	b.kill()
	b.restart()
	publish(500)
	if err := b.stop(); err != nil { // in order
		t.Error(err)
	}
	b.restart()
	shut := forward(t, gate, far)
	eventually(t, time.Minute, arrived(1000))
	if twice > 0 {
		t.Errorf("%d came twice, and were never on their way at a kill", twice)
	}
	shut()
	publish(2000)
	shut = forward(t, gate, far)
	eventually(t, time.Minute, arrived(1010))
	b.kill()
	b.restart()
	eventually(t, time.Minute, arrived(3000))
	shut()
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	t.Logf("%d of %d came twice", twice, 2*sent)
}

// runClient runs a client until the test ends.
func runClient(t *testing.T, o client.Options) *client.Client {
	t.Helper()
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return c
}

// forward takes connections at from on to another address until shut.
func forward(t *testing.T, from, to string) (shut func()) {
	t.Helper()
	ln, err := net.Listen("tcp", from)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var open []net.Conn
	var wg sync.WaitGroup
	closed := false
	pass := func(to, from net.Conn) {
		defer wg.Done()
		buf := make([]byte, 32<<10)
		for {
			n, err := from.Read(buf)
			if n > 0 {
				if _, err := to.Write(buf[:n]); err != nil {
					break
				}
			}
			if err != nil {
				break
			}
		}
		_, _ = to.Close(), from.Close()
	}
	wg.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			mu.Lock()
			if err != nil || closed {
				_ = in.Close()
				mu.Unlock()
				continue
			}
			open = append(open, in, out)
			wg.Add(2)
			go pass(in, out)
			go pass(out, in)
			mu.Unlock()
		}
	})
	shut = sync.OnceFunc(func() {
		mu.Lock()
		closed = true
		_ = ln.Close()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	t.Cleanup(shut)
	return shut
}
