package broker

import (
	"slices"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

func (m *memory) willsOf() (ids []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.wills {
		ids = append(ids, w.ClientID)
	}
	slices.Sort(ids)
	return ids
}

func (m *memory) wantWills(t *testing.T, ids ...string) {
	t.Helper()
	eventually(t, "the wills", func() bool { return slices.Equal(m.willsOf(), ids) })
}

// wantLeft waits until it is stored that the client of a session has left.
func (m *memory) wantLeft(t *testing.T, id string) {
	t.Helper()
	eventually(t, "the end of a session's connection to be stored", func() bool {
		for _, st := range m.killed().sessions {
			if st.ClientID == id {
				return !st.Left.IsZero()
			}
		}
		return false
	})
}

// TestWillsSurvive: the wills of clients that do not come back go out after a kill, also
// of clean sessions; those of clients that do come back, or that had left, do not.
//
//	client --CONNECT will--> broker --commit--> store; kill; start; grace
//	watcher <--PUBLISH will-- broker
func TestWillsSurvive(t *testing.T) {
	t.Parallel() // it waits more than it works
	for _, ordered := range []bool{false, true} {
		m := newMemory()
		s := start(t, Options{Store: m})
		watch := persistent(t, s, "watch", false)
		watch.subscribe(1, "w/#")
		gone := map[string]*peer{}
		for _, id := range []string{"clean", "kept", "back", "cleanback", "left"} {
			clean := id == "clean" || id == "cleanback"
			gone[id], _ = s.connect(t, mqtt.Connect{ClientID: id, Clean: clean, Will: &mqtt.Will{Topic: "w/" + id, Payload: []byte("lost"), QoS: 1}})
		}
		gone["left"].send(bare(mqtt.DISCONNECT))
		gone["left"].wantClosed()
		m.wantLeft(t, "left") // CONNACK does not wait for the session to be stored
		m.wantWills(t, "back", "clean", "cleanback", "kept")

		o := Options{WillGrace: 3 * time.Second}
		if ordered {
			s.stop()
			o.Store = m
			s = start(t, o)
		} else {
			s, m = m.kill(t, s, o)
		}
		watch = persistent(t, s, "watch", true)
		persistent(t, s, "back", true)
		s.clean(t, "cleanback")
		got := []string{watch.read().(mqtt.Publish).Topic, watch.read().(mqtt.Publish).Topic}
		slices.Sort(got)
		if want := []string{"w/clean", "w/kept"}; !slices.Equal(got, want) {
			t.Errorf("wills %q, want %q", got, want)
		}
		watch.send(mqtt.Puback{PacketID: 1}, mqtt.Puback{PacketID: 2})
		m.empty(t)
		watch.quiet()
		if n := s.Stats(); n.Sessions != 5 || n.Expired != 0 { // watch, kept, back, cleanback, left
			t.Errorf("%+v", n)
		}
		s.stop()
	}
}

// TestDelayedWillSurvives: a will that waits for its time goes out at that time, with its
// properties, and not a second time.
func TestDelayedWillSurvives(t *testing.T) {
	m := newMemory()
	s := start(t, Options{Store: m})
	watch := persistent(t, s, "watch", false)
	watch.subscribe(1, "w")
	c, _ := s.connack5(t, mqtt.Connect{Version: mqtt.V5, ClientID: "c",
		Properties: &mqtt.Properties{SessionExpiry: 60, Present: mqtt.Present(mqtt.PropSessionExpiry)},
		Will: &mqtt.Will{Topic: "w", Payload: []byte("x"), QoS: 1, Properties: &mqtt.Properties{WillDelay: 2, ContentType: "t", MessageExpiry: 9,
			Present: mqtt.Present(mqtt.PropWillDelay, mqtt.PropContentType, mqtt.PropMessageExpiry)}}})
	_ = c.nc.Close()
	eventually(t, "the will that waits", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.wills) == 1 && !m.wills[1].Due.IsZero()
	})
	if w := m.killed().wills[1]; w.Delay != 2*time.Second || !w.HasExpiry || w.Expiry != 9 || len(w.Properties) == 0 || w.Version != mqtt.V5 {
		t.Errorf("%+v", w)
	}
	begin := time.Now()
	s, m = m.kill(t, s, Options{WillGrace: time.Hour})
	watch = persistent(t, s, "watch", true)
	watch.want(pub(1, 1, "w", "x"))
	if waited := time.Since(begin); waited > 20*time.Second {
		t.Errorf("after %s", waited)
	}
	watch.send(mqtt.Puback{PacketID: 1})
	m.empty(t)
	s, _ = m.kill(t, s, Options{WillGrace: -1})
	persistent(t, s, "watch", true).quiet()
}

// TestNeverSent: only what may have been sent is said to be a duplicate.
func TestNeverSent(t *testing.T) {
	m := newMemory()
	s := start(t, Options{Store: m, MaxInflight: 2})
	sub := persistent(t, s, "sub", false)
	sub.subscribe(1, "a")
	p := s.clean(t, "p")
	for i := range 4 { // two are sent, two wait behind the window
		p.send(pub(1, uint16(i+1), "a", string(rune('0'+i))))
		p.want(mqtt.Puback{PacketID: uint16(i + 1)})
	}
	sub.want(pub(1, 1, "a", "0"), pub(1, 2, "a", "1"))
	sub.send(bare(mqtt.DISCONNECT))
	sub.wantClosed()
	p.send(pub(1, 5, "a", "4"))
	p.want(mqtt.Puback{PacketID: 5})
	m.wantLeft(t, "sub")
	for range 2 { // the second start knows as much as the first
		s, m = m.kill(t, s, Options{})
	}
	sub = persistent(t, s, "sub", true)
	sub.want(again(pub(1, 1, "a", "0")), again(pub(1, 2, "a", "1")), pub(1, 3, "a", "2"), pub(1, 4, "a", "3"), pub(1, 5, "a", "4"))
	eventually(t, "that its client is there to be stored", func() bool {
		for _, st := range m.killed().sessions {
			if st.ClientID == "sub" && st.Left.IsZero() {
				return true
			}
		}
		return false
	})
	s, m = m.kill(t, s, Options{}) // now they have been sent
	persistent(t, s, "sub", true).want(again(pub(1, 1, "a", "0")), again(pub(1, 2, "a", "1")), again(pub(1, 3, "a", "2")),
		again(pub(1, 4, "a", "3")), again(pub(1, 5, "a", "4")))
}
