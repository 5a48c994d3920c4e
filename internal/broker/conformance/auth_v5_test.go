package conformance

import (
	"testing"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/mqtt"
)

// The method of enhanced authentication of the server under test: it asks who is
// there until it hears rightAnswer, and sends away who says anything but moreAnswer.
const (
	askMethod   = "ask"
	question    = "who is there?"
	moreAnswer  = "guess"
	rightAnswer = "me"
)

func (list) Begin(l *broker.Login) broker.Exchange {
	if l.Method != askMethod {
		return nil
	}
	return &asking{}
}

type asking struct{ asked bool }

func (a *asking) Step(data []byte) broker.Step {
	switch {
	case !a.asked || string(data) == moreAnswer:
		a.asked = true
		return broker.Step{Data: []byte(question)}
	case string(data) == rightAnswer:
		return broker.Step{Done: true, Data: []byte("welcome"), Access: list{}, User: "me"}
	}
	return broker.Step{Refused: mqtt.ReasonNotAuthorized}
}

func authProps(method, data string) []byte {
	p := join(u8(propAuthMethod), str(method))
	if data != "" {
		p = join(p, u8(propAuthData), str(data))
	}
	return p
}

func auth(reason byte, props []byte) []byte {
	return frame(typeAuth<<4, u8(reason), section(v5, props))
}

// asks wants AUTH with the reason, the method and the data.
func (p *peer) asks(reason byte, data string) {
	p.t.Helper()
	q := p.want(typeAuth)
	if reason == 0 && len(q.body) == 0 {
		return
	}
	if q.head&15 != 0 || len(q.body) < 2 || q.body[0] != reason {
		p.t.Fatalf("%v, want reason %#02x", q, reason)
	}
	ps, rest, err := decodeProps(q.body[1:])
	if err != nil || len(rest) > 0 || ps.text(propAuthMethod) != askMethod || ps.text(propAuthData) != data {
		p.t.Fatalf("%v: %+v, %v", q, ps, err)
	}
}

// challenged is a client that was asked, limited to packets of 60 bytes.
func (b *target) challenged(t *testing.T) *peer {
	t.Helper()
	b.configured(t)
	p := b.dial(t)
	p.limit = 60
	c := withLimit(b.client(""), 60)
	c.props = join(c.props, authProps(askMethod, "hello"))
	p.send(c.encode(b.v))
	p.asks(0x18, question)
	return p
}

// testExchange: AUTH as often as it takes, then CONNACK with the same method.
func testExchange(t *testing.T, b *target) {
	p := b.challenged(t)
	for range 3 {
		p.send(auth(0x18, authProps(askMethod, moreAnswer)))
		p.asks(0x18, question)
	}
	p.send(auth(0x18, authProps(askMethod, rightAnswer)))
	ack := p.connack()
	if ack.code != 0 || ack.props.text(propAuthMethod) != askMethod || ack.props.text(propAuthData) != "welcome" {
		t.Errorf("%+v", ack)
	}
	p.ping()
}

// testExchangeRefused: a wrong answer, another method, another packet, and another
// reason end the connection.
func testExchangeRefused(t *testing.T, b *target) {
	for name, bytes := range map[string][]byte{
		"wrong answer": auth(0x18, authProps(askMethod, "nobody")), "another method": auth(0x18, authProps("other", rightAnswer)),
		"no method": {0xf0, 0}, "PUBLISH": publish{topic: b.topic("x")}.encode(b.v), "re-authentication": auth(0x19, authProps(askMethod, rightAnswer)),
		"reason 0": auth(0, authProps(askMethod, rightAnswer)), "reason 1": auth(1, authProps(askMethod, rightAnswer)),
	} {
		t.Run(name, func(t *testing.T) { b.challenged(t).refuses(bytes) })
	}
}

// testAgain: a client may authenticate itself again, with the same method only.
func testAgain(t *testing.T, b *target) {
	open := func() *peer {
		p := b.challenged(t)
		p.send(auth(0x18, authProps(askMethod, rightAnswer)))
		if ack := p.connack(); ack.code != 0 {
			t.Fatalf("%+v", ack)
		}
		return p
	}
	p := open()
	for range 2 {
		p.send(auth(0x19, authProps(askMethod, "hello")))
		p.asks(0x18, question)
		p.ping() // and goes on with its work meanwhile
		p.send(auth(0x18, authProps(askMethod, rightAnswer)))
		p.asks(0, "welcome")
	}
	p.ping()
	p.refuses(auth(0x19, authProps("other", "hello")), 0x82)
	p = open()
	p.send(auth(0x19, authProps(askMethod, "hello")))
	p.asks(0x18, question)
	p.refuses(auth(0x18, authProps(askMethod, "nobody")), 0x87)
}
