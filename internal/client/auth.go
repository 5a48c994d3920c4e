package client

import (
	"fmt"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// Auth is the client's part of an enhanced authentication of MQTT 5 (4.12), such as SCRAM. Its methods are called one after
// another for each attempt to connect, from Begin on; an error ends the attempt.
type Auth interface {
	// Method is the name that both sides know it by.
	Method() string
	// Begin gives the data for CONNECT, and for an AUTH that authenticates again.
	Begin() ([]byte, error)
	// Continue answers data of the server.
	Continue(data []byte) ([]byte, error)
	// End checks the data of the server that came with its consent.
	End(data []byte) error
}

// authenticate answers an AUTH of the server.
func (c *Client) authenticate(body []byte) ([]byte, error) {
	a, err := mqtt.DecodeAuth(c.o.Version, body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	method := c.o.Auth.Method()
	if a.Reason != mqtt.ReasonContinueAuthentication || a.Properties == nil || a.Properties.AuthMethod != method { // [MQTT-4.12.0-5]
		return nil, fmt.Errorf("%w: AUTH with %s in an authentication by %s", ErrProtocol, a.Reason, method)
	}
	data, err := c.o.Auth.Continue(a.Properties.AuthData)
	if err != nil {
		return nil, fmt.Errorf("authentication %s: %w", method, err)
	}
	return c.auth(mqtt.ReasonContinueAuthentication, data) // [MQTT-4.12.0-3]
}

func (c *Client) auth(r mqtt.Reason, data []byte) ([]byte, error) {
	p := &mqtt.Properties{AuthMethod: c.o.Auth.Method(), AuthData: data, Present: mqtt.Present(mqtt.PropAuthMethod)}
	if len(data) > 0 {
		p.Present |= mqtt.Present(mqtt.PropAuthData)
	}
	return mqtt.AppendAuth(nil, c.o.Version, &mqtt.Auth{Reason: r, Properties: p})
}

// Reauthenticate begins an authentication on the present connection (MQTT 5, 4.12.1). What becomes of it is told by Auth.End or by
// the end of the connection.
func (c *Client) Reauthenticate() error {
	if c.o.Auth == nil || c.o.Version != mqtt.V5 {
		return fmt.Errorf("authenticating again: %w: no Auth, or not MQTT 5", ErrUnsupported)
	}
	data, err := c.o.Auth.Begin()
	if err != nil {
		return fmt.Errorf("authentication %s: %w", c.o.Auth.Method(), err)
	}
	b, err := c.auth(mqtt.ReasonReauthenticate, data)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil || c.link.leaving {
		return ErrNotConnected
	}
	c.link.control = append(c.link.control, b...)
	c.kick(c.link)
	return nil
}

// reauthenticated handles an AUTH on a connection that stands.
func (c *Client) reauthenticated(l *link, body []byte) error {
	if c.o.Auth == nil {
		return fmt.Errorf("%w: AUTH from a server", ErrProtocol) // [MQTT-4.12.0-6]
	}
	if a, err := mqtt.DecodeAuth(c.o.Version, body); err == nil && a.Reason == mqtt.ReasonSuccess {
		var data []byte
		if a.Properties != nil {
			data = a.Properties.AuthData
		}
		return c.o.Auth.End(data)
	}
	answer, err := c.authenticate(body)
	if err == nil {
		l.acks = append(l.acks, answer...)
	}
	return err
}
