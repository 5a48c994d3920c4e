package sqlitestore_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/broker/sqlitestore"
	"github.com/wattbus/wattbus/internal/mqtt"
)

func open(t testing.TB, path string) *sqlitestore.Store {
	t.Helper()
	s, err := sqlitestore.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t testing.TB, s *sqlitestore.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// all is everything that is stored.
type all struct {
	Sessions      []broker.StoredSession
	Subscriptions []broker.StoredSubscription
	ReceivedIDs   []broker.StoredReceived
	Wills         []broker.StoredWill
	Messages      []broker.StoredMessage
	Items         []broker.StoredItem
}

func (a *all) Session(r broker.StoredSession) error { a.Sessions = append(a.Sessions, r); return nil }
func (a *all) Subscription(r broker.StoredSubscription) error {
	a.Subscriptions = append(a.Subscriptions, r)
	return nil
}
func (a *all) Received(r broker.StoredReceived) error {
	a.ReceivedIDs = append(a.ReceivedIDs, r)
	return nil
}
func (a *all) Will(r broker.StoredWill) error       { a.Wills = append(a.Wills, r); return nil }
func (a *all) Message(r broker.StoredMessage) error { a.Messages = append(a.Messages, r); return nil }
func (a *all) Item(r broker.StoredItem) error       { a.Items = append(a.Items, r); return nil }

// TestContract is what broker.SessionStore promises, a commit at a time. Each is made
// twice, since one that failed may have succeeded, and read again from a new opening.
func TestContract(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir", "x.db")
	left := time.UnixMilli(1_764_000_000_123)
	one := broker.StoredSession{Nr: 1, ClientID: "ä", User: "u", Expiry: time.Hour + 1}
	two := broker.StoredSession{Nr: 1<<63 - 1, ClientID: "two", Expiry: -1, Left: left, Unsent: 7, Outgoing: true}
	will := broker.StoredWill{ID: 3, Session: 9, ClientID: "w", User: "u", Due: left, Version: mqtt.V5, Delay: time.Second, Topic: "t", Payload: []byte{0},
		QoS: 2, Retain: true, Properties: []byte{1, 1}, HasExpiry: true, Expiry: 1<<32 - 1}
	plain := broker.StoredWill{ID: 1, Session: 1, ClientID: "ä", Version: mqtt.V31, Topic: "t"}
	message := func(id uint64) broker.StoredMessage {
		return broker.StoredMessage{ID: id, Topic: fmt.Sprint("t/", id), Payload: []byte{0, byte(id)}}
	}
	item := func(seq uint64) broker.StoredItem {
		return broker.StoredItem{Seq: seq, Session: 1, Message: seq, QoS: 1}
	}
	full := broker.StoredItem{Seq: 101, Session: two.Nr, Message: 101, QoS: 2, Retain: true, Sent: true, Position: 1 << 40,
		SubscriptionIDs: []uint32{1, 268_435_455}, Share: "$share/g/t"}
	var many, rest all
	for i := range uint64(100) {
		many.Messages, many.Items = append(many.Messages, message(i+1)), append(many.Items, item(i+1))
		if i < 9 || i > 79 {
			rest.Messages, rest.Items = append(rest.Messages, message(i+1)), append(rest.Items, item(i+1))
		}
	}
	rest.Items[0].Sent, rest.Items[0].Position = true, 7
	rest.Items[1].Sent, rest.Items[1].Position, rest.Items[1].Message = true, 8, 0
	expires := broker.StoredMessage{ID: 101, Topic: "t", Properties: []byte{1, 1}, Expires: left}
	retained := broker.StoredItem{Seq: 102, Message: 101}

	steps := []struct {
		name string
		c    broker.Changes
		want all
	}{
		{"nothing", broker.Changes{}, all{}},
		{"sessions", broker.Changes{Sessions: []broker.StoredSession{one, two}}, all{Sessions: []broker.StoredSession{one, two}}},
		{"in their place", broker.Changes{
			Sessions: []broker.StoredSession{{Nr: 1, ClientID: "ä", User: "u", Left: left}},
			Subscriptions: []broker.StoredSubscription{
				{Session: 1, Filter: "a", Options: 1}, {Session: 1, Filter: "b", Options: 1<<64 - 1}, {Session: 1, Filter: "a", Gone: true},
				{Session: two.Nr, Filter: "a"},
			},
			Received: []broker.StoredReceived{{Session: 1, PacketID: 65_535}, {Session: 1, PacketID: 2}, {Session: 1, PacketID: 2, Gone: true}, {Session: two.Nr, PacketID: 1}},
		}, all{
			Sessions:      []broker.StoredSession{{Nr: 1, ClientID: "ä", User: "u", Left: left}, two},
			Subscriptions: []broker.StoredSubscription{{Session: 1, Filter: "b", Options: 1<<64 - 1}, {Session: two.Nr, Filter: "a"}},
			ReceivedIDs:   []broker.StoredReceived{{Session: 1, PacketID: 65_535}, {Session: two.Nr, PacketID: 1}},
		}},
		{"handled, ended", broker.Changes{Received: []broker.StoredReceived{{Session: 1, PacketID: 65_535, Done: true}}, Ended: []uint64{two.Nr}}, all{
			Sessions:      []broker.StoredSession{{Nr: 1, ClientID: "ä", User: "u", Left: left}},
			Subscriptions: []broker.StoredSubscription{{Session: 1, Filter: "b", Options: 1<<64 - 1}},
			ReceivedIDs:   []broker.StoredReceived{{Session: 1, PacketID: 65_535, Done: true}},
		}},
		{"wills", broker.Changes{Wills: []broker.StoredWill{will, plain, {ID: 4, Topic: "t"}, {ID: 4, Gone: true}}}, all{
			Sessions:      []broker.StoredSession{{Nr: 1, ClientID: "ä", User: "u", Left: left}},
			Subscriptions: []broker.StoredSubscription{{Session: 1, Filter: "b", Options: 1<<64 - 1}},
			ReceivedIDs:   []broker.StoredReceived{{Session: 1, PacketID: 65_535, Done: true}},
			Wills:         []broker.StoredWill{plain, will},
		}},
		{"ended", broker.Changes{Ended: []uint64{1}, Wills: []broker.StoredWill{{ID: 1, Gone: true}, {ID: 3, Gone: true}}}, all{}},
		{"messages", broker.Changes{Messages: many.Messages, Items: many.Items}, all{Messages: many.Messages, Items: many.Items}},
		{"sent, done, dropped", broker.Changes{
			Sent: []broker.SentItem{{Seq: 1, Position: 7}, {Seq: 2, Position: 8}, {Seq: 2, Position: 8, Released: true}},
			Done: []broker.SeqRange{{First: 10, Last: 79}, {First: 80, Last: 80}}, Dropped: []broker.SeqRange{{First: 10, Last: 80}},
		}, rest},
		{"everything of one", broker.Changes{
			Messages: []broker.StoredMessage{expires}, Items: []broker.StoredItem{full, retained},
			Done: []broker.SeqRange{{First: 1, Last: 100}}, Dropped: []broker.SeqRange{{First: 1, Last: 100}},
		}, all{Messages: []broker.StoredMessage{expires}, Items: []broker.StoredItem{full, retained}}},
	}
	for _, st := range steps {
		s := open(t, path)
		for range 2 {
			if err := s.Commit(t.Context(), &st.c); err != nil {
				t.Fatalf("%s: %v", st.name, err)
			}
		}
		closeStore(t, s)
		s = open(t, path)
		var got all
		if err := s.Load(t.Context(), &got); err != nil {
			t.Fatalf("%s: %v", st.name, err)
		}
		closeStore(t, s)
		if !reflect.DeepEqual(got, st.want) {
			t.Fatalf("%s: got\n%+v, want\n%+v", st.name, got, st.want)
		}
	}
}

// stubborn refuses what it is given.
type stubborn struct{ all }

var errEnough = errors.New("enough")

func (*stubborn) Item(broker.StoredItem) error { return errEnough }

// TestAllOrNothing: a commit that fails has changed nothing, and Load ends with the
// visitor's error.
func TestAllOrNothing(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"))
	defer closeStore(t, s)
	c := broker.Changes{
		Sessions: []broker.StoredSession{{Nr: 1, ClientID: "a"}},
		Messages: []broker.StoredMessage{{ID: 1, Topic: "t"}}, Items: []broker.StoredItem{{Seq: 1, Session: 1, Message: 1, QoS: 1}},
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Commit(ended, &c); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	var got all
	if err := s.Load(t.Context(), &got); err != nil || !reflect.DeepEqual(got, all{}) {
		t.Fatalf("%v, %+v", err, got)
	}
	if err := s.Commit(t.Context(), &c); err != nil {
		t.Fatal(err)
	}
	if err := s.Load(t.Context(), &stubborn{}); !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
}

// edit changes a database behind the store's back.
func edit(t *testing.T, path, q string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(q); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRefused: what is not ours, newer or damaged stays as it is.
func TestRefused(t *testing.T) {
	ours := func(t *testing.T, path string) {
		s := open(t, path)
		for i := range uint64(2000) {
			if err := s.Commit(t.Context(), &broker.Changes{Messages: []broker.StoredMessage{{ID: i + 1, Topic: "t", Payload: make([]byte, 100)}}}); err != nil {
				t.Fatal(err)
			}
			if i == 10 && !t.Failed() && !strings.Contains(t.Name(), "damaged") {
				break
			}
		}
		closeStore(t, s)
	}
	for _, tt := range []struct {
		name string
		make func(t *testing.T, path string)
		want error
	}{
		{"tables of another", func(t *testing.T, path string) { edit(t, path, `CREATE TABLE bookmarks (url TEXT)`) }, sqlitestore.ErrForeign},
		{"id of another", func(t *testing.T, path string) { edit(t, path, `PRAGMA application_id = 7`) }, sqlitestore.ErrForeign},
		{"newer", func(t *testing.T, path string) {
			ours(t, path)
			edit(t, path, `PRAGMA user_version = 99`)
		}, sqlitestore.ErrNewer},
		{"no database", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, sqlitestore.ErrCorrupt},
		{"damaged", func(t *testing.T, path string) {
			ours(t, path)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := len(b) / 2; i < len(b)/2+20_000; i++ {
				b[i] ^= 0x5a
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}, sqlitestore.ErrCorrupt},
		{"cut short", func(t *testing.T, path string) {
			ours(t, path)
			if err := os.Truncate(path, 6000); err != nil {
				t.Fatal(err)
			}
		}, sqlitestore.ErrCorrupt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			tt.make(t, path)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s, err := sqlitestore.Open(t.Context(), path)
			if err == nil {
				_ = s.Close()
			}
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %v with the path", err, tt.want)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the file was changed, %v", err)
			}
		})
	}
	if _, err := sqlitestore.Open(t.Context(), ""); err == nil {
		t.Error("opened without a path")
	}
	cut := filepath.Join(t.TempDir(), "x.db") // its making was cut short
	edit(t, cut, `VACUUM`)
	closeStore(t, open(t, cut))
}

// BenchmarkCommit stores and removes 1,000 messages of 60 bytes at a time, synced.
func BenchmarkCommit(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "x.db"))
	defer closeStore(b, s)
	const n = 1000
	next := uint64(1)
	b.ReportAllocs()
	for b.Loop() {
		c := broker.Changes{Done: []broker.SeqRange{{First: next - min(next, n), Last: next - 1}}, Dropped: []broker.SeqRange{{First: next - min(next, n), Last: next - 1}}}
		for range n {
			c.Messages = append(c.Messages, broker.StoredMessage{ID: next, Topic: "up/meter/M123/reading", Payload: make([]byte, 60)})
			c.Items = append(c.Items, broker.StoredItem{Seq: next, Session: 1, Message: next, QoS: 1})
			next++
		}
		if err := s.Commit(b.Context(), &c); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/message")
}
