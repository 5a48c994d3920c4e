package mdms

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

const (
	maxDays   = 1000 // of one question for completeness
	maxWorst  = 100  // meters in its answer
	maxToRead = 4000 // days of blocks that are read for them
)

// queryCompleteness counts the intervals inside of a span, by UTC day. Where parts of days are sealed for very many meters
// (maxEdgeReads), the span is widened to whole days; the answer says to what. It is kept for some seconds where it takes long (kept).
func (m *MDMS) queryCompleteness(ctx context.Context, q api.Span) (api.Completeness, error) {
	return m.complete.get(q, func() (api.Completeness, error) { return m.completeness(ctx, q) })
}

func (m *MDMS) completeness(ctx context.Context, q api.Span) (api.Completeness, error) {
	out := api.Completeness{Days: []api.DayCounts{}, Meters: []api.MeterCounts{}}
	c, err := m.countDays(q, &out)
	if err != nil || c == nil {
		return out, err
	}
	for _, e := range c.edges {
		if err := e.read(ctx, m.o.Store); err != nil {
			return out, err
		}
		t := &c.days[e.day-c.first]
		t.received, t.recovered, t.missing = e.received, e.recovered, e.missing
		for n, lacks := range e.lacks {
			c.lacks[n] += lacks
		}
	}
	var sum dayCount
	for i, t := range c.days {
		out.Days = append(out.Days, api.DayCounts{Day: (c.first + cim.Day(i)).String(), Counts: counts(t.received, t.recovered, t.missing)})
		sum.received += t.received
		sum.recovered += t.recovered
		sum.missing += t.missing
	}
	out.Counts = counts(sum.received, sum.recovered, sum.missing)
	read := 0
	for _, w := range m.worst(c) {
		k, n, err := w.count(ctx, m.o.Store, c.from, c.to, read < maxToRead)
		if err != nil {
			return out, err
		}
		read += n
		out.Meters = append(out.Meters, api.MeterCounts{ID: w.id, Path: w.path, Counts: k, Lost: w.lost})
	}
	return out, nil
}

// census is the account of a span while it is made.
type census struct {
	from, to uint32
	first    cim.Day
	days     []dayCount // from first on
	edges    []*edge    // days of which only a part is asked for; not in days yet
	all      []*device  // by ordinal
	lacks    []int64    // intervals that are missing, by ordinal
}

type dayCount struct{ received, recovered, missing int64 }

// countDays counts whole days, and parts of days that lie in RAM. It returns nil where there is nothing to count. It walks over all
// devices, some at a time, so a meter that is filled meanwhile may be counted as it was before. The caller does not hold m.mu.
func (m *MDMS) countDays(q api.Span, out *api.Completeness) (*census, error) {
	now := m.o.Clock.Unix()
	m.mu.RLock()
	all := m.devices
	m.mu.RUnlock()
	begin := m.begin(all, now)
	from, to, err := span(q.From, q.To, begin, now)
	if err != nil {
		return nil, err
	}
	from, to = max(from, begin), min(to, now)
	out.From, out.To = unix(min(from, to)), unix(to)
	out.Counts = counts(0, 0, 0)
	if from >= to {
		return nil, nil
	}
	c := &census{from: from, to: to, first: cim.DayOf(from), all: all, lacks: make([]int64, len(all))}
	last := cim.DayOf(to - 1)
	if last-c.first >= maxDays {
		return nil, api.BadRequest("from", "the span has %d days, want at most %d", last-c.first+1, maxDays)
	}
	c.cut(begin, now)
	if !m.countEdges(c, now) {
		c.from, c.to, c.edges = max(c.first.Start(), begin), min(last.Start()+dayLength, now), nil
	}
	out.From, out.To = unix(c.from), unix(c.to)
	c.days = make([]dayCount, last-c.first+1)
	partial := func(day cim.Day) bool {
		return slices.ContainsFunc(c.edges, func(e *edge) bool { return e.day == day })
	}
	var missing [maxWalkers][]int64 // by day
	for w := range walkers(len(all)) {
		missing[w] = make([]int64, len(c.days))
	}
	m.walkOver(all, func(w int, part []*device) {
		for _, d := range part {
			d.each(func(s *series) {
				s.eachMissing(s.finished(now), func(day cim.Day, n int) {
					if day >= c.first && day <= last && !partial(day) {
						missing[w][day-c.first] += int64(n)
						c.lacks[d.Ordinal] += int64(n)
					}
				})
			})
		}
	})
	m.mu.RLock()
	defer m.mu.RUnlock()
	for i := range c.days {
		for _, of := range missing {
			if of != nil {
				c.days[i].missing += of[i]
			}
		}
		if have := m.ledger.days[c.first+cim.Day(i)]; have != nil {
			c.days[i].received, c.days[i].recovered = have.received, have.recovered
		}
	}
	return c, nil
}

// begin is when the first interval of any device is expected, at most now.
func (m *MDMS) begin(all []*device, now uint32) uint32 {
	var of [maxWalkers]uint32
	for w := range of {
		of[w] = now
	}
	m.walkOver(all, func(w int, part []*device) {
		for _, d := range part {
			if from := d.from(); from != 0 {
				of[w] = min(of[w], from)
			}
		}
	})
	return slices.Min(of[:])
}

// countEdges counts the parts of days. It reports whether what of them lies in the store is little enough to be read.
func (m *MDMS) countEdges(c *census, now uint32) bool {
	reads := 0
	for _, e := range c.edges {
		e.lacks = make([]int64, len(c.all))
		var of [maxWalkers]edge
		for w := range of {
			of[w] = edge{day: e.day, lo: e.lo, hi: e.hi, lacks: e.lacks} // each device is one walker's
		}
		m.walkOver(c.all, func(w int, part []*device) {
			for _, d := range part {
				d.each(func(s *series) { of[w].add(d, s, now) })
			}
		})
		for w := range of {
			e.received += of[w].received
			e.recovered += of[w].recovered
			e.missing += of[w].missing
			e.sealed = append(e.sealed, of[w].sealed...)
		}
		reads += len(e.sealed)
	}
	return reads <= maxEdgeReads
}

// cut finds the days of which only a part is asked for. What lies before begin and after now is never expected, so a span
// that reaches there has all of those days.
func (c *census) cut(begin, now uint32) {
	head := c.from > begin && c.from%dayLength != 0
	tail := c.to < now && c.to%dayLength != 0
	last := cim.DayOf(c.to - 1)
	switch {
	case head && c.first == last:
		c.edges = append(c.edges, newEdge(c.from, c.to))
		return
	case head:
		c.edges = append(c.edges, newEdge(c.from, (c.first+1).Start()))
	}
	if tail {
		c.edges = append(c.edges, newEdge(max(last.Start(), c.from), c.to))
	}
}

// bad is a meter that misses intervals, with copies of its accounts.
type bad struct {
	id, path string
	missing  int64
	lost     int64 // of these, for good
	end      uint32
	accounts []*account
}

// worst are the meters that miss the most.
func (m *MDMS) worst(c *census) []*bad {
	type lack struct {
		d *device
		n int64
	}
	worse := func(a, b lack) int { return cmp.Or(-cmp.Compare(a.n, b.n), byID(a.d, b.d)) }
	var list []lack // of what came so far, cut to the worst now and then
	var least *lack // the last one after the cut
	for i, n := range c.lacks {
		x := lack{c.all[i], n}
		if n == 0 || least != nil && worse(*least, x) < 0 {
			continue
		}
		if list = append(list, x); len(list) >= 20*maxWorst {
			slices.SortFunc(list, worse)
			list = list[:maxWorst]
			least = &lack{list[maxWorst-1].d, list[maxWorst-1].n}
		}
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	slices.SortFunc(list, worse)
	list = list[:min(len(list), maxWorst)]
	out := make([]*bad, len(list))
	for i, l := range list {
		d := l.d
		b := &bad{id: d.ID, path: d.EndDevice.Path, missing: l.n, end: d.imp.finished(c.to)}
		d.each(func(s *series) {
			b.accounts = append(b.accounts, s.snapshot(c.first, cim.DayOf(c.to-1)))
			b.lost += s.gone(c.from, s.finished(c.to))
		})
		b.lost = min(b.lost, b.missing) // at the span's ends days may be given up of which it has a part
		out[i] = b
	}
	return out
}

// count counts a meter's intervals inside of [from, to). Without the store's blocks, days that are sealed are taken for
// received.
func (b *bad) count(ctx context.Context, st store.Store, from, to uint32, read bool) (api.Counts, int, error) {
	var received, recovered int64
	days, first, last := 0, cim.DayOf(from), cim.DayOf(to-1)
	for _, a := range b.accounts {
		if read {
			if err := a.load(ctx, st, first, last); err != nil {
				return api.Counts{}, 0, err
			}
			days += int(last-first) + 1
		}
		for d := first; d <= last; d++ {
			r := a.rows[d]
			if r == nil {
				if !read && d >= cim.DayOf(a.from) && a.sealed(d) {
					received += int64(1440 / int(a.length))
				}
				continue
			}
			in, again, _ := clip{from, to, b.end}.count(r)
			received += in
			recovered += again
		}
	}
	return counts(received, recovered, b.missing), days, nil
}

func decodeOutage(k store.Outage) (api.Outage, error) {
	var doc api.Outage
	if err := json.Unmarshal(k.Doc, &doc); err != nil {
		return doc, fmt.Errorf("outage %d in the store: %w", k.ID, err)
	}
	return doc, nil
}
