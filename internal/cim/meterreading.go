package cim

// Values says which values of a Measurement the message told.
type Values uint8

// The values.
const (
	HasImport Values = 1 << iota
	HasExport
	HasPower
	HasVoltage
	HasBreaker
)

// The status flags of a message, as docs/contract.md numbers them.
const (
	FlagClock uint16 = 1 << iota // the clock is not synchronised
	FlagBattery
	FlagBreakerOpen
	FlagTamper
	FlagEstimated
)

// Measurement is what a meter says of one instant: of its registers and what it measures at that moment. What Has does not
// name the message did not tell.
type Measurement struct {
	Time     uint32 // seconds since the epoch; 0: the message tells no time, it is of the moment in which it came
	Has      Values
	Flags    uint16
	Interval uint16 // minutes of the meter's intervals; 0: not told
	Import   uint64 // register, Wh
	Export   uint64 // register, Wh
	Power    int32  // W, negative while energy is fed in
	Voltage  uint16 // 0.1 V
	Breaker  Breaker
}

// Set notes that the measurement tells a value.
func (m *Measurement) Set(v Values) { m.Has |= v }

// IntervalBlock is the load of consecutive intervals (IEC 61968-9 IntervalBlock).
type IntervalBlock struct {
	Channel  Channel
	Slot     uint16   // minutes of an interval
	Start    uint32   // of the first interval, seconds since the epoch
	Register uint64   // at Start, Wh; NoRegister where it is not known
	Values   []uint32 // Wh of each interval, NoValue where there is none
}

// SupplyEvent is what a meter tells of its supply.
type SupplyEvent uint8

// The events; the numbers are those of the contract's power message.
const (
	SupplyLost     SupplyEvent = 1 // the last gasp
	SupplyRestored SupplyEvent = 2
	BatteryLow     SupplyEvent = 3
)

// EndDeviceEvent is anything else that a device tells (IEC 61968-9 EndDeviceEvent): a code and its parameter.
type EndDeviceEvent struct {
	Time      uint32 // seconds since the epoch; 0: the moment in which it came
	Code      uint16
	Parameter uint32
}

// MeterReading is all that one message of a meter says, whatever its format (IEC 61968-9 MeterReading). Its slices keep their
// memory from one message to the next: Reset, then fill again.
type MeterReading struct {
	Measurements []Measurement
	Blocks       []IntervalBlock
	Supply       []SupplyEvent // each at the time of the first measurement
	Events       []EndDeviceEvent
	Subs         []SubReading // of the meters behind it
	values       []uint32     // of the blocks
}

// Reset makes the reading empty.
func (r *MeterReading) Reset() {
	r.Measurements, r.Blocks, r.Supply, r.Events, r.Subs, r.values = r.Measurements[:0], r.Blocks[:0], r.Supply[:0], r.Events[:0], r.Subs[:0], r.values[:0]
}

// Empty reports whether the message said nothing that the centre keeps.
func (r *MeterReading) Empty() bool {
	return len(r.Measurements)+len(r.Blocks)+len(r.Supply)+len(r.Events)+len(r.Subs) == 0
}

// At returns the measurement of an instant, made if there is none yet. It is valid until the next one is made.
func (r *MeterReading) At(time uint32) *Measurement {
	for i := range r.Measurements {
		if r.Measurements[i].Time == time {
			return &r.Measurements[i]
		}
	}
	r.Measurements = append(r.Measurements, Measurement{Time: time})
	return &r.Measurements[len(r.Measurements)-1]
}

// Block adds a block of n intervals without values.
func (r *MeterReading) Block(ch Channel, start uint32, slot uint16, register uint64, n int) *IntervalBlock {
	from := len(r.values)
	for range n {
		r.values = append(r.values, NoValue)
	}
	r.Blocks = append(r.Blocks, IntervalBlock{Channel: ch, Slot: slot, Start: start, Register: register, Values: r.values[from : from+n : from+n]})
	return &r.Blocks[len(r.Blocks)-1]
}
