package mdms

import (
	"context"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// maxEdgeReads is how many blocks a question for completeness reads to count parts of days that are sealed. Beyond, the span
// is widened to whole days.
const maxEdgeReads = 50_000

// clip is a span of intervals [lo, hi) of which those are expected that end up to end.
type clip struct{ lo, hi, end uint32 }

// count counts the row's intervals inside of the window.
func (w clip) count(r *dayRow) (received, recovered, missing int64) {
	for i := int(r.first) + 1; i < len(r.cells); i++ {
		switch {
		case r.joined(i) || r.start(i) < w.lo || r.at(i) > w.hi:
		case r.cells[i].wh == cim.NoValue:
			if r.at(i) <= w.end {
				missing++
			}
		case r.quality(i) == cim.Recovered:
			recovered++
		default:
			received++
		}
	}
	return received, recovered, missing
}

// edge is the part of a day that a span begins or ends in.
type edge struct {
	day                          cim.Day
	lo, hi                       uint32
	received, recovered, missing int64
	lacks                        []int64       // missing, by ordinal
	sealed                       []edgeAccount // whose day lies in the store
}

type edgeAccount struct {
	d   *device
	a   account
	end uint32
}

func newEdge(lo, hi uint32) *edge {
	return &edge{day: cim.DayOf(lo), lo: lo, hi: hi}
}

// add counts a series' part of the day, or notes that it has to be read. m.mu is held.
func (e *edge) add(d *device, s *series, now uint32) {
	r := s.find(e.day)
	if r == nil && s.sealed(e.day) && s.from != 0 && e.day >= cim.DayOf(s.from) {
		k := edgeAccount{d: d, a: account{series: *s, rows: map[cim.Day]*dayRow{}}, end: s.finished(now)}
		k.a.series.rows, k.a.lost = nil, nil
		e.sealed = append(e.sealed, k)
		return
	}
	if s.from == 0 && r == nil {
		return
	}
	if r == nil {
		r = newRow(s, e.day, s.length)
	}
	e.count(d, r, s.finished(now))
}

func (e *edge) count(d *device, r *dayRow, end uint32) {
	received, recovered, missing := clip{e.lo, e.hi, end}.count(r)
	e.received += received
	e.recovered += recovered
	if missing > 0 {
		e.missing += missing
		e.lacks[d.Ordinal] += missing
	}
}

// read counts what lies in the store.
func (e *edge) read(ctx context.Context, st store.Store) error {
	for i := range e.sealed {
		k := &e.sealed[i]
		if err := k.a.load(ctx, st, e.day, e.day); err != nil {
			return err
		}
		r := k.a.rows[e.day]
		if r == nil { // given up with nothing
			r = newRow(&k.a.series, e.day, k.a.length)
		}
		e.count(k.d, r, k.end)
	}
	return nil
}
