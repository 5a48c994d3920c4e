package broker

import (
	"fmt"
	"testing"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// TestOutgoing: what was acknowledged and not done waits in order after a kill.
func TestOutgoing(t *testing.T) {
	m := newMemory()
	b, err := New(Options{Store: m})
	if err != nil {
		t.Fatal(err)
	}
	o, waiting := b.Outgoing("up")
	if len(waiting) != 0 {
		t.Fatalf("%+v", waiting)
	}
	done := make(chan func(), 10)
	b.Handle("a/#", func(in *Inbound) {
		if in.QoS == 0 {
			return
		}
		f, err := o.Put(in, &OutgoingMessage{Topic: "far/" + in.Topic, Payload: in.Payload, QoS: in.QoS, Retain: in.Retain, Properties: in.Properties()})
		if err != nil {
			t.Error(err)
		}
		done <- f
	})
	s := serve(t, b)
	p := s.clean(t, "p")
	for i := range 4 {
		p.send(pub(1, uint16(i+1), "a", fmt.Sprint(i)))
		p.want(mqtt.Puback{PacketID: uint16(i + 1)})
	}
	release := m.hold()
	p.send(mqtt.Publish{QoS: 2, Retain: true, Topic: "a/b", PacketID: 9, Payload: []byte("4")})
	p.quiet() // not stored, not acknowledged
	release()
	p.want(mqtt.Pubrec{PacketID: 9})
	(<-done)()
	<-done
	(<-done)()
	eventually(t, "both to leave the store", func() bool { return len(m.killed().items) == 4 }) // and the retained one

	left := m.killed()
	s.stop()
	for range 2 { // nobody asks for it the first time
		if b, err = New(Options{Store: left}); err != nil {
			t.Fatal(err)
		}
		s = serve(t, b)
		s.stop()
	}
	if b, err = New(Options{Store: left}); err != nil {
		t.Fatal(err)
	}
	if n := b.Stats(); n.Sessions != 0 || n.QueuedBytes == 0 {
		t.Errorf("%+v", n)
	}
	_, waiting = b.Outgoing("up")
	var got string
	for _, w := range waiting {
		got += fmt.Sprintf("%s=%s q%d %v; ", w.Topic, w.Payload, w.QoS, w.Retain)
	}
	if want := "far/a=1 q1 false; far/a=3 q1 false; far/a/b=4 q2 true; "; got != want {
		t.Errorf("waiting: %s", got)
	}
	if n := b.Stats(); n.QueuedBytes != 0 || n.OfflineBytes != 0 {
		t.Errorf("%+v", n)
	}
	serve(t, b)
	for _, w := range waiting {
		w.Done()
	}
	eventually(t, "all to leave the store", func() bool { return len(left.killed().items) == 1 && len(left.killed().messages) == 1 })
}

// TestOutgoingRefuses what could not be sent anywhere.
func TestOutgoingRefuses(t *testing.T) {
	b, err := New(Options{Store: newMemory()})
	if err != nil {
		t.Fatal(err)
	}
	o, _ := b.Outgoing("up")
	for _, m := range []OutgoingMessage{{Topic: "a/#", QoS: 1}, {Topic: "a"}, {Topic: "a", QoS: 3}, {QoS: 1},
		{Topic: "a", QoS: 1, Properties: &mqtt.Properties{Present: mqtt.Present(mqtt.PropServerReference)}}} {
		if _, err := o.Put(&Inbound{}, &m); err == nil {
			t.Errorf("%+v taken", m)
		}
	}
	none, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if o, w := none.Outgoing("up"); o != nil || w != nil {
		t.Error("a queue without a store")
	}
}
