package vee

import (
	"math"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
)

// None stands for an interval without a value. Wh are signed here, so that wrong values can be told.
const None = math.MinInt64

// Flag is what a meter said about one interval.
type Flag uint8

// The flags.
const (
	FlagPartial  Flag = 1 << iota // power or clock left it short
	FlagLong                      // the clock was set back in it
	FlagClockSet                  // the clock was set in it
	FlagClock                     // the clock was not synchronised
	FlagTamper                    // cover, magnet
	FlagReverse                   // energy flowed backwards
	FlagMemory                    // memory or program error
	FlagEstimate                  // the meter estimated the value itself
)

// NeverOver stands for a register that does not roll over: none of a meter's registers has so many digits of Wh.
const NeverOver = 18

// whDigits are the digits of Wh behind those of kWh, which meters have on their dials.
const whDigits = 3

// Master is what the rules need of a usage point and its meter. Zero values mean "not known": the rule set's defaults apply.
type Master struct {
	Dials     int     // digits of Wh of the register; NeverOver: it does not roll over
	Fuse      float64 // A, per phase
	Volts     float64 // phase to neutral
	Phases    int
	Factor    float64        // CT/VT factor between the register and the energy
	Step      float64        // Wh, the register's smallest step
	Generator bool           // it may feed in
	NoMaster  bool           // nothing is known of it: rules that would accuse are silent
	Inactive  bool           // disconnected or vacant
	Off       bool           // the breaker is open or the supply was out: zeros are right
	Interval  time.Duration  // that is expected; 0: any
	UnitPower int            // power of ten of Wh that data should come in
	Zone      *time.Location // of its local time
}

// RegisterAt is a register reading at a boundary of a period's intervals: 0 is the period's start.
type RegisterAt struct {
	At int
	Wh uint64
}

// Again is an interval that came once more.
type Again struct {
	Index int
	Wh    int64 // the value that does not count
}

// Period is what is validated: one channel's intervals on end. Slices that are not known are nil.
type Period struct {
	Channel   cim.Channel
	Start     uint32  // seconds since the epoch
	Length    uint32  // seconds of an interval
	Wh        []int64 // per interval; None: no value
	Expected  []bool  // nil: all
	Lost      []bool  // of those without a value: it will not come any more; nil: none
	Flags     []Flag
	Registers []RegisterAt // by ascending boundary
	Came      bool         // the first of them was read by people, when the meter came
	Went      bool         // the last of them was, when it went
	Again     []Again
	Import    []int64 // on an export channel: the same intervals of the import channel
	Reactive  []int64 // varh of the same intervals
	Offset    int32   // seconds by which the meter's clock is ahead, if HasOffset
	HasOffset bool
	UnitPower int     // power of ten of Wh that the data came in
	Factor    float64 // that the data say to carry; 0: none
}

// At is the time of a boundary.
func (p *Period) At(i int) uint32 { return p.Start + uint32(i)*p.Length }

func (p *Period) expected(i int) bool { return p.Expected == nil || p.Expected[i] }

// History is what the days before leave behind for a channel's next period. The zero value knows nothing.
type History struct {
	Days  int     // that Usual is made of, at most historyDays
	Usual float64 // Wh of a mean day
	Zeros int     // intervals with 0 on end, up to the last one
	Same  int     // intervals with the same non-zero value on end, up to the last one
	Last  int64   // that value
}

// historyDays is how far back the mean day looks: an exponential mean with this many days.
const historyDays = 28

// Add makes the history go on over a period; use tells which values may count (nil: all that are there). Days of which less
// than three quarters are there do not change what is usual.
func (h *History) Add(p *Period, use []bool) {
	sum, n := 0.0, 0
	for i, wh := range p.Wh {
		switch {
		case wh == None:
			h.Zeros, h.Same = 0, 0
			continue
		case wh == 0:
			h.Zeros++
			h.Same = 0
		case wh == h.Last && h.Same > 0:
			h.Same++
			h.Zeros = 0
		default:
			h.Same, h.Last, h.Zeros = 1, wh, 0
		}
		if use == nil || use[i] {
			sum += float64(wh)
			n++
		}
	}
	if n == 0 || 4*n < 3*len(p.Wh) {
		return
	}
	day := sum / float64(n) * 86400 / float64(p.Length)
	h.Days = min(h.Days+1, historyDays)
	h.Usual += (day - h.Usual) / float64(h.Days)
}
