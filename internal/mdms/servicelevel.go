package mdms

import (
	"context"
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
)

// queryServiceLevel counts the expected intervals of whole UTC days by whether their first value came by each deadline. It
// needs nothing from the store.
func (m *MDMS) queryServiceLevel(_ context.Context, q api.Span) (api.ServiceLevel, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := api.ServiceLevel{Deadlines: []api.DeadlineCounts{}, Days: []api.DayDeadlines{}}
	now := m.o.Clock.Unix()
	begin := now
	for _, d := range m.devices {
		d.each(func(s *series) {
			if s.from != 0 {
				begin = min(begin, s.from)
			}
		})
	}
	from, to, err := span(q.From, q.To, begin, now)
	if err != nil {
		return out, err
	}
	from, to = max(from, begin), min(to, now)
	out.From, out.To = unix(min(from, to)), unix(to)
	if from >= to || len(m.ledger.deadlines) == 0 {
		return out, nil
	}
	first, last := cim.DayOf(from), cim.DayOf(to-1)
	if last-first >= maxDays {
		return out, api.BadRequest("from", "the span has %d days, want at most %d", last-first+1, maxDays)
	}
	out.From, out.To = unix(first.Start()), unix(last.Start()+dayLength)
	days := m.serviceDays(first, last, now)
	sums := make([]api.DeadlineCounts, len(m.ledger.deadlines))
	for i := range days {
		x := api.DayDeadlines{Day: (first + cim.Day(i)).String(), Deadlines: days[i]}
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

// finishDeadline sets what follows from the other counts. The share is rounded down, so that 100 says what it says.
func finishDeadline(c *api.DeadlineCounts) {
	c.Expected = c.InTime + c.Late + c.Missing
	c.Percent = 100
	if c.Expected > c.InTime {
		c.Percent = min(100*float64(c.InTime)/float64(c.Expected), math.Nextafter(100, 0))
	}
}

// serviceDays counts the days from first to last by each deadline. m.mu is held.
func (m *MDMS) serviceDays(first, last cim.Day, now uint32) [][]api.DeadlineCounts {
	l := m.ledger
	out := make([][]api.DeadlineCounts, last-first+1)
	passed := make([]uint32, len(l.deadlines))
	for k := range l.deadlines {
		passed[k] = l.deadlines[k].passed(now)
	}
	for i := range out {
		out[i] = make([]api.DeadlineCounts, len(l.deadlines))
		t := l.days[first+cim.Day(i)]
		for k := range out[i] {
			c := &out[i][k]
			c.Deadline = l.deadlines[k].name
			if t == nil {
				continue
			}
			c.InTime, c.Late = max(t.arrived[k].inTime, 0), max(t.arrived[k].late, 0)
			c.Unknown = max(t.received+t.recovered-c.InTime-c.Late, 0)
		}
	}
	for _, d := range m.devices {
		d.each(func(s *series) {
			missing := func(until uint32, f func(day cim.Day, n int64)) {
				s.eachMissing(s.finished(until), func(day cim.Day, n int) {
					if day >= first && day <= last {
						f(day-first, int64(n))
					}
				})
			}
			// What is missing is pending for each deadline until it has passed.
			missing(now, func(i cim.Day, n int64) {
				for k := range out[i] {
					out[i][k].Pending += n
				}
			})
			for k := range passed {
				missing(passed[k], func(i cim.Day, n int64) {
					out[i][k].Missing += n
					out[i][k].Pending -= n
				})
			}
		})
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
