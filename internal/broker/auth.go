package broker

import (
	"crypto/tls"
	"net"

	"github.com/wattbus/wattbus/internal/mqtt"
)

// Authenticator decides who may connect, and what they may then do. It is called
// on the goroutine of the connection, before anything is known of the session.
type Authenticator interface {
	// Authenticate returns what the client may do, and mqtt.Accepted; or a return
	// code of refusal, usually mqtt.BadUsernameOrPassword or mqtt.NotAuthorized. A
	// nil Access with Accepted allows everything.
	Authenticate(l *Login) (Access, mqtt.ReturnCode)
}

// Access is the access control list of one connection. It is asked at every
// PUBLISH and SUBSCRIBE of a client, from one goroutine at a time.
type Access interface {
	// Publish reports whether the client may publish to the topic, also as a will.
	// A message that it may not publish is acknowledged, counted and dropped
	// [MQTT-3.3.5-2]; a will that it may not publish refuses the CONNECT.
	Publish(topic string) bool
	// Subscribe reports whether the client may subscribe to the filter; if not,
	// SUBACK says failure. Of a shared subscription it gets the filter alone, without
	// "$share/name/".
	Subscribe(filter string) bool
}

// Reticent is an Access that does not want to reveal what it refuses: SUBACK of MQTT 5
// then says that there was an error, not that it is forbidden (3.9.3).
type Reticent interface {
	Access
	Reticent()
}

// Login is what a client says of itself in CONNECT, and what its connection says.
// It is valid until Authenticate returns.
type Login struct {
	ClientID    string // as sent: empty where the broker assigns one
	HasUsername bool
	Username    string
	HasPassword bool
	Password    []byte
	Version     mqtt.Version
	Bridge      bool                 // says it is the bridge of a broker
	TLS         *tls.ConnectionState // nil without TLS
	Remote      net.Addr

	// Of MQTT 5: the method of enhanced authentication, "" for none, and the user
	// properties of CONNECT.
	Method         string
	UserProperties []mqtt.UserProperty

	// User is set by Authenticate: who the client was found to be, "" for nobody in
	// particular. A session belongs to the user who made it; no other gets it.
	User string

	ended func() <-chan struct{}
}

// Ended gives a channel that is closed when the connection has to end, for an
// Authenticator that waits for something.
func (l *Login) Ended() <-chan struct{} {
	if l.ended == nil {
		return nil
	}
	return l.ended()
}
