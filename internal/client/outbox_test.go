package client

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// wire decodes what gather gave.
func wire(t *testing.T, out [][]byte) (got []mqtt.Publish) {
	t.Helper()
	b := bytes.Join(out, nil)
	for len(b) > 0 {
		h, n, err := mqtt.ParseFixedHeader(b)
		if err != nil || n == 0 || len(b) < n+h.Length {
			t.Fatalf("cut packet: %x", b)
		}
		p, err := mqtt.DecodePublish(mqtt.V311, h.Flags, b[n:n+h.Length])
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p)
		b = b[n+h.Length:]
	}
	return got
}

func put(t *testing.T, o *outbox, topic, payload string, qos byte) {
	t.Helper()
	m := Message{Topic: topic, Payload: []byte(payload), QoS: qos}
	if err := o.append(mqtt.V311, &m, mqtt.PublishSize(mqtt.V311, qos, len(topic), len(payload))); err != nil {
		t.Fatal(err)
	}
}

func TestOutboxSendsAgainInOrder(t *testing.T) {
	o := &outbox{busy: notBusy}
	for i := range 5 {
		put(t, o, "a", fmt.Sprint(i), 1)
	}
	put(t, o, "a", "q0", 0)
	first := wire(t, o.gather(nil, 3, 1<<20))
	if len(first) != 3 || first[0].Dup || first[0].PacketID != 1 || first[2].PacketID != 3 {
		t.Fatalf("window of 3 sent %+v", first)
	}
	s, ok := o.lookup(2)
	if !ok || s != 1 {
		t.Fatal(s, ok)
	}
	o.finish(s)
	if _, ok := o.lookup(4); ok {
		t.Error("found a message that was never sent")
	}
	o.dropUnsent()
	if o.dropped != 1 {
		t.Errorf("%d messages of QoS 0 dropped", o.dropped)
	}
	o.rewind(true)
	again := wire(t, o.gather(nil, 100, 1<<20))
	var seen string
	for _, p := range again {
		seen += fmt.Sprintf("%s:%d:%v ", p.Payload, p.PacketID, p.Dup)
	}
	if want := "0:1:true 2:3:true 3:4:false 4:5:false "; seen != want {
		t.Errorf("sent again %q, want %q", seen, want)
	}
}

func TestOutboxReleasedMessages(t *testing.T) {
	o := &outbox{busy: notBusy}
	put(t, o, "a", "x", 2)
	put(t, o, "a", "y", 2)
	o.gather(nil, 100, 1<<20)
	o.at(0).state = released
	o.rewind(true)
	if got := wire(t, o.gather(nil, 100, 1<<20)); len(got) != 1 || string(got[0].Payload) != "y" {
		t.Errorf("a kept session got %+v", got)
	}
	o.rewind(false)
	if got := wire(t, o.gather(nil, 100, 1<<20)); len(got) != 2 || !got[0].Dup {
		t.Errorf("a new session got %+v", got)
	}
}

// TestOutboxAtAStranger: PUBREL goes before the first message of QoS 2 with each packet identifier that a server may hold from
// somebody else, and not before one that it has got from here.
func TestOutboxAtAStranger(t *testing.T) {
	o := &outbox{busy: notBusy}
	put(t, o, "a", "0", 2)
	o.gather(nil, 100, 1<<20) // at another server
	o.rewind(false)
	o.stranger(false)
	put(t, o, "a", "1", 1)
	put(t, o, "a", "2", 2)
	types := func() (s string) {
		b := bytes.Join(o.gather(nil, 100, 1<<20), nil)
		for len(b) > 0 {
			h, n, err := mqtt.ParseFixedHeader(b)
			if err != nil || n == 0 {
				t.Fatal(err)
			}
			s += h.Type.String() + " "
			b = b[n+h.Length:]
		}
		return s
	}
	if got, want := types(), "PUBREL PUBLISH PUBLISH PUBREL PUBLISH "; got != want {
		t.Errorf("first %s, want %s", got, want)
	}
	o.rewind(false)
	o.stranger(true)
	put(t, o, "a", "3", 2)
	if got, want := types(), "PUBLISH PUBLISH PUBLISH PUBREL PUBLISH "; got != want {
		t.Errorf("again %s, want %s", got, want)
	}
}

// TestOutboxGone: each message says once, in order, that it has left the queue, however it did.
func TestOutboxGone(t *testing.T) {
	o := &outbox{busy: notBusy}
	var gone []int
	add := func(i int, qos byte, payload string) {
		m := Message{Topic: "a", Payload: []byte(payload), QoS: qos, Gone: func() { gone = append(gone, i) }}
		if err := o.append(mqtt.V5, &m, mqtt.PublishSize(mqtt.V5, qos, 1, len(payload))); err != nil {
			t.Fatal(err)
		}
	}
	add(0, 1, "acknowledged")
	add(1, 0, "sent")
	add(2, 1, "too large for the server")
	add(3, 2, "waits")
	add(4, 0, "unsent")
	o.limits.packet = 20
	o.gather(nil, 3, 1<<20)
	o.finish(0)
	if !slices.Equal(gone, []int{0, 1, 2}) {
		t.Errorf("gone: %v", gone)
	}
	o.dropUnsent()
	o.limits.packet = 0
	o.gather(nil, 3, 1<<20)
	o.finish(3)
	if !slices.Equal(gone, []int{0, 1, 2, 3, 4}) || o.gone != nil {
		t.Errorf("gone: %v, %v", gone, o.gone)
	}
}

func TestOutboxRefusesWithoutTrace(t *testing.T) {
	o := &outbox{busy: notBusy}
	put(t, o, "a", "x", 1)
	before := *o
	m := Message{Topic: "a/#", QoS: 1}
	if o.append(mqtt.V311, &m, mqtt.PublishSize(mqtt.V311, 1, 3, 0)) == nil {
		t.Error("accepted a wildcard in a topic")
	}
	if o.tail != before.tail || o.bytes != before.bytes || len(o.segs) != len(before.segs) {
		t.Error("a refused message left a trace")
	}
	if got := wire(t, o.gather(nil, 10, 1<<20)); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}

// TestOutboxAgainstModel does what a client does in random order, over more messages than there are packet identifiers, and
// holds the outbox to a plain list.
func TestOutboxAgainstModel(t *testing.T) {
	type msg struct {
		payload string
		qos     byte
		sent    bool // on any connection
		done    bool
	}
	r := rand.New(rand.NewPCG(1, 2))
	o := &outbox{busy: notBusy}
	var model []msg
	head, next, made := 0, 0, 0
	trim := func() {
		for head < len(model) && model[head].done {
			head++
		}
		next = max(next, head)
	}
	big := bytes.Repeat([]byte("z"), 70<<10)
	for step := 0; made < MaxInflight*3/2; step++ {
		switch k := r.IntN(100); {
		case k < 60:
			for range 1 + r.IntN(300) {
				p := fmt.Sprint(made)
				if r.IntN(5000) == 0 {
					p += string(big)
				}
				qos := byte(r.IntN(2))
				put(t, o, "t/x", p, qos)
				model = append(model, msg{payload: p, qos: qos})
				made++
			}
		case k < 80:
			window := 1 + r.IntN(2000)
			got := wire(t, o.gather(nil, uint64(window), r.IntN(1<<17)))
			o.busy = notBusy
			oldHead := head
			for _, p := range got {
				for model[next].done {
					next++
				}
				m := &model[next]
				if string(p.Payload) != m.payload || p.Dup != (m.sent && m.qos > 0) || p.QoS != m.qos {
					t.Fatalf("message %d: got %.20q dup %v, want %.20q dup %v", next, p.Payload, p.Dup, m.payload, m.sent)
				}
				if m.qos > 0 && p.PacketID != uint16(next%MaxInflight)+1 {
					t.Fatalf("message %d has packet identifier %d", next, p.PacketID)
				}
				if next-oldHead >= window {
					t.Fatalf("message %d sent with a window of %d from %d", next, window, oldHead)
				}
				m.sent = true
				m.done = m.qos == 0
				next++
			}
			for next < len(model) && int(o.next) > next && model[next].done {
				next++
			}
			trim()
		case k < 98:
			for i := head; i < len(model) && i < head+500; i++ {
				if m := &model[i]; m.sent && !m.done && r.IntN(10) > 0 {
					s, ok := o.lookup(uint16(i%MaxInflight) + 1)
					if !ok || int(s) != i {
						t.Fatalf("lookup of message %d gave %d, %v", i, s, ok)
					}
					o.finish(s)
					m.done = true
				}
			}
			trim()
		default:
			o.dropUnsent()
			for i := next; i < len(model); i++ {
				if model[i].qos == 0 {
					model[i].done = true
				}
			}
			trim()
			o.rewind(true)
			next = head
		}
		if int(o.head) != head || int(o.tail) != len(model) {
			t.Fatalf("outbox from %d to %d, want %d to %d", o.head, o.tail, head, len(model))
		}
		if step%16 > 0 {
			continue
		}
		bytes, unsent := 0, 0
		for s := o.head; s < o.tail; s++ {
			bytes += int(o.at(s).size) + overhead
			if s >= o.next {
				unsent += int(o.at(s).size)
			}
		}
		if bytes != o.bytes || unsent != o.unsent {
			t.Fatalf("counts %d bytes, %d unsent; want %d, %d", o.bytes, o.unsent, bytes, unsent)
		}
	}
	held := 0
	for _, s := range o.segs {
		held += cap(s)
	}
	if held > 2*o.bytes+2*maxSegment {
		t.Errorf("%d bytes held for %d queued", held, o.bytes)
	}
}
