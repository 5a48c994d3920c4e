package gateway

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wattbus/wattbus/internal/mqttsn"
)

// gate is a store whose Save waits, and may fail.
type gate struct {
	open chan error

	mu    sync.Mutex
	saved map[string]Record
}

func newGate() *gate { return &gate{open: make(chan error), saved: map[string]Record{}} }

func (s *gate) Load() (list []Record, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.saved {
		list = append(list, r)
	}
	return list, nil
}

func (s *gate) Save(records []Record) error {
	if err := <-s.open; err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		s.saved[r.ClientID] = r
	}
	return nil
}

func (s *gate) record(id string) Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saved[id]
}

// TestPromises: what a client may build on leaves when it is stored, and what comes behind stays behind.
func TestPromises(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		store := newGate() // its channel belongs to the bubble
		b.stop()
		b.start(Options{Store: store})
		pass := func() { store.open <- nil; synctest.Wait() }
		m := b.device("a")
		m.says(mqttsn.Connect{ClientID: "M1", Duration: 60})
		b.sleeps(time.Second)
		m.hears()
		m.says(mqttsn.Pingreq{}) // it cannot know; its answer stays behind
		m.hears()
		pass()
		m.hears(mqttsn.Connack{}, mqttsn.Pingresp{})

		m.says(mqttsn.Register{MsgID: 1, Topic: "x"})
		m.says(mqttsn.Publish{QoS: 1, TopicID: 1, MsgID: 2, Payload: text("1")})
		b.wantPublished("x=1 q1") // only the answers wait
		m.says(mqttsn.Subscribe{QoS: 1, MsgID: 3, Topic: "y"})
		m.hears()
		pass()
		if r := store.record("M1"); len(r.Topics) == 0 || r.Topics[0].Name != "x" {
			t.Fatalf("%+v", r)
		}
		m.hears(mqttsn.Regack{TopicID: 1, MsgID: 1}, mqttsn.Puback{TopicID: 1, MsgID: 2})
		b.publish("y", "2", 1) // ahead of SUBACK for nobody
		m.hears()
		pass()
		m.hears(mqttsn.Suback{QoS: 1, TopicID: 2, MsgID: 3}, mqttsn.Publish{QoS: 1, TopicID: 2, MsgID: 1, Payload: text("2")})
		m.says(mqttsn.Puback{TopicID: 2, MsgID: 1})
		m.says(mqttsn.Register{MsgID: 4, Topic: "x"}) // nothing new: no wait
		m.hears(mqttsn.Regack{TopicID: 1, MsgID: 4})

		// Others do not wait for a client of which nothing is to be stored.
		n := b.device("n")
		n.says(mqttsn.Connect{ClientID: "M2", Duration: 60})
		m.says(mqttsn.Pingreq{})
		m.hears(mqttsn.Pingresp{})
		pass()
		n.hears(mqttsn.Connack{})

		// Sleep, and a topic id that the gateway gives.
		m.says(mqttsn.Subscribe{QoS: 1, MsgID: 5, Topic: "z/#"})
		pass()
		m.hears(mqttsn.Suback{QoS: 1, MsgID: 5})
		m.says(mqttsn.Disconnect{Duration: 600})
		m.hears()
		pass()
		m.hears(mqttsn.Disconnect{})
		if r := store.record("M1"); r.State != "asleep" {
			t.Fatalf("%+v", r)
		}
		b.publish("z/1", "3", 1)
		m.says(mqttsn.Pingreq{ClientID: "M1"})
		m.hears()
		pass()
		m.hears(mqttsn.Register{TopicID: 3, MsgID: 1, Topic: "z/1"})
		if r := store.record("M1"); len(r.Topics) != 3 {
			t.Fatalf("%+v", r)
		}
		// A store that fails keeps nobody waiting, and gets it all again.
		n.says(mqttsn.Register{MsgID: 1, Topic: "n"})
		store.open <- errors.New("full")
		n.hears(mqttsn.Regack{TopicID: 1, MsgID: 1})
		if r := store.record("M2"); len(r.Topics) != 0 {
			t.Fatalf("%+v", r)
		}
		pass()
		if r := store.record("M2"); len(r.Topics) != 1 || b.g.Stats().Unsaved != 1 {
			t.Fatalf("%+v, %d", r, b.g.Stats().Unsaved)
		}
		close(store.open) // all pass
		b.sleeps(time.Second)
		b.g.mu.Lock()
		if len(b.g.held) != 0 || len(b.g.heldAt) != 0 || b.g.heldBytes != 0 {
			t.Errorf("%d messages of %d octets are held for %d peers", len(b.g.held), b.g.heldBytes, len(b.g.heldAt))
		}
		b.g.mu.Unlock()
	})
}

// TestHeldBound: what waits for the store is bounded.
func TestHeldBound(t *testing.T) {
	ladder(t, Options{}, func(b *bench) {
		store := newGate() // its channel belongs to the bubble
		b.stop()
		b.start(Options{Store: store})
		b.device("a").says(mqttsn.Connect{ClientID: "M1", Duration: 60})
		b.g.mu.Lock()
		b.g.heldBytes += heldMax
		b.g.mu.Unlock()
		b.device("n").says(mqttsn.Connect{ClientID: "M2", Duration: 60})
		b.wantDropped(dropLinkFull, 1)
		b.g.mu.Lock()
		b.g.heldBytes -= heldMax
		b.g.mu.Unlock()
		close(store.open)
		b.device("a").hears(mqttsn.Connack{})
		b.device("n").hears() // it asks again
	})
}

// TestFileStoreCut: half a line that a full disk left does not stand in the way of those behind it.
func TestFileStoreCut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients")
	s, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Save([]Record{{ClientID: "M1"}}); err != nil {
		t.Fatal(err)
	}
	file := s.f
	if s.f, err = os.Open(path); err != nil { // for reading only: writing fails
		t.Fatal(err)
	}
	if err := s.Save([]Record{{ClientID: "M2"}}); err == nil {
		t.Fatal("saved in a file that cannot be written")
	}
	s.f.Close()
	s.f = file
	if _, err := s.f.WriteString(`{"id":"M`); err != nil {
		t.Fatal(err)
	}
	if err := s.cut(); err != nil {
		t.Fatal(err)
	}
	if err := s.Save([]Record{{ClientID: "M2"}, {ClientID: "M3"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = OpenFile(path); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if list, err := s.Load(); err != nil || len(list) != 3 {
		t.Errorf("%+v, %v", list, err)
	}
}
