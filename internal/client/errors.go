package client

import (
	"errors"
	"fmt"

	"github.com/wattbus/wattbus/internal/mqtt"
)

var (
	// ErrNotConnected is returned for a message of QoS 0 while there is no connection; the message is dropped.
	ErrNotConnected = errors.New("not connected")
	// ErrTooLarge is returned for a message that cannot fit the packet size or the queue.
	ErrTooLarge = errors.New("message too large")
	// ErrPeerDead ends a connection whose peer did not answer a PINGREQ in time.
	ErrPeerDead = errors.New("no answer to PINGREQ")
	// ErrKilled ends a connection that Kill dropped.
	ErrKilled = errors.New("connection dropped by Kill")
	// ErrRunning is returned by Run while another Run of the same client has not returned.
	ErrRunning = errors.New("client is running already")
	// ErrUnsupported ends an attempt to connect to a server that cannot do what the client needs.
	ErrUnsupported = errors.New("not supported by the server")
	// ErrProtocol ends a connection whose server broke the protocol.
	ErrProtocol = errors.New("protocol violated by the server")

	errFailBack = errors.New("going back to a preferred server")
)

// RefusedError is a CONNACK that refuses the connection.
type RefusedError struct {
	Server string
	Code   mqtt.ReturnCode // of MQTT 5 the nearest to Reason
	Reason *ReasonError    // in MQTT 5; else nil
}

// Error implements error.
func (e *RefusedError) Error() string {
	if e.Reason != nil {
		return fmt.Sprintf("server %s refused the connection: %s", e.Server, e.Reason)
	}
	return fmt.Sprintf("server %s refused the connection: %s", e.Server, e.Code)
}

// Unwrap gives the reason.
func (e *RefusedError) Unwrap() error {
	if e.Reason == nil {
		return nil
	}
	return e.Reason
}

// ReasonError is what a server of MQTT 5 said why something failed: a connection, a message, a subscription.
type ReasonError struct {
	Reason    mqtt.Reason
	Text      string // the reason string, for people; "" for none
	Reference string // another server to use; "" for none
}

// Error implements error.
func (e *ReasonError) Error() string {
	s := e.Reason.String()
	if e.Text != "" {
		s += ": " + e.Text
	}
	if e.Reference != "" {
		s += ", use " + e.Reference
	}
	return s
}

// because makes an error of a reason and the properties that came with it.
func because(r mqtt.Reason, p *mqtt.Properties) *ReasonError {
	e := &ReasonError{Reason: r}
	if p != nil {
		e.Text, e.Reference = p.ReasonString, p.ServerReference
	}
	return e
}
