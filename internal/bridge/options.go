package bridge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/mqtt"
)

// Defaults of Options.
const (
	DefaultQueueBytes    = 64 << 20
	DefaultOnlineBytes   = 2 << 20
	DefaultMaxPacketSize = 256 << 10
	DefaultKeepAlive     = 30 * time.Second
	DefaultMinBackoff    = 250 * time.Millisecond
	DefaultMaxBackoff    = 15 * time.Second
	DefaultStopTimeout   = 5 * time.Second
)

// Options says what the bridge links. Zero values take the defaults.
type Options struct {
	ID    string         // of the concentrator; also the client id at the upstream
	Local *broker.Broker // whose messages go up
	// Upstreams are the URLs (mqtt:// or mqtts://) in order of preference; see client.Options.
	Upstreams []string
	// Dial, if not nil, makes every connection instead of the URLs.
	Dial func(ctx context.Context) (net.Conn, error)

	TLS      *tls.Config
	Username string
	Password []byte
	Version  mqtt.Version
	Auth     client.Auth // enhanced authentication of MQTT 5; nil: none

	// Batch puts messages together before they go up; off by default.
	Batch Batch
	// Now gives the time in the header of a batch, in seconds since the epoch; default the wall clock.
	Now func() uint32

	// QueueBytes bounds what the upstream has not acknowledged, in bytes of packets plus 32 for each.
	QueueBytes int
	// OnlineBytes bounds the same while the upstream is connected: an answer to a command stands in line behind what is queued. It
	// is what a fast link needs to be kept busy, no more.
	OnlineBytes int
	// MaxPacketSize is what the upstream accepts. A message that is larger with the longer topic is dropped and counted: sent, it
	// would end the connection again and again.
	MaxPacketSize int

	KeepAlive              time.Duration
	MinBackoff, MaxBackoff time.Duration
	FailBack               time.Duration // see client.Options
	// StopTimeout bounds how long Run, when it stops, waits for the upstream to acknowledge what is queued.
	StopTimeout time.Duration

	Logger *slog.Logger
}

func (o *Options) complete() error {
	if o.Local == nil {
		return errors.New("no local broker")
	}
	if len(o.Upstreams) == 0 && o.Dial == nil {
		return errors.New("no upstream: want mqtt://host:port or mqtts://host:port")
	}
	for _, n := range []struct {
		value *int
		def   int
	}{{&o.QueueBytes, DefaultQueueBytes}, {&o.MaxPacketSize, DefaultMaxPacketSize}, {&o.OnlineBytes, max(DefaultOnlineBytes, 2*o.MaxPacketSize)}} {
		if *n.value == 0 {
			*n.value = n.def
		}
	}
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&o.KeepAlive, DefaultKeepAlive}, {&o.MinBackoff, DefaultMinBackoff}, {&o.MaxBackoff, max(DefaultMaxBackoff, o.MinBackoff)},
		{&o.FailBack, client.DefaultFailBack}, {&o.StopTimeout, DefaultStopTimeout},
	} {
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if err := o.Batch.complete(); err != nil {
		return err
	}
	if most := min(o.MaxPacketSize, o.QueueBytes) - 128; o.Batch.Bytes > most {
		return fmt.Errorf("batch of %d bytes: want at most %d, for it to fit the packet size and the queue", o.Batch.Bytes, most)
	}
	if o.Now == nil {
		o.Now = func() uint32 { return uint32(time.Now().Unix()) }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// maxAliases bounds the topic aliases of a bridge that speaks MQTT 5; most servers allow fewer.
const maxAliases = 256

// client gives the options of the client.
func (o *Options) client() client.Options {
	co := client.Options{
		Dial: o.Dial, TLS: o.TLS,
		ClientID: o.ID, Username: o.Username, Password: o.Password, Version: o.Version, Auth: o.Auth,
		KeepAlive: o.KeepAlive, MinBackoff: o.MinBackoff, MaxBackoff: o.MaxBackoff, FailBack: o.FailBack,
		MaxInflight: client.MaxInflight, Aliases: maxAliases, QueueBytes: o.QueueBytes, OnlineBytes: o.OnlineBytes, MaxPacketSize: o.MaxPacketSize,
		Logger: o.Logger,
	}
	if len(o.Upstreams) > 0 {
		co.URL, co.Fallbacks = o.Upstreams[0], o.Upstreams[1:]
	}
	return co
}
