package eeb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/broker"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/formats"
	"github.com/wattbus/wattbus/internal/seal"
	"github.com/wattbus/wattbus/internal/store"
)

// Locations is where the location table is kept: the part of store.Store that the EEB needs.
type Locations interface {
	PutLocations(ctx context.Context, ls []store.Location) error
	Locations(ctx context.Context, f func(store.Location) error) error
}

// Formats is what knows the other formats; see internal/formats.
type Formats interface {
	Knows(event string) bool
	Read(event, kind, id string, payload []byte, now uint32, m *formats.Message) error
}

// Options say what an EEB stands on and its bounds. Zero bounds take the defaults.
type Options struct {
	Broker    *broker.Broker
	Bus       *bus.Bus
	Locations Locations
	Clock     *clock.Clock // what devices are told the time is; default the wall clock

	// Formats turns messages of other formats than wattbus v1 into what the centre keeps; nil: those that need no declaration.
	Formats Formats

	// Keys are those of sealed messages, which may be exchanged while the EEB runs; nil: nothing is sealed. Seals keeps what they need.
	Keys  *seal.Ring
	Seals Seals
	// RequireSealed refuses what is plain also from devices without a key, and sends them nothing plain. With Keys only.
	RequireSealed bool

	// Interval is the reading interval that location acknowledgements order, in minutes; 0 leaves it to the device.
	Interval uint16

	MaxEntries     int           // messages in one batch; default 5,000
	MaxBatchBytes  int           // of one batch; default 512 KiB
	MaxUncommitted int64         // bytes taken and not committed; beyond, publishers are not read. Default 8 MiB
	MaxDevices     int           // in the location table; messages of further ones are dead letters. Default 5,000,000
	Linger         time.Duration // how long a batch waits for more under load, twice that while it has few; default 20 ms
	Grace          time.Duration // for what is taken to be committed when Run's ctx ends; default 10 s

	// AckRate and AckBurst bound how many registrations of devices on one concentrator are acknowledged, per second and at once;
	// the rest waits its turn. Defaults 500 and 1000 (DefaultAcks). MaxAcksWaiting bounds those that wait in all; default 200,000.
	AckRate, AckBurst float64
	MaxAcksWaiting    int

	// DeadRate and DeadBurst bound how many dead letters of one client are kept, per second and at once; all are counted.
	// Defaults 5 and 50.
	DeadRate, DeadBurst float64

	Logger     *slog.Logger          // default: discards
	Registerer prometheus.Registerer // nil: no metrics
}

// DefaultAcks is the default of AckBurst and AckRate together: 1000 at once, and as many again in 2 s. LeastAckRate bounds AckRate.
const (
	DefaultAcks  = "1000/2s"
	LeastAckRate = 0.1
)

func (o *Options) setDefaults() error {
	if o.Broker == nil || o.Bus == nil || o.Locations == nil {
		return errors.New("eeb: want a broker, a bus and a store for locations")
	}
	if (o.Keys == nil) != (o.Seals == nil) || o.RequireSealed && o.Keys == nil {
		return errors.New("eeb: keys of sealed messages, and a store for their counters: want both or none; RequireSealed needs them")
	}
	if o.Clock == nil {
		o.Clock = clock.Real()
	}
	if o.Formats == nil {
		set, err := formats.New(formats.Options{})
		if err != nil {
			return err
		}
		o.Formats = set
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = o.Logger.With("component", "eeb")
	def(&o.MaxEntries, 5000)
	def(&o.MaxBatchBytes, 512<<10)
	def(&o.MaxUncommitted, 8<<20)
	def(&o.MaxDevices, 5_000_000)
	def(&o.Linger, 20*time.Millisecond)
	def(&o.Grace, 10*time.Second)
	def(&o.DeadRate, 5)
	def(&o.AckRate, 500)
	def(&o.AckBurst, 1000)
	def(&o.MaxAcksWaiting, 200_000)
	def(&o.DeadBurst, 50)
	switch {
	case o.MaxEntries < 1:
		return fmt.Errorf("eeb: MaxEntries is %d, want at least 1", o.MaxEntries)
	case o.MaxBatchBytes < 1 || o.MaxBatchBytes > bus.MaxMessage/2:
		return fmt.Errorf("eeb: MaxBatchBytes is %d, want 1 to %d", o.MaxBatchBytes, bus.MaxMessage/2)
	case o.MaxUncommitted < int64(o.MaxBatchBytes):
		return fmt.Errorf("eeb: MaxUncommitted is %d, want at least MaxBatchBytes, which is %d", o.MaxUncommitted, o.MaxBatchBytes)
	case o.MaxDevices < 1 || o.Linger < 0 || o.Grace < 0 || o.DeadRate < 0 || o.DeadBurst < 1:
		return errors.New("eeb: MaxDevices, Linger, Grace, DeadRate and DeadBurst cannot be negative, DeadBurst not below 1")
	case o.AckRate < LeastAckRate || o.AckBurst < 1 || o.MaxAcksWaiting < 1:
		return fmt.Errorf("eeb: AckRate is %v, AckBurst %v, MaxAcksWaiting %d, want at least %v, 1 and 1", o.AckRate, o.AckBurst, o.MaxAcksWaiting, LeastAckRate)
	case o.Interval > 1440:
		return fmt.Errorf("eeb: Interval is %d minutes, want at most a day (1440)", o.Interval)
	}
	return nil
}

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}
