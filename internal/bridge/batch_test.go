package bridge

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/record"
)

// unpacked writes what came to an upstream as lines, a batch as its messages in brackets.
func unpacked(t *testing.T, got []message) (lines []string) {
	t.Helper()
	for _, m := range got {
		if !strings.HasSuffix(m.topic, "/batch") {
			lines = append(lines, fmt.Sprintf("%s=%s q%d", m.topic, m.payload, m.qos))
			continue
		}
		b, err := record.DecodeBatch(m.payload)
		if err != nil || b.Time != 77 || m.qos != 1 {
			t.Errorf("%+v, q%d, %v", b.Header, m.qos, err)
		}
		s := m.topic + "=["
		b.All(func(topic, payload []byte) { s += fmt.Sprintf("%s=%s ", topic, payload) })
		lines = append(lines, strings.TrimSpace(s)+"]")
	}
	return lines
}

type message struct {
	topic   string
	payload []byte
	qos     byte
}

// keeper is an upstream that keeps what it gets.
func keeper(t *testing.T) (n *node, got func() []message) {
	t.Helper()
	n = newNode(t, "")
	var all []message
	n.Handle("up/#", func(m *broker.Inbound) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if m.ClientID == "C7" && m.Topic != "up/concentrator/C7/status" {
			all = append(all, message{m.Topic, slices.Clone(m.Payload), m.QoS})
		}
	})
	return n, func() []message { n.mu.Lock(); defer n.mu.Unlock(); return slices.Clone(all) }
}

func batching(t *testing.T, local *node, o Batch, upstream string) (b *Bridge, stop func()) {
	t.Helper()
	b, err := New(Options{ID: "C7", Local: local.Broker, Upstreams: []string{upstream}, Batch: o, Now: func() uint32 { return 77 },
		MinBackoff: 5 * time.Millisecond, MaxBackoff: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return b, background(t, b.Run)
}

// TestWhatIsPutTogether: readings wait for one another; what is news goes at once, behind what came before it; QoS 0 stays QoS 0.
func TestWhatIsPutTogether(t *testing.T) {
	up, got := keeper(t)
	local := newNode(t, "")
	b, _ := batching(t, local, Batch{Count: 3, Age: time.Hour}, up.url())
	eventually(t, "connected", func() bool { return b.Stats().Connected })
	say := func(topic string, payload string, qos byte) {
		t.Helper()
		if _, err := local.Publish(topic, []byte(payload), qos, false); err != nil {
			t.Fatal(err)
		}
	}
	say("up/meter/M1/reading", "1", 1)
	say("up/C9/meter/M2/reading", "2", 2)
	say("up/meter/M1/location", "at once", 0)
	say("up/meter/M1/result", "3", 1) // the third: full
	say("up/meter/M1/profile", "4", 1)
	say("up/meter/M1/p1", "5", 1)
	say("up/meter/M1/power", "6", 1)
	say("up/meter/M1/reading", "7", 1)
	say("up/concentrator/C9/status", "lost", 1)
	say("up/meter/M1/reading", "8", 1)
	say("up/meter/M2/reading", "9", 1)
	say("up/concentrator/C9/batch", string(record.Batch{Header: record.Header{Time: 77}}.Append(nil)), 1)
	say("up/meter/M1/lost", "10", 1)
	say("up/meter/M1/event", "11", 1)
	say("up/meter/M1/reading", "12", 1)
	say("up/"+strings.Repeat("C", 300)+"/meter/M1/reading", "long", 1) // no topic of the grammar
	say("up/meter/M1/reading", strings.Repeat("x", 40_000), 1)
	want := []string{
		"up/C7/meter/M1/location=at once q0",
		"up/concentrator/C7/batch=[meter/M1/reading=1 C9/meter/M2/reading=2 meter/M1/result=3]",
		"up/concentrator/C7/batch=[meter/M1/profile=4 meter/M1/p1=5]",
		"up/C7/meter/M1/power=6 q1",
		"up/C7/meter/M1/reading=7 q1", // alone: as it came
		"up/C7/concentrator/C9/status=lost q1",
		"up/concentrator/C7/batch=[meter/M1/reading=8 meter/M2/reading=9]",
		"up/C7/concentrator/C9/batch=[]",
		"up/C7/meter/M1/lost=10 q1",
		"up/C7/meter/M1/event=11 q1",
		"up/C7/meter/M1/reading=12 q1",
		"up/C7/" + strings.Repeat("C", 300) + "/meter/M1/reading=long q1",
		"up/C7/meter/M1/reading=" + strings.Repeat("x", 40_000) + " q1",
	}
	for end := time.Now().Add(30 * time.Second); len(got()) < len(want) && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if lines := unpacked(t, got()); !slices.Equal(lines, want) {
		t.Errorf("upstream got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	if s := b.Stats(); s.Batches != 3 || s.Batched != 7 || s.Up != 17 {
		t.Errorf("%+v", s)
	}
}

// TestBatchBounds: bytes close a batch, and age does.
func TestBatchBounds(t *testing.T) {
	up, got := keeper(t)
	local := newNode(t, "")
	b, stop := batching(t, local, Batch{Bytes: 256, Age: 50 * time.Millisecond}, up.url())
	eventually(t, "connected", func() bool { return b.Stats().Connected })
	const messages = 500
	for i := range messages {
		if _, err := local.Publish("up/meter/M1/reading", fmt.Appendf(nil, "%032d", i), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	count := func() (n int) {
		for _, m := range got() {
			if len(m.payload) > 256 {
				t.Fatalf("%d bytes", len(m.payload))
			}
			if d, err := record.DecodeBatch(m.payload); err == nil {
				n += int(d.Count)
			} else {
				n++
			}
		}
		return n
	}
	eventually(t, "all, the last for its age", func() bool { return count() == messages })
	if n := len(got()); n < 125 || n > 250 { // (256-12)/(1+16+2+32) = 4, but where the machine has let some become old
		t.Errorf("%d batches", n)
	}
	if _, err := local.Publish("up/meter/M1/reading", []byte("last"), 1, false); err != nil {
		t.Fatal(err)
	}
	stop() // what waits goes up before the bridge ends
	if count() != messages+1 || b.Stats().Queued != 0 {
		t.Errorf("%d messages, %+v", count(), b.Stats())
	}
}

// TestBatchWhileTheUpstreamIsAway: what waits is bounded, what is acknowledged is not lost, order stays.
func TestBatchWhileTheUpstreamIsAway(t *testing.T) {
	local, addr := newNode(t, ""), freeAddr(t)
	const meters, each, bound = 5, 2000, 20 << 10
	b, err := New(Options{ID: "C7", Local: local.Broker, Upstreams: []string{"mqtt://" + addr}, QueueBytes: bound, Batch: Batch{Count: 50, Bytes: 2048},
		MinBackoff: 5 * time.Millisecond, MaxBackoff: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	background(t, b.Run)
	done := make(chan struct{})
	for i := range meters {
		c, _ := newClient(t, client.Options{URL: local.url(), ClientID: fmt.Sprintf("M%d", i), QueueBytes: 4096})
		go func() {
			for n := range uint32(each) {
				p := binary.BigEndian.AppendUint32(make([]byte, 0, 32), n)[:32]
				if err := c.Publish(t.Context(), client.Message{Topic: fmt.Sprintf("up/meter/M%d/reading", i), Payload: p, QoS: 1}); err != nil {
					t.Error(err)
				}
			}
			if err := c.Flush(context.Background()); err != nil {
				t.Error(err)
			}
			done <- struct{}{}
		}()
	}
	eventually(t, "the queue is full", func() bool { return b.Stats().Waiting == 1 })
	if s := b.Stats(); s.QueuedBytes > bound+2048 || s.Queued == 0 {
		t.Errorf("%+v", s)
	}
	y := newTally(t)
	up := newNode(t, addr)
	up.Handle("up/#", func(m *broker.Inbound) {
		if d, err := record.DecodeBatch(m.Payload); err == nil {
			d.All(func(topic, payload []byte) { y.reading(string(topic), binary.BigEndian.Uint32(payload)) })
		} else if strings.HasSuffix(m.Topic, "/reading") {
			y.reading(strings.TrimPrefix(m.Topic, "up/C7/"), binary.BigEndian.Uint32(m.Payload))
		}
	})
	for range meters {
		<-done
	}
	moving(t, "all arrived", y.count, func() bool { return y.count() == meters*each })
	t.Logf("%d readings in %d messages", y.count(), b.Stats().Acked)
}

// TestBatchTooLargeForTheUpstream: an upstream that takes smaller packets than the batch is large gets its messages one by one, also
// when it is age that closes the batch; what it takes in no form is counted and holds up nothing behind it.
func TestBatchTooLargeForTheUpstream(t *testing.T) {
	up, err := broker.New(broker.Options{MaxPacketSize: 1000})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 100)
	up.Handle("up/C7/#", func(m *broker.Inbound) { got <- fmt.Sprintf("%s %d", m.Topic, len(m.Payload)) })
	local := newNode(t, "")
	b, err := New(Options{ID: "C7", Local: local.Broker, Upstreams: []string{serveNode(t, up)}, Version: mqtt.V5,
		Batch: Batch{Age: 50 * time.Millisecond}, MinBackoff: 5 * time.Millisecond, MaxBackoff: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	background(t, b.Run)
	eventually(t, "connected", func() bool { return b.Stats().Connected })
	say := func(event string, size int) {
		t.Helper()
		if _, err := local.Publish("up/meter/M1/"+event, make([]byte, size), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	want := func(event string, size int) {
		t.Helper()
		select {
		case line := <-got:
			if line != fmt.Sprintf("up/C7/meter/M1/%s %d", event, size) {
				t.Errorf("%s, want %s %d", line, event, size)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s of %d bytes did not go up: %+v", event, size, b.Stats())
		}
	}
	for i := range 5 {
		say("reading", 300+i)
	}
	for i := range 5 {
		want("reading", 300+i)
	}
	say("reading", 2000) // alone in its batch
	say("power", 10)
	want("power", 10)
	say("reading", 2001)
	say("reading", 11)
	want("reading", 11)
	if s := b.Stats(); s.Dropped["too_large"] != 2 || s.Batches != 0 || s.Up != 9 {
		t.Errorf("%+v", s)
	}
}

// TestBatchThatGoesInPart: what of a batch went one by one before the queue was full does not go a second time.
func TestBatchThatGoesInPart(t *testing.T) {
	var sent []string
	g := &aggregate{o: Batch{Count: 10, Bytes: 4096, Age: time.Hour}, strip: 3, alone: func(below string) string { return below },
		now: func() uint32 { return 0 }, begun: make(chan struct{}, 1)}
	room := 2
	g.send = func(_ context.Context, m client.Message) error {
		switch {
		case len(m.Payload) > 8:
			return client.ErrTooLarge
		case room == 0:
			return context.Canceled
		}
		room--
		sent = append(sent, string(m.Payload))
		return nil
	}
	for i := range 4 {
		if err := g.add(t.Context(), &broker.Inbound{Topic: fmt.Sprintf("up/meter/M%d/reading", i), Payload: []byte{byte('0' + i)}, QoS: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.end(t.Context()); err == nil || g.held.Load() != 2 || g.first != "meter/M2/reading" {
		t.Errorf("%v, %d held, first %s", err, g.held.Load(), g.first)
	}
	room = 10
	if err := g.end(t.Context()); err != nil || strings.Join(sent, "") != "0123" || g.held.Load() != 0 {
		t.Errorf("%v, sent %q", err, sent)
	}
}

func TestBatchOptionsAreChecked(t *testing.T) {
	local := newNode(t, "")
	for _, o := range []Batch{{Count: -1}, {Count: 70000}, {Bytes: 10}, {Bytes: MaxBatchBytes + 1}, {Age: -1}} {
		if _, err := New(Options{ID: "C7", Local: local.Broker, Upstreams: []string{"mqtt://h"}, Batch: o}); err == nil || !strings.Contains(err.Error(), "want") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := New(Options{ID: "C7", Local: local.Broker, Upstreams: []string{"mqtt://h"}, Batch: Batch{Count: 1}, MaxPacketSize: 1000}); err == nil {
		t.Error("a batch larger than a packet accepted")
	}
}
