package snclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/snlink"
)

// Defaults of Options: the best practice of MQTT-SN 1.2, 7.2, where it has one.
const (
	DefaultKeepAlive  = 10 * time.Minute
	DefaultRetry      = 10 * time.Second // T_retry
	DefaultRetries    = 4                // N_retry
	DefaultWait       = 5 * time.Minute  // T_WAIT
	DefaultSearch     = 5 * time.Second  // T_SEARCHGW
	DefaultMinBackoff = 2 * time.Second
	DefaultMaxBackoff = 5 * time.Minute
	DefaultLinger     = 2 * time.Second
	DefaultQueueBytes = 64 << 10
	missedAdvertise   = 3 // N_ADV
	longest           = 65535 * time.Second
)

// Errors of the client.
var (
	ErrRunning = errors.New("client is running already")
	errLost    = errors.New("no answer from the gateway")
	errUnknown = errors.New("the gateway does not know the session")
	errKilled  = errors.New("dropped by Kill")
	errAgain   = errors.New("connecting anew as told")
	errStopped = errors.New("stopped")
)

// RefusedError is an answer with a return code other than accepted.
type RefusedError struct {
	What string // what was refused
	Code mqttsn.ReturnCode
}

// Error implements error.
func (e *RefusedError) Error() string { return e.What + " " + e.Code.String() }

// Message is an application message.
type Message struct {
	Topic   string
	Payload []byte     // in OnMessage valid until it returns; copied by TryPublish
	QoS     mqttsn.QoS // -1: sent at once and to whoever is there, without a connection (predefined or two-character topics only)
	Retain  bool
	Dup     bool // of a received one
	// Done, if not nil, is called once when the gateway has answered: with nil when it took the message. Not at QoS 0 and -1.
	Done func(error)
}

// Subscription is a topic filter and the highest QoS wanted for it.
type Subscription struct {
	Filter string
	QoS    mqttsn.QoS
}

// Options says what a client is and how it behaves. ClientID and Dial are needed; zero values take the defaults.
type Options struct {
	ClientID string
	// Dial opens the link, at the beginning and whenever no gateway on it answered. The client closes it.
	Dial func(ctx context.Context) (snlink.Link, error)
	// Clean forgets subscriptions and what waited at the gateway on every connection.
	Clean     bool
	KeepAlive time.Duration // up to 65,535 s; negative: none

	Retry                  time.Duration // T_retry, drawn a quarter more or less each time
	Retries                int           // N_retry, 1 to 20
	Wait                   time.Duration // T_WAIT, after "rejected: congestion"
	Search                 time.Duration // T_SEARCHGW; negative: search at once
	Radius                 byte          // of SEARCHGW; 0: the whole network
	MinBackoff, MaxBackoff time.Duration // between attempts to connect, doubling

	// Sleep lets the client sleep when it has had nothing to do for Linger, and wake after so long to fetch what waits. 0: it
	// stays awake. Wake, if not nil, plans the wake-ups instead: the next one after a time, not more than 18 h ahead.
	Sleep  time.Duration
	Wake   func(after time.Time) time.Time
	Linger time.Duration

	// Will is asked at every attempt to connect anew; it or its result may be nil. Birth is asked on every new connection for a
	// message to be sent behind the subscriptions and before anything queued.
	Will, Birth   func() *Message
	Subscriptions []Subscription
	// Predefined are the topic ids that both ends know (MQTT-SN 1.2, 6.5). A gateway that refuses one is told the name instead.
	Predefined map[uint16]string

	// The callbacks run on the goroutine of Run, one at a time: they must not block.
	OnConnect    func()      // a new connection, not the end of a sleep
	OnDisconnect func(error) // its end, nil if Run ended it, and every attempt that failed
	OnMessage    func(*Message)
	OnState      func(State)

	QueueBytes int
	Logger     *slog.Logger
}

func (o *Options) complete() error {
	switch {
	case len(o.ClientID) == 0 || len(o.ClientID) > mqttsn.MaxClientID:
		return fmt.Errorf("client id %q has %d octets, want 1 to %d", o.ClientID, len(o.ClientID), mqttsn.MaxClientID)
	case o.Dial == nil:
		return fmt.Errorf("client %s: nothing to dial", o.ClientID)
	case o.Retries < 0 || o.Retries > 20:
		return fmt.Errorf("client %s: %d repetitions, want 1 to 20", o.ClientID, o.Retries)
	case o.Sleep < 0 || o.Sleep > longest/2:
		return fmt.Errorf("client %s: sleeps of %s, want 0 to %s", o.ClientID, o.Sleep, longest/2)
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&o.KeepAlive, DefaultKeepAlive}, {&o.Retry, DefaultRetry}, {&o.Wait, DefaultWait}, {&o.Search, DefaultSearch},
		{&o.MinBackoff, DefaultMinBackoff}, {&o.MaxBackoff, DefaultMaxBackoff}, {&o.Linger, DefaultLinger}} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	o.KeepAlive = min(max(o.KeepAlive, 0), longest).Truncate(time.Second)
	o.Search = max(o.Search, 0)
	o.MaxBackoff = max(o.MaxBackoff, o.MinBackoff)
	if o.Retry < 0 || o.Wait < 0 || o.MinBackoff < 0 || o.Linger < 0 {
		return fmt.Errorf("client %s: a negative duration: T_retry %s, T_WAIT %s, back-off %s, linger %s", o.ClientID, o.Retry, o.Wait, o.MinBackoff, o.Linger)
	}
	if o.Retries == 0 {
		o.Retries = DefaultRetries
	}
	if o.QueueBytes == 0 {
		o.QueueBytes = DefaultQueueBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

func (o *Options) sleeps() bool { return o.Sleep > 0 || o.Wake != nil }
