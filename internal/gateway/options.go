package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/snlink"
	"github.com/wattbus/wattbus/internal/topic"
)

// Defaults of Options.
const (
	DefaultMaxClients    = 50_000
	DefaultMaxClientID   = 64
	DefaultMaxTopics     = 256
	DefaultWindow        = 10
	DefaultShards        = 8
	DefaultQueueMessages = 4096
	DefaultAnonymousRate = 10
	DefaultMTU           = 1472

	// MQTT-SN 1.2, 7.2 "best practice".
	DefaultAdvertise  = 15 * time.Minute // T_ADV
	DefaultRetry      = 10 * time.Second // T_retry
	DefaultMaxRetries = 4                // N_retry
	DefaultWait       = 5 * time.Minute  // T_WAIT

	DefaultForget = 7 * 24 * time.Hour
)

// Link is one network that the gateway serves.
type Link struct {
	// Name is constant over restarts: the store knows clients by it. Default "sn".
	Name string
	// Conn carries the datagrams; Run closes it. Its addresses must be comparable, as those of package snlink are.
	Conn snlink.Conn
	// Broadcast says that there is somebody behind snlink.Everyone: the gateway advertises itself and answers SEARCHGW there.
	// Without it a SEARCHGW is answered to the one who sent it.
	Broadcast bool
	// MTU is the longest message the link carries, octets. Longer ones are dropped and counted (MQTT-SN 1.2, 6.10).
	MTU int
}

// AnonymousTopic is how a message of QoS -1 names its topic: by a predefined id or by a short name.
type AnonymousTopic struct {
	Type mqttsn.TopicType
	ID   uint16
}

// anybodyShare is how many times AnonymousRate all may publish together who never connected.
const anybodyShare = 10

// Table knows the predefined topic ids of a client.
type Table interface {
	Name(clientID string, id uint16) (name string, ok bool)
	ID(clientID, name string) (id uint16, ok bool)
}

// Options say what a gateway is. Zero values take the defaults.
type Options struct {
	GwID   byte
	Links  []Link
	Server Server
	// Predefined are the predefined topic ids; nil: there are none.
	Predefined Table
	// Admit decides whether a client may use an id at an address, nil: any may. An address whose owner the link has
	// authenticated may only use that name, whatever Admit says.
	Admit func(clientID string, from net.Addr) bool
	// Store keeps what has to survive a restart; nil: nothing does.
	Store Store

	MaxClients, MaxTopics, Window int
	// MaxClientID is the longest client id, octets. The specification has 23; there are clients with more.
	MaxClientID           int
	Shards, QueueMessages int
	// AnonymousRate is how many messages of QoS -1 a second are taken from one device; negative: none at all.
	AnonymousRate int
	// Anonymous are topics that anybody may publish to at QoS -1 without ever having connected, as 6.8 has it for devices that
	// know nothing else; ten times AnonymousRate a second from all of them together. Nil: there are none, and such a message
	// from an address where no device has connected is dropped.
	Anonymous map[AnonymousTopic]string

	Advertise  time.Duration // T_ADV, 1 s to 65,535 s
	Retry      time.Duration // T_retry
	MaxRetries int           // N_retry
	Wait       time.Duration // T_WAIT: how long a client that said congestion is left alone
	Forget     time.Duration // a client that was not connected for so long is forgotten

	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

func (o *Options) complete() error {
	if o.Server == nil {
		return errors.New("gateway: no server")
	}
	for key, name := range o.Anonymous {
		if err := topic.CheckName(name); err != nil {
			return fmt.Errorf("gateway: topic of id %d that anybody may publish to: %w", key.ID, err)
		}
	}
	names := map[string]bool{}
	for i := range o.Links {
		l := &o.Links[i]
		if l.Name == "" {
			l.Name = "sn"
		}
		if l.Conn == nil || names[l.Name] {
			return fmt.Errorf("gateway: link %d, %q: want a Conn, and a name of its own", i, l.Name)
		}
		names[l.Name] = true
		setInt(&l.MTU, DefaultMTU)
		if l.MTU < 32 {
			return fmt.Errorf("gateway: link %q with an MTU of %d octets, want 32 or more", l.Name, l.MTU)
		}
	}
	for _, f := range []struct {
		name  string
		value *int
		def   int
	}{
		{"MaxClients", &o.MaxClients, DefaultMaxClients}, {"MaxClientID", &o.MaxClientID, DefaultMaxClientID},
		{"MaxTopics", &o.MaxTopics, DefaultMaxTopics}, {"Window", &o.Window, DefaultWindow}, {"Shards", &o.Shards, DefaultShards},
		{"QueueMessages", &o.QueueMessages, DefaultQueueMessages}, {"MaxRetries", &o.MaxRetries, DefaultMaxRetries},
	} {
		setInt(f.value, f.def)
		if *f.value < 1 {
			return fmt.Errorf("gateway: %s is %d, want 1 or more", f.name, *f.value)
		}
	}
	if o.MaxTopics > 0xfffe {
		return fmt.Errorf("gateway: MaxTopics is %d, want at most 65534", o.MaxTopics)
	}
	setInt(&o.AnonymousRate, DefaultAnonymousRate)
	for _, f := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"Advertise", &o.Advertise, DefaultAdvertise}, {"Retry", &o.Retry, DefaultRetry}, {"Wait", &o.Wait, DefaultWait},
		{"Forget", &o.Forget, DefaultForget},
	} {
		if *f.value == 0 {
			*f.value = f.def
		}
		if *f.value < 0 {
			return fmt.Errorf("gateway: %s is %v, want more than 0", f.name, *f.value)
		}
	}
	if o.Advertise < time.Second || o.Advertise > 65535*time.Second {
		return fmt.Errorf("gateway: Advertise is %v, want 1s to 65535s", o.Advertise)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

func setInt(v *int, def int) {
	if *v == 0 {
		*v = def
	}
}
