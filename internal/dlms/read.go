package dlms

import (
	"math"
	"slices"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/format"
)

// reader turns a body into what the centre keeps. A body says what its values are in one of these ways, tried in this order:
//
//   - it holds a push object list (class 40, attribute 2), an array of class, name, attribute and data index: the values stand
//     in the list's order;
//   - it has as many values as a declared list;
//   - in front of a value stands the name of its object, 6 octets, and behind it may stand scaler and unit, as in the pushes of
//     many customer interfaces; alone or in a structure of its own.
type reader struct {
	l       *Layout
	r       *cim.MeterReading
	scalers map[OBIS]Scaler
	columns map[OBIS][]Object
	periods map[OBIS]uint32 // seconds
	found   []found
	clock   *Value // a date-time without a name in front of all that has one
	m       cim.Measurement
	power   [2]int64
	rates   [2]uint64
	rated   [2]bool
	timed   bool
	events  int // number of events of the reading before this one's
}

// found is an object of the body with its value.
type found struct {
	Object
	value *Value
}

// Read adds what a notification says to r: registers of import and export, or the sum of their rates, active power, the voltage
// of the first phase, breaker, event codes and the load profile. A value whose unit neither the meter nor the layout (nil for
// none) tells is refused; objects that the centre does not keep are not looked at.
func (n *Notification) Read(r *cim.MeterReading, l *Layout) error {
	if l == nil {
		l = none
	}
	p := reader{l: l, r: r, events: len(r.Events)}
	if !p.listed(&n.Body) && !p.declared(&n.Body) {
		p.named(&n.Body)
	}
	if len(p.found) == 0 {
		return format.At("body", n.Body.at, format.ErrMissing, "%s of %d: nothing in it says what the values are, and no declaration has a list of as many",
			n.Body.Tag, len(n.Body.Items))
	}
	if p.clock != nil {
		p.found = slices.Insert(p.found, 0, found{Object{Name: clockName, Attribute: 2}, p.clock})
	}
	if n.DateTime != nil {
		if err := p.time("date-time", n.DateTime, n.Body.at-dateTimeSize); err != nil {
			return err
		}
		p.timed = false // a clock in the body goes before
	}
	for i := range p.found {
		if err := p.about(&p.found[i]); err != nil {
			return err
		}
	}
	for i := range p.found {
		if err := p.object(&p.found[i]); err != nil {
			return err
		}
	}
	p.m.Interval = p.l.period
	for _, seconds := range p.periods {
		p.m.Interval = uint16(seconds / 60)
	}
	p.end()
	return nil
}

// isObjectList reports whether a value is a push object list or the capture objects of a profile.
func isObjectList(v *Value) bool {
	if v.Tag != Array || len(v.Items) == 0 {
		return false
	}
	for i := range v.Items {
		it := v.Items[i].Items
		if len(it) < 4 || it[0].Tag != LongUnsigned || it[1].Tag != OctetString || len(it[1].Bytes) != 6 || it[2].Tag != Integer {
			return false
		}
	}
	return true
}

func objects(v *Value) []Object {
	out := make([]Object, len(v.Items))
	for i := range v.Items {
		it := v.Items[i].Items
		class, _ := it[0].Number()
		attribute, _ := it[2].Number()
		out[i] = Object{Class: uint16(class), Name: OBIS(it[1].Bytes), Attribute: int8(attribute)}
	}
	return out
}

// listed reads a body that begins with its push object list. The list may name itself or not.
func (p *reader) listed(body *Value) bool {
	if len(body.Items) == 0 || !isObjectList(&body.Items[0]) {
		return false
	}
	list, values := objects(&body.Items[0]), body.Items
	switch len(list) {
	case len(values):
	case len(values) - 1:
		values = values[1:]
	default:
		return false
	}
	for i := range list {
		p.found = append(p.found, found{list[i], &values[i]})
	}
	return true
}

// declared reads a body that has as many values as a declared list, with numbers where that has units. A structure with a name in
// it is no number, so that a body that names its objects is not taken for a list.
func (p *reader) declared(body *Value) bool {
	list := p.l.lists[len(body.Items)]
	if list == nil {
		return false
	}
	for i := range list {
		_, integer := body.Items[i].Number()
		_, float := body.Items[i].Float()
		if list[i].Scaler != nil && !integer && !float && body.Items[i].Tag != Null {
			return false
		}
	}
	for i := range list {
		p.found = append(p.found, found{list[i], &body.Items[i]})
	}
	return true
}

// named reads a body in which names stand in front of values.
func (p *reader) named(v *Value) {
	for i := 0; i < len(v.Items); i++ {
		it := &v.Items[i]
		if it.Tag == OctetString && len(it.Bytes) == len(OBIS{}) && i+1 < len(v.Items) {
			o := Object{Name: OBIS(it.Bytes), Attribute: 2}
			i++
			value := &v.Items[i]
			if i+1 < len(v.Items) {
				if s, ok := scalerUnit(&v.Items[i+1]); ok {
					o.Scaler = &s
					i++
				}
			}
			p.found = append(p.found, found{o, value})
			continue
		}
		if it.Tag == OctetString && len(it.Bytes) == dateTimeSize && len(p.found) == 0 && p.clock == nil {
			p.clock = it
		}
		p.named(it)
	}
}

// scalerUnit reads a structure of scaler and unit.
func scalerUnit(v *Value) (s Scaler, ok bool) {
	if v.Tag != Structure || len(v.Items) != 2 || v.Items[0].Tag != Integer || v.Items[1].Tag != Enum {
		return s, false
	}
	e, _ := v.Items[0].Number()
	u, _ := v.Items[1].Number()
	return Scaler{int8(e), byte(u)}, true
}

var (
	clockName   = OBIS{0, 0, 1, 0, 0, 255}
	breakerName = OBIS{0, 0, 96, 3, 10, 255}
)

// about collects what attributes say of others: scaler and unit, the columns and the period of a profile.
func (p *reader) about(f *found) error {
	switch {
	case f.Scaler != nil:
		put(&p.scalers, f.Name, *f.Scaler)
	case f.Attribute == 3 && isObjectList(f.value):
		put(&p.columns, f.Name, objects(f.value))
	case f.Attribute == 3:
		if s, ok := scalerUnit(f.value); ok {
			put(&p.scalers, f.Name, s)
		}
	case f.Attribute == 4 && f.Class == 7:
		n, ok := f.value.Number()
		if !ok || n < 0 || n > 86400 {
			return f.bad(format.ErrValue, "capture period of %d s, want at most a day", n)
		}
		put(&p.periods, f.Name, uint32(n))
	}
	return nil
}

// put makes the map at its first use: most messages need none.
func put[V any](m *map[OBIS]V, k OBIS, v V) {
	if *m == nil {
		*m = map[OBIS]V{}
	}
	(*m)[k] = v
}

func (f *found) bad(reason error, what string, args ...any) error {
	return format.At(f.Name.String(), f.value.at, reason, what, args...)
}

// object reads the value of an object that the centre keeps.
func (p *reader) object(f *found) error {
	n := f.Name
	switch {
	case n == breakerName:
		return p.breaker(f)
	case f.Attribute != 2 || f.value.Tag == Null:
		return nil
	case n == clockName:
		return p.time(n.String(), f.value.Bytes, f.value.at)
	case n[0] == 0 && n[2] == 96 && n[3] == 11:
		code, ok := f.value.Number()
		if !ok || code < 0 || code > math.MaxUint16 {
			return f.bad(format.ErrValue, "%s is no event code", f.value.Tag)
		}
		if code != 0 {
			p.r.Events = append(p.r.Events, cim.EndDeviceEvent{Code: uint16(code)})
		}
		return nil
	case n[0] == 1 && n[2] == 99 && n[3] == 1 && f.value.Tag == Array:
		return p.profile(f)
	case n[0] != 1 || n[5] != 255:
		return nil
	}
	switch ch := int(n[2] - 1); {
	case (n[2] == 1 || n[2] == 2) && n[3] == 8:
		wh, err := p.scaled(f, UnitWattHour, 0)
		if err != nil {
			return err
		}
		if wh < 0 {
			return f.bad(format.ErrValue, "%d Wh, want no less than 0", wh)
		}
		if n[4] != 0 {
			p.rates[ch], p.rated[ch] = p.rates[ch]+uint64(wh), true
			return nil
		}
		*p.register(ch) = uint64(wh)
		p.m.Set(cim.HasImport << ch)
	case (n[2] == 1 || n[2] == 2 || n[2] == 16) && n[3] == 7 && n[4] == 0:
		w, err := p.scaled(f, UnitWatt, 0)
		if err != nil {
			return err
		}
		if w > math.MaxInt32 || w < math.MinInt32 {
			return f.bad(format.ErrValue, "%d W", w)
		}
		if n[2] == 16 {
			ch = 0
		}
		p.power[ch] = w
		p.m.Set(cim.HasPower)
	case (n[2] == 32 || n[2] == 12) && n[3] == 7 && n[4] == 0:
		v, err := p.scaled(f, UnitVolt, 1)
		if err != nil {
			return err
		}
		if v < 0 || v > math.MaxUint16 {
			return f.bad(format.ErrValue, "%d tenths of a volt", v)
		}
		p.m.Voltage = uint16(v)
		p.m.Set(cim.HasVoltage)
	}
	return nil
}

func (p *reader) register(ch int) *uint64 {
	if ch == 0 {
		return &p.m.Import
	}
	return &p.m.Export
}

// scaled is a number in units of 10^-digits of unit, rounded down where the meter counts finer.
func (p *reader) scaled(f *found, unit byte, digits int) (int64, error) {
	s, ok := p.scalers[f.Name]
	if !ok {
		s, ok = p.l.scalers[f.Name]
	}
	if !ok {
		return 0, f.bad(format.ErrUnit, "neither the meter nor a declaration tells its scaler and unit")
	}
	if s.Unit != unit {
		return 0, f.bad(format.ErrUnit, "unit %d, want %d", s.Unit, unit)
	}
	if x, ok := f.value.Float(); ok {
		x = math.Floor(x * math.Pow10(int(s.Exponent)+digits))
		if math.IsNaN(x) || math.Abs(x) > 1<<53 {
			return 0, f.bad(format.ErrValue, "%g is no measured value", x)
		}
		return int64(x), nil
	}
	n, ok := f.value.Number()
	if !ok {
		return 0, f.bad(format.ErrValue, "%s is no number, or one beyond 63 bits", f.value.Tag)
	}
	e := int(s.Exponent) + digits
	if e < -18 || e > 18 {
		return 0, f.bad(format.ErrValue, "scaler %d", s.Exponent)
	}
	ten := int64(1)
	for range max(e, -e) {
		ten *= 10
	}
	if e < 0 {
		q := n / ten
		if n%ten < 0 {
			q--
		}
		return q, nil
	}
	if x := n * ten; x/ten == n {
		return x, nil
	}
	return 0, f.bad(format.ErrValue, "%d with scaler %d is beyond 63 bits", n, s.Exponent)
}

// time makes a date-time that of the reading.
func (p *reader) time(field string, b []byte, at int) error {
	if p.timed {
		return nil
	}
	t, sure, err := moment(field, b, at, p.l.zone)
	if err != nil {
		return err
	}
	if p.m.Time = t; !sure {
		p.m.Flags |= cim.FlagClock
	}
	p.timed = true
	return nil
}

// breaker reads the disconnect control (class 70): output state, or better, control state.
func (p *reader) breaker(f *found) error {
	n, ok := f.value.Number()
	switch {
	case f.Attribute != 2 && f.Attribute != 3 || f.value.Tag == Null:
		return nil
	case f.value.Tag == Boolean && n != 0:
		n = 1
	}
	switch {
	case !ok || n < 0 || n > 2:
		return f.bad(format.ErrValue, "%s %d, want 0, 1 or 2", f.value.Tag, n)
	case f.Attribute == 2 && p.m.Has&cim.HasBreaker != 0: // the control state says more
		return nil
	}
	p.m.Breaker = [...]cim.Breaker{cim.BreakerOpen, cim.BreakerClosed, cim.BreakerReady}[n]
	p.m.Flags &^= cim.FlagBreakerOpen
	if n != 1 {
		p.m.Flags |= cim.FlagBreakerOpen
	}
	p.m.Set(cim.HasBreaker)
	return nil
}

// end keeps what was said of one instant.
func (p *reader) end() {
	for ch := range p.rates {
		if p.rated[ch] && p.m.Has&(cim.HasImport<<ch) == 0 {
			*p.register(ch) = p.rates[ch]
			p.m.Set(cim.HasImport << ch)
		}
	}
	if w := p.power[0] - p.power[1]; w >= math.MinInt32 && w <= math.MaxInt32 {
		p.m.Power = int32(w)
	}
	for i := range p.r.Events[p.events:] {
		if e := &p.r.Events[p.events+i]; e.Time == 0 {
			e.Time = p.m.Time
		}
	}
	if p.m.Has != 0 {
		p.r.Measurements = append(p.r.Measurements, p.m)
	}
}

// profile reads the buffer of a load profile (class 7): rows of a clock, which may be null-data for one period after the row
// before, a status and values. Registers become measurements; energy of an interval (1.29.0, 2.29.0), whose clock is the end of
// the interval, becomes interval blocks.
func (p *reader) profile(f *found) error {
	columns := p.columns[f.Name]
	if columns == nil {
		columns = p.l.columns[f.Name]
	}
	if columns == nil {
		return f.bad(format.ErrMissing, "neither the meter nor a declaration tells the columns of the profile")
	}
	period := p.periods[f.Name]
	if period == 0 {
		period = 60 * uint32(p.l.period)
	}
	var open [2]run
	at := uint32(0)
	for i := range f.value.Items {
		row := &f.value.Items[i]
		if len(row.Items) != len(columns) {
			return format.At(f.Name.String(), row.at, format.ErrLength, "row %d has %d values, want %d", i+1, len(row.Items), len(columns))
		}
		q := reader{l: p.l, r: p.r, scalers: p.scalers, events: len(p.r.Events)}
		valid := true
		for j := range columns {
			c := found{columns[j], &row.Items[j]}
			switch n := c.Name; {
			case n == clockName:
				if c.value.Tag == Null {
					if at == 0 || period == 0 {
						return c.bad(format.ErrMissing, "row %d has no time, and the time or the capture period before it is not told", i+1)
					}
					at += period
				} else if t, sure, err := moment(n.String(), c.value.Bytes, c.value.at, p.l.zone); err != nil {
					return err
				} else if at = t; !sure {
					q.m.Flags |= cim.FlagClock
				}
				q.m.Time, q.timed = at, true
			case n[0] == 0 && n[2] == 96 && n[3] == 10: // AMR profile status, IDIS: bit 2, data not valid
				if s, ok := c.value.Number(); ok && s&4 != 0 {
					valid = false
				}
			case n[0] == 1 && (n[2] == 1 || n[2] == 2) && n[3] == 29 && c.value.Tag != Null && valid:
				if err := p.interval(&c, &open[n[2]-1], at, period); err != nil {
					return err
				}
			default:
				if err := q.object(&c); err != nil {
					return err
				}
			}
		}
		if at == 0 {
			return format.At(f.Name.String(), row.at, format.ErrMissing, "row %d has no clock", i+1)
		}
		if !valid {
			continue
		}
		q.end()
	}
	for ch := range open {
		p.block(cim.Channel(ch), &open[ch], period)
	}
	return nil
}

// run is consecutive intervals of a channel.
type run struct {
	start  uint32
	values []uint32 // Wh
}

func (p *reader) block(ch cim.Channel, x *run, period uint32) {
	if len(x.values) > 0 {
		copy(p.r.Block(ch, x.start, uint16(period/60), cim.NoRegister, len(x.values)).Values, x.values)
	}
	*x = run{}
}

// interval adds the energy of an interval that ends at end to the run that is open, or begins another.
func (p *reader) interval(c *found, open *run, end, period uint32) error {
	if period == 0 || period%60 != 0 {
		return c.bad(format.ErrMissing, "a capture period of whole minutes is not told")
	}
	wh, err := p.scaled(c, UnitWattHour, 0)
	if err != nil {
		return err
	}
	if wh < 0 || wh >= int64(cim.NoValue) {
		return c.bad(format.ErrValue, "%d Wh in an interval", wh)
	}
	start := end - period
	if open.start+uint32(len(open.values))*period != start {
		p.block(cim.Channel(c.Name[2]-1), open, period)
		open.start = start
	}
	open.values = append(open.values, uint32(wh))
	return nil
}
