package cim

import "time"

// Channel is a register of a meter. In IEC 61968-9 it is a part of the ReadingType.
type Channel uint8

// The channels.
const (
	Import Channel = 0 // energy delivered to the usage point, Wh, OBIS 1-0:1.8.0
	Export Channel = 1 // energy received from it, Wh, OBIS 1-0:2.8.0
)

// String is the channel's name in the API.
func (c Channel) String() string {
	if c == Export {
		return "export"
	}
	return "import"
}

// Quality says where an interval's value comes from (IEC 61968-9 ReadingQuality, reduced to its first two parts).
type Quality uint8

// The qualities. Raw values came as readings, Recovered ones as a load profile that the centre asked for; the API shows
// both as "raw".
const (
	Missing   Quality = 0
	Raw       Quality = 1
	Recovered Quality = 2
	Validated Quality = 3
	Estimated Quality = 4
	Edited    Quality = 5
	Joined    Quality = 6 // no interval of its own: a part of the one that ends later (see internal/mdms, dayRow); never in the API
)

// String is the quality's name in the API.
func (q Quality) String() string {
	switch q {
	case Raw, Recovered:
		return "raw"
	case Validated:
		return "validated"
	case Estimated:
		return "estimated"
	case Edited:
		return "edited"
	}
	return "missing"
}

// NoValue stands for an interval without a value, in Wh.
const NoValue = ^uint32(0)

// NoRegister stands for a register that is not known, in Wh.
const NoRegister = ^uint64(0)

// Day is a UTC day, counted since the epoch.
type Day uint32

// DayOf returns the day that a time (seconds since the epoch) lies in.
func DayOf(unix uint32) Day { return Day(unix / 86400) }

// Start is the day's first second since the epoch.
func (d Day) Start() uint32 { return uint32(d) * 86400 }

// String is the date.
func (d Day) String() string { return time.Unix(int64(d)*86400, 0).UTC().Format(time.DateOnly) }

// Link is what the centre knows of the way to a device.
type Link uint8

// The states of a link.
const (
	LinkNeverSeen Link = iota
	LinkUp
	LinkLost        // its will, or silence
	LinkUnreachable // its concentrator is gone
	LinkSleeping    // up, and it said that it sleeps
)

// String is the state's name in the API.
func (l Link) String() string {
	return [...]string{"never-seen", "up", "lost", "unreachable", "sleeping"}[min(l, LinkSleeping)]
}

// Reachable reports whether a message for the device gets to it, though it may have to wait until it wakes.
func (l Link) Reachable() bool { return l == LinkUp || l == LinkSleeping }

// Supply is what the centre knows of a device's power.
type Supply uint8

// The states of a supply.
const (
	PowerUnknown Supply = iota
	PowerOn
	PowerLost // its last gasp said so
)

// String is the state's name in the API.
func (s Supply) String() string { return [...]string{"unknown", "on", "lost"}[min(s, PowerLost)] }

// Breaker is the state of a breaker (the connect state of IEC 61968-9, the states of DLMS class 70).
type Breaker uint8

// The states of a breaker.
const (
	BreakerUnknown Breaker = iota
	BreakerNone
	BreakerOpen
	BreakerClosed
	BreakerReady
)

// String is the state's name in the API.
func (b Breaker) String() string {
	return [...]string{"unknown", "none", "open", "closed", "ready"}[min(b, BreakerReady)]
}

// Fact is a state with the time since when it holds.
type Fact[S ~uint8] struct {
	State S
	Since uint32 // seconds since the epoch, business time
}

// Registers are a meter's registers at one instant.
type Registers struct {
	Time           uint32 // seconds since the epoch; 0: never read
	Import, Export uint64 // Wh
	Power          int32  // W
	Voltage        uint16 // 0.1 V
}

// EndDevice is what the centre keeps of a device (IEC 61968-9 EndDevice and its EndDeviceInfo).
type EndDevice struct {
	Ordinal      uint32 // dense number, given by the centre at first sight, never reused
	Kind, ID     string
	Path         string // concentrators, outermost first, joined by '/'
	Sequence     uint32 // of its registration
	Firmware     uint32
	Interval     uint16 // minutes
	Capabilities uint16
	Flags        uint16 // status flags of its last message
	Oldest       uint32 // start of the oldest interval it says it keeps
	Expected     uint32 // start of the first interval that the centre expects of it; 0: none yet
	FirstSeen    uint32
	LastSeen     uint32
	Complete     uint32 // every interval from Expected to here is stored, or given up for good
	Link         Fact[Link]
	Power        Fact[Supply]
	Breaker      Fact[Breaker]
	Registers    Registers
	SleepFrom    uint32 // a time at which it wakes
	SleepEvery   uint32 // seconds between its wake-ups; 0: it does not sleep
	Recorded     uint32 // business time of the commit that first held it; 0: from before that was kept
	Exporting    uint32 // the same, of its measuring what is fed in; 0: it does not, or from before that was kept
	Feeding      uint32 // Expected of what is fed in, where that is another; 0: it is the same
}

// Wakes is when the device wakes next behind a time, as it said; 0 if it does not sleep.
func (d *EndDevice) Wakes(now uint32) uint32 {
	switch {
	case d.SleepEvery == 0:
		return 0
	case now < d.SleepFrom:
		return d.SleepFrom
	}
	at := uint64(d.SleepFrom) + (uint64(now-d.SleepFrom)/uint64(d.SleepEvery)+1)*uint64(d.SleepEvery)
	return uint32(min(at, 1<<32-1))
}

// Stamp is a time as RFC 3339.
func Stamp(t uint32) string { return time.Unix(int64(t), 0).UTC().Format(time.RFC3339) }
