package billing

import (
	"fmt"
	"math"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/tariff"
)

// Total stands for all TOUs together.
const Total = -1

// Energy is the energy of a TOU, or of all, and what it rests on. All amounts are multiplied by the meters' factors.
type Energy struct {
	Sum       Milli // Wh
	Estimated Milli // of Sum, from estimated intervals
	Edited    Milli // of Sum, from edited intervals
	Derived   Milli // of Sum, from registers where intervals are missing
	Divided   Milli // of Sum, from intervals that reach over a boundary and were divided evenly
	Intervals int   // with a value, counted where they begin
	Estimates int   // of them, estimated
	Seconds   int64 // that are covered by a value
}

// Share is the estimated part of the sum, in thousandths; of nothing it is 0.
func (e Energy) Share() int {
	if e.Sum == 0 {
		return 0
	}
	return int(float64(e.Estimated) / float64(e.Sum) * 1000)
}

// Peak is a maximum demand.
type Peak struct {
	Demand    int   // index in Calendar.Demands
	TOU       int   // Total, or the one that holds during the whole window
	Known     bool  // there is at least one window with values throughout
	Energy    Milli // of the window, Wh
	Power     Milli // W, rounded to the thousandth
	Start     int64 // of the window; the first of several alike
	Estimated bool  // a value in it is
	Windows   int   // that were looked at
}

// Bill is what is billed for a period.
type Bill struct {
	From, To int64
	Calendar *tariff.Calendar
	TOU      []Energy // by number
	Total    Energy   // the sum of TOU
	Peaks    []Peak   // for each demand: Total, then each TOU
	// Unattributed is energy that registers prove, of times without intervals during which several TOUs held.
	Unattributed        Milli
	UnattributedSeconds int64
	Missing             int64 // seconds of which nothing is known
	Unmetered           int64 // seconds without a meter; not in Missing
	Begin, End          Balance
	// Advance is what the registers of all meters advanced, times factor, if it is known; Difference is what that is more than
	// Total.Sum and Unattributed.
	HasAdvance     bool
	Advance        Milli
	Difference     Milli
	Contradictions []Contradiction // the first few
	Contradicted   int             // how many there are
}

// maxContradictions is how many of them a Bill lists.
const maxContradictions = 10

// Biller makes bills by one calendar for one period. It may be used for any number of usage points, one after the other.
type Biller struct {
	cal      *tariff.Calendar
	from, to int64
	st       []tariff.Stretch
	days     []int64 // local midnights of [from, to]
}

// NewBiller makes a Biller for the local days [from, to) of a zone, nil: the calendar's own.
func NewBiller(c *tariff.Calendar, z *tariff.Zone, from, to tariff.Date) (*Biller, error) {
	if z == nil {
		z = c.Zone
	}
	if from >= to {
		return nil, fmt.Errorf("period from %v to %v is empty: \"to\" is the day behind the last one", from, to)
	}
	if !c.Covers(from, to) {
		return nil, fmt.Errorf("calendar %s is for %v to %v, not for all of %v to %v", c.Name, c.From, c.To-1, from, to-1)
	}
	b := &Biller{cal: c, from: z.Start(from), to: z.Start(to)}
	b.st = c.Stretches(z, b.from, b.to)
	b.days = Midnights(z, from, to)
	return b, nil
}

// Midnights are the beginnings of the local days from..to, both inside; a day that does not exist has none.
func Midnights(z *tariff.Zone, from, to tariff.Date) []int64 {
	var out []int64
	for d := from; d <= to; d++ {
		if at := z.Start(d); len(out) == 0 || out[len(out)-1] < at {
			out = append(out, at)
		}
	}
	return out
}

// Span is the period, seconds since the epoch.
func (b *Biller) Span() (from, to int64) { return b.from, b.to }

// Bill makes the bill of one channel of a usage point.
func (b *Biller) Bill(s *Supply) (*Bill, error) {
	books, err := open(s)
	if err != nil {
		return nil, err
	}
	out := &Bill{From: b.from, To: b.to, Calendar: b.cal, TOU: make([]Energy, len(b.cal.TOU)), HasAdvance: true}
	end := b.from // up to which it is known which meter was there
	metered := false
	for i := range books {
		m := &books[i]
		from, to := max(m.From, b.from), min(m.To, b.to)
		if from >= to {
			continue
		}
		out.Unmetered += from - end
		end = to
		b.energy(m, from, to, out)
		first, last := m.balance(from), m.balance(to)
		if !metered {
			out.Begin = first
		}
		out.End, metered = last, true
		b.advance(m, first, last, out)
		m.contradictions(from, to, func(c Contradiction) {
			if out.Contradicted++; len(out.Contradictions) < maxContradictions {
				out.Contradictions = append(out.Contradictions, c)
			}
		})
	}
	out.Unmetered += b.to - end
	out.HasAdvance = out.HasAdvance && metered
	for _, e := range out.TOU {
		out.Total.add(e)
	}
	if out.HasAdvance {
		out.Difference = out.Advance - out.Total.Sum - out.Unattributed
	} else {
		out.Advance = 0
	}
	b.peaks(books, out)
	return out, nil
}

func open(s *Supply) ([]meterBook, error) {
	books := make([]meterBook, len(s.Meters))
	for i := range s.Meters {
		m := &s.Meters[i]
		if i > 0 && m.From < s.Meters[i-1].To {
			return nil, fmt.Errorf("meters %s and %s are there at the same time: %w", s.Meters[i-1].Meter, m.Meter, ErrInput)
		}
		p, err := prepare(m)
		if err != nil {
			return nil, err
		}
		if total := p.wh[len(p.iv)]; m.Factor == 0 || total > math.MaxInt64/8/int64(m.Factor) {
			return nil, fmt.Errorf("meter %s: %d Wh times %d/1000: %w", m.Meter, total, m.Factor, ErrInput)
		}
		books[i] = meterBook{m, p}
	}
	return books, nil
}

func (e *Energy) add(o Energy) {
	e.Sum += o.Sum
	e.Estimated += o.Estimated
	e.Edited += o.Edited
	e.Derived += o.Derived
	e.Divided += o.Divided
	e.Intervals += o.Intervals
	e.Estimates += o.Estimates
	e.Seconds += o.Seconds
}

// energy adds what a meter measured in [from, to): its intervals, and what its registers tell of the time between them.
func (b *Biller) energy(m *meterBook, from, to int64, out *Bill) {
	st := b.stretch(from)
	end := from
	for i := m.s.at(from); i < len(m.s.iv) && m.s.iv[i].Start < to; i++ {
		v := m.s.iv[i]
		if v.Start > end {
			b.gap(m, end, v.Start, out)
		}
		end = min(v.End, to)
		before := int64(0)
		at := max(v.Start, from)
		if at > v.Start {
			before = part(v, at)
		}
		for at < end {
			for b.st[st].To <= at {
				st++
			}
			stop := min(end, b.st[st].To)
			sofar := v.Wh
			if stop < v.End {
				sofar = part(v, stop)
			}
			wh := Milli(sofar-before) * Milli(m.Factor)
			e := &out.TOU[b.st[st].TOU]
			e.Sum += wh
			e.Seconds += stop - at
			switch v.Quality {
			case cim.Estimated:
				e.Estimated += wh
			case cim.Edited:
				e.Edited += wh
			}
			if stop-at < v.End-v.Start {
				e.Divided += wh
			}
			if at == v.Start {
				e.Intervals++
				if v.Quality == cim.Estimated {
					e.Estimates++
				}
			}
			before, at = sofar, stop
		}
	}
	if end < to {
		b.gap(m, end, to, out)
	}
}

// stretch is the index of the stretch that holds at t.
func (b *Biller) stretch(t int64) int {
	lo, hi := 0, len(b.st)-1
	for lo < hi {
		if mid := (lo + hi) / 2; b.st[mid].To <= t {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// gap accounts for [from, to), of which there are no intervals.
func (b *Biller) gap(m *meterBook, from, to int64, out *Bill) {
	first, last := m.balance(from), m.balance(to)
	wh, fell := m.advance(first.Wh, last.Wh)
	if !first.Known || !last.Known || fell || wh > math.MaxInt64/8/int64(m.Factor) {
		out.Missing += to - from
		return
	}
	sum := Milli(wh) * Milli(m.Factor)
	st := b.stretch(from)
	if b.st[st].To < to && wh != 0 {
		out.Unattributed += sum
		out.UnattributedSeconds += to - from
		return
	}
	// Of no energy it does not matter how it is divided, and it is nobody's guess.
	for at := from; at < to; st++ {
		stop := min(to, b.st[st].To)
		out.TOU[b.st[st].TOU].Seconds += stop - at
		at = stop
	}
	e := &out.TOU[b.st[b.stretch(from)].TOU]
	e.Sum += sum
	e.Derived += sum
}

// advance adds what a meter's register advanced.
func (b *Biller) advance(m *meterBook, first, last Balance, out *Bill) {
	wh, fell := m.advanced(first.At, last.At, first.Wh, last.Wh)
	if !first.Known || !last.Known || fell || wh > math.MaxInt64/8/int64(m.Factor) {
		out.HasAdvance = false
		return
	}
	out.Advance += Milli(wh) * Milli(m.Factor)
}

// Balances are the billing registers at each local midnight of the period, both ends inside; at an instant at which meters were
// exchanged it is the new one's, and at the end of the period the old one's.
func (b *Biller) Balances(s *Supply) ([]Balance, error) { return Balances(s, b.days) }

// Balances are the billing registers at instants. Where no meter is there one is unknown and has no meter.
func Balances(s *Supply, at []int64) ([]Balance, error) {
	books, err := open(s)
	if err != nil {
		return nil, err
	}
	out := make([]Balance, len(at))
	for i, t := range at {
		out[i].At = t
		for j := range books {
			m := &books[j]
			if m.From <= t && t < m.To || t == m.To && !out[i].Known {
				out[i] = m.balance(t)
			}
		}
	}
	return out, nil
}
