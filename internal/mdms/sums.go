package mdms

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/outage"
	"github.com/wattbus/wattbus/internal/topic"
)

// serveSums answers the questions about many meters at once.
func (m *MDMS) serveSums(add func(func(), error)) {
	b := m.o.Bus
	add(bus.Serve(b, api.QuerySums, m.querySums))
	add(bus.Serve(b, api.QueryMissing, m.queryMissing))
	add(bus.Serve(b, api.QueryTop, m.queryTop))
	add(bus.Serve(b, api.QueryCompleteBy, m.queryCompleteBy))
	add(bus.Serve(b, api.QueryCompleteHours, m.queryCompleteHours))
	add(bus.Serve(b, api.QueryServiceLevel, m.queryServiceLevel))
}

// addedKey is of what meters are added up.
type addedKey struct {
	lo, hi  uint32
	channel cim.Channel
	raw     bool
	judged  uint64 // of a day that is over: what verdicts and late values were known
}

// addedUp are the sums of all meters.
type addedUp struct {
	spots []api.Sum // by the number of the place
	paths []api.Sum // by that of the path
}

func addPart(s *api.Sum, p part) {
	s.Meters++
	s.Wh += p.wh
	s.Values += p.values
	s.Missing += p.missing
	s.Estimated += p.estimated
	s.Edited += p.edited
}

func addSum(s *api.Sum, x *api.Sum) {
	s.Meters += x.Meters
	s.Wh += x.Wh
	s.Values += x.Values
	s.Missing += x.Missing
	s.Estimated += x.Estimated
	s.Edited += x.Edited
}

// sumOf is the sum with the number, made if there is none.
func sumOf(all *[]api.Sum, n uint32) *api.Sum {
	if k := len(*all); int(n) >= k {
		*all = append(*all, make([]api.Sum, int(n)+1-k+k/4)...)
	}
	return &(*all)[n]
}

// querySums adds meters up. All meters are added up by place and by path at once, which is kept for some seconds where it takes
// long (kept): whoever opens a substation, a feeder and a transformer asks the same three times.
func (m *MDMS) querySums(ctx context.Context, q api.SumQuery) (api.Sums, error) {
	limit, err := page(q.Paging, maxPage)
	if err != nil {
		return api.Sums{}, err
	}
	m.mu.RLock()
	x, err := m.sliceOf(&q)
	m.mu.RUnlock()
	if err != nil {
		return api.Sums{}, err
	}
	out := api.Sums{From: unix(x.lo), To: unix(x.hi), Items: []api.Sum{}}
	var number func(place) uint32
	switch q.By {
	case "", "path":
	case "substation":
		number = func(p place) uint32 { return p.substation }
	case "feeder":
		number = func(p place) uint32 { return p.feeder }
	case "transformer":
		number = func(p place) uint32 { return p.transformer }
	default:
		return out, api.BadRequest("by", "%.40q, want path, substation, feeder or transformer", q.By)
	}
	only := x
	if x.path == "" && q.By != "path" || x.place == (place{}) && number == nil {
		only.path, only.place = "", place{} // they are chosen from what is added up by one of the two
	}
	add := func() (*addedUp, error) { return m.addUp(ctx, &only) }
	var added *addedUp
	if only.path != "" || only.place != (place{}) {
		added, err = add()
	} else {
		key := addedKey{lo: x.lo, hi: x.hi, channel: x.channel, raw: x.raw}
		if x.day < cim.DayOf(m.o.Clock.Unix()) {
			key.judged = m.judged.Load()
		}
		added, err = m.added.get(key, add)
	}
	if err != nil {
		return out, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var all []api.Sum
	if x.path != "" || q.By == "path" {
		below := m.below(x.path)
		for n := range added.paths {
			s := &added.paths[n]
			if s.Meters == 0 || n < len(below) && !below[n] {
				continue
			}
			addSum(&out.Total, s)
			if q.By == "path" {
				p := *s
				p.Key = m.hang.value(uint32(n))
				all = append(all, p)
			}
		}
	}
	if number != nil || x.path == "" && q.By != "path" {
		total, places := api.Sum{}, make([]api.Sum, len(m.grid.all))
		for n := range added.spots {
			s := &added.spots[n]
			if s.Meters == 0 || !x.place.takes(m.spots.all[n]) {
				continue
			}
			addSum(&total, s)
			if number != nil {
				addSum(&places[number(m.spots.all[n])], s)
			}
		}
		out.Total = total
		for n, s := range places {
			if s.Meters > 0 {
				s.Key = m.grid.all[n]
				all = append(all, s)
			}
		}
	}
	slices.SortFunc(all, func(a, b api.Sum) int { return strings.Compare(a.Key, b.Key) })
	all, out.Next, err = keyPage(all, func(s *api.Sum) string { return s.Key }, true, q.Paging, limit)
	out.Items = append(out.Items, all...)
	return out, err
}

// addUp adds the meters of a slice up by place and by path. The caller does not hold m.mu.
func (m *MDMS) addUp(ctx context.Context, x *slice) (*addedUp, error) {
	var of [maxWalkers]addedUp
	err := m.scan(ctx, x, func(w int, n uint32, p part) {
		c := &m.columns[n]
		addPart(sumOf(&of[w].spots, c.spot), p)
		addPart(sumOf(&of[w].paths, c.path), p)
	})
	out := &of[0]
	for w := range of[1:] {
		merge := func(to *[]api.Sum, from []api.Sum) {
			for n := range from {
				if from[n].Meters > 0 {
					addSum(sumOf(to, uint32(n)), &from[n])
				}
			}
		}
		merge(&out.spots, of[1+w].spots)
		merge(&out.paths, of[1+w].paths)
	}
	return out, err
}

func (m *MDMS) queryMissing(ctx context.Context, q api.SumQuery) (api.Page[api.MissingMeter], error) {
	out := api.Page[api.MissingMeter]{Items: []api.MissingMeter{}}
	limit, err := page(q.Paging, maxPage)
	if err != nil {
		return out, err
	}
	if q.Cursor != "" && topic.CheckID(q.Cursor) != nil {
		return out, api.BadRequest("cursor", "%.40q is no cursor of this list", q.Cursor)
	}
	m.mu.RLock()
	q.Raw = true // what can be estimated did not come
	x, err := m.sliceOf(&q)
	devices := len(m.devices)
	m.mu.RUnlock()
	if err != nil {
		return out, err
	}
	x.lacking = true
	lacks := make([]uint16, devices) // intervals, by ordinal
	if err := m.scan(ctx, &x, func(_ int, n uint32, p part) {
		if int(n) < devices {
			lacks[n] = uint16(p.missing)
		}
	}); err != nil {
		return out, err
	}
	m.mu.Lock() // the index may have to be sorted
	order := m.ids.behind(q.Cursor)
	m.mu.Unlock()
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, n := range order {
		if int(n) >= devices || lacks[n] == 0 {
			continue
		}
		if len(out.Items) == limit {
			out.Next = out.Items[limit-1].ID
			break
		}
		d := m.devices[n]
		s := d.has(x.channel)
		lost := min(s.gone(x.lo, min(x.hi, s.finished(m.o.Clock.Unix()))), int64(lacks[n]))
		out.Items = append(out.Items, api.MissingMeter{ID: d.ID, Lost: lost, Path: d.EndDevice.Path, UsagePoint: m.lastGridOf(d.ID).UsagePoint,
			Feeder: m.grid.all[d.place.feeder], Transformer: m.grid.all[d.place.transformer], State: outage.State(&d.EndDevice), Missing: int64(lacks[n])})
	}
	return out, nil
}

func (m *MDMS) queryTop(ctx context.Context, q api.SumQuery) (api.Page[api.TopMeter], error) {
	out := api.Page[api.TopMeter]{Items: []api.TopMeter{}}
	limit, err := page(q.Paging, maxPage)
	if err != nil {
		return out, err
	}
	skip := 0
	if q.Cursor != "" {
		if skip, err = strconv.Atoi(q.Cursor); err != nil || skip < 0 || skip > 1_000_000 {
			return out, api.BadRequest("cursor", "%.40q is no cursor of this list", q.Cursor)
		}
	}
	m.mu.RLock()
	x, err := m.sliceOf(&q)
	m.mu.RUnlock()
	if err != nil {
		return out, err
	}
	type use struct {
		d *device
		p part
	}
	better := func(a, b use) int { return cmp.Or(cmp.Compare(b.p.wh, a.p.wh), byID(a.d, b.d)) }
	keep := skip + limit + 1
	var of [maxWalkers]struct {
		best  []use // of what came so far, cut to keep now and then
		least int64
	}
	if err := m.scan(ctx, &x, func(w int, n uint32, p part) {
		k := &of[w]
		if p.values > 0 && p.wh >= k.least {
			if k.best = append(k.best, use{m.devices[n], p}); len(k.best) >= 4*keep+1000 {
				slices.SortFunc(k.best, better)
				k.best = k.best[:keep]
				k.least = k.best[keep-1].p.wh
			}
		}
	}); err != nil {
		return out, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var best []use
	for w := range of {
		best = append(best, of[w].best...)
	}
	slices.SortFunc(best, better)
	for i := skip; i < len(best); i++ {
		if len(out.Items) == limit {
			out.Next = strconv.Itoa(i)
			break
		}
		u := best[i]
		out.Items = append(out.Items, api.TopMeter{ID: u.d.ID, Path: u.d.EndDevice.Path, UsagePoint: m.lastGridOf(u.d.ID).UsagePoint,
			Feeder: m.grid.all[u.d.place.feeder], Transformer: m.grid.all[u.d.place.transformer], Wh: u.p.wh, Missing: u.p.missing, Estimated: u.p.estimated, Edited: u.p.edited})
	}
	return out, nil
}
