package client

import (
	"fmt"
	"io"
	"math"
	"net"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// handshake exchanges CONNECT and CONNACK, and what an Auth has to say in between.
//
//	client --CONNECT--> server
//	client <--AUTH----- server    any number of times, MQTT 5 with Options.Auth
//	client ---AUTH----> server
//	client <-CONNACK--- server
func (c *Client) handshake(conn net.Conn, srv *server) (present bool, lim limits, err error) {
	lim = noLimits()
	if c.o.Auth != nil {
		defer func() {
			if err != nil {
				c.dropAuth()
			}
		}()
	}
	p, err := c.connect(srv)
	if err != nil {
		return false, lim, err
	}
	b, err := mqtt.AppendConnect(nil, p)
	if err != nil {
		return false, lim, err
	}
	if _, err := conn.Write(b); err != nil {
		return false, lim, fmt.Errorf("sending CONNECT: %w", err)
	}
	for {
		h, body, err := c.readPacket(conn)
		if err != nil {
			return false, lim, fmt.Errorf("waiting for CONNACK: %w", err)
		}
		if h.Type == mqtt.AUTH && c.o.Auth != nil {
			answer, err := c.authenticate(body)
			if err != nil {
				return false, lim, err
			}
			if _, err := conn.Write(answer); err != nil { // and nothing else before CONNACK [MQTT-3.1.2-30]
				return false, lim, fmt.Errorf("sending AUTH: %w", err)
			}
			continue
		}
		if h.Type != mqtt.CONNACK {
			return false, lim, fmt.Errorf("%w: %s of %d bytes instead of a CONNACK", ErrProtocol, h.Type, h.Length) // [MQTT-3.2.0-1]
		}
		a, err := mqtt.DecodeConnack(c.o.Version, body)
		if err != nil {
			return false, lim, err
		}
		return a.SessionPresent, lim, c.accepted(srv, &a, &lim)
	}
}

// connect makes the CONNECT.
func (c *Client) connect(srv *server) (*mqtt.Connect, error) {
	p := &mqtt.Connect{
		Version: c.o.Version, Clean: c.o.Clean, ClientID: c.o.ClientID, Bridge: c.o.Bridge && c.o.Version != mqtt.V5 && !c.noBridge,
		KeepAlive:   uint16(max(0, c.o.KeepAlive/time.Second)),
		HasUsername: srv.username != "", Username: srv.username,
		HasPassword: srv.password != nil, Password: srv.password,
	}
	if p.ClientID == "" {
		p.ClientID = c.assigned
	}
	var will *Message
	if c.o.Will != nil {
		will = c.o.Will()
	}
	if will != nil {
		p.Will = &mqtt.Will{Topic: will.Topic, Payload: will.Payload, QoS: will.QoS, Retain: will.Retain}
	}
	if c.o.Version != mqtt.V5 {
		return p, nil
	}
	if will != nil {
		p.Will.Properties = will.Properties
	}
	var props mqtt.Properties
	if c.o.Properties != nil {
		props = *c.o.Properties
	}
	if c.o.SessionExpiry != 0 {
		props.SessionExpiry = math.MaxUint32 // never
		if s := c.o.SessionExpiry / time.Second; s >= 0 && s < math.MaxUint32 {
			props.SessionExpiry = uint32(s)
		}
		props.Present |= mqtt.Present(mqtt.PropSessionExpiry)
	}
	if c.o.ReceiveMaximum > 0 {
		props.ReceiveMaximum = c.o.ReceiveMaximum
		props.Present |= mqtt.Present(mqtt.PropReceiveMaximum)
	}
	if c.o.TopicAliases > 0 {
		props.TopicAliasMaximum = c.o.TopicAliases
		props.Present |= mqtt.Present(mqtt.PropTopicAliasMaximum)
	}
	props.MaximumPacketSize = uint32(min(c.o.MaxPacketSize+slack, mqtt.MaxLength))
	props.Present |= mqtt.Present(mqtt.PropMaximumPacketSize)
	if c.o.Auth != nil {
		data, err := c.beginAuth()
		if err != nil {
			return nil, err
		}
		props.AuthMethod, props.AuthData = c.o.Auth.Method(), data
		props.Present |= mqtt.Present(mqtt.PropAuthMethod)
		if len(data) > 0 {
			props.Present |= mqtt.Present(mqtt.PropAuthData)
		}
	}
	p.Properties = &props
	return p, nil
}

// accepted reads what a CONNACK says.
func (c *Client) accepted(srv *server, a *mqtt.Connack, lim *limits) error {
	if c.o.Version != mqtt.V5 {
		if a.Code == mqtt.UnacceptableVersion && c.o.Bridge && !c.o.BridgeOnly {
			// The next attempt is without, for no server needs to know what that is [MQTT-7.0.0-2] of
			// MQTT 3.1.1; and the one after that with it, should it not have been that.
			c.noBridge = !c.noBridge
		}
		if a.Code != mqtt.Accepted {
			return &RefusedError{Server: srv.name, Code: a.Code}
		}
	} else {
		if a.Reason >= mqtt.ReasonUnspecifiedError {
			return &RefusedError{Server: srv.name, Code: a.Code, Reason: because(a.Reason, a.Properties)}
		}
		if a.SessionPresent && c.o.Clean { // there is nothing here that could go on in it [MQTT-3.2.2-4]
			return fmt.Errorf("%w: the server has a session where none was to be kept", ErrProtocol)
		}
		if err := lim.read(a.Properties); err != nil {
			return err
		}
		c.serverMax.Store(int64(lim.packet))
		if c.o.ClientID == "" && a.Properties.Has(mqtt.PropAssignedClientID) {
			c.assigned = a.Properties.AssignedClientID
		}
		if c.o.Auth != nil {
			var data []byte
			if a.Properties != nil {
				data = a.Properties.AuthData
			}
			if err := c.endAuth(data); err != nil {
				return err
			}
		}
	}
	if c.o.OnConnack != nil {
		c.o.OnConnack(a)
	}
	return nil
}

// readPacket reads one packet and not a byte more: what follows is the reader's.
func (c *Client) readPacket(r io.Reader) (mqtt.FixedHeader, []byte, error) {
	var head [5]byte
	have := 2
	if _, err := io.ReadFull(r, head[:have]); err != nil {
		return mqtt.FixedHeader{}, nil, err
	}
	for {
		h, n, err := mqtt.ParseFixedHeader(head[:have])
		if err == nil && n > 0 {
			err = h.Check(c.o.Version)
		}
		switch {
		case err != nil:
			return h, nil, fmt.Errorf("%w: %w", ErrProtocol, err)
		case n > 0 && h.Length > c.o.MaxPacketSize:
			return h, nil, fmt.Errorf("%s of %d bytes: %w", h.Type, h.Length, ErrTooLarge)
		case n > 0:
			body := make([]byte, h.Length)
			_, err := io.ReadFull(r, body)
			return h, body, err
		}
		if _, err := io.ReadFull(r, head[have:have+1]); err != nil {
			return h, nil, err
		}
		have++
	}
}
