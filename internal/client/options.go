package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/topic"
)

// Defaults of Options.
const (
	DefaultKeepAlive      = 60 * time.Second
	DefaultConnectTimeout = 20 * time.Second
	DefaultMinBackoff     = time.Second
	DefaultMaxBackoff     = time.Minute
	DefaultFailBack       = 5 * time.Minute
	DefaultQueueBytes     = 1 << 20
	DefaultMaxPacketSize  = 256 << 10
	DefaultMaxInflight    = 1024
	DefaultSessionExpiry  = 7 * 24 * time.Hour // as long as our broker keeps one before MQTT 5
	DefaultMaxRedirects   = 3
)

// MaxInflight is the highest number of unacknowledged messages in flight: all packet identifiers but the few that the client
// keeps for itself.
const MaxInflight = 65532

// Options says what a client is and how it behaves. Zero values take the defaults.
type Options struct {
	// URL is the server: mqtt://[user[:password]@]host[:port], mqtts:// for TLS, ws:// or wss:// with a path for WebSocket; ports 1883, 8883,
	// 80 and 443 and the path /mqtt unless given.
	URL string
	// Fallbacks are further servers in order of preference. When a server cannot be reached or refuses, the next one is tried
	// at once; when none is left, after the back-off, the first.
	Fallbacks []string
	// Dial, if not nil, makes every connection instead of the URLs.
	Dial func(ctx context.Context) (net.Conn, error)
	// TLS is the configuration for mqtts:// and wss://; nil trusts the system's authorities.
	TLS *tls.Config

	ClientID string
	// Username and Password are sent unless the URL has its own. "" sends none.
	Username string
	Password []byte
	Version  mqtt.Version // V31, V311 or V5; default V311
	// Bridge says, before MQTT 5, that the client is the bridge of a broker: a server that knows what that is sends it nothing of
	// its own and leaves RETAIN as it was, another one refuses.
	Bridge bool
	// BridgeOnly makes the client keep to that: else it tries without, at a server that refuses the version.
	BridgeOnly bool
	// Clean asks for a session that ends with the connection. Without it the server keeps the session.
	Clean bool
	// SessionExpiry is how long, in MQTT 5, the server keeps the session after the connection, in whole seconds; default
	// DefaultSessionExpiry, with Clean 0. Negative: for ever.
	SessionExpiry time.Duration
	// ReceiveMaximum is how many unacknowledged messages the server may send in MQTT 5; 0: 65,535.
	ReceiveMaximum uint16
	// TopicAliases is how many topic aliases the server may use in MQTT 5; each may cost a topic's length. 0: none.
	TopicAliases uint16
	// Aliases is how many topic aliases the client itself sets at most in MQTT 5, where the server allows some: each costs it a
	// topic's length and some 100 bytes, and saves that length with each further message to the topic. 0: none.
	Aliases uint16
	// Properties are further ones for CONNECT in MQTT 5: user properties, request response and problem information.
	Properties *mqtt.Properties
	// Auth, if not nil, takes part in the enhanced authentication of MQTT 5.
	Auth Auth
	// MaxRedirects is how many servers in a row the client follows that name another one (MQTT 5); default
	// DefaultMaxRedirects, negative: none. It never follows from TLS to a connection without.
	MaxRedirects int
	// KeepAlive is the longest time without a packet, in whole seconds up to 65535; negative: none.
	KeepAlive time.Duration
	// PingTimeout is how long a PINGREQ may stay unanswered; default half of KeepAlive, at most 30 s.
	PingTimeout time.Duration
	// ConnectTimeout bounds dialling, the TLS handshake and the wait for CONNACK together.
	ConnectTimeout time.Duration
	// MinBackoff and MaxBackoff bound the wait before the next attempt, which doubles and is drawn from its upper half.
	MinBackoff, MaxBackoff time.Duration
	// FailBack is after what time on a fallback the client tries a preferred server again, with a second connection beside the one
	// in use, which is given up only when the preferred server has accepted it; negative: never. Will and Birth are then called on
	// another goroutine than Run's.
	FailBack time.Duration

	// Will is asked at every attempt to connect; it or its result may be nil.
	Will func() *Message
	// Birth is asked on every connection for a message to be sent right behind the subscriptions and before anything queued,
	// outside of the queue: lost with the connection, since the next one brings the next. QoS 0 or 1.
	Birth func() *Message
	// Farewell is asked, when Run ends a connection in order or leaves a fallback, for a message to be sent right before DISCONNECT. QoS 0 or 1.
	Farewell func() *Message
	// Subscriptions are those the client begins with; see Subscribe.
	Subscriptions []Subscription

	// OnConnack is called with a CONNACK that accepted the client, before OnConnect; it must not keep the data in it.
	OnConnack func(*mqtt.Connack)
	// OnRefused is called when the server, in MQTT 5, acknowledged a message with a failure: the message is done with, and its
	// Acked is not called. A message with a Refused of its own is told by that.
	OnRefused func(topic string, err *ReasonError)
	// OnConnect is called after CONNACK. The callbacks run on the goroutine of Run, one at a time: while one blocks, nothing is
	// received, acknowledgements neither; so a Publish inside of them that waits for room waits in vain. Use TryPublish there.
	OnConnect func(sessionPresent bool)
	// OnDisconnect is called once after each connection, with nil if Run ended it, and with the error of each attempt that failed.
	OnDisconnect func(error)
	// OnMessage is called for each message in the order of arrival. At QoS 1 and 2 the message is acknowledged after it
	// returned, so a receiver keeps what it must before it returns.
	OnMessage func(*Message)

	// MaxInflight is how many messages may be sent and unacknowledged, 1 to MaxInflight; of QoS 2 never more than 20.
	MaxInflight int
	// QueueBytes bounds what Publish accepts and the server has not acknowledged.
	QueueBytes int
	// OnlineBytes bounds the same while there is a connection, so that what is queued goes soon; 0: QueueBytes does.
	OnlineBytes int
	// MaxPacketSize bounds a packet that is sent, in bytes; one that is received may be larger by the length of a topic.
	MaxPacketSize int

	Logger *slog.Logger
}

// complete checks o and fills in the defaults.
func (o *Options) complete() error {
	if o.Version == 0 {
		o.Version = mqtt.V311
	}
	if o.Version != mqtt.V31 && o.Version != mqtt.V311 && o.Version != mqtt.V5 {
		return fmt.Errorf("version %s of client %q: want %s, %s or %s", o.Version, o.ClientID, mqtt.V31, mqtt.V311, mqtt.V5)
	}
	if o.Dial == nil && o.URL == "" {
		return fmt.Errorf("client %q has no URL: want mqtt://host:port or mqtts://host:port", o.ClientID)
	}
	switch {
	case o.ClientID == "" && !o.Clean && o.Version != mqtt.V5: // there the server gives one [MQTT-3.1.3-6]
		return fmt.Errorf("client without a client id: want one, or a clean session") // [MQTT-3.1.3-7]
	case o.Version == mqtt.V31 && (o.ClientID == "" || len(o.ClientID) > 23):
		return fmt.Errorf("client id %q has %d characters, want 1 to 23 in MQTT 3.1", o.ClientID, len(o.ClientID))
	case o.Username == "" && len(o.Password) > 0 && o.Version != mqtt.V5:
		return fmt.Errorf("client %q has a password and no user name", o.ClientID) // [MQTT-3.1.2-22]
	}
	if o.SessionExpiry == 0 && !o.Clean {
		o.SessionExpiry = DefaultSessionExpiry
	}
	setInt(&o.MaxRedirects, DefaultMaxRedirects)
	setDuration(&o.KeepAlive, DefaultKeepAlive)
	if o.KeepAlive > 0 && (o.KeepAlive < time.Second || o.KeepAlive > 65535*time.Second) {
		return fmt.Errorf("keep-alive %s of client %q: want 1s to 65535s, or a negative one for none", o.KeepAlive, o.ClientID)
	}
	o.KeepAlive = o.KeepAlive.Truncate(time.Second)
	setDuration(&o.PingTimeout, max(min(o.KeepAlive/2, 30*time.Second), 500*time.Millisecond))
	setDuration(&o.ConnectTimeout, DefaultConnectTimeout)
	setDuration(&o.MinBackoff, DefaultMinBackoff)
	setDuration(&o.MaxBackoff, max(DefaultMaxBackoff, o.MinBackoff))
	setDuration(&o.FailBack, DefaultFailBack)
	if o.MinBackoff < 0 || o.MaxBackoff < o.MinBackoff {
		return fmt.Errorf("back-off %s to %s of client %q: want the first not negative and not above the second", o.MinBackoff, o.MaxBackoff, o.ClientID)
	}
	if o.PingTimeout < 0 || o.ConnectTimeout < 0 {
		return fmt.Errorf("client %q has a negative timeout", o.ClientID)
	}
	setInt(&o.MaxInflight, DefaultMaxInflight)
	setInt(&o.QueueBytes, DefaultQueueBytes)
	setInt(&o.MaxPacketSize, DefaultMaxPacketSize)
	if o.MaxInflight < 1 || o.MaxInflight > MaxInflight {
		return fmt.Errorf("max inflight %d of client %q: want 1 to %d", o.MaxInflight, o.ClientID, MaxInflight)
	}
	if o.QueueBytes < 256 || o.MaxPacketSize < 128 {
		return fmt.Errorf("queue of %d bytes and packets of %d bytes of client %q: want at least 256 and 128", o.QueueBytes, o.MaxPacketSize, o.ClientID)
	}
	if o.OnlineBytes == 0 || o.OnlineBytes > o.QueueBytes {
		o.OnlineBytes = o.QueueBytes
	}
	if o.OnlineBytes < min(o.MaxPacketSize+overhead, o.QueueBytes) {
		return fmt.Errorf("online bytes %d of client %q: want at least %d, for a packet to fit", o.OnlineBytes, o.ClientID, o.MaxPacketSize+overhead)
	}
	for _, s := range o.Subscriptions {
		if err := s.check(); err != nil {
			return fmt.Errorf("client %q: %w", o.ClientID, err)
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

func (s Subscription) check() error {
	if err := topic.CheckFilter(s.Filter); err != nil {
		return fmt.Errorf("subscription to %q: %w", s.Filter, err)
	}
	if s.QoS > 2 || s.RetainHandling > mqtt.RetainNever || s.ID > mqtt.MaxLength {
		return fmt.Errorf("subscription to %q: QoS %d, retain handling %d, identifier %d: want at most 2, 2 and %d", s.Filter, s.QoS, s.RetainHandling, s.ID, mqtt.MaxLength)
	}
	return nil
}

func setDuration(d *time.Duration, def time.Duration) {
	if *d == 0 {
		*d = def
	}
}

func setInt(n *int, def int) {
	if *n == 0 {
		*n = def
	}
}
