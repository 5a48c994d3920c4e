package billing

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/wattbus/wattbus/internal/cim"
)

// ErrInput is returned for values that cannot be of one usage point.
var ErrInput = errors.New("contradictory input")

// Supply is what was measured on one channel of a usage point.
type Supply struct {
	Meters []Metered // in the order in which they were there, without overlap
}

// Metered is what one meter measured while it was there with one factor.
type Metered struct {
	Meter     string
	From, To  int64  // seconds since the epoch: it was there in [From, To)
	Factor    uint32 // thousandths: what its values are multiplied by
	Modulus   uint64 // Wh at which its register begins again at 0; 0: never
	Intervals []Interval
	Registers []Register
}

// Interval is the energy of [Start, End), by ascending Start and without overlap. Intervals without a value are left out.
type Interval struct {
	Start, End int64
	Wh         int64
	Quality    cim.Quality
}

// Register is what a register showed at an instant, by ascending At.
type Register struct {
	At      int64
	Wh      uint64
	Quality cim.Quality
}

// Milli is an amount of energy or power in thousandths of Wh or W, so that a factor in thousandths is exact.
type Milli int64

// String is the amount in whole units, with decimals only where there are some.
func (m Milli) String() string { return string(m.Append(nil)) }

// Append appends what String returns.
func (m Milli) Append(b []byte) []byte {
	if m < 0 {
		b = append(b, '-')
	}
	whole, part := m/1000, m%1000
	if whole < 0 {
		whole = -whole
	}
	if part < 0 {
		part = -part
	}
	b = strconv.AppendUint(b, uint64(whole), 10)
	if part != 0 {
		b = append(b, strings.TrimRight(fmt.Sprintf(".%03d", part), "0")...)
	}
	return b
}

// sums answers what lies between two instants, by sums from the beginning on.
type sums struct {
	iv      []Interval
	wh      []int64 // before interval i, and behind the last
	covered []int64 // seconds
}

// prepare checks a meter's values. An interval that reaches over the time at which the meter came or went is what it measured
// while it was there: it is cut, its value is not.
func prepare(m *Metered) (*sums, error) {
	if m.From >= m.To {
		return nil, fmt.Errorf("meter %s: there from %d to %d: %w", m.Meter, m.From, m.To, ErrInput)
	}
	s := &sums{iv: m.Intervals, wh: make([]int64, len(m.Intervals)+1), covered: make([]int64, len(m.Intervals)+1)}
	first, last := 0, len(m.Intervals)
	cut := false
	for i := range m.Intervals {
		v := &m.Intervals[i]
		if v.Start >= v.End || v.Wh < 0 || i > 0 && v.Start < m.Intervals[i-1].End {
			return nil, fmt.Errorf("meter %s: interval from %d to %d of %d Wh: %w", m.Meter, v.Start, v.End, v.Wh, ErrInput)
		}
		if v.End <= m.From {
			first = i + 1
		}
		if v.Start >= m.To && i < last {
			last = i
		}
		cut = cut || v.Start < m.From || v.End > m.To
	}
	if cut {
		s.iv = slices.Clone(m.Intervals[first:max(first, last)])
		if n := len(s.iv); n > 0 {
			s.iv[0].Start = max(s.iv[0].Start, m.From)
			s.iv[n-1].End = min(s.iv[n-1].End, m.To)
		}
	}
	s.wh, s.covered = s.wh[:len(s.iv)+1], s.covered[:len(s.iv)+1]
	for i, v := range s.iv {
		s.wh[i+1] = s.wh[i] + v.Wh
		s.covered[i+1] = s.covered[i] + v.End - v.Start
		if s.wh[i+1] < s.wh[i] {
			return nil, fmt.Errorf("meter %s: more than %d Wh: %w", m.Meter, s.wh[i], ErrInput)
		}
	}
	if !slices.IsSortedFunc(m.Registers, func(a, b Register) int { return cmp.Compare(a.At, b.At) }) {
		return nil, fmt.Errorf("meter %s: registers out of order: %w", m.Meter, ErrInput)
	}
	return s, nil
}

// at is the index of the first interval that ends behind t.
func (s *sums) at(t int64) int {
	return sort.Search(len(s.iv), func(i int) bool { return s.iv[i].End > t })
}

// until is the energy before t, and the time of it that intervals cover. An interval that t lies in is divided evenly; what is
// rounded away on one side stands on the other, so that parts always add up to the whole.
func (s *sums) until(t int64) (wh, covered int64) {
	i := s.at(t)
	wh, covered = s.wh[i], s.covered[i]
	if i < len(s.iv) && s.iv[i].Start < t {
		wh += part(s.iv[i], t)
		covered += t - s.iv[i].Start
	}
	return wh, covered
}

// part is the energy of an interval before an instant in it.
func part(v Interval, t int64) int64 {
	length := v.End - v.Start
	hi, lo := v.Wh/length, v.Wh%length // so that nothing overflows
	return hi*(t-v.Start) + lo*(t-v.Start)/length
}

// divides reports whether t lies within an interval.
func (s *sums) divides(t int64) bool {
	i := s.at(t)
	return i < len(s.iv) && s.iv[i].Start < t
}

// between is the energy of [a, b), if intervals cover it.
func (s *sums) between(a, b int64) (wh int64, whole bool) {
	wa, ca := s.until(a)
	wb, cb := s.until(b)
	return wb - wa, cb-ca == b-a
}

// estimated reports whether a value in [a, b) is estimated.
func (s *sums) estimated(a, b int64) bool {
	for i := s.at(a); i < len(s.iv) && s.iv[i].Start < b; i++ {
		if s.iv[i].Quality == cim.Estimated {
			return true
		}
	}
	return false
}
