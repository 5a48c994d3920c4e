package mdms

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/wattbus/wattbus/internal/api"
)

// maxHourCells bounds what one question for hours holds while it is answered, and how long its answer is kept: 16 MB.
const maxHourCells = 1 << 20

// hourKey is what a question for hours asks for, but for the page.
type hourKey struct {
	by             string
	from, to, step uint32 // to is 0 for now
}

// hourSums answer it.
type hourSums struct {
	from, to uint32
	items    []api.HourCounts // by key
	worst    []api.HourCounts // those that lack the most first
}

// queryCompleteHours counts by concentrator or place in the grid, and by the step of time that an interval ends in: what a heat
// strip shows. It needs nothing from the store and goes once through the devices, whatever the number of steps; where that takes
// long, what it found is kept for some seconds (kept).
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
	switch {
	case q.Order != "" && q.Order != api.OrderName && q.Order != api.OrderWorst:
		return out, api.BadRequest("order", "%.40q, want name or worst", q.Order)
	case len(q.Keys) > api.MaxCompleteKeys:
		return out, api.BadRequest("keys", "%d of them, want at most %d", len(q.Keys), api.MaxCompleteKeys)
	case len(q.Keys) > 0 && (q.Cursor != "" || q.Order != ""):
		return out, api.BadRequest("keys", "they come in the order in which they are asked for, all at once: want neither a cursor nor an order")
	}
	if err := checkBy(q.By); err != nil {
		return out, err
	}
	now := m.o.Clock.Unix()
	step := uint32(out.Minutes) * 60
	from, to, err := span(q.From, q.To, 0, now)
	if err != nil {
		return out, err
	}
	key := hourKey{by: q.By, step: step}
	if to < now {
		key.to = to
	}
	to = min(to, now)
	if q.From.IsZero() && to > 0 {
		from = max(to-1, 23*step) - 23*step
	}
	from -= from % step
	if from >= to {
		return out, nil
	}
	if n := (to-from-1)/step + 1; n > api.MaxCompleteSteps {
		return out, api.BadRequest("from", "the span has %d steps of %d minutes, want at most %d", n, out.Minutes, api.MaxCompleteSteps)
	}
	key.from = from
	sums, err := m.hours.get(key, func() (*hourSums, error) { return m.sumHours(q.By, from, to, now, step) })
	if err != nil {
		return out, err
	}
	out.From, out.To = unix(sums.from), unix(sums.to)
	if len(q.Keys) > 0 {
		for _, k := range q.Keys {
			if h, ok := sums.of(k, q.By == "concentrator" || q.By == "path"); ok {
				out.Items = append(out.Items, h)
			}
		}
		return out, nil
	}
	all := sums.items
	if q.Order == api.OrderWorst {
		all = sums.worst
	}
	all, out.Next, err = keyPage(all, func(h *api.HourCounts) string { return h.Key }, q.Order != api.OrderWorst, q.Paging, limit)
	out.Items = append(out.Items, all...)
	return out, err
}

// of is one key's part, for paths with all that is below; ok is false where nothing is counted under it.
func (s *hourSums) of(key string, path bool) (sum api.HourCounts, ok bool) {
	find := func(k string) int {
		i, _ := slices.BinarySearchFunc(s.items, k, func(h api.HourCounts, k string) int { return strings.Compare(h.Key, k) })
		return i
	}
	from := find(key)
	list := s.items[from:]
	switch {
	case path && key == "":
	case path:
		list = s.items[find(key+"/"):find(key+"0")] // '0' comes behind '/'
		if from < len(s.items) && s.items[from].Key == key {
			list = append(slices.Clip(list), s.items[from])
		}
	default:
		list = list[:min(1, len(list))]
		if len(list) > 0 && list[0].Key != key {
			list = nil
		}
	}
	sum.Key = key
	for i := range list {
		sum.Meters += list[i].Meters
		sum.Expected, sum.Missing = addTo(sum.Expected, list[i].Expected), addTo(sum.Missing, list[i].Missing)
	}
	return sum, len(list) > 0
}

func addTo(sum, more []int64) []int64 {
	if sum == nil {
		return slices.Clone(more)
	}
	for i, n := range more {
		sum[i] += n
	}
	return sum
}

// sumHours counts. The caller does not hold m.mu.
func (m *MDMS) sumHours(by string, from, to, now, step uint32) (*hourSums, error) {
	n := int((to-from-1)/step + 1)
	type worker struct {
		sums     []*api.HourCounts // by the number of the key
		cells    int
		expected expectedSteps
	}
	var of [maxWalkers]worker
	number, name := m.numberOf(by)
	m.walk(func(w int, part []*device) {
		x := &of[w]
		for _, d := range part {
			if x.cells > maxHourCells || !d.countsIn(from, to, now) {
				continue
			}
			k := int(number(d))
			if k >= len(x.sums) {
				x.sums = append(x.sums, make([]*api.HourCounts, k+1-len(x.sums)+len(x.sums)/4)...)
			}
			s := x.sums[k]
			if s == nil {
				x.cells += n
				s = &api.HourCounts{Expected: make([]int64, n), Missing: make([]int64, n)}
				x.sums[k] = s
			}
			s.Meters++
			d.each(func(c *series) { c.bySteps(from, to, now, step, s, &x.expected) })
		}
	})
	out := &hourSums{from: from, to: to}
	m.mu.RLock()
	defer m.mu.RUnlock()
	merged := map[int]*api.HourCounts{}
	for w := range of {
		if of[w].cells > maxHourCells {
			return nil, tooManyHours(by, n)
		}
		for k, s := range of[w].sums {
			switch all := merged[k]; {
			case s == nil:
			case all == nil:
				s.Key = name(uint32(k))
				merged[k] = s
			default:
				all.Meters += s.Meters
				addTo(all.Expected, s.Expected)
				addTo(all.Missing, s.Missing)
			}
		}
	}
	if len(merged)*n > maxHourCells {
		return nil, tooManyHours(by, n)
	}
	lacks := make(map[string]int64, len(merged))
	for _, s := range merged {
		out.items = append(out.items, *s)
		for _, k := range s.Missing {
			lacks[s.Key] += k
		}
	}
	slices.SortFunc(out.items, func(a, b api.HourCounts) int { return strings.Compare(a.Key, b.Key) })
	out.worst = slices.Clone(out.items)
	slices.SortStableFunc(out.worst, func(a, b api.HourCounts) int { return cmp.Compare(lacks[b.Key], lacks[a.Key]) })
	return out, nil
}

func tooManyHours(by string, steps int) error {
	return api.BadRequest("minutes", "too many %ss for %d steps, want fewer or longer steps", by, steps)
}

// numberOf returns what a device is counted under as a number, and what that stands for. m.mu is held when they are called.
func (m *MDMS) numberOf(by string) (number func(*device) uint32, name func(uint32) string) {
	grid := func(n uint32) string { return m.grid.all[n] }
	switch by {
	case "substation":
		return func(d *device) uint32 { return d.place.substation }, grid
	case "feeder":
		return func(d *device) uint32 { return d.place.feeder }, grid
	case "transformer":
		return func(d *device) uint32 { return d.place.transformer }, grid
	}
	return func(d *device) uint32 { return m.columns[d.Ordinal].path }, m.hang.value
}

// checkBy says what is wrong with what is to be counted by.
func checkBy(by string) error {
	switch by {
	case "concentrator", "path", "substation", "feeder", "transformer":
		return nil
	}
	return api.BadRequest("by", "%.40q, want concentrator, substation, feeder, transformer or, where that is asked for, age", by)
}

// expectedSteps are the intervals of a span by the step that each ends in. Most meters are expected in the same span: it is divided into steps
// once.
type expectedSteps struct {
	lo, hi, length uint32
	counts         []int64
}

// bySteps adds the expected and the missing intervals of a span to the step that each ends in. Of a day of which only the number of
// lost ones is known, they count for its first hours.
func (s *series) bySteps(from, to, now, step uint32, sum *api.HourCounts, e *expectedSteps) {
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
	if e.lo != lo || e.hi != hi || e.length != s.step() || len(e.counts) != len(sum.Expected) {
		*e = expectedSteps{lo, hi, s.step(), make([]int64, len(sum.Expected))}
		spread(lo, hi, int64(hi/s.step())-int64((lo+s.step()-1)/s.step()), e.counts)
	}
	for i, n := range e.counts {
		sum.Expected[i] += n
	}
	if s.complete >= hi && len(s.lost) == 0 {
		return
	}
	s.holes(hi, func(a, b uint32, n int64, _ bool) {
		if a, b = max(a, lo), min(b, hi); a < b {
			spread(a, b, min(n, int64((b-a)/s.step())), sum.Missing)
		}
	})
}
