package broker

import (
	"sync/atomic"
	"testing"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// mayChange lets everybody in, as somebody, until told otherwise.
type mayChange struct {
	gone, denied atomic.Value // user, filter or topic
	recheck      func()
}

func newMayChange() *mayChange {
	a := &mayChange{}
	a.gone.Store("")
	a.denied.Store("")
	return a
}

func (a *mayChange) OnChange(f func()) { a.recheck = f }

func (a *mayChange) Authenticate(l *Login) (Access, mqtt.ReturnCode) {
	l.User = l.Username
	return changing{a, l.Username}, mqtt.Accepted
}

type changing struct {
	a    *mayChange
	user string
}

func (c changing) Publish(name string) bool     { return name != c.a.denied.Load() }
func (c changing) Subscribe(filter string) bool { return filter != c.a.denied.Load() }
func (c changing) Now() Access {
	if c.user == c.a.gone.Load() {
		return nil
	}
	return c
}

// TestRecheck: who may not stay is told and disconnected; others are not.
func TestRecheck(t *testing.T) {
	a := newMayChange()
	s := start(t, Options{Auth: a})
	kept := props(mqtt.Properties{SessionExpiry: 100}, mqtt.PropSessionExpiry)
	join := func(id string, will *mqtt.Will) (*peer, mqtt.Connack) {
		return s.connack5(t, mqtt.Connect{Version: mqtt.V5, ClientID: id, HasUsername: true, Username: id, Properties: kept, Will: will})
	}
	alice, _ := join("alice", nil)
	bob, _ := join("bob", &mqtt.Will{Topic: "secret", Payload: []byte("x")})
	eve, _ := join("eve", nil)
	alice.subscribe(0, "public")
	bob.subscribe(0, "public", "secret", "$share/g/secret")
	if n := s.Recheck(); n != 0 {
		t.Errorf("%d ended without a change", n)
	}
	a.gone.Store("eve")
	a.denied.Store("secret")
	a.recheck()
	eve.wantGoodbye(mqtt.ReasonNotAuthorized)
	bob.wantGoodbye(mqtt.ReasonNotAuthorized)
	alice.quiet()
	eventually(t, "their ends", func() bool { return s.Stats().Disconnects["revoked"] == 2 })
	st := s.Stats()
	if st.Subscriptions != 2 || st.Dropped["denied"] != 1 { // the will
		t.Errorf("%d subscriptions, %d denied", st.Subscriptions, st.Dropped["denied"])
	}

	// What is denied while a session is not connected is gone when its client is back.
	_ = alice.nc.Close()
	eventually(t, "alice's end", func() bool { return s.Stats().Connections == 0 })
	a.denied.Store("public")
	alice, ack := join("alice", nil)
	if !ack.SessionPresent || s.subscribed.Load() != 1 { // bob's
		t.Errorf("%+v, %d subscriptions", ack, s.subscribed.Load())
	}
	alice.quiet()
}
