package mdms

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
)

// ages are the buckets of what is missing, by how long ago the interval ended. What no meter keeps any more stands apart.
var ages = [...]struct {
	name   string
	within uint32 // seconds
}{{"up to 30 min", 1800}, {"up to 6 h", 6 * 3600}, {"up to 1 d", dayLength}, {"up to 3 d", 3 * dayLength}, {"older", math.MaxUint32}}

const lostForGood = "lost for good"

// countKey is what a question for completeness by key asks for, but for the page.
type countKey struct {
	by       string
	from, to uint32 // to is 0 for now
}

// queryCompleteBy counts by concentrator or place, or what is missing by its age. It needs nothing from the store; where it
// takes long, what it found is kept for some seconds (kept).
func (m *MDMS) queryCompleteBy(_ context.Context, q api.CompleteByQuery) (api.CompleteBy, error) {
	out := api.CompleteBy{Items: []api.KeyCounts{}}
	limit, err := page(q.Paging, maxPage)
	if err != nil {
		return out, err
	}
	now := m.o.Clock.Unix()
	from, to, err := span(q.From, q.To, 0, now)
	if err != nil {
		return out, err
	}
	key := countKey{by: q.By, from: from}
	if to < now {
		key.to = to
	}
	to = min(to, now)
	out.From, out.To = unix(from), unix(to)
	name := func(k *api.KeyCounts) string { return k.Key }
	if q.By == "age" {
		all, err := m.counted.get(key, func() ([]api.KeyCounts, error) { return m.missingByAge(from, to, now), nil })
		if err != nil {
			return out, err
		}
		out.Items, out.Next, err = keyPage(all, name, false, q.Paging, limit)
		return out, err
	}
	if err := checkBy(q.By); err != nil {
		return out, err
	}
	all, err := m.counted.get(key, func() ([]api.KeyCounts, error) { return m.countBy(q.By, from, to, now), nil })
	if err != nil {
		return out, err
	}
	all, out.Next, err = keyPage(all, name, true, q.Paging, limit)
	out.Items = append(out.Items, all...)
	return out, err
}

// countBy counts. The caller does not hold m.mu.
func (m *MDMS) countBy(by string, from, to, now uint32) []api.KeyCounts {
	var of [maxWalkers][]api.KeyCounts // by the number of the key
	number, name := m.numberOf(by)
	m.walk(func(w int, part []*device) {
		for _, d := range part {
			if !d.countsIn(from, to, now) {
				continue
			}
			k := int(number(d))
			if n := len(of[w]); k >= n {
				of[w] = append(of[w], make([]api.KeyCounts, k+1-n+n/4)...)
			}
			s := &of[w][k]
			s.Meters++
			d.each(func(x *series) {
				expected, missing := x.within(from, to, now)
				s.Expected += expected
				s.Missing += missing
			})
		}
	})
	sums := of[0]
	for _, more := range of[1:] {
		if n := len(sums); len(more) > n {
			sums = append(sums, make([]api.KeyCounts, len(more)-n)...)
		}
		for k := range more {
			sums[k].Meters += more[k].Meters
			sums[k].Expected += more[k].Expected
			sums[k].Missing += more[k].Missing
		}
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var all []api.KeyCounts
	for k, s := range sums {
		if s.Meters == 0 {
			continue
		}
		s.Key = name(uint32(k))
		s.There = s.Expected - s.Missing
		s.Percent = counts(s.There, 0, s.Missing).Percent
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b api.KeyCounts) int { return strings.Compare(a.Key, b.Key) })
	return all
}

// within counts the expected intervals of a span, in those of the present length, and those of them that are missing.
func (s *series) within(from, to, now uint32) (expected, missing int64) {
	lo, hi := max(from, s.from), min(to, s.finished(now))
	if s.from == 0 || lo >= hi {
		return 0, 0
	}
	expected = int64(hi/s.step()) - int64((lo+s.step()-1)/s.step())
	s.holes(hi, func(a, b uint32, n int64, _ bool) {
		if a, b = max(a, lo), min(b, hi); a < b {
			missing += min(n, int64((b-a)/s.step()))
		}
	})
	return expected, missing
}

// holes calls f with the spans before until in which n intervals are missing; gone says that they are lost for good: given up, from
// before what the meter still holds, or said three times to have no value.
func (s *series) holes(until uint32, f func(lo, hi uint32, n int64, gone bool)) {
	for _, d := range s.lost {
		if d.day.Start() < until {
			f(d.day.Start(), d.day.Start()+dayLength, int64(d.missing), true)
		}
	}
	if s.from == 0 {
		return
	}
	held := (s.oldest + s.step() - 1) / s.step() * s.step()
	s.walk(s.complete, until, func(lo, hi uint32, r *dayRow) bool {
		if r == nil {
			if cut := min(max(lo, held), hi); lo < cut {
				f(lo, cut, int64((cut-lo)/s.step()), true)
				lo = cut
			}
			if lo < hi {
				f(lo, hi, int64((hi-lo)/s.step()), false)
			}
			return true
		}
		// Those that follow each other are told together, but for longer ones.
		var from, to uint32
		var n int64
		var was, long bool
		for i := int(r.first) + 1; i <= int(r.last); i++ {
			if r.cells[i].wh != cim.NoValue || r.joined(i) || r.start(i) < lo || r.at(i) > hi {
				continue
			}
			start, end := r.start(i), r.at(i)
			gone, longer := start < s.oldest || r.refused(i), end-start != r.step()
			if n > 0 && (start != to || gone != was || long || longer) {
				f(from, to, n, was)
				n = 0
			}
			if n == 0 {
				from, was, long = start, gone, longer
			}
			to, n = end, n+1
		}
		if n > 0 {
			f(from, to, n, was)
		}
		return true
	})
}

// missingByAge counts by ages, and what is lost. The caller does not hold m.mu.
func (m *MDMS) missingByAge(from, to, now uint32) []api.KeyCounts {
	var of [maxWalkers][len(ages) + 1]struct{ meters, missing int64 }
	m.walk(func(w int, part []*device) {
		had := [len(ages) + 1]uint32{} // the last device that was counted, plus one
		x := &of[w]
		for _, d := range part {
			if !d.meters() {
				continue
			}
			add := func(i int, n int64) {
				if n <= 0 {
					return
				}
				x[i].missing += n
				if had[i] != d.Ordinal+1 {
					had[i] = d.Ordinal + 1
					x[i].meters++
				}
			}
			d.each(func(s *series) { s.byAge(from, to, now, add) })
		}
	})
	out := make([]api.KeyCounts, len(ages)+1)
	for i := range out {
		out[i].Key = lostForGood
		if i < len(ages) {
			out[i].Key = ages[i].name
		}
		for w := range of {
			out[i].Missing += of[w][i].missing
			out[i].Meters += int(of[w][i].meters)
		}
		out[i].Expected = out[i].Missing
		out[i].Percent = counts(0, 0, out[i].Missing).Percent
	}
	return out
}

// byAge calls add with how many intervals of each age are missing.
func (s *series) byAge(from, to, now uint32, add func(bucket int, n int64)) {
	s.holes(s.finished(min(to, now)), func(lo, hi uint32, n int64, gone bool) {
		if hi <= from {
			return
		}
		if gone {
			add(len(ages), n)
			return
		}
		lo = max(lo, from)
		whole, rest := int64((hi-lo)/s.step()), n
		for i, a := range ages {
			// Those that ended within a.within seconds.
			since := now - min(a.within, now)
			in := rest
			if since > lo && since < hi && whole == n {
				in = min(int64((hi-max(since, lo)+s.step()-1)/s.step()), n) - (n - rest)
			} else if since >= hi {
				in = 0
			}
			add(i, in)
			if rest -= in; rest <= 0 {
				return
			}
		}
	})
}
