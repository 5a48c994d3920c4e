package vee

import (
	"slices"
	"strconv"
	"time"
)

// Method is how an estimate was made.
type Method uint8

// The methods, in the order in which they are tried. Those behind Outage may be scaled to registers.
const (
	NoMethod Method = iota
	Outage          // the supply was out for all of the interval: 0, no estimate
	Linear          // a straight line between the neighbours
	Flat            // the only neighbour, or equal parts of what the registers say
	Weekdays        // the mean of the same clock time on the same weekdays
	Profile         // the class profile, by the customer's usual day
	numMethods
)

var methodNames = [numMethods]string{"none", "outage", "linear", "flat", "weekdays", "profile"}

// String is the method's name in the API.
func (m Method) String() string {
	if m < numMethods {
		return methodNames[m]
	}
	return "method " + strconv.Itoa(int(m))
}

// Estimate is the estimated value of one interval.
type Estimate struct {
	Index   int // of the stretch
	Wh      int64
	Method  Method
	Scaled  bool // to the registers at both ends
	Numbers []Number
}

// Quality is the quality code of the value.
func (e *Estimate) Quality() string {
	if e.Method == Outage {
		return QualityPowerFail
	}
	return QualityEstimated
}

// Name is the method as the API shows it, such as "weekdays, scaled to the registers".
func (e *Estimate) Name() string {
	if e.Scaled {
		return e.Method.String() + ", scaled to the registers"
	}
	return e.Method.String()
}

// Span is a stretch of time, [From, To), seconds since the epoch.
type Span struct{ From, To uint32 }

// Stretch is a channel's intervals on end, with gaps: the days to be filled, and what lies around them.
type Stretch struct {
	Start, Length uint32  // seconds; Start is a UTC midnight
	Wh            []int64 // None: a gap
	Doubt         []bool  // values that count as energy, but neither as neighbours nor as samples; nil: none
	Registers     []RegisterAt
	Short         []Short // at most two: where the meter came and where it went
	Outages       []Span  // confirmed ones
	Usual         float64 // Wh of a mean day, if Days > 0
	Days          int
	Lift          bool // a person decided: no cap on the days in a row
}

// Short is an interval without a value in which the meter was there for a part only, because it came or went in it. It takes its share of
// what registers say, and is not estimated.
type Short struct {
	At      int
	Seconds uint32 // that the meter was there
}

// IsShort reports whether Short names interval i.
func (s *Stretch) IsShort(i int) bool {
	return slices.ContainsFunc(s.Short, func(x Short) bool { return x.At == i })
}

func (s *Stretch) at(i int) uint32    { return s.Start + uint32(i)*s.Length }
func (s *Stretch) doubted(i int) bool { return i < len(s.Doubt) && s.Doubt[i] }
func (s *Stretch) good(i int) bool {
	return i >= 0 && i < len(s.Wh) && s.Wh[i] != None && !s.doubted(i)
}

// index is the interval that begins at t, if it is one of the stretch.
func (s *Stretch) index(t int64) (int, bool) {
	off := t - int64(s.Start)
	if off < 0 || off%int64(s.Length) != 0 || off/int64(s.Length) >= int64(len(s.Wh)) {
		return 0, false
	}
	return int(off / int64(s.Length)), true
}

// shape is a cell of a gap while it is estimated.
type shape struct {
	method Method
	weight int64 // mWh
	n      [3]Number
	count  int
}

func (c *shape) set(m Method, mwh int64, numbers ...Number) {
	c.method, c.weight = m, max(mwh, 0)
	c.count = copy(c.n[:], numbers)
}

// Estimate fills the gaps of s and returns the values of the intervals [from, to). Gaps that reach beyond are reckoned as a
// whole, so that the parts of two calls fit together. The findings tell what could not be filled, or not without a person.
//
// Where a register is known at both ends of a run of intervals, the values of the run add up to their difference exactly.
func (r *Rules) Estimate(m Master, s *Stretch, from, to int) ([]Estimate, []Finding) {
	m = r.Defaults(m)
	cells := make([]shape, len(s.Wh))
	// The registers around [from, to) may join its gaps with others.
	lo, hi := from, to
	var pairs [][2]RegisterAt
	for k := 1; k < len(s.Registers); k++ {
		a, b := s.Registers[k-1], s.Registers[k]
		if a.At < 0 || b.At <= a.At || b.At > len(s.Wh) || a.At >= to || b.At <= from {
			continue
		}
		pairs = append(pairs, [2]RegisterAt{a, b})
		lo, hi = min(lo, a.At), max(hi, b.At)
	}
	for a := 0; a < min(hi, len(s.Wh)); a++ {
		if s.Wh[a] != None {
			continue
		}
		b := a
		for b < len(s.Wh) && s.Wh[b] == None {
			b++
		}
		if b > lo {
			r.gap(&m, s, cells, a, b)
		}
		a = b
	}
	for _, x := range s.Short {
		cells[x.At].weight = cells[x.At].weight * int64(x.Seconds) / int64(s.Length)
	}
	scaled := r.scale(m, s, cells, pairs)
	return r.take(s, cells, scaled, from, to)
}

// gap gives the intervals [a, b) their shape.
func (r *Rules) gap(m *Master, s *Stretch, cells []shape, a, b int) {
	short := time.Duration(b-a)*time.Duration(s.Length)*time.Second <= r.LinearUpTo
	for i := a; i < b; i++ {
		switch {
		case s.out(i):
			cells[i].set(Outage, 0)
		case short && (s.good(a-1) || s.good(b)):
			r.line(s, &cells[i], a, b, i)
		case r.weekdays(m.Zone, s, &cells[i], i):
		case s.Days > 0 && s.Usual > 0:
			share := r.share(m.Zone, s.at(i), s.Length)
			cells[i].set(Profile, int64(share*s.Usual*1000), Number{"usual", s.Usual}, Number{"share", share})
		}
	}
}

// out reports whether the supply was out for all of the interval.
func (s *Stretch) out(i int) bool {
	for _, o := range s.Outages {
		if o.From <= s.at(i) && o.To >= s.at(i)+s.Length {
			return true
		}
	}
	return false
}

func (r *Rules) line(s *Stretch, c *shape, a, b, i int) {
	switch before, after := s.good(a-1), s.good(b); {
	case before && after:
		ea, eb := s.Wh[a-1], s.Wh[b]
		k, n := int64(i-a+1), int64(b-a+1)
		c.set(Linear, ea*1000+(eb-ea)*1000*k/n, Number{"before", float64(ea)}, Number{"after", float64(eb)}, Number{"position", float64(k) / float64(n)})
	case before:
		c.set(Flat, s.Wh[a-1]*1000, Number{"neighbour", float64(s.Wh[a-1])})
	default:
		c.set(Flat, s.Wh[b]*1000, Number{"neighbour", float64(s.Wh[b])})
	}
}

// weekdays averages the same local clock time on the most recent same weekdays; a holiday is a Sunday.
func (r *Rules) weekdays(zone *time.Location, s *Stretch, c *shape, i int) bool {
	local := time.Unix(int64(s.at(i)), 0).In(zone)
	holiday := r.sunday(local)
	sum, n := int64(0), int64(0)
	back := 7
	if holiday {
		back = (int(local.Weekday())+6)%7 + 1 // to the Sunday before: 1 from a Monday, 7 from a Sunday
	}
	for ; back <= int(r.Weeks)*7 && n < int64(r.Samples); back += 7 {
		day := local.AddDate(0, 0, -back)
		if r.sunday(day) != holiday {
			continue
		}
		if k, ok := s.index(day.Unix()); ok && s.good(k) {
			sum += s.Wh[k]
			n++
		}
	}
	if n < int64(r.MinSamples) {
		return false
	}
	c.set(Weekdays, sum*1000/n, Number{"samples", float64(n)}, Number{"mean", float64(sum) / float64(n)})
	return true
}

// share is the part of a day that the class profile gives to an interval.
func (r *Rules) share(zone *time.Location, t, length uint32) float64 {
	local := time.Unix(int64(t), 0).In(zone)
	p := r.Weekday
	if local.Weekday() == time.Saturday || r.sunday(local) {
		p = r.Weekend
	}
	sum := 0.0
	for _, w := range p {
		sum += w
	}
	hours := float64(length) / 3600
	if length <= 3600 {
		return float64(p[local.Hour()]*hours) / sum
	}
	part := 0.0
	for h := range int(hours) {
		part += p[(local.Hour()+h)%24]
	}
	return part / sum
}

// run is what two registers say of the gaps between them.
type run struct {
	a, b  int
	total int64 // Wh of the gaps between
}

// scale makes the shapes between two registers add up to what these say. Registers that contradict the values are not used.
func (r *Rules) scale(m Master, s *Stretch, cells []shape, pairs [][2]RegisterAt) []run {
	var out []run
	for _, p := range pairs {
		a, b := p[0], p[1]
		delta, _ := Difference(a.Wh, b.Wh, m.Dials)
		if float64(delta) > r.RolloverFuse*m.Most(float64(b.At-a.At)*float64(s.Length))/m.Factor {
			continue
		}
		total, gaps, weights := int64(float64(float64(delta)*m.Factor)+0.5), 0, int64(0)
		shaped := true
		for i := a.At; i < b.At; i++ {
			switch c := &cells[i]; {
			case s.Wh[i] != None:
				total -= s.Wh[i]
			case c.method != Outage:
				gaps++
				weights += c.weight
				shaped = shaped && c.method != NoMethod
			}
		}
		if gaps == 0 || total < 0 {
			continue
		}
		if !shaped || weights == 0 { // a part without a shape would get nothing: equal parts are fairer
			for i := a.At; i < b.At; i++ {
				if c := &cells[i]; s.Wh[i] == None && c.method != Outage {
					c.set(Flat, int64(s.Length))
				}
			}
			for _, x := range s.Short {
				if a.At <= x.At && x.At < b.At {
					cells[x.At].weight = int64(x.Seconds)
				}
			}
		}
		out = append(out, run{a.At, b.At, total})
	}
	return out
}

// MarkDoubt marks a value that counts as energy, but neither as a neighbour nor as a sample.
func (s *Stretch) MarkDoubt(i int) {
	if s.Doubt == nil {
		s.Doubt = make([]bool, len(s.Wh))
	}
	for len(s.Doubt) < len(s.Wh) {
		s.Doubt = append(s.Doubt, false)
	}
	s.Doubt[i] = true
}
