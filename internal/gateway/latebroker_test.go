package gateway

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/broker/sqlitestore"
	"github.com/wattbus/wattbus/internal/mqttsn"
)

// lateSessions is the broker's store on a disk that answers when the test says. One that was cut stores nothing any more, as at a
// kill.
type lateSessions struct {
	broker.SessionStore
	mu      sync.Mutex
	held    chan struct{} // commits wait for it; nil: they do not
	waiting bool          // one does
	cut     bool
}

func (s *lateSessions) Commit(ctx context.Context, c *broker.Changes) error {
	s.mu.Lock()
	held := s.held
	s.waiting = held != nil
	s.mu.Unlock()
	if held != nil {
		<-held
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting = false; s.cut {
		return nil
	}
	return s.SessionStore.Commit(ctx, c)
}

func (s *lateSessions) hold() (release func()) {
	held := make(chan struct{})
	s.mu.Lock()
	s.held = held
	s.mu.Unlock()
	return sync.OnceFunc(func() {
		s.mu.Lock()
		s.held = nil
		s.mu.Unlock()
		close(held)
	})
}

func (s *lateSessions) kill() {
	s.mu.Lock()
	s.cut = true
	s.mu.Unlock()
}

// late is a gateway in front of a broker with such a store.
type late struct {
	store         *lateSessions
	broker        *broker.Broker
	up            chan string // what its handlers got
	radio         *radio
	stopG, stopB  func()
	closeSessions func()
}

func startLate(t *testing.T, path string) *late {
	t.Helper()
	file, err := sqlitestore.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	l := &late{store: &lateSessions{SessionStore: file}, up: make(chan string, 9)}
	l.closeSessions = sync.OnceFunc(func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(l.closeSessions)
	if l.broker, err = broker.New(broker.Options{Store: l.store}); err != nil {
		t.Fatal(err)
	}
	l.broker.Handle("up/#", func(m *broker.Inbound) { l.up <- string(m.Payload) })
	_, l.stopB = serveBroker(t, l.broker)
	_, at, stop := runUDP(t, Options{Server: InProcess{Broker: l.broker}})
	l.stopG, l.radio = stop, dialRadio(t, at)
	l.radio.says(mqttsn.Connect{ClientID: "M1", Duration: 600})
	l.radio.hears(mqttsn.CONNACK)
	return l
}

// killed ends the process as a kill does: the device hears nothing more, and the store gets nothing.
func (l *late) killed(release func()) {
	l.stopG()
	l.store.kill()
	release()
	l.stopB()
	l.closeSessions()
}

// TestAnswersAreStoredFirst: a device hears PUBREL, PUBCOMP, SUBACK and UNSUBACK when the broker has stored what they say, and
// nothing if it is killed before. What the device builds on them holds after a kill.
//
//	device ──PUBREC, PUBREL, SUBSCRIBE, UNSUBSCRIBE──> gateway ──> broker ──Commit──> store
//	device <──────────PUBREL, PUBCOMP, SUBACK, UNSUBACK────────────────── synced ─────┘
func TestAnswersAreStoredFirst(t *testing.T) {
	for _, stored := range []bool{false, true} {
		name := "killed before"
		if stored {
			name = "killed after"
		}
		t.Run(name, func(t *testing.T) { storedFirst(t, stored) })
	}
}

func storedFirst(t *testing.T, stored bool) {
	path := filepath.Join(t.TempDir(), "sessions")
	l := startLate(t, path)
	m := l.radio
	m.says(mqttsn.Subscribe{QoS: 2, MsgID: 1, TopicType: mqttsn.Predefined, TopicID: cmd})
	m.hears(mqttsn.SUBACK)
	if _, err := l.broker.Publish("dn/meter/M1/cmd", text("x"), 2, false); err != nil {
		t.Fatal(err)
	}
	down := m.hears(mqttsn.PUBLISH).(mqttsn.Publish)
	up := mqttsn.Publish{QoS: 2, MsgID: 7, TopicType: mqttsn.Predefined, TopicID: reading, Payload: text("1")}
	m.says(up)
	m.hears(mqttsn.PUBREC)

	release := l.store.hold()
	defer release()
	short, _ := mqttsn.ShortID("ab")
	m.says(mqttsn.Pubrec{MsgID: down.MsgID})
	m.says(mqttsn.Pubrel{MsgID: 7})
	m.says(mqttsn.Subscribe{QoS: 1, MsgID: 2, TopicType: mqttsn.Short, TopicID: short})
	m.says(mqttsn.Unsubscribe{MsgID: 3, TopicType: mqttsn.Predefined, TopicID: cmd})
	eventually(t, "a commit under way", func() bool { l.store.mu.Lock(); defer l.store.mu.Unlock(); return l.store.waiting })
	m.says(mqttsn.Pubrec{MsgID: down.MsgID}) // repeated, since nothing was heard
	m.says(mqttsn.Pingreq{})
	m.hears(mqttsn.PINGRESP) // and nothing before it
	if stored {
		release()
		heard := map[mqttsn.MsgType]mqttsn.Message{}
		for range 4 {
			a, err := m.next(30 * time.Second)
			if err != nil {
				t.Fatalf("heard %v, then %v", heard, err)
			}
			heard[a.Type()] = a
		}
		if heard[mqttsn.PUBREL] != mqttsn.Pubrel(mqttsn.Pubrec{MsgID: down.MsgID}) || heard[mqttsn.PUBCOMP] != (mqttsn.Pubcomp{MsgID: 7}) ||
			heard[mqttsn.SUBACK] != (mqttsn.Suback{QoS: 1, MsgID: 2, TopicID: short}) && heard[mqttsn.SUBACK] != (mqttsn.Suback{QoS: 1, MsgID: 2}) ||
			heard[mqttsn.UNSUBACK] != (mqttsn.Unsuback{MsgID: 3}) {
			t.Fatalf("heard %+v", heard)
		}
	}
	l.killed(release)
	if a, err := m.next(50 * time.Millisecond); err == nil && a.Type() != mqttsn.DISCONNECT {
		t.Fatalf("heard %s%+v of what is not stored", a.Type(), a)
	}

	l = startLate(t, path)
	m = l.radio
	if stored {
		if p := m.hears(mqttsn.PUBREL).(mqttsn.Pubrel); p.MsgID != down.MsgID {
			t.Errorf("%+v", p)
		}
		up.Payload = text("2") // the id is free
		m.says(up)
		m.hears(mqttsn.PUBREC)
		if got := <-l.up; got != "2" {
			t.Error(got)
		}
	} else {
		if p := m.hears(mqttsn.PUBLISH).(mqttsn.Publish); p.MsgID != down.MsgID || !p.Dup || string(p.Payload) != "x" {
			t.Errorf("%+v", p)
		}
		m.says(mqttsn.Pubrel{MsgID: 7})
		m.hears(mqttsn.PUBCOMP)
		if len(l.up) > 0 {
			t.Error(<-l.up)
		}
	}
	// The one subscription that there is.
	for _, topic := range []string{"dn/meter/M1/cmd", "ab"} {
		n, err := l.broker.Publish(topic, nil, 0, false)
		if want := topic == "ab" == stored; err != nil || n != 1 && want || n != 0 && !want {
			t.Errorf("%s goes to %d sessions, %v", topic, n, err)
		}
	}
	l.stopG()
	l.stopB()
	l.closeSessions()
}

// holding is a server in the process that stores PUBREC when the test says.
type holding struct {
	InProcess
	mu   sync.Mutex
	done []func()
}

type holdingSession struct {
	Session
	server *holding
}

func (h *holding) Open(ctx context.Context, o SessionOptions) (Session, bool, error) {
	s, present, err := h.InProcess.Open(ctx, o)
	return holdingSession{s, h}, present, err
}

func (s holdingSession) Received(id uint16, done func()) {
	s.Session.Received(id, func() {
		s.server.mu.Lock()
		defer s.server.mu.Unlock()
		s.server.done = append(s.server.done, done)
	})
}

func (h *holding) release() {
	h.mu.Lock()
	done := h.done
	h.done = nil
	h.mu.Unlock()
	for _, f := range done {
		f()
	}
}

// TestLateStoreIsNotTheClient: a client whose PUBREC takes long to be stored is sent nothing meanwhile and not taken for lost; if it
// falls asleep it hears PUBREL when it wakes.
func TestLateStoreIsNotTheClient(t *testing.T) {
	h := &holding{}
	ladder(t, Options{Server: h}, func(b *bench) {
		h.Broker = b.broker
		m := b.meter()
		m.says(mqttsn.Subscribe{QoS: 2, MsgID: 1, TopicType: mqttsn.Predefined, TopicID: cmd})
		m.hears(mqttsn.Suback{QoS: 2, MsgID: 1, TopicID: cmd})
		p := command(1, "1")
		p.QoS = 2
		b.publish("dn/meter/M1/cmd", "1", 2)
		m.hears(p)
		m.says(mqttsn.Pubrec{MsgID: 1}, mqttsn.Pubrec{MsgID: 1})
		m.hears()
		b.sleeps(80 * time.Second) // longer than all retries
		m.hears()
		b.wantState("M1", active)
		h.release()
		m.hears(mqttsn.Pubrel{MsgID: 1})
		m.says(mqttsn.Pubcomp{MsgID: 1})
		m.hears()

		p.MsgID, p.Payload = 2, text("2")
		b.publish("dn/meter/M1/cmd", "2", 2)
		m.hears(p)
		m.says(mqttsn.Pubrec{MsgID: 2}, mqttsn.Disconnect{Duration: 600})
		m.hears(mqttsn.Disconnect{})
		h.release()
		b.sleeps(time.Minute)
		m.hears()
		m.says(mqttsn.Pingreq{ClientID: "M1"})
		m.hears(mqttsn.Pubrel{MsgID: 2})
		m.says(mqttsn.Pubcomp{MsgID: 2})
		m.hears(mqttsn.Pingresp{})
		// Over here, and known to the server as such.
		m.says(mqttsn.Pubrec{MsgID: 2})
		m.hears()
		h.release()
		m.hears(mqttsn.Pubrel{MsgID: 2})
	})
}
