package broker

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

func openLocal(t testing.TB, b *Broker, o LocalOptions) *Local {
	t.Helper()
	l, _, err := b.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func take(l *Local) (s string) {
	for {
		d, ok := l.Next()
		if !ok {
			return strings.TrimSpace(s)
		}
		s += fmt.Sprintf(" %s:%d", d.Payload, d.QoS)
		if d.Dup {
			s += "d"
		}
		if d.Retain {
			s += "r"
		}
	}
}

func send(t testing.TB, b *Broker, topic, payload string, qos byte) int {
	t.Helper()
	n, err := b.Publish(topic, []byte(payload), qos, false)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestLocalDelivery: one message of QoS 1 or 2 at a time, in order, Ready once; what was not acknowledged comes again with the
// same packet identifier.
func TestLocalDelivery(t *testing.T) {
	b, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	ready := 0
	l := openLocal(t, b, LocalOptions{ClientID: "M1", Ready: func() { ready++ }})
	if _, err := b.Publish("r", []byte("kept"), 1, true); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"a", "r"} {
		if err := l.Subscribe(f, 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	if d, ok := l.Next(); !ok || !d.Retain || string(d.Payload) != "kept" || d.PacketID == 0 {
		t.Fatalf("%+v, %v", d, ok)
	} else {
		l.Done(d.PacketID)
	}
	if s := take(l); s != "" || ready != 0 {
		t.Fatalf("%q, ready %d times", s, ready)
	}
	for i, qos := range []byte{1, 0, 1, 2} {
		send(t, b, "a", fmt.Sprint(i), qos)
	}
	if ready != 1 {
		t.Fatalf("ready %d times", ready)
	}
	d, ok := l.Next()
	if s := take(l); !ok || string(d.Payload) != "0" || s != "" || l.Waiting() != 4 {
		t.Fatalf("%s then %q, %d waiting", d.Payload, s, l.Waiting())
	}
	l.Shutdown()
	if _, ok := l.Next(); ok {
		t.Fatal("a message after the end")
	}
	if err := l.Publish(&LocalMessage{Topic: "x"}, nil); !errors.Is(err, ErrEnded) {
		t.Fatal(err)
	}
	l, present, err := b.Open(LocalOptions{ClientID: "M1"})
	if err != nil || !present {
		t.Fatal(present, err)
	}
	again, ok := l.Next()
	if !ok || !again.Dup || again.PacketID != d.PacketID || string(again.Payload) != "0" {
		t.Fatalf("%+v", again)
	}
	l.Done(again.PacketID)
	l.Done(again.PacketID)        // nothing
	if s := take(l); s != "2:1" { // QoS 0 does not outlive a Local
		t.Fatal(s)
	}
	if s := b.Stats(); s.Sessions != 1 || s.Subscriptions != 2 {
		t.Fatalf("%+v", s)
	}
}

func TestLocalQoS2(t *testing.T) {
	b, _ := New(Options{})
	l := openLocal(t, b, LocalOptions{ClientID: "M1"})
	if err := l.Subscribe("a", 2, nil); err != nil {
		t.Fatal(err)
	}
	send(t, b, "a", "x", 2)
	d, _ := l.Next()
	l.Received(d.PacketID, nil)
	l.Shutdown()
	l = openLocal(t, b, LocalOptions{ClientID: "M1"})
	if d, ok := l.Next(); !ok || !d.Released || d.QoS != 2 {
		t.Fatalf("%+v", d)
	}
	l.Done(d.PacketID)
	// From the client: not published again before the release.
	got := 0
	b.Handle("up", func(*Inbound) { got++ })
	acked := 0
	m := LocalMessage{Topic: "up", QoS: 2, PacketID: 7}
	for range 3 {
		if err := l.Publish(&m, func() { acked++ }); err != nil {
			t.Fatal(err)
		}
	}
	if got != 1 || acked != 3 {
		t.Fatalf("published %d times, acknowledged %d times", got, acked)
	}
	l.Release(7, nil)
	if err := l.Publish(&m, nil); err != nil || got != 2 {
		t.Fatal(got, err)
	}
}

func TestLocalDefer(t *testing.T) {
	b, _ := New(Options{})
	l := openLocal(t, b, LocalOptions{ClientID: "M1"})
	var acks []Ack
	for range 2 {
		b.Handle("up", func(m *Inbound) {
			if m.ClientID != "M1" {
				t.Error(m.ClientID)
			}
			acks = append(acks, m.Defer())
		})
	}
	done := 0
	if err := l.Publish(&LocalMessage{Topic: "up", QoS: 1}, func() { done++ }); err != nil {
		t.Fatal(err)
	}
	Acknowledge(acks[:1])
	if done != 0 {
		t.Fatal("acknowledged before the last handler")
	}
	Acknowledge(acks[1:])
	if done != 1 {
		t.Fatal("not acknowledged")
	}
}

// TestLocalBounds: the oldest message of QoS 0 makes room, then the newest is dropped.
func TestLocalBounds(t *testing.T) {
	b, _ := New(Options{})
	size := (&message{topic: "a", payload: []byte("0")}).size()
	l := openLocal(t, b, LocalOptions{ClientID: "M1", MaxBytes: 4 * size})
	if err := l.Subscribe("a", 1, nil); err != nil {
		t.Fatal(err)
	}
	for i, qos := range []byte{0, 1, 0, 1, 1, 1, 1, 0} {
		send(t, b, "a", fmt.Sprint(i), qos)
	}
	var got string
	for {
		d, ok := l.Next()
		if !ok {
			break
		}
		got += string(d.Payload)
		l.Done(d.PacketID)
	}
	s := b.Stats()
	if got != "1345" || s.Dropped["qos0_full"] != 2 || s.Dropped["offline_session_full"] != 2 || s.QueuedBytes != 0 || s.OfflineBytes != 0 {
		t.Fatalf("%q, %+v", got, s)
	}
}

func TestLocalTakeover(t *testing.T) {
	s := start(t, Options{})
	wills := make(chan string, 9)
	s.Handle("will/#", func(m *Inbound) { wills <- m.Topic + " of " + m.ClientID })
	ended := make(chan struct{}, 9)
	o := LocalOptions{ClientID: "M1", Ended: func() { ended <- struct{}{} }}
	l := openLocal(t, s.Broker, o)
	if err := l.SetWill(&mqtt.Will{Topic: "will/1"}); err != nil {
		t.Fatal(err)
	}
	if err := l.Subscribe("a", 1, nil); err != nil {
		t.Fatal(err)
	}
	// Local by Local.
	l = openLocal(t, s.Broker, o)
	<-ended
	if w := <-wills; w != "will/1 of M1" {
		t.Fatal(w)
	}
	if err := l.SetWill(&mqtt.Will{Topic: "will/2"}); err != nil {
		t.Fatal(err)
	}
	// Local by connection, which finds the session.
	if _, present := s.connect(t, mqtt.Connect{ClientID: "M1"}); !present {
		t.Fatal("the session is gone")
	}
	<-ended
	if w := <-wills; w != "will/2 of M1" {
		t.Fatal(w)
	}
	// Connection by Local.
	l, present, err := s.Open(o)
	if err != nil || !present {
		t.Fatal(present, err)
	}
	send(t, s.Broker, "a", "x", 1)
	if got := take(l); got != "x:1" {
		t.Fatal(got)
	}
	l.Close(false)
	select {
	case w := <-wills:
		t.Fatal(w)
	case <-ended:
		t.Fatal("ended twice")
	case <-time.After(10 * time.Millisecond):
	}
	if _, _, err := s.Open(LocalOptions{ClientID: "M1", User: "other"}); !errors.Is(err, ErrDenied) {
		t.Fatal(err)
	}
}

type onlyUp struct{}

func (onlyUp) Publish(topic string) bool    { return topic == "up" }
func (onlyUp) Subscribe(filter string) bool { return filter == "dn" }

func TestLocalAccess(t *testing.T) {
	b, _ := New(Options{MaxSubscriptions: 1})
	l := openLocal(t, b, LocalOptions{ClientID: "M1", Access: onlyUp{}})
	for name, err := range map[string]error{
		"publish":   l.Publish(&LocalMessage{Topic: "x"}, nil),
		"subscribe": l.Subscribe("x", 0, nil),
		"will":      l.SetWill(&mqtt.Will{Topic: "x"}),
		"filter":    l.Subscribe("dn/#/x", 0, nil),
		"name":      l.Publish(&LocalMessage{Topic: "x/#"}, nil),
		"qos":       l.Publish(&LocalMessage{Topic: "up", QoS: 3}, nil),
	} {
		if err == nil {
			t.Errorf("%s: allowed", name)
		}
	}
	if err := l.Subscribe("dn", 0, nil); err != nil {
		t.Fatal(err)
	}
	l.Unsubscribe("dn", nil)
	l.Unsubscribe("dn", nil)
	if n := b.Stats().Subscriptions; n != 0 {
		t.Fatal(n)
	}
	clean := openLocal(t, b, LocalOptions{ClientID: "M2", Clean: true})
	clean.Close(true)
	if n := b.Stats().Sessions; n != 1 {
		t.Fatal(n)
	}
	if _, _, err := b.Open(LocalOptions{}); err == nil {
		t.Fatal("a session without a client id")
	}
}

// TestLocalBackPressure: Publish waits where a connected session has too much to take, and ends with the broker.
func TestLocalBackPressure(t *testing.T) {
	s := start(t, Options{MaxSessionQueueBytes: 4096, StallTimeout: time.Hour})
	p := s.clean(t, "slow") // acknowledges nothing
	p.send(mqtt.Subscribe{PacketID: 1, Subscriptions: []mqtt.Subscription{{Filter: "up", QoS: 1}}})
	p.read()
	l := openLocal(t, s.Broker, LocalOptions{ClientID: "M1"})
	published, end := make(chan int, 1000), make(chan struct{})
	go func() {
		defer close(end)
		for n := range 30 {
			if err := l.Publish(&LocalMessage{Topic: "up", Payload: make([]byte, 1000), QoS: 1}, nil); err != nil {
				return
			}
			published <- n
		}
	}()
	for range overshoot * 3 {
		<-published
	}
	select {
	case <-end:
		t.Fatal("30 times the bound were published")
	case <-time.After(50 * time.Millisecond):
	}
	s.stop()
	<-end
}

// BenchmarkLocalMemory says what a session without a connection takes, with the three subscriptions of a meter.
func BenchmarkLocalMemory(b *testing.B) {
	const n = 10_000
	for b.Loop() {
		br, _ := New(Options{})
		before := heapBytes()
		for i := range n {
			id := fmt.Sprintf("M%07d", i)
			l := openLocal(b, br, LocalOptions{ClientID: id})
			for _, f := range []string{"dn/meter/" + id + "/#", "dn/all/meter/#"} {
				if err := l.Subscribe(f, 1, nil); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(heapBytes()-before)/n, "B/session")
		runtime.KeepAlive(br)
	}
}

func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestLocalKeep(t *testing.T) {
	b, _ := New(Options{})
	l := openLocal(t, b, LocalOptions{ClientID: "M1", Clean: true})
	l.Keep(false)
	l.Close(false)
	l, present, err := b.Open(LocalOptions{ClientID: "M1"})
	if err != nil || !present {
		t.Fatal(present, err)
	}
	l.Keep(true)
	l.Close(false)
	if n := b.Stats().Sessions; n != 0 {
		t.Fatal(n)
	}
}
