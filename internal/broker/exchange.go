package broker

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// Enhanced is an Authenticator that also knows methods of authentication that take
// several steps (MQTT 5, 4.12), such as those that prove a password without sending it.
//
//	client --CONNECT, method, data--> broker      Begin, Step
//	client <--AUTH, data------------- broker      as long as Step says it is not done
//	client --AUTH, data-------------> broker      Step
//	client <--CONNACK, data---------- broker
//
// A client may do it again later, with the same method (re-authentication).
type Enhanced interface {
	Authenticator
	// Begin starts an exchange with the method l.Method. nil: there is no such method.
	Begin(l *Login) Exchange
}

// Exchange is one authentication under way. Step is called on the goroutine of the
// connection, which waits for it.
type Exchange interface {
	// Step takes the data of the client, nil where it has sent none.
	Step(data []byte) Step
}

// Step is what follows from the client's data.
type Step struct {
	Data []byte // for the client; nil: none
	Done bool   // the client is who it says; else it is to go on

	// If not success: the client is refused, and the rest is not used. Usually
	// mqtt.ReasonNotAuthorized or mqtt.ReasonBadUsernameOrPassword.
	Refused mqtt.Reason

	// With Done: what the client may do, as Authenticate returns it, and who it is, see
	// Login.User. One who authenticates itself again has to be the same.
	Access Access
	User   string
}

// authenticating reports whether a packet of type t may come before CONNACK.
func (c *conn) authenticating(t mqtt.PacketType) bool {
	return c.v5 != nil && c.v5.waiting != nil && (t == mqtt.AUTH || t == mqtt.DISCONNECT)
}

// beginAuth handles a CONNECT that names a method.
func (c *conn) beginAuth(p *mqtt.Connect, l *Login) error {
	if !c.begin(l) { // [MQTT-4.12.0-1]
		return c.refuse(mqtt.ReasonBadAuthenticationMethod, fmt.Sprintf("authentication method %.64q", l.Method))
	}
	kept := *p // what aliases the packet is needed after it
	kept.Password = bytes.Clone(p.Password)
	l.Password = kept.Password
	if p.Will != nil {
		w := *p.Will
		w.Payload = bytes.Clone(w.Payload)
		if w.Properties != nil {
			props := *w.Properties
			props.CorrelationData = bytes.Clone(props.CorrelationData)
			w.Properties = &props
		}
		kept.Will = &w
	}
	c.v5.waiting, c.v5.login = &kept, l
	return c.step(nil, p.Properties.AuthData)
}

func (c *conn) begin(l *Login) bool {
	e, ok := c.b.opt.Auth.(Enhanced)
	if !ok {
		return false
	}
	c.w.leave()
	c.v5.exchange = e.Begin(l)
	return c.v5.exchange != nil
}

// auth handles AUTH: the next step of an exchange, or the first of another one.
func (c *conn) auth(w *work, body []byte) error {
	p, err := mqtt.DecodeAuth(c.version, body)
	if err != nil {
		return &protocolError{causeProtocol, err}
	}
	v := c.v5
	var method string
	var data []byte
	if p.Properties != nil {
		method, data = p.Properties.AuthMethod, p.Properties.AuthData
	}
	switch {
	case v.method == "": // [MQTT-4.12.0-6], [MQTT-4.12.0-7]
		err = refusal(mqtt.ReasonProtocolError, "AUTH without a method in CONNECT")
	case method != v.method: // [MQTT-4.12.0-5], [MQTT-4.12.1-1]
		err = refusal(mqtt.ReasonProtocolError, "another authentication method than in CONNECT")
	case p.Reason == mqtt.ReasonContinueAuthentication && v.exchange != nil: // [MQTT-4.12.0-3]
	case p.Reason == mqtt.ReasonReauthenticate && v.exchange == nil && c.s != nil:
		if !c.begin(&Login{
			ClientID: c.s.id, Version: c.version, Remote: c.nc.RemoteAddr(), TLS: c.tlsState(), ended: c.quitting,
			Method: method, UserProperties: p.Properties.UserProperties,
		}) {
			err = refusal(mqtt.ReasonBadAuthenticationMethod, "authentication method is not known any more")
		}
	default:
		err = refusal(mqtt.ReasonProtocolError, "AUTH that nobody has asked for")
	}
	if err != nil {
		if v.waiting != nil {
			return c.refuse(reasonOf(err), err.Error())
		}
		return &protocolError{causeProtocol, err}
	}
	return c.step(w, data)
}

// step goes on with the exchange. w is nil before CONNACK.
func (c *conn) step(w *work, data []byte) error {
	v := c.v5
	c.w.leave()
	st := v.exchange.Step(data)
	first := v.waiting != nil
	switch {
	case st.Refused != mqtt.ReasonSuccess:
		v.exchange = nil
		if first {
			reason := st.Refused
			if !reason.AllowedIn(mqtt.CONNACK) || !reason.Failed() {
				reason = mqtt.ReasonNotAuthorized
			}
			return c.refuse(reason, "authentication failed") // [MQTT-4.12.0-4]
		}
		return &protocolError{causeAuth, refusal(st.Refused, "authentication failed")} // [MQTT-4.12.1-2]
	case !st.Done:
		return c.sendAuth(w, mqtt.ReasonContinueAuthentication, st.Data) // [MQTT-4.12.0-2]
	}
	v.exchange = nil
	if first {
		p, l := v.waiting, v.login
		v.waiting, v.login = nil, nil
		l.User = st.User
		c.access, c.user = st.Access, st.User
		return c.accept(p, l, st.Data)
	}
	if st.User != c.user {
		return &protocolError{causeAuth, refusal(mqtt.ReasonNotAuthorized, "another user than before")}
	}
	c.s.mu.Lock() // Recheck looks at it
	c.access = st.Access
	c.s.mu.Unlock()
	return c.sendAuth(w, mqtt.ReasonSuccess, st.Data)
}

// sendAuth sends AUTH [MQTT-4.12.0-5], without words that could make it too large
// [MQTT-3.15.2-2], [MQTT-3.15.2-3].
func (c *conn) sendAuth(w *work, r mqtt.Reason, data []byte) error {
	p := mqtt.Auth{Reason: r, Properties: &mqtt.Properties{Present: mqtt.Present(mqtt.PropAuthMethod), AuthMethod: c.v5.method}}
	if data != nil {
		p.Properties.Present |= mqtt.Present(mqtt.PropAuthData)
		p.Properties.AuthData = data
	}
	b, err := mqtt.AppendAuth(nil, mqtt.V5, &p)
	if err == nil && c.v5.maxPacket > 0 && len(b) > c.v5.maxPacket {
		err = errors.New("AUTH is larger than the client takes")
	}
	switch {
	case err != nil && c.s == nil:
		return c.refuse(mqtt.ReasonUnspecifiedError, err.Error())
	case err != nil:
		return &protocolError{causeAuth, refusal(mqtt.ReasonUnspecifiedError, err.Error())}
	case c.s == nil:
		_, err = c.nc.Write(b)
		return err
	}
	c.answer(w, func(dst []byte) []byte { return append(dst, b...) })
	return nil
}
