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
var ages = []struct {
	name   string
	within uint32 // seconds
}{{"up to 30 min", 1800}, {"up to 6 h", 6 * 3600}, {"up to 1 d", dayLength}, {"up to 3 d", 3 * dayLength}, {"older", math.MaxUint32}}

const lostForGood = "lost for good"

// queryCompleteBy counts by concentrator or place, or what is missing by its age. It needs nothing from the store.
func (m *MDMS) queryCompleteBy(_ context.Context, q api.CompleteByQuery) (api.CompleteBy, error) {
	out := api.CompleteBy{Items: []api.KeyCounts{}}
	limit, err := page(q.Paging, maxPage)
	if err != nil {
		return out, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	now := m.o.Clock.Unix()
	from, to, err := span(q.From, q.To, 0, now)
	if err != nil {
		return out, err
	}
	to = min(to, now)
	out.From, out.To = unix(from), unix(to)
	name := func(k *api.KeyCounts) string { return k.Key }
	if q.By == "age" {
		out.Items, out.Next, err = keyPage(m.missingByAge(from, to, now), name, false, q.Paging, limit)
		return out, err
	}
	key, err := m.keyOf(q.By)
	if err != nil {
		return out, err
	}
	sums := map[string]*api.KeyCounts{}
	for _, d := range m.devices {
		if !d.meters() || d.imp.from == 0 {
			continue
		}
		if d.retired { // counts for the time in which it was expected
			if expected, _ := d.imp.within(from, to, now); expected == 0 {
				continue
			}
		}
		k := key(d)
		s := sums[k]
		if s == nil {
			s = &api.KeyCounts{Key: k}
			sums[k] = s
		}
		s.Meters++
		d.each(func(x *series) {
			expected, missing := x.within(from, to, now)
			s.Expected += expected
			s.Missing += missing
		})
	}
	all := make([]api.KeyCounts, 0, len(sums))
	for _, s := range sums {
		s.There = s.Expected - s.Missing
		s.Percent = counts(s.There, 0, s.Missing).Percent
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b api.KeyCounts) int { return strings.Compare(a.Key, b.Key) })
	all, out.Next, err = keyPage(all, name, true, q.Paging, limit)
	out.Items = append(out.Items, all...)
	return out, err
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
		for i := int(r.first) + 1; i <= int(r.last); i++ {
			if r.cells[i].wh == cim.NoValue && !r.joined(i) && r.start(i) >= lo && r.at(i) <= hi {
				f(r.start(i), r.at(i), 1, r.start(i) < s.oldest || r.refused(i))
			}
		}
		return true
	})
}

func (m *MDMS) missingByAge(from, to, now uint32) []api.KeyCounts {
	out := make([]api.KeyCounts, len(ages)+1)
	for i := range ages {
		out[i].Key = ages[i].name
	}
	out[len(ages)].Key = lostForGood
	had := make([]uint32, len(out)) // the last device that was counted, plus one
	for _, d := range m.devices {
		if !d.meters() {
			continue
		}
		add := func(i int, n int64) {
			if n <= 0 {
				return
			}
			out[i].Missing += n
			if had[i] != d.Ordinal+1 {
				had[i] = d.Ordinal + 1
				out[i].Meters++
			}
		}
		d.each(func(s *series) { s.byAge(from, to, now, add) })
	}
	for i := range out {
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
