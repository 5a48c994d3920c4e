package broker

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// numbered publishes count messages at QoS 1 from a connection of its own, each
// with its number, window at a time, and returns when all are acknowledged.
func numbered(tb testing.TB, nc net.Conn, topic string, count, window, size int) error {
	acks := make([]byte, 4*window)
	for sent := 0; sent < count; {
		n := min(window, count-sent)
		var batch []byte
		for i := range n {
			p := mqtt.Publish{QoS: 1, PacketID: uint16(i + 1), Topic: topic, Payload: fmt.Appendf(nil, "%0*d", size, sent+i)}
			batch = append(batch, encode(tb, mqtt.V311, p)...)
		}
		if _, err := nc.Write(batch); err != nil {
			return err
		}
		if _, err := io.ReadFull(nc, acks[:4*n]); err != nil {
			return err
		}
		sent += n
	}
	return nil
}

// TestSlowSubscriberLosesNothing: 1,000 publishers, one subscriber that is slower
// than they are, queues that hold a fraction of it.
func TestSlowSubscriberLosesNothing(t *testing.T) {
	const publishers, each = 1000, 40
	s := start(t, Options{MaxSessionQueueBytes: 256 << 10, MaxInflight: 200})
	sub := s.clean(t, "sub")
	sub.subscribe(1, "up/#")
	var wg sync.WaitGroup
	for i := range publishers {
		nc := s.connectBench(t, fmt.Sprintf("M%d", i))
		wg.Go(func() {
			if err := numbered(t, nc, fmt.Sprintf("up/M%d", i), each, 10, 60); err != nil {
				t.Error(err)
			}
		})
	}
	var most int64
	seen := make(map[string]int, publishers)
	for got := range publishers * each {
		m, ok := sub.read().(mqtt.Publish)
		if !ok {
			t.Fatalf("after %d: %+v", got, m)
		}
		if i, err := strconv.Atoi(string(m.Payload)); err != nil || i != seen[m.Topic] {
			t.Fatalf("%s: message %q after %d", m.Topic, m.Payload, seen[m.Topic]-1)
		}
		seen[m.Topic]++
		sub.send(mqtt.Puback{PacketID: m.PacketID})
		if got%1000 == 0 {
			time.Sleep(5 * time.Millisecond)
			most = max(most, s.Stats().QueuedBytes)
		}
	}
	wg.Wait()
	sub.quiet()
	// Each publisher may bring one read more than the bound: 10 messages.
	if limit := int64(256<<10 + publishers*10*(60+7+messageOverhead)); most > limit {
		t.Errorf("%d bytes queued, at most %d", most, limit)
	}
	if d := s.Stats().Dropped; d["offline_session_full"]+d["qos0_full"]+d["session_ended"] != 0 {
		t.Errorf("dropped %v", d)
	}
}

// TestStalledSubscriber: one that takes nothing loses its connection, not its
// persistent queue; publishers go on.
func TestStalledSubscriber(t *testing.T) {
	t.Parallel()
	s := start(t, Options{MaxSessionQueueBytes: 1 << 20, StallTimeout: 300 * time.Millisecond})
	sub, _ := s.connect(t, mqtt.Connect{ClientID: "sub"})
	sub.subscribe(1, "a")
	nc := s.connectBench(t, "from")
	if err := numbered(t, nc, "a", 3000, 1, 1000); err != nil { // 3 MB
		t.Fatal(err)
	}
	st := s.Stats()
	if st.Disconnects["stalled"] != 1 || st.OfflineBytes == 0 || st.OfflineBytes > 1<<20+readBuffer || st.Dropped["offline_session_full"] == 0 {
		t.Errorf("%+v", st)
	}
	kept, _ := s.connect(t, mqtt.Connect{ClientID: "sub"})
	for i := range 500 { // the oldest are there, in order
		m := kept.read().(mqtt.Publish)
		if string(m.Payload) != fmt.Sprintf("%01000d", i) {
			t.Fatalf("message %d: %.10s…", i, m.Payload)
		}
		kept.send(mqtt.Puback{PacketID: m.PacketID})
	}
}

// TestQoS0Stalled: QoS 0 is dropped and counted rather than holding anybody up.
func TestQoS0Stalled(t *testing.T) {
	s := start(t, Options{MaxSessionQueueBytes: 100 << 10})
	sub := s.clean(t, "sub")
	sub.subscribe(0, "a")
	for range 20_000 {
		if _, err := s.Publish("a", make([]byte, 1000), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	if st := s.Stats(); st.Dropped["qos0_full"] == 0 || st.QueuedBytes > 100<<10 {
		t.Errorf("%+v", st)
	}
}

// TestTotalBound: the sum of all queues holds publishers back too, and the
// connection with the most is ended when nothing moves.
func TestTotalBound(t *testing.T) {
	t.Parallel()
	s := start(t, Options{MaxQueueBytes: 1 << 20, StallTimeout: 300 * time.Millisecond})
	for i := range 4 {
		s.clean(t, fmt.Sprintf("sub%d", i)).subscribe(1, "a")
	}
	nc := s.connectBench(t, "from")
	if err := numbered(t, nc, "a", 1000, 1, 1000); err != nil { // 4 MB in four queues
		t.Fatal(err)
	}
	if st := s.Stats(); st.QueuedBytes > 1<<20+10_000 || st.Disconnects["stalled"] == 0 {
		t.Errorf("%+v", st)
	}
}

// TestPublishToOneself: a handler that publishes to a client that takes nothing
// waits, on that client's own reader, and not for ever.
func TestPublishToOneself(t *testing.T) {
	t.Parallel()
	s := start(t, Options{MaxSessionQueueBytes: 50_000, MaxInflight: 1, StallTimeout: 200 * time.Millisecond})
	s.Handle("ask", func(*Inbound) {
		for range 100 {
			if _, err := s.Publish("answer", make([]byte, 1000), 1, false); err != nil {
				t.Error(err)
			}
		}
	})
	p := s.clean(t, "p")
	p.subscribe(1, "answer")
	p.send(pub(1, 1, "ask", ""))
	eventually(t, "the end", func() bool { st := s.Stats(); return st.Disconnects["stalled"] == 1 && st.Connections == 0 })
}

// TestFeedEachOther: two clients that publish to each other faster than they read
// do not lock each other up.
func TestFeedEachOther(t *testing.T) {
	s := start(t, Options{MaxSessionQueueBytes: 20_000, MaxInflight: 10, StallTimeout: patience})
	const count = 5000
	var got [2]atomic.Int64
	var wg sync.WaitGroup
	var peers [2]*peer
	for i := range peers {
		peers[i] = s.clean(t, fmt.Sprintf("p%d", i))
		peers[i].subscribe(1, fmt.Sprintf("to/%d", i))
	}
	for i, p := range peers {
		window := make(chan struct{}, 100)
		wg.Go(func() { // reads all the time, acknowledges at once
			for acked := 0; got[i].Load() < count || acked < count; {
				switch m := p.read().(type) {
				case mqtt.Publish:
					got[i].Add(1)
					p.send(mqtt.Puback{PacketID: m.PacketID})
				case mqtt.Puback:
					acked++
					<-window
				}
			}
		})
		wg.Go(func() { // writes as far as its window allows
			for n := range count {
				window <- struct{}{}
				p.send(pub(1, uint16(n%60_000+1), fmt.Sprintf("to/%d", 1-i), "xxxxxxxxxxxxxxxxxxxxxxxx"))
			}
		})
	}
	wg.Wait()
	if st := s.Stats(); st.Disconnects["stalled"] != 0 {
		t.Errorf("%+v", st)
	}
}

// TestUnreadAnswers: a client that does not read its acknowledgements stops being
// read, and loses its connection.
func TestUnreadAnswers(t *testing.T) {
	t.Parallel()
	s := start(t, Options{StallTimeout: 300 * time.Millisecond})
	p := s.clean(t, "p")
	ping := make([]byte, 64<<10)
	for i := 0; i < len(ping); i += 2 {
		ping[i] = byte(mqtt.PINGREQ) << 4
	}
	_ = p.nc.SetWriteDeadline(time.Now().Add(patience))
	for range 2000 { // 128 MB would be answered with as much
		if _, err := p.nc.Write(ping); err != nil {
			break
		}
	}
	eventually(t, "the end", func() bool { return s.Stats().Disconnects["stalled"] == 1 })
}

// TestDeferredWindow: a client that sends without waiting for acknowledgements is
// held back at the number of packet identifiers.
func TestDeferredWindow(t *testing.T) {
	s := start(t, Options{})
	var mu sync.Mutex
	var open []Ack
	s.Handle("a", func(m *Inbound) {
		mu.Lock()
		open = append(open, m.Defer())
		mu.Unlock()
	})
	nc := s.connectBench(t, "p")
	one := encode(t, mqtt.V311, pub(1, 1, "a", ""))
	var batch []byte
	for range 1000 {
		batch = append(batch, one...)
	}
	const total = 100
	go func() {
		for range total {
			if _, err := nc.Write(batch); err != nil {
				return
			}
		}
	}()
	waiting := func() int { mu.Lock(); defer mu.Unlock(); return len(open) }
	eventually(t, "the bound", func() bool { return waiting() >= maxOutstanding })
	time.Sleep(20 * time.Millisecond)
	if n := waiting(); n > maxOutstanding+readBuffer/len(one)+1 {
		t.Errorf("%d messages wait", n)
	}
	var got atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		n, _ := io.CopyN(io.Discard, nc, 4*1000*total)
		got.Store(n)
	}()
	for got.Load() < 4*1000*total {
		mu.Lock()
		batch := open
		open = nil
		mu.Unlock()
		Acknowledge(batch)
		select {
		case <-done:
		case <-time.After(time.Millisecond):
		}
	}
}
