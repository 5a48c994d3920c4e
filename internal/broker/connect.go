package broker

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// maxClientID31 is the longest client id of MQTT 3.1, in characters (3.1).
const maxClientID31 = 23

// connect handles CONNECT: version, client id, authentication, session.
func (c *conn) connect(body []byte) error {
	p, err := mqtt.DecodeConnect(body)
	if err != nil {
		return c.badConnect(err)
	}
	c.version, c.bridge, c.clean = p.Version, p.Bridge, p.Clean // that it is a bridge it may say, and need not [MQTT-7.0.0-2] of MQTT 3.1.1
	if p.Version == mqtt.V5 {
		c.takeConnect(&p)
	}
	switch {
	case p.ClientID == "" && (p.Version == mqtt.V31 || p.Version == mqtt.V311 && !p.Clean): // [MQTT-3.1.3-8] of MQTT 3.1.1; MQTT 3.1, 3.1
		return c.refuse(mqtt.ReasonClientIDNotValid, "client id is empty")
	// Others have no longest one; an id of 1 to 23 characters is taken in any case
	// [MQTT-3.1.3-5].
	case p.Version == mqtt.V31 && len([]rune(p.ClientID)) > maxClientID31:
		return c.refuse(mqtt.ReasonClientIDNotValid, fmt.Sprintf("client id %.64q is too long for MQTT 3.1", p.ClientID))
	}
	l := c.login(&p)
	if l.Method != "" {
		return c.beginAuth(&p, l)
	}
	if auth := c.b.opt.Auth; auth != nil {
		c.w.leave()
		access, code := auth.Authenticate(l)
		if code != mqtt.Accepted {
			return c.refuse(code.Reason(), fmt.Sprintf("client %.64q: %s", p.ClientID, code))
		}
		c.access, c.user = access, l.User
	}
	return c.accept(&p, l, nil)
}

// badConnect ends a connection whose CONNECT is not as it should be. A client of MQTT 5
// may be told, an older one is not [MQTT-3.1.0-2], [MQTT-3.1.2-1]; one of a version that
// is not spoken is told in the way of the nearest one [MQTT-3.1.2-2].
func (c *conn) badConnect(err error) error {
	var unknown *mqtt.VersionError
	var bad *mqtt.PacketError
	switch {
	case errors.As(err, &unknown):
		if unknown.Level&0x7f > byte(mqtt.V5) {
			c.version = mqtt.V5
		}
		return c.refuse(mqtt.ReasonUnsupportedVersion, err.Error())
	case errors.As(err, &bad) && bad.Version == mqtt.V5:
		c.version = mqtt.V5
		if r := mqtt.ReasonOf(err); r.AllowedIn(mqtt.CONNACK) {
			return c.refuse(r, err.Error())
		}
		return c.refuse(mqtt.ReasonProtocolError, err.Error())
	}
	return &protocolError{causeProtocol, err}
}

// login is what the client says of itself.
func (c *conn) login(p *mqtt.Connect) *Login {
	l := &Login{
		ClientID: p.ClientID, HasUsername: p.HasUsername, Username: p.Username,
		HasPassword: p.HasPassword, Password: p.Password,
		Version: p.Version, Bridge: p.Bridge, Remote: c.nc.RemoteAddr(),
		TLS: c.tlsState(), ended: c.quitting,
	}
	if p.Properties != nil {
		l.Method, l.UserProperties = p.Properties.AuthMethod, p.Properties.UserProperties
	}
	return l
}

// accept gives a client that has authenticated itself its session. authData goes with
// CONNACK.
func (c *conn) accept(p *mqtt.Connect, l *Login, authData []byte) error {
	if p.Will != nil && c.access != nil && !c.access.Publish(p.Will.Topic) {
		return c.refuse(mqtt.ReasonNotAuthorized, fmt.Sprintf("client %.64q: will to %.64q", p.ClientID, p.Will.Topic))
	}
	if f := c.b.opt.Redirect; f != nil {
		c.w.leave()
		if r, reference := f(l); r != mqtt.ReasonSuccess {
			return c.redirect(r, reference)
		}
	}
	assigned := p.ClientID == ""
	if assigned { // [MQTT-3.1.3-6], [MQTT-3.1.3-7]
		p.ClientID = assignedID()
	}
	ack := mqtt.Connack{}
	if c.v5 != nil {
		ack.Properties = c.connackProperties(p, assigned)
		if c.v5.method != "" {
			ack.Properties.Present |= mqtt.Present(mqtt.PropAuthMethod)
			ack.Properties.AuthMethod = c.v5.method
			if authData != nil {
				ack.Properties.Present |= mqtt.Present(mqtt.PropAuthData)
				ack.Properties.AuthData = authData
			}
		}
		if !c.fits(&ack) {
			return c.refuse(mqtt.ReasonPacketTooLarge, "CONNACK is larger than the client takes")
		}
	}
	c.keepAlive = time.Duration(p.KeepAlive) * time.Second * 3 / 2 // [MQTT-3.1.2-24]; MQTT 5: [MQTT-3.1.2-22], [MQTT-3.2.2-22]
	c.will = newWill(p.Version, p.Will)
	if reason := c.b.attach(c, p, &ack); reason != mqtt.ReasonSuccess {
		c.will = nil
		return c.refuse(reason, fmt.Sprintf("client %.64q: %s", p.ClientID, reason))
	}
	c.b.countClient(c.version, 1)
	c.limit = c.b.opt.MaxPacketSize
	c.last = c.b.now()
	c.setReadDeadline(c.keepAlive)
	if f := c.b.opt.OnSession; f != nil {
		f(SessionEvent{ClientID: p.ClientID, Connected: true, Version: c.version, Clean: c.clean, Remote: c.nc.RemoteAddr().String()})
	}
	return nil
}

func assignedID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return "auto-" + hex.EncodeToString(b[:])
}

// redirect tells a client of MQTT 5 where to go; an older one only that it cannot stay.
func (c *conn) redirect(r mqtt.Reason, reference string) error {
	ack := mqtt.Connack{Reason: r}
	if reference != "" {
		ack.Properties = &mqtt.Properties{Present: mqtt.Present(mqtt.PropServerReference), ServerReference: reference}
	}
	if !c.fits(&ack) {
		ack.Properties = nil
	}
	return c.refuseWith(&ack, "sent to "+reference)
}

// refuse answers and ends the connection [MQTT-3.2.2-5] of MQTT 3.1.1, [MQTT-3.2.2-7];
// what came behind the CONNECT is not looked at [MQTT-3.1.4-5], MQTT 5: [MQTT-3.1.4-6].
func (c *conn) refuse(r mqtt.Reason, why string) error {
	ack := mqtt.Connack{Reason: r}
	if c.version == mqtt.V5 {
		ack.Properties = &mqtt.Properties{Present: mqtt.Present(mqtt.PropReasonString), ReasonString: why}
		if !c.fits(&ack) { // nothing that large may be sent; so nothing is
			return &protocolError{causeRefused, errors.New(why)}
		}
		if ack.Properties.Present == 0 {
			ack.Properties = nil
		}
	}
	return c.refuseWith(&ack, why)
}

func (c *conn) refuseWith(ack *mqtt.Connack, text string) error {
	answer, why := mqtt.AppendConnack(nil, c.version, ack)
	if why == nil {
		why = errors.New(text)
	}
	_ = c.nc.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := c.nc.Write(answer); err != nil {
		why = errors.Join(why, err)
	}
	c.b.log.Debug("client refused", slog.String("remote", c.nc.RemoteAddr().String()), slog.Any("error", why))
	return &protocolError{causeRefused, why}
}
