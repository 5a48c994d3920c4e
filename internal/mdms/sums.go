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

func (m *MDMS) querySums(ctx context.Context, q api.SumQuery) (api.Sums, error) {
	limit, err := page(q.Paging, maxPage)
	if err != nil {
		return api.Sums{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	x, err := m.sliceOf(&q)
	if err != nil {
		return api.Sums{}, err
	}
	out := api.Sums{From: unix(x.lo), To: unix(x.hi), Items: []api.Sum{}}
	add := func(s *api.Sum, p part) {
		s.Meters++
		s.Wh += p.wh
		s.Values += p.values
		s.Missing += p.missing
		s.Estimated += p.estimated
		s.Edited += p.edited
	}
	var number func(*device) uint32
	switch q.By {
	case "":
	case "path":
	case "substation":
		number = func(d *device) uint32 { return d.place.substation }
	case "feeder":
		number = func(d *device) uint32 { return d.place.feeder }
	case "transformer":
		number = func(d *device) uint32 { return d.place.transformer }
	default:
		return out, api.BadRequest("by", "%.40q, want path, substation, feeder or transformer", q.By)
	}
	paths, places := map[string]*api.Sum{}, make([]api.Sum, max(len(m.grid.names), 1))
	if err := m.scan(ctx, &x, nil, func(d *device, p part) bool {
		add(&out.Total, p)
		switch {
		case number != nil:
			n := number(d)
			for int(n) >= len(places) { // new since
				places = append(places, api.Sum{})
			}
			add(&places[n], p)
		case q.By == "path":
			s := paths[d.EndDevice.Path]
			if s == nil {
				s = &api.Sum{Key: d.EndDevice.Path}
				paths[s.Key] = s
			}
			add(s, p)
		}
		return true
	}); err != nil {
		return out, err
	}
	var all []api.Sum
	for n, s := range places {
		if s.Meters > 0 {
			s.Key = m.grid.names[n]
			all = append(all, s)
		}
	}
	for _, s := range paths {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b api.Sum) int { return strings.Compare(a.Key, b.Key) })
	all, out.Next, err = keyPage(all, func(s *api.Sum) string { return s.Key }, true, q.Paging, limit)
	out.Items = append(out.Items, all...)
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
	m.mu.Lock() // the index may have to be sorted
	list := m.ids.after(q.Cursor)
	m.mu.Unlock()
	m.mu.RLock()
	defer m.mu.RUnlock()
	q.Raw = true // what can be estimated did not come
	x, err := m.sliceOf(&q)
	if err != nil {
		return out, err
	}
	x.lacking = true
	type lack struct {
		d *device
		n int64
	}
	var lacks []lack
	if err := m.scan(ctx, &x, list, func(d *device, p part) bool {
		if p.missing > 0 {
			lacks = append(lacks, lack{d, p.missing})
		}
		return true
	}); err != nil {
		return out, err
	}
	// Those out of the store come last, in another order.
	if !slices.IsSortedFunc(lacks, func(a, b lack) int { return byID(a.d, b.d) }) {
		slices.SortFunc(lacks, func(a, b lack) int { return byID(a.d, b.d) })
	}
	for _, l := range lacks {
		if len(out.Items) == limit {
			out.Next = out.Items[limit-1].ID
			break
		}
		s := &l.d.imp
		if x.channel == cim.Export {
			s = l.d.exp
		}
		lost := min(s.gone(x.lo, min(x.hi, s.finished(m.o.Clock.Unix()))), l.n)
		out.Items = append(out.Items, api.MissingMeter{ID: l.d.ID, Lost: lost, Path: l.d.EndDevice.Path, UsagePoint: m.GridOf(l.d.ID).UsagePoint,
			Feeder: m.grid.names[l.d.place.feeder], Transformer: m.grid.names[l.d.place.transformer], State: outage.State(&l.d.EndDevice), Missing: l.n})
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
	defer m.mu.RUnlock()
	x, err := m.sliceOf(&q)
	if err != nil {
		return out, err
	}
	type use struct {
		d *device
		p part
	}
	better := func(a, b use) int { return cmp.Or(cmp.Compare(b.p.wh, a.p.wh), byID(a.d, b.d)) }
	keep := skip + limit + 1
	var best []use // of what came so far, cut to keep now and then
	least := int64(-1)
	if err := m.scan(ctx, &x, nil, func(d *device, p part) bool {
		if p.values > 0 && p.wh >= least {
			if best = append(best, use{d, p}); len(best) >= 4*keep+1000 {
				slices.SortFunc(best, better)
				best = best[:keep]
				least = best[keep-1].p.wh
			}
		}
		return true
	}); err != nil {
		return out, err
	}
	slices.SortFunc(best, better)
	for i := skip; i < len(best); i++ {
		if len(out.Items) == limit {
			out.Next = strconv.Itoa(i)
			break
		}
		u := best[i]
		out.Items = append(out.Items, api.TopMeter{ID: u.d.ID, Path: u.d.EndDevice.Path, UsagePoint: m.GridOf(u.d.ID).UsagePoint,
			Feeder: m.grid.names[u.d.place.feeder], Transformer: m.grid.names[u.d.place.transformer], Wh: u.p.wh, Missing: u.p.missing, Estimated: u.p.estimated, Edited: u.p.edited})
	}
	return out, nil
}
