package gateway

import (
	"context"
	"errors"
	"net"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/mqtt"
)

// Server is the MQTT server behind the gateway.
type Server interface {
	// Open takes the session of a client or makes one. It may wait.
	Open(ctx context.Context, o SessionOptions) (s Session, present bool, err error)
	// PublishFor publishes a message of QoS 0 for a client that has no session now: one of QoS -1. It may wait.
	PublishFor(clientID, topic string, payload []byte, retain bool) error
}

// Reachable is a Server that may be away. While it is, the gateway neither advertises itself nor answers SEARCHGW, so that devices
// look for another.
type Reachable interface{ Reachable() bool }

// reachable reports whether the server is there, as far as is known.
func (g *Gateway) reachable() bool {
	r, ok := g.o.Server.(Reachable)
	return !ok || r.Reachable()
}

// SessionOptions say whose session it is. Ready is called when there may be something for Next after it had nothing, Ended when
// somebody else has taken the session. They may be called from anywhere and do not block.
type SessionOptions struct {
	ClientID     string
	Identity     string // that the link has proven, "" for none
	Clean        bool   // what there is of a former one is thrown away
	Temporary    bool   // it ends with the connection at the server
	From         net.Addr
	Ready, Ended func()
}

// Session is a client's session at the server. [broker.Local] says what the methods do; those that may wait are Publish,
// Subscribe, Unsubscribe, SetWill, Close and Shutdown. The gateway calls them one at a time, and answers the client when done is
// called, from wherever and also inside the method: what the client was told is then safe at the server. done does not block.
type Session interface {
	Publish(m *broker.LocalMessage, done func()) error
	Release(id uint16, done func())
	Subscribe(filter string, qos byte, done func()) error
	Unsubscribe(filter string, done func())
	SetWill(w *mqtt.Will) error
	Keep(clean bool)
	Next() (broker.Delivery, bool)
	Received(id uint16, done func())
	Done(id uint16)
	Close(lost bool)
	Shutdown()
}

// InProcess gives sessions of a broker in this process. They have no connection, no goroutine and no buffer: a client that
// sleeps costs its session, and what waits for it waits there.
type InProcess struct {
	Broker *broker.Broker
	// SessionBytes bounds what waits for one client; 0: broker.DefaultLocalBytes.
	SessionBytes int64
	// Access gives what a client may do, and to whom its session belongs; nil: everything, and to nobody in particular. An
	// error refuses the client.
	Access func(clientID, identity string) (a broker.Access, user string, err error)
}

// Open implements Server.
func (p InProcess) Open(_ context.Context, o SessionOptions) (Session, bool, error) {
	lo := broker.LocalOptions{ClientID: o.ClientID, Clean: o.Clean, Remote: o.From, MaxBytes: p.SessionBytes, Ready: o.Ready, Ended: o.Ended}
	if p.Access != nil {
		var err error
		if lo.Access, lo.User, err = p.Access(o.ClientID, o.Identity); err != nil {
			return nil, false, errors.Join(broker.ErrDenied, err)
		}
	}
	l, present, err := p.Broker.Open(lo)
	if err != nil {
		return nil, false, err
	}
	return l, present, nil
}

// PublishFor implements Server.
func (p InProcess) PublishFor(clientID, topic string, payload []byte, retain bool) error {
	if p.Access != nil {
		a, _, err := p.Access(clientID, "")
		if err != nil {
			return errors.Join(broker.ErrDenied, err)
		}
		if a != nil && !a.Publish(topic) {
			return broker.ErrDenied
		}
	}
	_, err := p.Broker.Publish(topic, payload, 0, retain)
	return err
}
