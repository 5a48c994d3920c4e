package mdms

import (
	"context"
	"slices"
	"strings"

	"github.com/wattbus/wattbus/internal/api"
)

// maxHourCells bounds what one question for hours holds while it is answered: 16 MB.
const maxHourCells = 1 << 20

// queryCompleteHours counts by concentrator or place in the grid, and by the step of time that an interval ends in: what a heat
// strip shows. It needs nothing from the store and goes once through the devices, whatever the number of steps.
func (m *MDMS) queryCompleteHours(_ context.Context, q api.CompleteHoursQuery) (api.CompleteHours, error) {
	out := api.CompleteHours{Minutes: q.Minutes, Items: []api.HourCounts{}}
	if out.Minutes == 0 {
		out.Minutes = 60
	}
	if out.Minutes < 0 || out.Minutes > 1440 || 1440%out.Minutes != 0 {
		return out, api.BadRequest("minutes", "%d does not divide a day, want such as 30, 60 or 1440", q.Minutes)
	}
	limit, err := page(q.Paging, maxPage)
	if err != nil {
		return out, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	key, err := m.keyOf(q.By)
	if err != nil {
		return out, err
	}
	now := m.o.Clock.Unix()
	step := uint32(out.Minutes) * 60
	from, to, err := span(q.From, q.To, 0, now)
	if err != nil {
		return out, err
	}
	to = min(to, now)
	if q.From.IsZero() && to > 0 {
		from = max(to-1, 23*step) - 23*step
	}
	from -= from % step
	if from >= to {
		return out, nil
	}
	n := (to-from-1)/step + 1
	if n > api.MaxCompleteSteps {
		return out, api.BadRequest("from", "the span has %d steps of %d minutes, want at most %d", n, out.Minutes, api.MaxCompleteSteps)
	}
	out.From, out.To = unix(from), unix(to)
	sums := map[string]*api.HourCounts{}
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
			if (len(sums)+1)*int(n) > maxHourCells {
				return out, api.BadRequest("minutes", "too many %ss for %d steps, want fewer or longer steps", q.By, n)
			}
			s = &api.HourCounts{Key: k, Expected: make([]int64, n), Missing: make([]int64, n)}
			sums[k] = s
		}
		s.Meters++
		d.each(func(x *series) { x.bySteps(from, to, now, step, s) })
	}
	all := make([]api.HourCounts, 0, len(sums))
	for _, s := range sums {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b api.HourCounts) int { return strings.Compare(a.Key, b.Key) })
	all, out.Next, err = keyPage(all, func(h *api.HourCounts) string { return h.Key }, true, q.Paging, limit)
	out.Items = append(out.Items, all...)
	return out, err
}

// keyOf returns what a device is counted under. m.mu is held.
func (m *MDMS) keyOf(by string) (func(*device) string, error) {
	switch by {
	case "concentrator", "path":
		return func(d *device) string { return d.EndDevice.Path }, nil
	case "substation":
		return func(d *device) string { return m.grid.names[d.place.substation] }, nil
	case "feeder":
		return func(d *device) string { return m.grid.names[d.place.feeder] }, nil
	case "transformer":
		return func(d *device) string { return m.grid.names[d.place.transformer] }, nil
	}
	return nil, api.BadRequest("by", "%.40q, want concentrator, substation, feeder, transformer or, where that is asked for, age", by)
}

// bySteps adds the expected and the missing intervals of a span to the step that each ends in. Of a day of which only the number of
// lost ones is known, they count for its first hours.
func (s *series) bySteps(from, to, now, step uint32, sum *api.HourCounts) {
	lo, hi := max(from, s.from), min(to, s.finished(now))
	if s.from == 0 || lo >= hi {
		return
	}
	spread := func(lo, hi uint32, n int64, into []int64) {
		for lo = max(lo, from); lo < hi && n > 0; {
			// An interval that ends on the border between two steps belongs to the one before.
			i := (lo - from) / step
			border := min(from+(i+1)*step, hi)
			k := min(int64(border/s.step())-int64((lo+s.step()-1)/s.step()), n)
			if k <= 0 { // longer than a step
				k, border = 1, lo-lo%s.step()+s.step()
				i = min((border-1-from)/step, uint32(len(into)-1))
			}
			into[i] += k
			n -= k
			lo = border
		}
	}
	spread(lo, hi, int64(hi/s.step())-int64((lo+s.step()-1)/s.step()), sum.Expected)
	s.holes(hi, func(a, b uint32, n int64, _ bool) {
		if a, b = max(a, lo), min(b, hi); a < b {
			spread(a, b, min(n, int64((b-a)/s.step())), sum.Missing)
		}
	})
}
