package broker

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// memory is a SessionStore in memory. What it has at any instant is what a broker that is
// killed then would find again.
type memory struct {
	mu       sync.Mutex
	sessions map[uint64]StoredSession
	subs     map[memorySub]StoredSubscription
	received map[memoryID]StoredReceived
	wills    map[uint64]StoredWill
	messages map[uint64]StoredMessage
	items    map[uint64]StoredItem
	commits  int
	fail     bool
	held     chan struct{} // commits wait for it; nil: they do not
	waiting  bool          // one does
}

type memorySub struct {
	session uint64
	filter  string
}

type memoryID struct {
	session uint64
	id      uint16
}

var errFull = errors.New("disk is full")

func newMemory() *memory {
	return &memory{
		sessions: map[uint64]StoredSession{}, subs: map[memorySub]StoredSubscription{}, received: map[memoryID]StoredReceived{}, wills: map[uint64]StoredWill{},
		messages: map[uint64]StoredMessage{}, items: map[uint64]StoredItem{},
	}
}

// killed is what is left if the broker is killed now.
func (m *memory) killed() *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memory{
		sessions: maps.Clone(m.sessions), subs: maps.Clone(m.subs), received: maps.Clone(m.received), wills: maps.Clone(m.wills),
		messages: maps.Clone(m.messages), items: maps.Clone(m.items),
	}
}

// hold lets commits wait until release.
func (m *memory) hold() (release func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	held := make(chan struct{})
	m.held = held
	return sync.OnceFunc(func() {
		m.mu.Lock()
		m.held = nil
		m.mu.Unlock()
		close(held)
	})
}

// isWaiting reports whether a commit waits for release.
func (m *memory) isWaiting() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.waiting
}

func (m *memory) setFail(fail bool) {
	m.mu.Lock()
	m.fail = fail
	m.mu.Unlock()
}

func (m *memory) Commit(_ context.Context, c *Changes) error {
	m.mu.Lock()
	held := m.held
	m.waiting = held != nil
	m.mu.Unlock()
	if held != nil {
		<-held
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail {
		return errFull
	}
	m.commits++
	for _, r := range c.Sessions {
		m.sessions[r.Nr] = r
	}
	for _, r := range c.Subscriptions {
		k := memorySub{r.Session, r.Filter}
		if m.subs[k] = r; r.Gone {
			delete(m.subs, k)
		}
	}
	for _, r := range c.Received {
		k := memoryID{r.Session, r.PacketID}
		if m.received[k] = r; r.Gone {
			delete(m.received, k)
		}
	}
	for _, r := range c.Wills {
		if m.wills[r.ID] = r; r.Gone {
			delete(m.wills, r.ID)
		}
	}
	for _, r := range c.Messages {
		m.messages[r.ID] = r
	}
	for _, r := range c.Items {
		m.items[r.Seq] = r
	}
	for _, r := range c.Sent {
		it, ok := m.items[r.Seq]
		if !ok {
			continue
		}
		it.Sent, it.Position = true, r.Position
		if r.Released {
			it.Message = 0
		}
		m.items[r.Seq] = it
	}
	for _, r := range c.Done {
		for n := r.First; n <= r.Last; n++ {
			delete(m.items, n)
		}
	}
	for _, r := range c.Dropped {
		for n := r.First; n <= r.Last; n++ {
			delete(m.messages, n)
		}
	}
	for _, nr := range c.Ended {
		delete(m.sessions, nr)
		maps.DeleteFunc(m.subs, func(k memorySub, _ StoredSubscription) bool { return k.session == nr })
		maps.DeleteFunc(m.received, func(k memoryID, _ StoredReceived) bool { return k.session == nr })
	}
	return nil
}

func (m *memory) Load(_ context.Context, v StoreVisitor) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.sessions {
		if err := v.Session(r); err != nil {
			return err
		}
	}
	for _, r := range m.subs {
		if err := v.Subscription(r); err != nil {
			return err
		}
	}
	for _, r := range m.received {
		if err := v.Received(r); err != nil {
			return err
		}
	}
	for _, r := range m.wills {
		if err := v.Will(r); err != nil {
			return err
		}
	}
	for _, r := range m.messages {
		if err := v.Message(r); err != nil {
			return err
		}
	}
	for _, it := range slices.SortedFunc(maps.Values(m.items), func(a, b StoredItem) int { return cmp.Compare(a.Seq, b.Seq) }) {
		if err := v.Item(it); err != nil {
			return err
		}
	}
	return nil
}

// empty wants nothing of messages to be left.
func (m *memory) empty(t *testing.T) {
	t.Helper()
	eventually(t, "an empty store", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.messages) == 0 && len(m.items) == 0 && len(m.received) == 0 && len(m.wills) == 0
	})
}

// kill ends the broker as a kill does, and starts another one on what was stored then.
func (m *memory) kill(t *testing.T, s *server, o Options) (*server, *memory) {
	t.Helper()
	left := m.killed()
	s.stop()
	o.Store = left
	return start(t, o), left
}

func persistent(t *testing.T, s *server, id string, want bool) *peer {
	t.Helper()
	p, present := s.connect(t, mqtt.Connect{ClientID: id})
	if present != want {
		t.Fatalf("session of %s present: %v", id, present)
	}
	return p
}

// TestKilledWhileAway: what was acknowledged waits for the subscriber after a kill, in
// order and with its subscriptions; retained messages are there.
//
//	publisher --PUBLISH--> broker --commit--> store; publisher <--PUBACK-- broker; kill
func TestKilledWhileAway(t *testing.T) {
	m := newMemory()
	s := start(t, Options{Store: m})
	sub := persistent(t, s, "sub", false)
	sub.subscribe(2, "a/#")
	sub.send(bare(mqtt.DISCONNECT))
	sub.wantClosed()
	p := s.clean(t, "p")
	p.send(pub(1, 1, "a/1", "one"), retainedPub(1, 2, "a/2", "two"), pub(2, 3, "a/3", "three"), retainedPub(0, 0, "b", "kept"))
	p.want(mqtt.Puback{PacketID: 1}, mqtt.Puback{PacketID: 2}, mqtt.Pubrec{PacketID: 3})
	p.send(retainedPub(1, 4, "b", "kept"))
	p.want(mqtt.Puback{PacketID: 4})

	s, m = m.kill(t, s, Options{})
	sub = persistent(t, s, "sub", true)
	sub.want(pub(1, 1, "a/1", "one"), pub(1, 2, "a/2", "two"), pub(2, 3, "a/3", "three")) // without DUP: it had left before
	sub.send(mqtt.Puback{PacketID: 1}, mqtt.Puback{PacketID: 2}, mqtt.Pubrec{PacketID: 3})
	sub.want(mqtt.Pubrel{PacketID: 3})
	sub.send(mqtt.Pubcomp{PacketID: 3})
	sub.subscribe(1, "b")
	sub.want(retainedPub(1, 4, "b", "kept"))
	sub.send(mqtt.Puback{PacketID: 4})
	p = s.clean(t, "p")
	p.send(pub(1, 1, "a/1", "live"), retainedPub(1, 2, "a/2", ""), retainedPub(1, 3, "b", ""))
	p.want(mqtt.Puback{PacketID: 1}, mqtt.Puback{PacketID: 2}, mqtt.Puback{PacketID: 3})
	sub.want(pub(1, 5, "a/1", "live"), pub(1, 6, "a/2", ""), pub(1, 7, "b", ""))
	sub.send(mqtt.Puback{PacketID: 5}, mqtt.Puback{PacketID: 6}, mqtt.Puback{PacketID: 7})
	m.empty(t)
}

// TestNothingIsSaidBeforeItIsStored: acknowledgements and answers wait for the commit,
// deliveries do not.
func TestNothingIsSaidBeforeItIsStored(t *testing.T) {
	m := newMemory()
	s := start(t, Options{Store: m})
	sub := persistent(t, s, "sub", false)
	sub.subscribe(1, "a")
	p := persistent(t, s, "p", false)
	p.send(pub(2, 7, "nobody", ""))
	p.want(mqtt.Pubrec{PacketID: 7})

	release := m.hold()
	defer release()
	p.send(pub(1, 1, "a", "x"))
	sub.want(pub(1, 1, "a", "x"))
	eventually(t, "a commit under way", m.isWaiting) // so that all of the following shares the next one
	p.send(pub(0, 0, "nobody", ""), pub(1, 2, "nobody", ""), mqtt.Pubrel{PacketID: 7}, pub(2, 8, "nobody", ""),
		mqtt.Subscribe{PacketID: 9, Subscriptions: []mqtt.Subscription{{Filter: "r"}}},
		mqtt.Unsubscribe{PacketID: 10, Filters: []string{"r"}})
	p.quiet() // nothing but PINGRESP
	if left := m.killed(); len(left.items) != 0 {
		t.Errorf("stored already: %+v", left.items)
	}
	release()
	// PUBACK and PUBREC in the order of PUBLISH [MQTT-4.6.0-2], [MQTT-4.6.0-3]; nothing says where PUBCOMP stands among
	// them, which is first where PUBREL was stored by an earlier commit.
	p.want(mqtt.Puback{PacketID: 1}, mqtt.Puback{PacketID: 2}, mqtt.Pubrec{PacketID: 8}, mqtt.Pubcomp{PacketID: 7},
		mqtt.Suback{PacketID: 9, Codes: []byte{0}}, mqtt.Unsuback{PacketID: 10})
}

// TestSuperfluousIsNotStored: what its subscriber has acknowledged before the commit is
// never written.
func TestSuperfluousIsNotStored(t *testing.T) {
	m := newMemory()
	s := start(t, Options{Store: m})
	sub := persistent(t, s, "sub", false)
	sub.subscribe(1, "a")
	p := s.clean(t, "p")
	m.empty(t)
	release := m.hold()
	defer release()
	other := s.clean(t, "other")
	other.send(retainedPub(1, 1, "busy", "x")) // the commit under way
	eventually(t, "it", m.isWaiting)
	for i := range 100 {
		p.send(pub(1, uint16(i+1), "a", "x"))
		sub.want(pub(1, uint16(i+1), "a", "x"))
		sub.send(mqtt.Puback{PacketID: uint16(i + 1)})
	}
	sub.quiet()
	m.mu.Lock()
	before := m.commits
	m.mu.Unlock()
	release()
	for i := range 100 {
		p.want(mqtt.Puback{PacketID: uint16(i + 1)})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if st := s.Stats(); st.Stored != 1 || m.commits > before+1 {
		t.Errorf("%d stored, %d commits", st.Stored, m.commits-before)
	}
}

// TestStoreFails: nothing is acknowledged while the store fails, everything afterwards.
func TestStoreFails(t *testing.T) {
	m := newMemory()
	s := start(t, Options{Store: m})
	sub := persistent(t, s, "sub", false)
	sub.subscribe(1, "a")
	p := s.clean(t, "p")
	m.setFail(true)
	for i := range 10 {
		p.send(pub(1, uint16(i+1), "a", "x"))
	}
	eventually(t, "failures", func() bool { return s.Stats().StoreFailures > 1 })
	p.quiet()
	for i := range 10 {
		sub.want(pub(1, uint16(i+1), "a", "x"))
	}
	if s.Stats().UnstoredBytes == 0 {
		t.Error("nothing waits to be stored")
	}
	m.setFail(false)
	for i := range 10 {
		p.want(mqtt.Puback{PacketID: uint16(i + 1)})
	}
	eventually(t, "the commit", func() bool { return s.Stats().UnstoredBytes == 0 })
}

// TestFullJournal: while the store fails, the readers of publishers wait at the bound.
func TestFullJournal(t *testing.T) {
	m := newMemory()
	s := start(t, Options{Store: m, MaxSessionQueueBytes: 1 << 30, MaxQueueBytes: 4 << 30})
	sub := persistent(t, s, "sub", false)
	sub.subscribe(1, "a")
	sub.send(bare(mqtt.DISCONNECT))
	sub.wantClosed()
	m.setFail(true)
	p := s.clean(t, "p")
	big := string(make([]byte, 200<<10))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 400 {
			if _, err := p.nc.Write(encode(t, mqtt.V311, pub(1, uint16(i+1), "a", big))); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	eventually(t, "the bound", func() bool { return s.Stats().UnstoredBytes > maxUncommitted })
	time.Sleep(50 * time.Millisecond) // would it go on?
	if n := s.Stats().UnstoredBytes; n > maxUncommitted+(1<<20) {
		t.Errorf("%d bytes wait for the store", n)
	}
	m.setFail(false)
	<-done
	for i := range 400 {
		p.want(mqtt.Puback{PacketID: uint16(i + 1)})
	}
}

// TestKilledOutgoing: a message of QoS 2 that was on its way is repeated with the same
// packet identifier, what was released with PUBREL, and QoS 1 between them in order.
func TestKilledOutgoing(t *testing.T) {
	m := newMemory()
	s := start(t, Options{Store: m})
	sub := persistent(t, s, "sub", false)
	sub.subscribe(2, "a")
	p := s.clean(t, "p")
	for i := range 7 { // 1 and 4 of QoS 2
		q := 1 + byte(i%3&1)
		p.send(pub(q, uint16(i+1), "a", string(rune('0'+i))))
	}
	for i := range 7 {
		if i%3 == 1 {
			p.want(mqtt.Pubrec{PacketID: uint16(i + 1)})
		} else {
			p.want(mqtt.Puback{PacketID: uint16(i + 1)})
		}
	}
	for i := range 7 {
		sub.want(pub(1+byte(i%3&1), uint16(i+1), "a", string(rune('0'+i))))
	}
	sub.send(mqtt.Puback{PacketID: 1}, mqtt.Puback{PacketID: 4}, mqtt.Pubrec{PacketID: 2}) // 0, 3; 1
	sub.want(mqtt.Pubrel{PacketID: 2})
	eventually(t, "what was acknowledged to leave the store", func() bool { return len(m.killed().items) == 5 })
	for range 2 {
		s, m = m.kill(t, s, Options{})
		sub = persistent(t, s, "sub", true)
		sub.want(mqtt.Pubrel{PacketID: 2}, again(pub(1, 4, "a", "2")), again(pub(2, 5, "a", "4")),
			again(pub(1, 6, "a", "5")), again(pub(1, 7, "a", "6")))
	}
	sub.send(mqtt.Pubcomp{PacketID: 2}, mqtt.Puback{PacketID: 4}, mqtt.Pubrec{PacketID: 5}, mqtt.Puback{PacketID: 6}, mqtt.Puback{PacketID: 7})
	sub.want(mqtt.Pubrel{PacketID: 5})
	eventually(t, "the last two acknowledgements to be stored", func() bool { return len(m.killed().items) == 1 })
	s, m = m.kill(t, s, Options{}) // PUBCOMP has not come
	sub = persistent(t, s, "sub", true)
	sub.want(mqtt.Pubrel{PacketID: 5})
	sub.send(mqtt.Pubcomp{PacketID: 5})
	m.empty(t)
	sub.quiet()
}

// TestPositionIsStoredFirst: QoS 2 is not sent, nor PUBREL, before that is stored.
func TestPositionIsStoredFirst(t *testing.T) {
	m := newMemory()
	s := start(t, Options{Store: m})
	sub := persistent(t, s, "sub", false)
	sub.subscribe(2, "a")
	release := m.hold()
	p := s.clean(t, "p")
	p.send(pub(1, 1, "a", "0"), pub(2, 2, "a", "1"), pub(1, 3, "a", "2"), pub(0, 0, "a", "3"))
	sub.want(pub(1, 1, "a", "0"))
	sub.quiet()
	release()
	sub.want(pub(2, 2, "a", "1"), pub(1, 3, "a", "2"), pub(0, 0, "a", "3"))
	p.want(mqtt.Puback{PacketID: 1}, mqtt.Pubrec{PacketID: 2}, mqtt.Puback{PacketID: 3})
	release = m.hold()
	sub.send(mqtt.Pubrec{PacketID: 2}, mqtt.Pubrec{PacketID: 2})
	sub.quiet()
	sub2 := persistent(t, s, "sub", true) // takes over: PUBREL waits here too
	sub2.want(again(pub(1, 1, "a", "0")))
	sub2.quiet()
	release()
	sub2.want(mqtt.Pubrel{PacketID: 2}, again(pub(1, 3, "a", "2")))
	sub2.send(mqtt.Pubcomp{PacketID: 2}, mqtt.Puback{PacketID: 1}, mqtt.Puback{PacketID: 3})
	p.send(mqtt.Pubrel{PacketID: 2})
	p.want(mqtt.Pubcomp{PacketID: 2})
	m.empty(t)
}

// TestKilledIncoming: a message of QoS 2 that was acknowledged is known after a kill; one
// that the handlers have not finished goes to them, and to nobody else, again.
func TestKilledIncoming(t *testing.T) {
	m := newMemory()
	s := start(t, Options{Store: m})
	sub := persistent(t, s, "sub", false)
	sub.subscribe(2, "a")
	sub.send(bare(mqtt.DISCONNECT))
	sub.wantClosed()
	p := persistent(t, s, "p", false)
	p.send(pub(2, 1, "a", "1"))
	p.want(mqtt.Pubrec{PacketID: 1})
	s.Handle("a", func(in *Inbound) { in.Defer() }) // and never gets that far
	p.send(pub(2, 2, "a", "2"))
	p.quiet()
	eventually(t, "the commit", func() bool { return len(m.killed().received) == 2 })

	s, m = m.kill(t, s, Options{})
	handled := make(chan string, 10)
	s.Handle("a", func(in *Inbound) { handled <- string(in.Payload) })
	p = persistent(t, s, "p", true)
	p.send(again(pub(2, 1, "a", "1")), again(pub(2, 2, "a", "2")))
	p.want(mqtt.Pubrec{PacketID: 1}, mqtt.Pubrec{PacketID: 2})
	p.send(mqtt.Pubrel{PacketID: 1})
	p.want(mqtt.Pubcomp{PacketID: 1})
	s, m = m.kill(t, s, Options{}) // the identifier is free, also now
	p = persistent(t, s, "p", true)
	p.send(pub(2, 1, "a", "3"), mqtt.Pubrel{PacketID: 2})
	p.want(mqtt.Pubrec{PacketID: 1}, mqtt.Pubcomp{PacketID: 2})
	sub = persistent(t, s, "sub", true)
	sub.want(pub(2, 1, "a", "1"), pub(2, 2, "a", "2"), pub(2, 3, "a", "3"))
	if got := <-handled; len(handled) > 0 || got != "2" {
		t.Errorf("handlers got %q and %d more", got, len(handled))
	}
}

// owners is acl, and sessions belong to the user.
type owners struct{ acl }

func (n owners) Authenticate(l *Login) (Access, mqtt.ReturnCode) {
	l.User = l.Username
	return n.acl.Authenticate(l)
}

// TestKilledSessions: users, clean sessions, those that were given up, and the time.
func TestKilledSessions(t *testing.T) {
	m := newMemory()
	s := start(t, Options{Store: m, Auth: owners{}})
	good := mqtt.Connect{Version: mqtt.V311, ClientID: "mine", HasUsername: true, Username: "u", HasPassword: true, Password: []byte("yes")}
	p, _ := s.connect(t, good)
	p.subscribe(1, "open/a")
	old := good
	old.ClientID = "old"
	o, _ := s.connect(t, old)
	o.subscribe(1, "open/a")
	_ = o.nc.Close()
	eventually(t, "the end", func() bool { return s.Stats().Connections == 1 })
	old.Clean = true
	release := m.hold()
	t.Cleanup(release)
	o = s.dial(t)
	o.send(old)
	time.Sleep(10 * time.Millisecond) // CONNACK waits until the old session is out of the store
	if left := m.killed(); len(left.sessions) != 2 {
		t.Errorf("%d sessions stored", len(left.sessions))
	}
	release()
	o.want(mqtt.Connack{})
	if left := m.killed(); len(left.sessions) != 1 || len(left.subs) != 1 {
		t.Errorf("left over: %+v %+v", left.sessions, left.subs)
	}

	s, m = m.kill(t, s, Options{SessionExpiry: time.Hour})
	if n := s.Stats().Sessions; n != 1 {
		t.Errorf("%d sessions", n)
	}
	if p := s.dial(t); true {
		other := mqtt.Connect{Version: mqtt.V311, ClientID: "mine"} // without Auth, nobody
		p.send(other)
		p.want(mqtt.Connack{Code: mqtt.NotAuthorized})
	}
	left := m.killed()
	s.stop()
	for nr, r := range left.sessions { // as if the broker had been away for long
		r.Left = time.Now().Add(-8 * 24 * time.Hour)
		left.sessions[nr] = r
	}
	s = start(t, Options{Store: left})
	eventually(t, "the end of the session", func() bool {
		left.mu.Lock()
		defer left.mu.Unlock()
		return s.Stats().Sessions == 0 && len(left.sessions) == 0 && len(left.subs) == 0
	})
}

// TestKilledV5: properties, expiry, subscription identifiers and shared subscriptions.
func TestKilledV5(t *testing.T) {
	m := newMemory()
	s := start(t, Options{Store: m})
	expiry := &mqtt.Properties{Present: mqtt.Present(mqtt.PropSessionExpiry), SessionExpiry: 3600}
	sub, _ := s.connack5(t, mqtt.Connect{Version: mqtt.V5, ClientID: "sub", Properties: expiry})
	for i, f := range []string{"a", "+", "$share/g/b"} {
		sub.send(mqtt.Subscribe{PacketID: 1, Subscriptions: []mqtt.Subscription{{Filter: f, QoS: 1}},
			Properties: &mqtt.Properties{SubscriptionIDs: []uint32{uint32(i + 7)}}})
		sub.read()
	}
	brief, _ := s.connack5(t, mqtt.Connect{Version: mqtt.V5, ClientID: "brief"}) // ends with its connection
	brief.subscribeV5(t, "a")
	_ = sub.nc.Close()
	eventually(t, "the end", func() bool { return s.Stats().Connections == 1 })
	props := &mqtt.Properties{
		Present:       mqtt.Present(mqtt.PropMessageExpiry, mqtt.PropContentType),
		MessageExpiry: 100, ContentType: "text",
	}
	for _, name := range []string{"a", "b", "gone"} {
		if name == "gone" {
			props.MessageExpiry = 0
		}
		if n, err := s.Send(&Message{Topic: name, Payload: []byte(name), QoS: 1, Properties: props}); n < 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	s, m = m.kill(t, s, Options{})
	if n := s.Stats().Sessions; n != 1 {
		t.Errorf("%d sessions", n)
	}
	sub, ack := s.connack5(t, mqtt.Connect{Version: mqtt.V5, ClientID: "sub", Properties: expiry})
	if !ack.SessionPresent {
		t.Error("not present")
	}
	var got []mqtt.Publish
	for range 3 {
		got = append(got, sub.read().(mqtt.Publish))
	}
	for i, want := range []struct {
		topic string
		ids   []uint32
	}{{"a", []uint32{7, 8}}, {"b", []uint32{9}}, {"b", []uint32{8}}} {
		g := got[i]
		slices.Sort(g.Properties.SubscriptionIDs)
		if g.Topic != want.topic || !slices.Equal(g.Properties.SubscriptionIDs, want.ids) || g.Properties.ContentType != "text" ||
			g.Properties.MessageExpiry > 100 || g.Properties.MessageExpiry < 50 {
			t.Errorf("got %+v %+v, want %+v", g, g.Properties, want)
		}
	}
	for _, g := range got {
		sub.send(mqtt.Puback{PacketID: g.PacketID})
	}
	m.empty(t)
}

// subscribeV5 subscribes with QoS 1 in MQTT 5.
func (p *peer) subscribeV5(t *testing.T, filter string) {
	t.Helper()
	p.send(mqtt.Subscribe{PacketID: 1, Subscriptions: []mqtt.Subscription{{Filter: filter, QoS: 1}}})
	if _, ok := p.read().(mqtt.Suback); !ok {
		t.Fatal("no SUBACK")
	}
}

// TestKilledLocal: sessions of Go code in the process.
func TestKilledLocal(t *testing.T) {
	m := newMemory()
	s := start(t, Options{Store: m})
	ready := make(chan struct{}, 10)
	open := func(s *server) (l *Local, present bool) {
		l, present, err := s.Open(LocalOptions{ClientID: "d", Ready: func() { ready <- struct{}{} }})
		if err != nil {
			t.Fatal(err)
		}
		return l, present
	}
	next := func(l *Local) Delivery {
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
	l, _ := open(s)
	if err := l.Subscribe("a", 2, nil); err != nil {
		t.Fatal(err)
	}
	for i := range byte(3) {
		if _, err := s.Publish("a", []byte{'0' + i}, 1+i&1, false); err != nil {
			t.Fatal(err)
		}
	}
	if d := next(l); string(d.Payload) != "0" || d.Dup {
		t.Fatalf("%+v", d)
	} else {
		l.Done(d.PacketID)
	}
	d := next(l)
	if d.QoS != 2 || d.Dup {
		t.Fatalf("%+v", d)
	}
	acked := make(chan struct{})
	if err := l.Publish(&LocalMessage{Topic: "a", QoS: 2, PacketID: 5, Payload: []byte("mine")}, func() { close(acked) }); err != nil {
		t.Fatal(err)
	}
	<-acked
	s, m = m.kill(t, s, Options{})
	l, present := open(s)
	if d2 := next(l); !present || d2.PacketID != d.PacketID || !d2.Dup || d2.Released {
		t.Fatalf("%v %+v, was %+v", present, d2, d)
	}
	l.Received(d.PacketID, nil)
	if err := l.Publish(&LocalMessage{Topic: "a", QoS: 2, PacketID: 5, Payload: []byte("mine")}, nil); err != nil {
		t.Fatal(err)
	}
	l.Release(5, nil)
	eventually(t, "the commit", func() bool { return len(m.killed().received) == 0 })
	s, m = m.kill(t, s, Options{})
	l, _ = open(s)
	if d2 := next(l); d2.PacketID != d.PacketID || !d2.Released {
		t.Fatalf("%+v, was %+v", d2, d)
	}
	l.Done(d.PacketID)
	for _, want := range []string{"2", "mine"} {
		d := next(l)
		if string(d.Payload) != want {
			t.Errorf("got %q, want %q", d.Payload, want)
		}
		l.Done(d.PacketID)
	}
	m.empty(t)
	l.Keep(true)
	l.Close(false)
	eventually(t, "an end in the store", func() bool { return len(m.killed().sessions) == 0 })
}

// TestDamagedStore: what contradicts itself is refused.
func TestDamagedStore(t *testing.T) {
	good := func() *memory {
		m := newMemory()
		m.sessions[1] = StoredSession{Nr: 1, ClientID: "a", Expiry: time.Hour}
		m.messages[1] = StoredMessage{ID: 1, Topic: "t"}
		m.items[1] = StoredItem{Seq: 1, Session: 1, Message: 1, QoS: 1}
		return m
	}
	if _, err := New(Options{Store: good()}); err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(m *memory){
		"two of one client":      func(m *memory) { m.sessions[2] = StoredSession{Nr: 2, ClientID: "a"} },
		"subscription of nobody": func(m *memory) { m.subs[memorySub{2, "a"}] = StoredSubscription{Session: 2, Filter: "a"} },
		"filter":                 func(m *memory) { m.subs[memorySub{1, "#a"}] = StoredSubscription{Session: 1, Filter: "#a"} },
		"received of nobody":     func(m *memory) { m.received[memoryID{2, 1}] = StoredReceived{Session: 2, PacketID: 1} },
		"topic":                  func(m *memory) { m.messages[1] = StoredMessage{ID: 1, Topic: "a#"} },
		"no message":             func(m *memory) { delete(m.messages, 1) },
		"item of nobody":         func(m *memory) { delete(m.sessions, 1) },
		"QoS 0":                  func(m *memory) { m.items[1] = StoredItem{Seq: 1, Session: 1, Message: 1} },
		"QoS 1 at a position":    func(m *memory) { m.items[1] = StoredItem{Seq: 1, Session: 1, Message: 1, QoS: 1, Sent: true} },
		"no room before":         func(m *memory) { m.items[2] = StoredItem{Seq: 2, Session: 1, Message: 1, QoS: 2, Sent: true} },
		"QoS 2 before it was sent": func(m *memory) {
			m.items[1] = StoredItem{Seq: 1, Session: 1, Message: 1, QoS: 2}
			m.items[2] = StoredItem{Seq: 2, Session: 1, Message: 1, QoS: 2, Sent: true, Position: 5}
		},
		"positions too far apart": func(m *memory) {
			m.items[1] = StoredItem{Seq: 1, Session: 1, Message: 1, QoS: 2, Sent: true, Position: 5}
			m.items[2] = StoredItem{Seq: 2, Session: 1, Message: 1, QoS: 2, Sent: true, Position: 1 << 40}
		},
	} {
		m := good()
		damage(m)
		if _, err := New(Options{Store: m}); !errors.Is(err, ErrStore) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEndWithFailingStore: Run returns, with the error.
func TestEndWithFailingStore(t *testing.T) {
	m := newMemory()
	m.fail = true
	b, err := New(Options{Store: m})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Publish("a", []byte("x"), 1, true); err != nil {
		t.Fatal(err)
	}
	b.journal.last = 50 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Run(ctx); !errors.Is(err, errFull) {
		t.Fatal(err)
	}
}
