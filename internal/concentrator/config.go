package concentrator

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/bridge"
	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/gateway"
	"github.com/wattbus/wattbus/internal/mqtt"
)

// Options says what a concentrator is. Zero values take the defaults.
type Options struct {
	// ID is the concentrator's id in the contract's grammar; it is its client id at the upstream too.
	ID string
	// Upstreams are URLs (mqtt:// or mqtts://, with user:password@ if needed) in order of preference: when one cannot be reached
	// the next is tried, and after FailBack the preferred one again.
	Upstreams []string
	// Listeners are where devices connect. Run closes them.
	Listeners []net.Listener

	// SN are the links over which MQTT-SN devices are served; none: no gateway. Run closes them.
	SN []gateway.Link
	// SNStore keeps what MQTT-SN devices need over a restart of the concentrator; nil: they connect again.
	SNStore gateway.Store
	// SNGateway has the rest of the gateway's options; its Links, Server, Store, Predefined, Registerer and Logger are the
	// concentrator's.
	SNGateway gateway.Options

	// Broker configures the broker for the devices. Its Logger and Registerer are set by the concentrator if they are nil.
	Broker broker.Options

	// QueueBytes bounds what waits for the upstream; default bridge.DefaultQueueBytes. At the bound devices are not read from.
	QueueBytes int
	// Batch puts messages together before they go up, see bridge.Batch; off by default.
	Batch bridge.Batch
	// TLS is for mqtts:// upstreams; Username and Password are for upstreams whose URL has none.
	TLS      *tls.Config
	Username string
	Password []byte
	Version  mqtt.Version // spoken to the upstream; default mqtt.V311

	// KeepAlive and the others are those of the bridge; see bridge.Options.
	KeepAlive              time.Duration
	MinBackoff, MaxBackoff time.Duration
	FailBack               time.Duration
	StopTimeout            time.Duration
	// Dial, if not nil, makes the connections to the upstream instead of the URLs.
	Dial func(ctx context.Context) (net.Conn, error)

	// Clock gives the time in answers to commands; default real time.
	Clock      *clock.Clock
	Registerer prometheus.Registerer // for the metrics of the concentrator and, labelled with its id, of its broker; nil: none
	Logger     *slog.Logger
}

// complete fills in the defaults of what is not checked by the broker or the bridge.
func (o *Options) complete() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = clock.Real()
	}
	if o.Broker.Logger == nil {
		o.Broker.Logger = o.Logger.With("concentrator", o.ID)
	}
	if o.Registerer != nil {
		o.Registerer = prometheus.WrapRegistererWith(prometheus.Labels{"concentrator": o.ID}, o.Registerer)
		if o.Broker.Registerer == nil {
			o.Broker.Registerer = o.Registerer
		}
	}
}

// bridge gives the options of the bridge.
func (o *Options) bridge(local *broker.Broker) bridge.Options {
	return bridge.Options{
		ID: o.ID, Local: local, Upstreams: o.Upstreams, Dial: o.Dial,
		TLS: o.TLS, Username: o.Username, Password: o.Password, Version: o.Version,
		Batch: o.Batch, Now: o.Clock.Unix, QueueBytes: o.QueueBytes, MaxPacketSize: o.Broker.MaxPacketSize,
		KeepAlive: o.KeepAlive, MinBackoff: o.MinBackoff, MaxBackoff: o.MaxBackoff,
		FailBack: o.FailBack, StopTimeout: o.StopTimeout, Logger: o.Logger,
	}
}
