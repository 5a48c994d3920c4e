package descriptor

import (
	"bytes"
	"math"
	"math/bits"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/format"
)

// Read adds what a message says to r. Its errors name the field and the offset.
func (l *Layout) Read(b []byte, r *cim.MeterReading) error {
	s := reader{b: b, r: r, interval: l.interval}
	s.m.Interval = l.interval
	measured, first := len(r.Measurements), len(r.Blocks)
	s.told = len(r.Events)
	end, err := s.run(l.ops, 0)
	if err != nil {
		return err
	}
	if end != len(b) {
		return format.At("message", end, format.ErrLength, "%d octets, want %d", len(b), end)
	}
	for i := measured; i < len(r.Measurements); i++ { // repetitions without a time of their own
		if m := &r.Measurements[i]; m.Time == 0 {
			m.Time = s.m.Time
		}
	}
	if s.code != 0 || len(r.Events) > s.told {
		s.events()
	}
	if s.m.Has &^= s.lacks; s.m.Has != 0 || s.m.Flags != 0 || len(r.Supply) > 0 {
		r.Measurements = append(r.Measurements, s.m)
	}
	for i := first; i < len(r.Blocks); i++ {
		s.register(&r.Blocks[i])
	}
	return nil
}

// events ends what is of one instant: it keeps the event of the fields, and the time of it and of those of bits.
func (s *reader) events() {
	if s.code != 0 {
		s.r.Events = append(s.r.Events, cim.EndDeviceEvent{Code: s.code, Parameter: s.parameter})
	}
	for i := s.told; i < len(s.r.Events); i++ {
		if e := &s.r.Events[i]; e.Time == 0 {
			e.Time = s.m.Time
		}
	}
}

// reader is a message that is being read.
type reader struct {
	b         []byte
	r         *cim.MeterReading
	m         cim.Measurement
	interval  uint16
	code      uint16 // of an event; 0: none
	parameter uint32
	told      int        // events of r that are of another instant than m
	lacks     cim.Values // registers of which a part has no value
	untimed   bool       // the time of m has no value
	slots     [maxSlots]uint64
	marks     [maxSlots]int // offsets
	blocks    [2]int        // of the repetition under way, by channel: index into r.Blocks, plus 1
	index     int           // of the interval in them
}

// run reads fields from base on and returns where they end.
func (s *reader) run(ops []op, base int) (int, error) {
	end := base
	for i := range ops {
		o := &ops[i]
		at := base + int(o.at)
		if o.size >= 0 {
			if end = at + int(o.size); end > len(s.b) {
				return 0, format.At(o.more.name, at, format.ErrLength, "the message ends at %d, want %d octets from here", len(s.b), o.size)
			}
		}
		how, v := o.quick, uint64(0)
		if how > quickSkip {
			if w := base + int(o.window); w+8 <= len(s.b) {
				v = o.word(s.b[w:])
			} else {
				how = quickNot // the message ends too soon for it
			}
		}
		var err error
		switch how {
		case quickSkip:
		case quickConst:
			if v != o.want {
				err = s.field(o, at, s.b[at:end])
			}
		case quickTime:
			s.m.Time = uint32(v)
		case quickBits:
			if v != 0 {
				s.flags(o.more.bits, v)
			}
		case quickImport:
			if v += s.m.Import; v < s.m.Import {
				err = o.tooLarge(at)
			}
			s.m.Import = v
			s.m.Has |= cim.HasImport
		case quickExport:
			if v += s.m.Export; v < s.m.Export {
				err = o.tooLarge(at)
			}
			s.m.Export = v
			s.m.Has |= cim.HasExport
		case quickPower:
			x := o.signed(v)
			if sum := int64(s.m.Power) + x; -math.MaxInt32 <= min(x, sum) && max(x, sum) <= math.MaxInt32 {
				s.m.Power = int32(sum)
				s.m.Has |= cim.HasPower
			} else {
				err = s.signed(o, at, x)
			}
		case quickVoltage:
			s.m.Voltage = uint16(v)
			s.m.Has |= cim.HasVoltage
		case quickNumber:
			err = s.set(o, at, v, false)
		case quickSigned:
			err = s.signed(o, at, o.signed(v))
		default:
			if end, err = s.other(o, at, end); o.size < 0 {
				base = end
			}
		}
		if err != nil {
			return 0, err
		}
	}
	return end, nil
}

// other reads a field that is not quick, or a part of the message, and returns where it ends.
func (s *reader) other(o *op, at, end int) (int, error) {
	if o.mark >= 0 {
		s.marks[o.mark] = at
	}
	switch o.kind {
	case kindFiller:
		return end, nil
	case kindRepeat:
		return s.repeat(o, at)
	case kindVariants:
		return s.variant(o, at)
	}
	return end, s.field(o, at, s.b[at:end])
}

// field reads a field with a value.
func (s *reader) field(o *op, at int, b []byte) error {
	m := o.more
	for _, none := range m.none {
		if bytes.Equal(b, none) {
			if o.slot >= 0 { // in a repetition it may hold the value of the one before
				s.slots[o.slot] = 0
			}
			switch o.to {
			case toImport:
				s.lacks |= cim.HasImport
			case toExport:
				s.lacks |= cim.HasExport
			case toTime:
				s.untimed = true
			}
			return nil
		}
	}
	if m.value != nil && !bytes.Equal(b, m.value) {
		return format.At(m.name, at, format.ErrValue, "0x%x, want 0x%x", b, m.value)
	}
	switch o.kind {
	case kindText:
		for i, c := range b {
			if (c < ' ' || c > '~') && c != m.pad {
				return format.At(m.name, at+i, format.ErrValue, "0x%02x is no printable character", c)
			}
		}
		return nil
	case kindBytes:
		return nil
	case kindCheckSum:
		return s.check(o, at, b)
	case kindTime:
		unix, bad := o.moment(b)
		if bad >= 0 {
			return format.At(m.name, at+bad, format.ErrValue, "0x%x is no time", b)
		}
		if o.slot >= 0 {
			s.slots[o.slot] = uint64(unix)
		}
		if o.to == toTime {
			s.m.Time = unix
		}
		return nil
	case kindFloat:
		return s.float(o, at, o.float(b))
	}
	v, negative, bad := o.integer(b)
	if bad >= 0 {
		return format.At(m.name, at+bad, format.ErrValue, "0x%02x is no digit or sign of %s", b[bad], o.typeName())
	}
	if err := o.within(at, v, negative); err != nil {
		return err
	}
	if o.slot >= 0 {
		if negative {
			return format.At(m.name, at, format.ErrValue, "-%d is negative", v)
		}
		s.slots[o.slot] = v
	}
	if o.kind == kindBits {
		s.flags(m.bits, v)
		return nil
	}
	if o.to == toNothing {
		return nil
	}
	return s.set(o, at, v, negative)
}

func (s *reader) check(o *op, at int, b []byte) error {
	from := 0
	if k := o.more.sumFrom; k >= 0 {
		from = s.marks[k]
	}
	want := o.more.sum.of(s.b[from:at])
	if got := word(b, o.little); got != want {
		return format.At(o.more.name, at, format.ErrCheckSum, "0x%0*x, reckoned 0x%0*x", 2*len(b), got, 2*len(b), want)
	}
	return nil
}

func (o *op) within(at int, v uint64, negative bool) error {
	m := o.more
	if !m.hasMin && !m.hasMax {
		return nil
	}
	x := int64(min(v, math.MaxInt64))
	if negative {
		x = -x
	}
	if m.hasMin && x < m.min || m.hasMax && x > m.max {
		return format.At(m.name, at, format.ErrValue, "%d, want %s", x, m.bounds())
	}
	return nil
}

// flags keeps what the bits that are set mean.
func (s *reader) flags(all []bitOp, v uint64) {
	for i := range all {
		x := &all[i]
		if v>>x.bit&1 == 0 {
			continue
		}
		s.m.Flags |= x.flag
		if x.supply != 0 {
			s.r.Supply = append(s.r.Supply, x.supply)
		}
		if x.event != 0 {
			s.r.Events = append(s.r.Events, cim.EndDeviceEvent{Code: x.event})
		}
	}
}

func (s *reader) float(o *op, at int, f float64) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return format.At(o.more.name, at, format.ErrValue, "%v", f)
	}
	if o.to == toNothing {
		return nil
	}
	f = math.Round(f * float64(o.num) / float64(o.den))
	if math.Abs(f) > 1<<53 {
		return format.At(o.more.name, at, format.ErrValue, "%v is too large", f)
	}
	return s.store(o, at, uint64(math.Abs(f)), f < 0)
}

// signed keeps what a number in two's complement means.
func (s *reader) signed(o *op, at int, x int64) error {
	return s.set(o, at, uint64(max(x, -x)), x < 0)
}

// set scales a number and keeps what it means.
func (s *reader) set(o *op, at int, v uint64, negative bool) error {
	if o.num != 1 || o.den != 1 {
		hi, lo := bits.Mul64(v, o.num)
		if hi != 0 {
			return format.At(o.more.name, at, format.ErrValue, "%d × %d / %d is too large", v, o.num, o.den)
		}
		if v = lo; o.den != 1 {
			v /= o.den
		}
	}
	return s.store(o, at, v, negative)
}

func (s *reader) store(o *op, at int, v uint64, negative bool) error {
	if negative && o.to != toPower && o.to != toPowerExport {
		return format.At(o.more.name, at, format.ErrValue, "-%d is negative", v)
	}
	limit := uint64(math.MaxUint64)
	switch o.to {
	case toImport: // several are registers of rates
		if v += s.m.Import; v < s.m.Import {
			return o.tooLarge(at)
		}
		s.m.Import = v
		s.m.Has |= cim.HasImport
	case toExport:
		if v += s.m.Export; v < s.m.Export {
			return o.tooLarge(at)
		}
		s.m.Export = v
		s.m.Has |= cim.HasExport
	case toPower, toPowerExport:
		if limit = math.MaxInt32; v > limit {
			break
		}
		sum := int64(s.m.Power)
		if negative != (o.to == toPowerExport) {
			sum -= int64(v)
		} else {
			sum += int64(v)
		}
		if v = uint64(max(sum, -sum)); v > limit {
			break
		}
		s.m.Power = int32(sum)
		s.m.Has |= cim.HasPower
	case toVoltage:
		limit = math.MaxUint16
		s.m.Voltage = uint16(v)
		s.m.Has |= cim.HasVoltage
	case toBreaker:
		state, ok := o.more.breakers[v]
		if !ok {
			return format.At(o.more.name, at, format.ErrValue, "%d is no state of a breaker", v)
		}
		s.m.Breaker = state
		s.m.Has |= cim.HasBreaker
		if state == cim.BreakerOpen || state == cim.BreakerReady {
			s.m.Flags |= cim.FlagBreakerOpen
		}
	case toIntervalImport, toIntervalExport:
		if limit = uint64(cim.NoValue) - 1; v > limit {
			break
		}
		if b := s.blocks[o.to-toIntervalImport]; b > 0 {
			s.r.Blocks[b-1].Values[s.index] = uint32(v)
		}
	case toEvent:
		limit = math.MaxUint16
		s.code = uint16(v)
	case toParameter:
		limit = math.MaxUint32
		s.parameter = uint32(v)
	}
	if v > limit {
		return format.At(o.more.name, at, format.ErrValue, "%d, want at most %d", v, limit)
	}
	return nil
}

// tooLarge refuses a register that is the sum of several.
func (o *op) tooLarge(at int) error {
	return format.At(o.more.name, at, format.ErrValue, "the sum is too large")
}

// times is how often a repetition repeats.
func (s *reader) times(o *op, at int) (int, error) {
	if o.more.fixed > 0 {
		return o.more.fixed, nil
	}
	n := s.slots[o.more.countSlot]
	if n > maxRepeat {
		return 0, format.At(o.more.name, at, format.ErrValue, "%d repetitions, want at most %d", n, maxRepeat)
	}
	return int(n), nil
}

func (s *reader) repeat(o *op, at int) (int, error) {
	n, err := s.times(o, at)
	if err != nil {
		return 0, err
	}
	m := o.more
	if n > len(s.b)-at { // at least an octet each: nothing is made for what cannot be there
		return 0, format.At(m.name, at, format.ErrLength, "%d repetitions, and %d octets are left", n, len(s.b)-at)
	}
	from, err := s.begins(m, at, n)
	if err != nil {
		return 0, err
	}
	keep := *s
	s.blocks = [2]int{}
	for ch, has := range m.profiles {
		if has && n > 0 {
			s.r.Block(cim.Channel(ch), from, m.step, cim.NoRegister, n)
			s.blocks[ch] = len(s.r.Blocks)
		}
	}
	for i := range n {
		if s.index = i; m.newest {
			s.index = n - 1 - i
		}
		if m.measures {
			s.m = cim.Measurement{Interval: s.interval, Time: s.moment(m, from)}
			s.code, s.parameter, s.lacks, s.untimed, s.told = 0, 0, 0, false, len(s.r.Events)
		}
		if at, err = s.run(m.ops, at); err != nil {
			return 0, err
		}
		if m.measures {
			s.instant()
		}
	}
	if m.measures {
		s.m, s.code, s.parameter, s.lacks, s.untimed, s.told = keep.m, keep.code, keep.parameter, keep.lacks, keep.untimed, keep.told
	}
	s.blocks, s.index = keep.blocks, keep.index
	return at, nil
}

// instant keeps what a repetition says of its own instant. One whose time has no value is not in use.
func (s *reader) instant() {
	if s.untimed {
		s.r.Events = s.r.Events[:s.told]
		return
	}
	s.events()
	if s.m.Has &^= s.lacks; s.m.Has != 0 {
		s.r.Measurements = append(s.r.Measurements, s.m)
	}
}

// begins is the start of the first step of n repetitions: of those without step or time 0.
func (s *reader) begins(m *more, at, n int) (uint32, error) {
	if n == 0 || m.step == 0 || m.start < 0 && m.end < 0 {
		return 0, nil
	}
	first, all := int64(0), int64(n)*int64(m.step)*60
	if m.start >= 0 {
		first = int64(s.slots[m.start])
	} else if first = int64(s.slots[m.end]); first > 0 {
		first -= all
	}
	switch {
	case first == 0:
		return 0, format.At(m.name, at, format.ErrMissing, "the time of its steps")
	case first < 0 || first+all > math.MaxUint32:
		return 0, format.At(m.name, at, format.ErrValue, "%d steps of %d minutes are not all between 1970 and 2106", n, m.step)
	}
	return uint32(first), nil
}

// moment is the time of the repetition that is being read: a register stands at start, or at the end of its step. from is where the first begins.
func (s *reader) moment(m *more, from uint32) uint32 {
	if from == 0 {
		return 0
	}
	k := uint32(s.index)
	if m.start < 0 {
		k++
	}
	return from + k*uint32(m.step)*60
}

func (s *reader) variant(o *op, at int) (int, error) {
	v := s.slots[o.more.bySlot]
	for i := range o.more.variants {
		if x := &o.more.variants[i]; x.when == v {
			return s.run(x.ops, at)
		}
	}
	return 0, format.At(o.more.name, at, format.ErrValue, "%d is none of the cases", v)
}

// register finds the register at the start of a block, where the message tells the one at its start or its end.
func (s *reader) register(b *cim.IntervalBlock) {
	reg, has := s.m.Import, s.m.Has&cim.HasImport != 0
	if b.Channel == cim.Export {
		reg, has = s.m.Export, s.m.Has&cim.HasExport != 0
	}
	if !has {
		return
	}
	if s.m.Time == b.Start {
		b.Register = reg
		return
	}
	sum := uint64(0)
	for _, v := range b.Values {
		if v == cim.NoValue {
			return
		}
		sum += uint64(v)
	}
	if s.m.Time == b.Start+uint32(len(b.Values))*uint32(b.Slot)*60 && sum <= reg {
		b.Register = reg - sum
	}
}
