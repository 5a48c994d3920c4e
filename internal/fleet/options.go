package fleet

import (
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"time"

	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/dataset"
	"github.com/wattbus/wattbus/internal/meter"
	"github.com/wattbus/wattbus/internal/mqtt"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/seal"
	"github.com/wattbus/wattbus/internal/topic"
)

// MaxMeters bounds a fleet.
const MaxMeters = 1_000_000

// Options says what a fleet is. Meters, Dataset, Clock and either Concentrators or StandIns are needed.
type Options struct {
	Meters  int
	Dataset *dataset.Dataset
	Clock   *clock.Clock

	// Concentrators are their URLs, see meter.CheckURL; meter i belongs to number i modulo their count.
	Concentrators []string
	// StandIns are ids of concentrators that the fleet stands in for: one connection to Upstream for each, no broker.
	// Moves name them as "standin:<id>".
	StandIns []string
	Upstream string // URL of the centre or of a concentrator, for StandIns

	// SN says how the meters of concentrators with a URL of MQTT-SN speak it. DTLS's Identity becomes each meter's own id.
	SN meter.SN

	Username  string
	Password  []byte
	Version   mqtt.Version // default MQTT 3.1.1
	KeepAlive time.Duration

	// Keys are those of sealed messages; meters without a key of their own send plain. nil: all do.
	Keys *seal.Keys

	// FirmwareKeys are whose firmware images the meters take, if these are for FirmwareModel; none: they take none. An image is held in
	// memory, a copy for each meter, and forgotten with the process; which firmware runs is in Store.
	FirmwareKeys  []ed25519.PublicKey
	FirmwareModel string

	// Store keeps the meters' states; default a meter.Memory. The fleet does not close it.
	Store meter.Store
	// History is how much of the past the profiles hold when the meters start for the very first time, at most 45 days.
	History time.Duration
	// Interval is the reading interval in minutes; default 30.
	Interval uint16
	// Capabilities of the meters; default a breaker, and a battery: their last gasps go out.
	Capabilities record.Capabilities
	// Spread is the wall time over which the readings of an interval are sent, at most 20 s of business time; default 2 s,
	// negative: none.
	Spread time.Duration
	// Quiet is that of the meters: they stop with their centre.
	Quiet bool
	// Ramp is how many meters start in a second; default 2,000.
	Ramp int

	Faults Faults
	// Seed makes the same faults come in the same order.
	Seed uint64

	// Alter makes the load curve of meter i from that of its household; nil: they live as these did.
	Alter func(i int, s meter.Source) meter.Source

	// OnChange is told what meters do. It must not block; it is called from many goroutines.
	OnChange func(meter.Status)
	Logger   *slog.Logger
}

// Faults are how often something happens to one meter, as the mean number a day of business time.
type Faults struct {
	LinkDrops   float64 // the connection breaks
	PowerLosses float64
	Moves       float64 // to another of the concentrators
	// Outage is the mean duration of a loss of power in business time; default 20 minutes.
	Outage time.Duration
}

// DefaultSpread is the wall time over which the readings of an interval are sent.
const DefaultSpread = 2 * time.Second

// FirmwareRoom is the size of the largest image that a meter of a fleet takes, bytes.
const FirmwareRoom = 1 << 20

const standInScheme = "standin:"

func (o *Options) complete() error {
	switch {
	case o.Meters < 1 || o.Meters > MaxMeters:
		return fmt.Errorf("fleet of %d meters: want 1 to %d", o.Meters, MaxMeters)
	case o.Dataset == nil || o.Clock == nil:
		return fmt.Errorf("fleet: it needs a data set and a clock")
	case len(o.Concentrators) == 0 && len(o.StandIns) == 0:
		return fmt.Errorf("fleet: no concentrators: want their URLs, or ids to stand in for")
	case len(o.Concentrators) > 0 && len(o.StandIns) > 0:
		return fmt.Errorf("fleet: both URLs of concentrators and ids to stand in for: want one of them")
	}
	for _, u := range o.Concentrators {
		if err := meter.CheckURL(u); err != nil {
			return fmt.Errorf("fleet: concentrator: %w", err)
		}
	}
	for _, id := range o.StandIns {
		if err := topic.CheckID(id); err != nil {
			return fmt.Errorf("fleet: stand-in: %w", err)
		}
	}
	if len(o.StandIns) > 0 {
		if err := client.CheckURL(o.Upstream); err != nil {
			return fmt.Errorf("fleet: upstream: %w", err)
		}
	}
	for name, v := range map[string]float64{"link drops": o.Faults.LinkDrops, "power losses": o.Faults.PowerLosses, "moves": o.Faults.Moves} {
		if !(v >= 0 && v <= 10_000) {
			return fmt.Errorf("fleet: %v %s a day: want 0 to 10000", v, name)
		}
	}
	if o.Faults.Outage < 0 {
		return fmt.Errorf("fleet: outages of %s: want a positive duration", o.Faults.Outage)
	}
	if o.Faults.Outage == 0 {
		o.Faults.Outage = 20 * time.Minute
	}
	if o.Store == nil {
		o.Store = &meter.Memory{}
	}
	if o.Capabilities == 0 {
		o.Capabilities = record.CapBreaker | record.CapBattery
	}
	if o.Spread == 0 {
		o.Spread = DefaultSpread
	}
	if o.Ramp <= 0 {
		o.Ramp = 2000
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}
