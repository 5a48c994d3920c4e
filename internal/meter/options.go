package meter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/seal"
	"github.com/wattbus/wattbus/internal/topic"
)

// Defaults of Options.
const (
	DefaultInterval   = 30 // minutes
	DefaultHoldUp     = 2 * time.Second
	DefaultQueueBytes = 64 << 10
	DefaultFirmware   = 0x00010000 // 0.1.0.0
)

// Options says what a meter is and how it behaves. ID, Source, Clock and URL are needed.
type Options struct {
	ID   string
	Kind string // default topic.Meter

	// Source is the load curve; Export, if not nil, that of an export register (capability bit 3).
	Source, Export Source
	// Hardware is a real meter in the place of Source and Export.
	Hardware *Hardware
	// Clock is the business time. It may run fast or stand still.
	Clock *clock.Clock
	// Scheduler is shared by the agents of a process; nil: the agent runs its own.
	Scheduler *Scheduler
	// Store keeps the state. Default: a new Memory, which forgets it all at the end of the process.
	Store Store

	// URL is the concentrator: mqtt://[user[:password]@]host[:port] or mqtts://…, or one of MQTT-SN, see CheckURL.
	URL                    string
	Username               string
	Password               []byte
	TLS                    *tls.Config  // for mqtts://; nil trusts the machine's authorities
	Version                mqtt.Version // default MQTT 3.1.1
	KeepAlive              time.Duration
	MinBackoff, MaxBackoff time.Duration // between attempts to connect; zero: package client's
	QueueBytes             int           // bound of the queue of outgoing messages
	SN                     SN
	// Connect makes the connection; nil: that of the URL.
	Connect func(client.Options) (Link, error)

	// Keys are those of the messages that are sealed: its own and the shared ones are taken from them. None: everything is plain. With a
	// key of its own the meter seals all that it sends, and takes plain only what changes nothing.
	Keys *seal.Keys

	Capabilities record.Capabilities
	// ControlMode is what the breaker takes; the zero value takes everything.
	ControlMode ControlMode
	Firmware    uint32
	// Update lets the meter take new firmware; nil: it takes none, and says so.
	Update *Update
	// Interval is the reading interval in minutes, a divisor of a day, until a command or the centre sets another.
	Interval uint16
	// History is how much of the past the profile holds when the meter starts for the very first time, at most 45 days.
	History time.Duration
	// Unsynchronised starts the meter with a clock that is not synchronised (flag bit 0) until a command or a location-ack
	// sets it. A synchronised clock takes no notice of the time in a location-ack.
	Unsynchronised bool
	// Spread is the wall time, at most 20 s and a quarter of the interval in business time, over which readings are sent, at
	// random, so that many meters do not send at the same moment. Negative: none; default none.
	Spread time.Duration
	// HoldUp is the wall time for which the meter can still send when its power is lost.
	HoldUp time.Duration
	// Quiet has the meter end its connection at the end of Run without saying that it is lost: for a system that stops as a whole, centre
	// included, which would only put down an outage of communication for each of its meters.
	Quiet bool

	// OnChange is told when Status has changed. It runs on the agent's goroutine and must not block.
	OnChange func(Status)
	// OnDisconnect is told of the end of each connection to url, nil where the meter left in order, and of each attempt that
	// failed. It runs on the connection's goroutine and must not block.
	OnDisconnect func(url string, err error)
	Logger       *slog.Logger
}

// Link is an agent's connection: *client.Client, what makes an MQTT-SN client look like one, or a stand-in.
type Link interface {
	Run(ctx context.Context) error
	TryPublish(client.Message) bool
	Flush(ctx context.Context) error
	Subscribe(...client.Subscription) error
	Unsubscribe(filters ...string) error
	Reconnect()
	Kill()
	Resume()
}

var errNone = errors.New("want one")

func (o *Options) complete() error {
	if err := topic.CheckID(o.ID); err != nil {
		return fmt.Errorf("meter: %w", err)
	}
	if o.Kind == "" {
		o.Kind = topic.Meter
	}
	if !topic.IsKind(o.Kind) || o.Kind == topic.Concentrator {
		return fmt.Errorf("meter %s: kind %q, want one of %v but a concentrator", o.ID, o.Kind, topic.Kinds())
	}
	switch {
	case o.Hardware != nil && (o.Source != nil || o.Export != nil):
		return fmt.Errorf("meter %s: hardware and a load curve: want one of the two", o.ID)
	case o.Source == nil && o.Hardware == nil:
		return fmt.Errorf("meter %s: no source of a load curve: %w", o.ID, errNone)
	case o.Clock == nil:
		return fmt.Errorf("meter %s: no clock: %w", o.ID, errNone)
	}
	if o.Hardware != nil {
		if err := o.Hardware.complete(o.ID, o.Capabilities); err != nil {
			return err
		}
	}
	if o.Update != nil {
		if err := o.Update.complete(o.ID); err != nil {
			return err
		}
	}
	if o.Connect == nil {
		if err := CheckURL(o.URL); err != nil {
			return fmt.Errorf("meter %s: %w", o.ID, err)
		}
	}
	if err := o.SN.complete(); err != nil {
		return fmt.Errorf("meter %s: %w", o.ID, err)
	}
	if o.SN.Sleep > 0 {
		if !isSN(o.URL) {
			return fmt.Errorf("meter %s: it sleeps over MQTT-SN only: the concentrator is %s", o.ID, o.URL)
		}
		o.Capabilities |= record.CapSleeping
	}
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if !validInterval(uint32(o.Interval)) {
		return fmt.Errorf("meter %s: interval of %d minutes, want a divisor of a day", o.ID, o.Interval)
	}
	if o.History < 0 || o.History > Memory45Days*time.Second {
		return fmt.Errorf("meter %s: history of %s, want 0 to 45 days (1080h)", o.ID, o.History)
	}
	if o.Store == nil {
		o.Store = &Memory{}
	}
	if o.HoldUp == 0 {
		o.HoldUp = DefaultHoldUp
	}
	if o.QueueBytes == 0 {
		o.QueueBytes = DefaultQueueBytes
	}
	if o.Firmware == 0 {
		o.Firmware = DefaultFirmware
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}
