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
	first, told := len(r.Blocks), len(r.Events)
	end, err := s.run(l.ops, 0)
	if err != nil {
		return err
	}
	if end != len(b) {
		return format.At("message", end, format.ErrLength, "%d octets, want %d", len(b), end)
	}
	if s.m.Has != 0 || s.m.Flags != 0 || len(r.Supply) > 0 {
		r.Measurements = append(r.Measurements, s.m)
	}
	if s.event {
		r.Events = append(r.Events, cim.EndDeviceEvent{Code: s.code, Parameter: s.parameter})
	}
	for i := told; i < len(r.Events); i++ {
		r.Events[i].Time = s.m.Time
	}
	for i := first; i < len(r.Blocks); i++ {
		s.register(&r.Blocks[i])
	}
	return nil
}

// reader is a message that is being read.
type reader struct {
	b         []byte
	r         *cim.MeterReading
	m         cim.Measurement
	interval  uint16
	event     bool
	code      uint16
	parameter uint32
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
			s.m.Import = v
			s.m.Has |= cim.HasImport
		case quickExport:
			s.m.Export = v
			s.m.Has |= cim.HasExport
		case quickPower:
			if x := o.signed(v); -math.MaxInt32 <= x && x <= math.MaxInt32 {
				s.m.Power += int32(x)
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
	case toImport:
		s.m.Import = v
		s.m.Has |= cim.HasImport
	case toExport:
		s.m.Export = v
		s.m.Has |= cim.HasExport
	case toPower, toPowerExport:
		if limit = math.MaxInt32; v > limit {
			break
		}
		if negative != (o.to == toPowerExport) {
			s.m.Power -= int32(v)
		} else {
			s.m.Power += int32(v)
		}
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
		s.event, s.code = v != 0, uint16(v)
	case toParameter:
		limit = math.MaxUint32
		s.parameter = uint32(v)
	}
	if v > limit {
		return format.At(o.more.name, at, format.ErrValue, "%d, want at most %d", v, limit)
	}
	return nil
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
	keep, blocks, index := s.m, s.blocks, s.index
	s.blocks = [2]int{}
	own := false
	for i := range m.ops {
		switch t := m.ops[i].to; t {
		case toIntervalImport, toIntervalExport:
			start := uint32(0)
			if m.start >= 0 {
				start = uint32(s.slots[m.start])
			} else {
				start = uint32(s.slots[m.end]) - uint32(n)*uint32(m.step)*60
			}
			if n > 0 {
				s.r.Block(cim.Channel(t-toIntervalImport), start, m.step, cim.NoRegister, n)
				s.blocks[t-toIntervalImport] = len(s.r.Blocks)
			}
		case toNothing:
		default:
			own = true
		}
	}
	for i := range n {
		if s.index = i; m.newest {
			s.index = n - 1 - i
		}
		if own {
			s.m = cim.Measurement{Interval: s.interval, Time: s.moment(m, i, n)}
		}
		if at, err = s.run(m.ops, at); err != nil {
			return 0, err
		}
		if own && s.m.Has != 0 {
			s.r.Measurements = append(s.r.Measurements, s.m)
		}
	}
	if own {
		s.m = keep
	}
	s.blocks, s.index = blocks, index
	return at, nil
}

// moment is the time of a repetition: a register stands at the end of its step, counted from start or back from end.
func (s *reader) moment(m *more, i, n int) uint32 {
	step := uint32(m.step) * 60
	k := uint32(i)
	if m.newest {
		k = uint32(n - 1 - i)
	}
	switch {
	case step == 0:
	case m.start >= 0:
		return uint32(s.slots[m.start]) + k*step
	case m.end >= 0:
		return uint32(s.slots[m.end]) - (uint32(n)-1-k)*step
	}
	return 0
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
