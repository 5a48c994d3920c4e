package broker

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/topic"
)

// Options configure a Broker. The zero value of every field is a default.
type Options struct {
	Logger *slog.Logger  // default: discards
	Auth   Authenticator // nil: every client may do everything

	// MaxPacketSize is the largest packet accepted, in bytes of its remaining
	// length, refused from the fixed header. Default 256 KiB.
	MaxPacketSize int
	// MaxConnectSize is the same before CONNECT was accepted. Default 4 KiB.
	MaxConnectSize int
	// MaxAssemblyBytes bounds what all connections together hold of packets that
	// have not arrived completely; a connection that needs more is closed. Default 64 MiB.
	MaxAssemblyBytes int64

	// MaxConnections bounds the open connections; more are closed at once. Default 100,000.
	MaxConnections int
	// MaxSessions bounds the sessions, connected or not; a CONNECT that needs one
	// more is refused as server unavailable. Default 200,000.
	MaxSessions int
	// MaxSessionQueueBytes bounds what waits for one session, messages sent and not
	// acknowledged included. For what happens at the bound see the package
	// documentation. Default 8 MiB.
	MaxSessionQueueBytes int64
	// MaxQueueBytes bounds the same over all sessions. Default 256 MiB.
	MaxQueueBytes int64
	// MaxInflight is how many messages of QoS 1 and 2 are on the way to one session
	// before the next waits for an acknowledgement. At most 65,535. Default 1,024. A
	// connection begins with 20, and gets one more with each acknowledgement.
	MaxInflight int
	// MaxSubscriptions bounds the subscriptions of one session; more are refused
	// in SUBACK. Default 1,024.
	MaxSubscriptions int
	// MaxAllSubscriptions bounds those of all sessions in the same way; each takes some
	// 300 bytes, and what its filter takes. Default 1,000,000.
	MaxAllSubscriptions int
	// MaxFilterLevels and MaxFilterBytes bound one topic filter; larger ones are
	// refused in SUBACK. A message whose topic has more levels is delivered and not
	// retained, like one that finds no room. Default 64 and 1,024.
	MaxFilterLevels, MaxFilterBytes int
	// MaxRetained and MaxRetainedBytes bound the retained messages; beyond, a
	// message is delivered and not retained, and its topic has none any more: the one
	// before is out of date. The bytes are those of topics and payloads,
	// and some for each level of a topic that no other topic has. Default 100,000 and
	// 64 MiB.
	MaxRetained      int
	MaxRetainedBytes int64

	// ReceiveMaximum is how many messages of QoS 1 and 2 a client of MQTT 5 may have
	// under way to the broker; one that sends more is disconnected. At most 65,535.
	// Default 1,024.
	ReceiveMaximum int
	// MaxTopicAliases bounds the topic aliases of one connection of MQTT 5, those that
	// the client may set and those that the broker sets. Negative: none. Default 32.
	MaxTopicAliases int
	// MaxKeepAlive is the longest keep alive of a client of MQTT 5: one that wants a
	// longer one, or none, is told. In whole seconds; 0: no bound.
	MaxKeepAlive time.Duration
	// ResponseTopics is the topic below which a client of MQTT 5 that asks for response
	// information is told to have its responses: with its client id as one more level.
	// Access to it is the matter of Auth. Default "": nobody is told.
	ResponseTopics string
	// Redirect may send a client to another server, after it has authenticated itself
	// and before it gets a session: it returns mqtt.ReasonUseAnotherServer or
	// mqtt.ReasonServerMoved and where to go, which a client of MQTT 5 is told and an
	// older one is not; mqtt.ReasonSuccess keeps the client. It is called on the
	// goroutine of the connection. See Broker.Redirect for clients that are connected.
	Redirect func(l *Login) (r mqtt.Reason, reference string)

	// SessionExpiry ends a session that was not connected for so long, also where a
	// client of MQTT 5 asks for longer. Default 7 days; negative: never.
	SessionExpiry time.Duration
	// WillGrace is how long, after a start with a Store, clients that were connected when
	// the broker ended have to come back before their wills go out, unless a will delay is
	// longer. Default 30 s; negative: no time.
	WillGrace time.Duration
	// ConnectTimeout is how long a connection may take to send CONNECT, and a
	// CONNECT may wait for the connection it takes over. Default 10 s.
	ConnectTimeout time.Duration
	// StallTimeout ends a connection that takes nothing of what waits for it, for
	// so long, while its socket is full or publishers wait for it. Default 20 s.
	StallTimeout time.Duration

	// Store keeps sessions that outlive their connections, what waits for them, and
	// retained messages over restarts, see the package documentation. nil: nothing is
	// kept.
	Store SessionStore

	// OnSession is told when a client connects and disconnects, in that order for
	// each client id, on the goroutine of the connection. It must not block.
	OnSession func(SessionEvent)

	// SysInterval is how often what is below $SYS/broker is published, while somebody
	// subscribes to it. Default 10 s; negative: never, and nothing is there.
	SysInterval time.Duration
	// Version is what $SYS/broker/version says. Default "wattbus".
	Version string

	// Registerer gets the metrics of the broker; nil: none.
	Registerer prometheus.Registerer
}

// SessionEvent says that a client has come or gone.
type SessionEvent struct {
	ClientID  string
	Connected bool
	Version   mqtt.Version
	Clean     bool
	Remote    string // network address
	Reason    string // why it has gone: one of the reasons of the metric wattbus_broker_disconnects_total
}

// OptionError says which field of Options has a value that cannot be.
type OptionError struct {
	Field string
	Value any
	Want  string // what it may be
}

func (e *OptionError) Error() string {
	return fmt.Sprintf("broker: %s is %v, want %s", e.Field, e.Value, e.Want)
}

func (o *Options) setDefaults() error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.MaxTopicAliases == 0:
		o.MaxTopicAliases = 32
	case o.MaxTopicAliases < 0:
		o.MaxTopicAliases = 0
	case o.MaxTopicAliases > 65_535:
		return &OptionError{"MaxTopicAliases", o.MaxTopicAliases, "at most 65535, or a negative number for none"}
	}
	if o.MaxKeepAlive < 0 || o.MaxKeepAlive > 65_535*time.Second || o.MaxKeepAlive%time.Second != 0 {
		return &OptionError{"MaxKeepAlive", o.MaxKeepAlive, "whole seconds up to 65535s, or 0 for no bound"}
	}
	if o.ResponseTopics != "" {
		if err := topic.CheckName(o.ResponseTopics); err != nil {
			return &OptionError{"ResponseTopics", o.ResponseTopics, "a topic without wildcards: " + err.Error()}
		}
	}
	for _, f := range []struct {
		name  string
		value *int
		def   int
		max   int
	}{
		{"MaxPacketSize", &o.MaxPacketSize, 256 << 10, mqtt.MaxLength},
		{"MaxConnectSize", &o.MaxConnectSize, 4 << 10, mqtt.MaxLength},
		{"MaxConnections", &o.MaxConnections, 100_000, 1 << 30},
		{"MaxSessions", &o.MaxSessions, 200_000, 1 << 30},
		{"MaxInflight", &o.MaxInflight, 1024, 65_535},
		{"ReceiveMaximum", &o.ReceiveMaximum, 1024, maxOutstanding},
		{"MaxSubscriptions", &o.MaxSubscriptions, 1024, 1 << 30},
		{"MaxAllSubscriptions", &o.MaxAllSubscriptions, 1_000_000, 1 << 30},
		{"MaxFilterLevels", &o.MaxFilterLevels, 64, 4096},
		{"MaxFilterBytes", &o.MaxFilterBytes, 1024, 65_535},
		{"MaxRetained", &o.MaxRetained, 100_000, 1 << 30},
	} {
		if *f.value == 0 {
			*f.value = f.def
		}
		if *f.value < 1 || *f.value > f.max {
			return &OptionError{f.name, *f.value, fmt.Sprintf("1 to %d", f.max)}
		}
	}
	for _, f := range []struct {
		name  string
		value *int64
		def   int64
	}{
		{"MaxAssemblyBytes", &o.MaxAssemblyBytes, 64 << 20},
		{"MaxSessionQueueBytes", &o.MaxSessionQueueBytes, 8 << 20},
		{"MaxQueueBytes", &o.MaxQueueBytes, 256 << 20},
		{"MaxRetainedBytes", &o.MaxRetainedBytes, 64 << 20},
	} {
		if *f.value == 0 {
			*f.value = f.def
		}
		if *f.value < 1 {
			return &OptionError{f.name, *f.value, "1 or more"}
		}
	}
	for _, f := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"SessionExpiry", &o.SessionExpiry, 7 * 24 * time.Hour},
		{"WillGrace", &o.WillGrace, 30 * time.Second},
		{"ConnectTimeout", &o.ConnectTimeout, 10 * time.Second},
		{"StallTimeout", &o.StallTimeout, 20 * time.Second},
		{"SysInterval", &o.SysInterval, 10 * time.Second},
	} {
		if *f.value == 0 {
			*f.value = f.def
		}
		if *f.value < 0 && f.name != "SessionExpiry" && f.name != "WillGrace" && f.name != "SysInterval" {
			return &OptionError{f.name, *f.value, "a time above 0, such as 10s"}
		}
	}
	if o.Version == "" {
		o.Version = "wattbus"
	}
	return nil
}
