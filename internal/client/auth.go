package client

import (
	"fmt"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// Auth is the client's part of an enhanced authentication of MQTT 5 (4.12), such as SCRAM. Its methods are called one after
// another for each attempt to connect, from Begin on; an error ends the attempt. They may be called on different goroutines, never on two at
// once, and do not call the client.
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
	c.authMu.Lock()
	data, err := c.o.Auth.Continue(a.Properties.AuthData)
	c.authMu.Unlock()
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

// beginAuth gives the data for CONNECT.
func (c *Client) beginAuth() ([]byte, error) {
	c.authMu.Lock()
	defer c.authMu.Unlock()
	c.authing, c.authAgain = true, false
	data, err := c.o.Auth.Begin()
	if err != nil {
		return nil, fmt.Errorf("authentication %s: %w", c.o.Auth.Method(), err)
	}
	return data, nil
}

// endAuth checks the data that came with the server's consent to a connection.
func (c *Client) endAuth(data []byte) error {
	c.authMu.Lock()
	defer c.authMu.Unlock()
	c.authing = false
	if err := c.o.Auth.End(data); err != nil {
		return fmt.Errorf("authentication %s: %w", c.o.Auth.Method(), err)
	}
	return nil
}

// dropAuth is for an attempt to connect that has failed.
func (c *Client) dropAuth() {
	c.authMu.Lock()
	defer c.authMu.Unlock()
	c.authing = false
}

// Reauthenticate begins an authentication on the present connection (MQTT 5, 4.12.1). What becomes of it is told by Auth.End or by
// the end of the connection. While one is under way another follows it: a server takes one at a time.
func (c *Client) Reauthenticate() error {
	if c.o.Auth == nil || c.o.Version != mqtt.V5 {
		return fmt.Errorf("authenticating again: %w: no Auth, or not MQTT 5", ErrUnsupported)
	}
	c.authMu.Lock()
	defer c.authMu.Unlock()
	c.mu.Lock()
	l := c.link
	up := l != nil && !l.leaving
	c.mu.Unlock()
	switch {
	case !up:
		return ErrNotConnected
	case c.authing:
		c.authAgain = true
		return nil
	}
	b, err := c.beginAgain()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != l || l.leaving {
		return ErrNotConnected
	}
	c.authing = true
	l.control = append(l.control, b...)
	c.kick(l)
	return nil
}

// beginAgain is the AUTH that begins an authentication on a connection. c.authMu is held.
func (c *Client) beginAgain() ([]byte, error) {
	data, err := c.o.Auth.Begin()
	if err != nil {
		return nil, fmt.Errorf("authentication %s: %w", c.o.Auth.Method(), err)
	}
	return c.auth(mqtt.ReasonReauthenticate, data)
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
		return c.againDone(l, data)
	}
	answer, err := c.authenticate(body)
	if err == nil {
		l.acks = append(l.acks, answer...)
	}
	return err
}

// againDone ends an authentication on a connection, and begins the one that is to follow it.
func (c *Client) againDone(l *link, data []byte) error {
	c.authMu.Lock()
	defer c.authMu.Unlock()
	c.authing = false
	if err := c.o.Auth.End(data); err != nil || !c.authAgain {
		return err
	}
	b, err := c.beginAgain()
	if err == nil {
		c.authing, c.authAgain = true, false
		l.acks = append(l.acks, b...)
	}
	return err
}
