package broker

import (
	"testing"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// riddle is a method of two steps: the broker asks, "42" is the answer, and the one who
// gives it may publish below his name.
type riddle struct{ user string }

func (riddle) Authenticate(*Login) (Access, mqtt.ReturnCode) { return nil, mqtt.NotAuthorized }

func (r riddle) Begin(l *Login) Exchange {
	if l.Method != "riddle" {
		return nil
	}
	return &riddler{riddle: r}
}

type riddler struct {
	riddle
	asked bool
}

func (r *riddler) Step(data []byte) Step {
	switch {
	case !r.asked:
		r.asked, r.user = true, string(data)
		return Step{Data: []byte("6*7?")}
	case string(data) != "42":
		return Step{Refused: mqtt.ReasonNotAuthorized}
	}
	return Step{Done: true, User: r.user, Access: below(r.user), Data: []byte("right")}
}

type below string

func (u below) Publish(topic string) bool { return topic == string(u) }
func (u below) Subscribe(string) bool     { return true }

func auth(r mqtt.Reason, method, data string) mqtt.Auth {
	return mqtt.Auth{Reason: r, Properties: props(mqtt.Properties{AuthMethod: method, AuthData: []byte(data)},
		mqtt.PropAuthMethod, mqtt.PropAuthData)}
}

// ask sends CONNECT and wants to be asked.
func ask(t *testing.T, s *server, will *mqtt.Will) *peer {
	t.Helper()
	p := s.dial(t)
	p.v = mqtt.V5
	p.send(mqtt.Connect{Version: mqtt.V5, Clean: true, ClientID: "p", Will: will, Properties: auth(0, "riddle", "anna").Properties})
	p.want(auth(mqtt.ReasonContinueAuthentication, "riddle", "6*7?"))
	return p
}

func answered(t *testing.T, s *server, will *mqtt.Will) *peer {
	t.Helper()
	p := ask(t, s, will)
	p.send(auth(mqtt.ReasonContinueAuthentication, "riddle", "42"))
	ack, ok := p.read().(mqtt.Connack)
	if !ok || ack.Reason != 0 || ack.Properties.AuthMethod != "riddle" || string(ack.Properties.AuthData) != "right" {
		t.Fatalf("%+v", ack)
	}
	return p
}

func TestEnhancedAuthentication(t *testing.T) {
	s := start(t, Options{Auth: riddle{}})
	watch := make(chan string, 1)
	s.Handle("anna", func(m *Inbound) { watch <- string(m.Payload) })
	// client --CONNECT--> broker --AUTH--> client --AUTH--> broker --CONNACK--> client
	p := answered(t, s, &mqtt.Will{Topic: "anna", Payload: []byte("gone")})
	p.send(pub(1, 1, "anna", "hers"), pub(1, 2, "otto", "not hers"))
	p.want(mqtt.Puback{PacketID: 1}, mqtt.Puback{PacketID: 2, Reason: mqtt.ReasonNotAuthorized})
	if got := <-watch; got != "hers" {
		t.Error(got)
	}
	_ = p.nc.Close()
	if got := <-watch; got != "gone" { // what was kept of CONNECT is whole
		t.Error(got)
	}
}

func TestEnhancedAuthenticationFails(t *testing.T) {
	s := start(t, Options{Auth: riddle{}})
	refused := func(p *peer, want mqtt.Reason) {
		t.Helper()
		if ack, ok := p.read().(mqtt.Connack); !ok || ack.Reason != want {
			t.Errorf("%+v", ack)
		}
		p.wantClosed()
	}
	p := ask(t, s, nil)
	p.send(auth(mqtt.ReasonContinueAuthentication, "riddle", "41")) // [MQTT-4.12.0-4]
	refused(p, mqtt.ReasonNotAuthorized)
	p = ask(t, s, nil)
	p.send(auth(mqtt.ReasonContinueAuthentication, "another", "42")) // [MQTT-4.12.0-5]
	refused(p, mqtt.ReasonProtocolError)
	p = ask(t, s, nil)
	p.send(auth(mqtt.ReasonReauthenticate, "riddle", "42"))
	refused(p, mqtt.ReasonProtocolError)
	for _, early := range []any{pub(0, 0, "anna", "too early"), bare(mqtt.PINGREQ), mqtt.Connect{Version: mqtt.V5, Clean: true}} { // [MQTT-3.1.2-30]
		p = ask(t, s, nil)
		p.send(early)
		p.wantClosed()
	}
	p = ask(t, s, nil)
	p.send(mqtt.Disconnect{})
	p.wantClosed()
	p = s.dial(t)
	p.v = mqtt.V5
	p.send(mqtt.Connect{Version: mqtt.V5, Clean: true, Properties: auth(0, "unknown", "").Properties})
	refused(p, mqtt.ReasonBadAuthenticationMethod)
	p = ask(t, s, &mqtt.Will{Topic: "otto"}) // a will that the one who is found may not publish
	p.send(auth(mqtt.ReasonContinueAuthentication, "riddle", "42"))
	refused(p, mqtt.ReasonNotAuthorized)
	if n := s.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions", n)
	}
}

func TestReauthentication(t *testing.T) {
	s := start(t, Options{Auth: riddle{}})
	p := answered(t, s, nil)
	for range 2 { // [MQTT-4.12.1-1]
		p.send(auth(mqtt.ReasonReauthenticate, "riddle", "anna"), pub(1, 9, "anna", "meanwhile"))
		p.want(auth(mqtt.ReasonContinueAuthentication, "riddle", "6*7?"),
			mqtt.Puback{PacketID: 9, Reason: mqtt.ReasonNoMatchingSubscribers})
		p.send(auth(mqtt.ReasonContinueAuthentication, "riddle", "42"))
		p.want(auth(mqtt.ReasonSuccess, "riddle", "right"))
	}
	p.send(auth(mqtt.ReasonReauthenticate, "riddle", "anna"))
	p.read()
	p.send(auth(mqtt.ReasonContinueAuthentication, "riddle", "no")) // [MQTT-4.12.1-2]
	p.wantGoodbye(mqtt.ReasonNotAuthorized)

	p = answered(t, s, nil) // one cannot become somebody else
	p.send(auth(mqtt.ReasonReauthenticate, "riddle", "otto"))
	p.read()
	p.send(auth(mqtt.ReasonContinueAuthentication, "riddle", "42"))
	p.wantGoodbye(mqtt.ReasonNotAuthorized)
	p = answered(t, s, nil)
	p.send(auth(mqtt.ReasonContinueAuthentication, "riddle", "42")) // nobody has asked
	p.wantGoodbye(mqtt.ReasonProtocolError)
}
