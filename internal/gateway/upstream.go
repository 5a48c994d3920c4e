package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/broker"
	mqttclient "github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/mqtt"
)

// UpstreamOptions say which MQTT server a stand-alone gateway stands in front of.
type UpstreamOptions struct {
	URL      string // mqtt:// or mqtts://
	Dial     func(ctx context.Context) (net.Conn, error)
	TLS      *tls.Config
	Username string
	Password []byte
	// Version is that of MQTT; 0: 5, and 3.1.1 as soon as the server does not understand that.
	Version            mqtt.Version
	KeepAlive          time.Duration // of the connections at the server, whoever sleeps; default that of package client
	Timeout            time.Duration // for a connection to come about, and for an answer to SUBSCRIBE; default 10 s
	MaxMessages        int           // that wait for one client; default 64
	OwnID              string        // client id of the gateway's own connection, for QoS -1; default "wattbus-sn"
	MinBackoff, MaxOff time.Duration // between attempts to connect again; defaults of package client
	Registerer         prometheus.Registerer
	Logger             *slog.Logger
}

// Upstream gives each client a connection of its own at an MQTT server ("transparent gateway", MQTT-SN 1.2, 4.1), which stays up
// while the client sleeps. That takes a socket and a goroutine for each client; where the broker can be in the process,
// InProcess takes neither.
//
// # What waits for a client
//
// A message of QoS 1 or 2 is acknowledged to the server when the client has acknowledged it (of QoS 2: when it has all of it), so
// a gateway that dies loses none: the server brings it again. It may then come twice, at QoS 2 too, if the gateway died between
// the two acknowledgements. How many unacknowledged messages a server sends is its own affair before MQTT 5 (Mosquitto: 20), in
// MQTT 5 it is MaxMessages; the rest waits at the server. At MaxMessages the oldest of QoS 0 makes room here; of a server that
// sends more than that the rest is counted as withheld, and fetched by a new connection when those before it are done.
//
// Messages of QoS 0 are in memory only and lost with the gateway.
//
// # Somebody else with the same client id
//
// The server ends the gateway's connection then. In MQTT 5 it says so; before, it is taken for that when three connections in
// a row do not last shortAfter. The gateway does not connect again, which would throw out the other one in its turn, but tells
// its client by DISCONNECT.
//
// # The will
//
// The gateway holds the will, since MQTT cannot change one in a connection, and publishes it itself; the connection carries
// none, so a gateway that dies says nothing of its clients.
type Upstream struct {
	o       UpstreamOptions
	version atomic.Uint32 // what the server understands
	n       upstreamCounters
	away    atomic.Bool // the last thing heard of a connection was that it failed

	running sync.WaitGroup

	mu  sync.Mutex
	own *upstreamSession
}

type upstreamCounters struct {
	sessions, online, waiting    atomic.Int64
	dropped, withheld, takenOver atomic.Uint64
}

// UpstreamStats count sessions and what became of their messages.
type UpstreamStats struct {
	Sessions, Waiting int    // connections, and messages that wait for clients
	Dropped           uint64 // messages of QoS 0 that had to make room
	Withheld          uint64 // messages to be fetched again from the server
	TakenOver         uint64 // sessions that somebody else took at the server
}

// Stats gives a snapshot.
func (u *Upstream) Stats() UpstreamStats {
	return UpstreamStats{Sessions: int(u.n.sessions.Load()), Waiting: int(u.n.waiting.Load()), Dropped: u.n.dropped.Load(),
		Withheld: u.n.withheld.Load(), TakenOver: u.n.takenOver.Load()}
}

// NewUpstream checks the options. It connects to nothing yet.
func NewUpstream(o UpstreamOptions) (*Upstream, error) {
	if o.Dial == nil {
		if err := mqttclient.CheckURL(o.URL); err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	setInt(&o.MaxMessages, 64)
	if o.MaxMessages < 1 || o.MaxMessages > 65535 {
		return nil, fmt.Errorf("gateway: MaxMessages is %d, want 1 to 65535", o.MaxMessages)
	}
	if o.OwnID == "" {
		o.OwnID = "wattbus-sn"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	u := &Upstream{o: o}
	u.version.Store(uint32(o.Version))
	if o.Version == 0 {
		u.version.Store(uint32(mqtt.V5))
	}
	return u, u.register()
}

func (u *Upstream) register() error {
	if u.o.Registerer == nil {
		return nil
	}
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "wattbus", Subsystem: "gateway_upstream", Name: name, Help: help}
	}
	var errs []error
	for _, m := range []struct {
		name, help string
		value      func(UpstreamStats) float64
		total      bool
	}{
		{"sessions", "Clients with a connection at the server.", func(s UpstreamStats) float64 { return float64(s.Sessions) }, false},
		{"messages_waiting", "Messages that wait for clients.", func(s UpstreamStats) float64 { return float64(s.Waiting) }, false},
		{"messages_dropped_total", "Messages of QoS 0 that had to make room.", func(s UpstreamStats) float64 { return float64(s.Dropped) }, true},
		{"messages_withheld_total", "Messages beyond the bound, to be fetched again.", func(s UpstreamStats) float64 { return float64(s.Withheld) }, true},
		{"sessions_taken_total", "Sessions that somebody else took at the server.", func(s UpstreamStats) float64 { return float64(s.TakenOver) }, true},
	} {
		value := func() float64 { return m.value(u.Stats()) }
		var c prometheus.Collector = prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts(m.name, m.help)), value)
		if m.total {
			c = prometheus.NewCounterFunc(prometheus.CounterOpts(opts(m.name, m.help)), value)
		}
		errs = append(errs, u.o.Registerer.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("gateway: metrics: %w", err)
	}
	return nil
}

// Open implements Server.
func (u *Upstream) Open(ctx context.Context, o SessionOptions) (Session, bool, error) {
	v := mqtt.Version(u.version.Load())
	s, present, err := u.connect(ctx, o, v)
	if err != nil && u.o.Version == 0 && v == mqtt.V5 && incomprehensible(err) {
		if s, present, err = u.connect(ctx, o, mqtt.V311); err == nil && u.version.Swap(uint32(mqtt.V311)) == uint32(mqtt.V5) {
			u.o.Logger.Info("the server does not understand MQTT 5, going on with 3.1.1")
		}
	}
	if err != nil {
		return nil, false, fmt.Errorf("gateway: session of %.64q: %w", o.ClientID, err)
	}
	return s, present, nil
}

// incomprehensible tells whether a CONNECT may have failed because of its version. Servers say that in many ways; what cannot be
// the reason is that nobody answers in time, or that the client is refused for another reason.
func incomprehensible(err error) bool {
	var refused *mqttclient.RefusedError
	if errors.As(err, &refused) {
		return refused.Code == mqtt.UnacceptableVersion
	}
	return !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

func (u *Upstream) connect(ctx context.Context, o SessionOptions, v mqtt.Version) (*upstreamSession, bool, error) {
	s := &upstreamSession{u: u, v: v, ready: o.Ready, ended: o.Ended, done: make(chan struct{}), connected: make(chan bool, 1), failed: make(chan error, 1)}
	var err error
	s.c, err = mqttclient.New(mqttclient.Options{
		URL: u.o.URL, Dial: u.o.Dial, TLS: u.o.TLS, ClientID: o.ClientID, Username: u.o.Username, Password: u.o.Password, Version: v,
		Clean: o.Clean || o.Temporary, KeepAlive: u.o.KeepAlive, MinBackoff: u.o.MinBackoff, MaxBackoff: u.o.MaxOff, ReceiveMaximum: uint16(u.o.MaxMessages),
		Logger: u.o.Logger, OnMessage: s.arrived, OnConnect: s.online, OnDisconnect: s.offline,
	})
	if err != nil {
		return nil, false, err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.ctx, s.stop = run, stop
	u.n.sessions.Add(1)
	u.running.Go(func() {
		defer close(s.done)
		defer u.n.sessions.Add(-1)
		_ = s.c.Run(run) // fails only if it runs already
		s.clear()
	})
	timer := time.NewTimer(u.o.Timeout)
	defer timer.Stop()
	select {
	case present := <-s.connected:
		return s, present, nil
	case err = <-s.failed:
	case <-timer.C:
		err = context.DeadlineExceeded
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.end()
	var refused *mqttclient.RefusedError
	if errors.As(err, &refused) && refused.Code != mqtt.ServerUnavailable {
		return nil, false, errors.Join(broker.ErrDenied, err)
	}
	return nil, false, errors.Join(broker.ErrUnavailable, err)
}

// Reachable implements Reachable: there is a connection, or the last attempt to make one did not fail.
func (u *Upstream) Reachable() bool { return u.n.online.Load() > 0 || !u.away.Load() }

// PublishFor implements Server. The first call makes the gateway's own connection.
func (u *Upstream) PublishFor(_, topic string, payload []byte, retain bool) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.own != nil && u.own.isClosed() { // somebody else has our id
		u.own.end()
		u.own = nil
	}
	if u.own == nil {
		s, _, err := u.Open(context.Background(), SessionOptions{ClientID: u.o.OwnID, Clean: true})
		if err != nil {
			return err
		}
		u.own = s.(*upstreamSession)
	}
	return u.own.Publish(&broker.LocalMessage{Topic: topic, Payload: payload, Retain: retain}, nil)
}

// Close ends the gateway's own connection, and waits for the others to have ended. Call it when the gateway has ended.
func (u *Upstream) Close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.own != nil {
		u.own.Close(false)
		u.own = nil
	}
	u.running.Wait()
}
