package mdms

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/outage"
	"github.com/wattbus/wattbus/internal/store"
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

// slice is a span inside of one UTC day, of one channel of some meters.
type slice struct {
	day     cim.Day
	lo, hi  uint32
	channel cim.Channel
	path    string
	place   place // of which 0 is any
	nobody  bool  // a place that no meter has
}

// sliceOf reads what a question is about. m.mu is held.
func (m *MDMS) sliceOf(q *api.SumQuery) (slice, error) {
	now := m.o.Clock.Unix()
	minutes := q.Minutes
	if minutes == 0 {
		minutes = 30
	}
	if minutes < 1 || minutes > 1440 || 1440%minutes != 0 {
		return slice{}, api.BadRequest("minutes", "%d, want a length that divides a day", q.Minutes)
	}
	step := uint32(minutes) * 60
	x := slice{path: q.Path}
	switch {
	case q.Day != "" && !q.At.IsZero():
		return x, api.BadRequest("day", "want either a day or a time in a slot, not both")
	case q.Day != "":
		t, err := time.Parse(time.DateOnly, q.Day)
		if err != nil {
			return x, api.BadRequest("day", "%.40q, want a UTC day such as 2026-11-28", q.Day)
		}
		if t.Unix() < 0 || t.Unix() > 1<<32-1-dayLength {
			return x, api.BadRequest("day", "%s is out of range, want 1970 to 2106", q.Day)
		}
		x.lo, x.hi = uint32(t.Unix()), uint32(t.Unix())+dayLength
	case q.At.IsZero():
		x.hi = now / step * step
		x.lo = x.hi - step
	default:
		at, err := instant("at", q.At, now)
		if err != nil || at > 1<<32-1-2*dayLength {
			return x, api.BadRequest("at", "%s is out of range, want 1970 to 2106", q.At.Format(time.RFC3339))
		}
		x.lo = at / step * step
		x.hi = x.lo + step
	}
	if x.lo >= now { // where nothing is expected yet, nothing is missing: that would look as if all were there
		field, text := "at", q.At.UTC().Format(time.RFC3339)
		if q.Day != "" {
			field, text = "day", q.Day
		}
		return x, api.BadRequest(field, "%s lies in the future of the centre, whose time is %s", text, unix(now).Format(time.RFC3339))
	}
	x.day = cim.DayOf(x.lo)
	switch q.Channel {
	case "", "import":
	case "export":
		x.channel = cim.Export
	default:
		return x, api.BadRequest("channel", "%.40q, want import or export", q.Channel)
	}
	if topic.CheckPath(q.Path) != nil {
		return x, api.BadRequest("path", "%.40q, want ids of concentrators, outermost first, joined by /", q.Path)
	}
	for _, p := range []struct {
		name string
		to   *uint32
	}{{q.Substation, &x.place.substation}, {q.Feeder, &x.place.feeder}, {q.Transformer, &x.place.transformer}} {
		if p.name != "" {
			n, ok := m.grid.of[p.name]
			*p.to, x.nobody = n, x.nobody || !ok
		}
	}
	return x, nil
}

func (x *slice) chooses(d *device) bool {
	p := x.place
	return d.meters() && !x.nobody && (p.substation == 0 || p.substation == d.place.substation) &&
		(p.feeder == 0 || p.feeder == d.place.feeder) && (p.transformer == 0 || p.transformer == d.place.transformer) &&
		(x.path == "" || topic.Contains(x.path, d.EndDevice.Path))
}

// part is what one meter measured in a slice.
type part struct{ wh, values, missing int64 }

// of adds up a row's part of the slice, of which intervals up to end are expected. An interval that is longer than the slice
// counts where it ends.
func (x *slice) of(r *dayRow, end uint32) (p part) {
	step := r.step()
	first := int((x.lo - r.day.Start()) / step)
	last := int((x.hi - r.day.Start()) / step)
	for i := first + 1; i <= last; i++ {
		if c := &r.cells[i]; c.wh != cim.NoValue {
			p.wh += int64(c.wh)
			p.values++
		} else if r.expected(i) && r.at(i) <= end {
			p.missing++
		}
	}
	return p
}

// scan calls f with what every chosen meter measured in the slice: first those whose day is in RAM, under m.mu, then those whose
// day is sealed, out of the store while m.mu is let go. list is the order of the first ones, nil for that of the devices. f is not called for a meter
// of which nothing is expected and nothing is there.
func (m *MDMS) scan(ctx context.Context, x *slice, list []*device, f func(d *device, p part) bool) error {
	now := m.o.Clock.Unix()
	var sealed map[uint32]*series
	if list == nil {
		list = m.devices
	}
	for _, d := range list {
		s := &d.imp
		if x.channel == cim.Export {
			s = d.exp
		}
		if s == nil || !x.chooses(d) {
			continue
		}
		r := s.find(x.day)
		switch {
		case r != nil:
		case s.from == 0 || x.hi <= s.from:
			continue
		case s.sealed(x.day):
			if sealed == nil {
				sealed = map[uint32]*series{}
			}
			sealed[d.Ordinal] = s
			continue
		default:
			if n := x.wanted(s, now); n > 0 && !f(d, part{missing: n}) {
				return nil
			}
			continue
		}
		if p := x.of(r, s.finished(now)); p != (part{}) && !f(d, p) {
			return nil
		}
	}
	if len(sealed) == 0 {
		return nil
	}
	devices := m.devices
	ends := map[uint32]series{}
	for n, s := range sealed {
		c := *s
		c.rows, c.lost = nil, nil
		ends[n] = c
	}
	type found struct {
		device uint32
		part   part
	}
	var all []found
	m.mu.RUnlock()
	err := m.eachBlock(ctx, x, ends, func(b *store.Block) {
		s := ends[b.Device]
		r := newRow(&s, b.Day, b.Length)
		r.fromBlock(b)
		if p := x.of(r, s.finished(now)); p != (part{}) {
			all = append(all, found{b.Device, p})
		}
	})
	m.mu.RLock()
	for _, a := range all {
		if !f(devices[a.device], a.part) {
			break
		}
	}
	return err
}

// wanted counts the expected intervals of a slice of whose day nothing is there.
func (x *slice) wanted(s *series, now uint32) int64 {
	lo, hi := max(x.lo, s.from), min(x.hi, s.finished(now))
	if lo >= hi {
		return 0
	}
	return int64(hi/s.step() - (lo+s.step()-1)/s.step())
}

// dayBlocks is what a store has that reads one day of many devices at once.
type dayBlocks interface {
	DayBlocks(ctx context.Context, day cim.Day, ch cim.Channel, from, to uint64, f func(*store.Block) error) error
}

// eachBlock calls f with the blocks of a day of the given devices.
func (m *MDMS) eachBlock(ctx context.Context, x *slice, of map[uint32]series, f func(*store.Block)) error {
	take := func(b *store.Block) error {
		if _, ok := of[b.Device]; ok {
			f(b)
		}
		return nil
	}
	if st, ok := m.o.Store.(dayBlocks); ok {
		return st.DayBlocks(ctx, x.day, x.channel, 0, 1<<32, take)
	}
	for n := range of {
		if err := m.o.Store.Blocks(ctx, store.BlockQuery{Device: n, Channel: x.channel, From: x.day, To: x.day + 1}, take); err != nil {
			return err
		}
	}
	return nil
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
	for i := range all {
		// A cursor has a mark before the key, which may be empty.
		if q.Cursor != "" && all[i].Key <= strings.TrimPrefix(q.Cursor, "=") {
			continue
		}
		if len(out.Items) == limit {
			out.Next = "=" + out.Items[limit-1].Key
			break
		}
		out.Items = append(out.Items, all[i])
	}
	return out, nil
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
	x, err := m.sliceOf(&q)
	if err != nil {
		return out, err
	}
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
		out.Items = append(out.Items, api.MissingMeter{ID: l.d.ID, Path: l.d.EndDevice.Path, UsagePoint: m.GridOf(l.d.ID).UsagePoint,
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
			Feeder: m.grid.names[u.d.place.feeder], Transformer: m.grid.names[u.d.place.transformer], Wh: u.p.wh, Missing: u.p.missing})
	}
	return out, nil
}
