package broker

import (
	"slices"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// said are the answers that the client of a Local may be given.
type said chan string

func (s said) say(what string) func() { return func() { s <- what } }

func (s said) want(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case got := <-s:
			if got != w {
				t.Fatalf("%s may be said, want %s", got, w)
			}
		case <-time.After(patience):
			t.Fatalf("%s may not be said", w)
		}
	}
}

// awaitNext waits for the next message of a Local whose Ready says so to ready.
func awaitNext(t *testing.T, l *Local, ready <-chan struct{}) Delivery {
	t.Helper()
	for {
		if d, ok := l.Next(); ok {
			return d
		}
		select {
		case <-ready:
		case <-time.After(patience):
			t.Fatal("nothing comes")
		}
	}
}

// TestLocalWaits: the client of a Local is told nothing that is not stored, also where it
// repeats itself. A kill before the commit finds what was before, a kill after it what was
// said.
//
//	client         Local                   store
//	PUBREC ─────────> Received ──Commit────>
//	                        <── kill ─────── nothing of it, and nobody was told
//	<──── PUBREL ──── done <──────────────── synced
//	                        <── kill ─────── all of it
func TestLocalWaits(t *testing.T) {
	m := newMemory()
	s := start(t, Options{Store: m})
	ready := make(chan struct{}, 100)
	open := func(s *server) *Local {
		l, _, err := s.Open(LocalOptions{ClientID: "d", Ready: func() { ready <- struct{}{} }})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	from := s.clean(t, "from")
	from.send(retainedPub(1, 1, "new", "kept"))
	from.want(mqtt.Puback{PacketID: 1})
	l, told := open(s), make(said, 100)
	if err := l.Subscribe("old", 2, told.say("SUBACK")); err != nil {
		t.Fatal(err)
	}
	told.want(t, "SUBACK")
	if _, err := s.Publish("old", []byte("x"), 2, false); err != nil {
		t.Fatal(err)
	}
	d := awaitNext(t, l, ready)
	mine := LocalMessage{Topic: "up", QoS: 2, PacketID: 5}
	for _, again := range []bool{false, true} {
		lent := mine
		if err := l.Publish(&lent, told.say("PUBREC")); err != nil {
			t.Fatal(err)
		}
		lent = LocalMessage{} // the caller's again, before it is stored
		told.want(t, "PUBREC")
		if !again { // there and back: the identifier is free each time
			l.Release(5, told.say("PUBCOMP"))
			told.want(t, "PUBCOMP")
		}
	}
	// What is retained, what went to old, and twice what the Local published.
	eventually(t, "four messages", func() bool { return s.Stats().Published == 4 })

	release := m.hold()
	defer release()
	l.Received(d.PacketID, told.say("PUBREL"))
	l.Release(5, told.say("PUBCOMP"))
	if err := l.Subscribe("new", 1, told.say("SUBACK")); err != nil {
		t.Fatal(err)
	}
	l.Unsubscribe("old", told.say("UNSUBACK"))
	l.Received(d.PacketID, told.say("PUBREL again"))
	l.Release(5, told.say("PUBCOMP again"))
	eventually(t, "a commit under way", m.isWaiting)
	l.Done(9) // of nothing
	if len(told) > 0 {
		t.Fatalf("%s may be said before it is stored", <-told)
	}
	before := m.killed()
	release()
	told.want(t, "PUBREL", "PUBCOMP", "SUBACK", "UNSUBACK", "PUBREL again", "PUBCOMP again")
	after := m.killed()
	l.Done(d.PacketID)
	if d := awaitNext(t, l, ready); string(d.Payload) != "kept" || !d.Retain {
		t.Errorf("%+v, want what is retained", d)
	}
	s.stop()

	for _, c := range []struct {
		name      string
		left      *memory
		released  bool
		published int
		filter    string
	}{{"before", before, false, 0, "old"}, {"after", after, true, 1, "new"}} {
		s := start(t, Options{Store: c.left})
		published := make(chan struct{}, 9)
		s.Handle("up", func(*Inbound) { published <- struct{}{} })
		l := open(s)
		if got := awaitNext(t, l, ready); got.PacketID != d.PacketID || !got.Dup || got.Released != c.released {
			t.Errorf("%s: %+v, was %+v", c.name, got, d)
		}
		if err := l.Publish(&mine, nil); err != nil || len(published) != c.published { // the identifier is free, or not
			t.Errorf("%s: published %d times, %v", c.name, len(published), err)
		}
		var filters []string
		l.Subscriptions(func(filter string, _ byte) { filters = append(filters, filter) })
		if !slices.Equal(filters, []string{c.filter}) {
			t.Errorf("%s: subscriptions %q", c.name, filters)
		}
		s.stop()
	}
}

// TestLocalNotStored: nobody waits where nothing is stored, neither for a session that
// ends with its Local nor without a store.
func TestLocalNotStored(t *testing.T) {
	m := newMemory()
	release := m.hold()
	defer release()
	for _, o := range []Options{{}, {Store: m}} {
		b, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		l, told := openLocal(t, b, LocalOptions{ClientID: "d", Clean: true}), make(said, 100)
		if err := l.Subscribe("a", 2, told.say("SUBACK")); err != nil {
			t.Fatal(err)
		}
		l.Release(1, told.say("PUBCOMP"))
		l.Received(1, told.say("PUBREL"))
		l.Unsubscribe("a", told.say("UNSUBACK"))
		told.want(t, "SUBACK", "PUBCOMP", "PUBREL", "UNSUBACK")
	}
}

// TestReceivedBeforeItWasGiven: PUBREC for what waits for its packet identifier to be
// stored is about an older message that had the same one.
func TestReceivedBeforeItWasGiven(t *testing.T) {
	m := newMemory()
	s := start(t, Options{Store: m})
	ready := make(chan struct{}, 100)
	l := openLocal(t, s.Broker, LocalOptions{ClientID: "d", Ready: func() { ready <- struct{}{} }})
	if err := l.Subscribe("a", 2, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Publish("a", []byte("x"), 2, false); err != nil {
		t.Fatal(err)
	}
	release := m.hold()
	defer release()
	if d, ok := l.Next(); ok {
		t.Fatalf("%+v is not stored", d)
	}
	l.Received(1, nil)
	release()
	if d := awaitNext(t, l, ready); d.Released || string(d.Payload) != "x" || d.PacketID != 1 {
		t.Errorf("%+v", d)
	}
}

// TestReleasedOnce: PUBCOMP for a PUBREL that comes again, on a new connection, waits for
// the commit of the first one: after a kill the identifier would not be free.
//
//	client --PUBREL--> broker ──Commit──> store
//	client --CONNECT, PUBREL--> broker
//	client <--PUBCOMP-- broker <── synced
func TestReleasedOnce(t *testing.T) {
	m := newMemory()
	s := start(t, Options{Store: m})
	p := persistent(t, s, "p", false)
	p.send(pub(2, 7, "nobody", ""))
	p.want(mqtt.Pubrec{PacketID: 7})
	release := m.hold()
	defer release()
	p.send(mqtt.Pubrel{PacketID: 7})
	p.quiet()
	p = persistent(t, s, "p", true)
	p.send(mqtt.Pubrel{PacketID: 7})
	p.quiet()
	if len(m.killed().received) != 1 {
		t.Fatal("stored already")
	}
	release()
	p.want(mqtt.Pubcomp{PacketID: 7})
}
