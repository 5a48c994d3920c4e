package mdms

import (
	"context"
	"math"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
)

// levelKey is what a question for the service level asks for.
type levelKey struct{ from, to uint32 } // to is 0 for now

// levels are its answer: days from the first to the last by each deadline.
type levels struct {
	first cim.Day
	days  [][]api.DeadlineCounts
}

// queryServiceLevel counts the expected intervals of whole UTC days by whether their first value came by each deadline. It
// needs nothing from the store; where it takes long, what it found is kept for some seconds (kept).
func (m *MDMS) queryServiceLevel(_ context.Context, q api.Span) (api.ServiceLevel, error) {
	out := api.ServiceLevel{Deadlines: []api.DeadlineCounts{}, Days: []api.DayDeadlines{}}
	now := m.o.Clock.Unix()
	begin := now
	if q.From.IsZero() { // from the first interval of all on
		begin = m.firstExpected(now)
	}
	from, to, err := span(q.From, q.To, begin, now)
	if err != nil {
		return out, err
	}
	key := levelKey{from: from}
	if to < now {
		key.to = to
	}
	to = min(to, now)
	out.From, out.To = unix(min(from, to)), unix(to)
	if from >= to || len(m.ledger.deadlines) == 0 {
		return out, nil
	}
	first, last := cim.DayOf(from), cim.DayOf(to-1)
	if last-first >= maxDays {
		// What lies before the first interval of all does not count.
		if begin = m.firstExpected(now); from < begin {
			from = min(begin, to-1)
			first = cim.DayOf(from)
		}
		if last-first >= maxDays {
			return out, api.BadRequest("from", "the span has %d days, want at most %d", last-first+1, maxDays)
		}
	}
	found, err := m.levels.get(key, func() (*levels, error) { return m.serviceDays(first, last, now), nil })
	if err != nil {
		return out, err
	}
	if len(found.days) == 0 {
		out.From = out.To
		return out, nil
	}
	first, last = found.first, found.first+cim.Day(len(found.days)-1)
	out.From, out.To = unix(first.Start()), unix(last.Start()+dayLength)
	sums := make([]api.DeadlineCounts, len(m.ledger.deadlines))
	for i := range found.days {
		x := api.DayDeadlines{Day: (first + cim.Day(i)).String(), Deadlines: slices.Clone(found.days[i])}
		for k := range x.Deadlines {
			c, s := &x.Deadlines[k], &sums[k]
			s.Deadline = c.Deadline
			s.InTime += c.InTime
			s.Late += c.Late
			s.Missing += c.Missing
			s.Pending += c.Pending
			s.Unknown += c.Unknown
			finishDeadline(c)
		}
		out.Days = append(out.Days, x)
	}
	for k := range sums {
		finishDeadline(&sums[k])
	}
	out.Deadlines = sums
	return out, nil
}

// firstExpected is when the first expected interval of all begins; now where none is expected. The caller does not hold m.mu.
func (m *MDMS) firstExpected(now uint32) uint32 {
	var of [maxWalkers]uint32
	for w := range of {
		of[w] = now
	}
	m.walk(func(w int, part []*device) {
		for _, d := range part {
			d.each(func(s *series) {
				if s.from != 0 {
					of[w] = min(of[w], s.from)
				}
			})
		}
	})
	return slices.Min(of[:])
}

// finishDeadline sets what follows from the other counts. The share is rounded down, so that 100 says what it says.
func finishDeadline(c *api.DeadlineCounts) {
	c.Expected = c.InTime + c.Late + c.Missing
	c.Percent = 100
	if c.Expected > c.InTime {
		c.Percent = min(100*float64(c.InTime)/float64(c.Expected), math.Nextafter(100, 0))
	}
}

// serviceDays counts the days from first to last by each deadline, but for those before the first interval of all. The caller does not
// hold m.mu.
func (m *MDMS) serviceDays(first, last cim.Day, now uint32) *levels {
	l := m.ledger
	passed := make([]uint32, len(l.deadlines))
	for k := range l.deadlines {
		passed[k] = l.deadlines[k].passed(now)
	}
	type lacks struct{ missing, pending int64 }
	var of [maxWalkers]struct {
		lacks []lacks // by day and deadline
		begin uint32
	}
	n := len(passed)
	for w := range of {
		of[w].begin = now
	}
	m.walk(func(w int, part []*device) {
		x := &of[w]
		if x.lacks == nil {
			x.lacks = make([]lacks, int(last-first+1)*n)
		}
		for _, d := range part {
			d.each(func(s *series) {
				if s.from != 0 {
					x.begin = min(x.begin, s.from)
				}
				if s.complete >= s.finished(now) && len(s.lost) == 0 {
					return
				}
				missing := func(until uint32, f func(of []lacks, n int64)) {
					s.eachMissing(s.finished(until), func(day cim.Day, k int) {
						if day >= first && day <= last {
							i := int(day-first) * n
							f(x.lacks[i:i+n], int64(k))
						}
					})
				}
				// What is missing is pending for each deadline until it has passed.
				missing(now, func(of []lacks, n int64) {
					for k := range of {
						of[k].pending += n
					}
				})
				for k := range passed {
					missing(passed[k], func(of []lacks, n int64) {
						of[k].missing += n
						of[k].pending -= n
					})
				}
			})
		}
	})
	begin := now
	for w := range of {
		begin = min(begin, of[w].begin)
	}
	out := &levels{first: max(first, cim.DayOf(begin))}
	if begin == now || out.first > last {
		return out
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	for day := out.first; day <= last; day++ {
		cs := make([]api.DeadlineCounts, n)
		t := l.days[day]
		for k := range cs {
			c := &cs[k]
			c.Deadline = l.deadlines[k].name
			for w := range of {
				if of[w].lacks != nil {
					x := of[w].lacks[int(day-first)*n+k]
					c.Missing, c.Pending = c.Missing+x.missing, c.Pending+x.pending
				}
			}
			if t == nil {
				continue
			}
			c.InTime, c.Late = max(t.arrived[k].inTime, 0), max(t.arrived[k].late, 0)
			c.Unknown = max(t.received+t.recovered-c.InTime-c.Late, 0)
		}
		out.days = append(out.days, cs)
	}
	return out
}

// deadlineMetrics are the counts of first arrivals over all days.
func (m *MDMS) deadlineMetrics() (out []prometheus.Collector) {
	for k := range m.ledger.deadlines {
		add := func(outcome string, f func(byDeadline) int64) {
			out = append(out, prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "wattbus_intervals_by_deadline_total",
				Help:        "Expected intervals by whether their first value came by a deadline.",
				ConstLabels: prometheus.Labels{"deadline": m.ledger.deadlines[k].name, "arrived": outcome}}, func() float64 {
				m.mu.RLock()
				defer m.mu.RUnlock()
				return float64(max(f(m.ledger.total.arrived[k]), 0))
			}))
		}
		add("in-time", func(n byDeadline) int64 { return n.inTime })
		add("late", func(n byDeadline) int64 { return n.late })
	}
	return out
}
