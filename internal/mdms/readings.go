package mdms

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/registry"
	"github.com/wattbus/wattbus/internal/mdms/vee"
	"github.com/wattbus/wattbus/internal/store"
)

// account is a copy of a series as of one moment, which can be read without a lock while the loop goes on. A day that is
// sealed later is in both the rows and the store; one that was sealed before is in the store.
type account struct {
	series
	rows     map[cim.Day]*dayRow
	verdicts map[cim.Day]*store.Verdict
	asKnown  uint32 // what the books said then, and nothing that lies in RAM; 0: now
	rolls    uint64 // where the meter's registers begin again at 0, Wh; 0: nowhere, as far as the registry knows
}

// dial is what a register stands at. One that is reckoned from an earlier one and the intervals since knows of no roll-over; the meter
// cannot show it.
func (a *account) dial(register uint64) *uint64 {
	if a.rolls != 0 {
		register %= a.rolls
	}
	return &register
}

// rolls is where a meter's registers begin again at 0, as the registry knew at a time.
func (m *MDMS) rolls(id string, at, known uint32) uint64 {
	a, _ := m.registry.Meter(id, at, known)
	return dialModulus(a.Dials)
}

// snapshot copies what lies in RAM of the days [from, to]. m.mu is held.
func (s *series) snapshot(from, to cim.Day) *account {
	a := &account{series: *s, rows: map[cim.Day]*dayRow{}, verdicts: map[cim.Day]*store.Verdict{}}
	a.series.rows, a.series.lost = nil, slices.Clone(s.lost)
	for _, r := range s.rows {
		if r.day >= from && r.day <= to {
			c := *r
			c.s, c.cells, c.marks = &a.series, slices.Clone(r.cells), slices.Clone(r.marks)
			c.copySeen()
			a.rows[r.day] = &c
		}
	}
	return a
}

// load adds the blocks of the days [from, to] that are not in RAM; or makes all of these days what they were at a.asKnown.
func (a *account) load(ctx context.Context, st store.Store, from, to cim.Day) error {
	q := store.BlockQuery{Device: a.device, Channel: a.channel, From: from, To: to + 1, AsKnown: a.asKnown}
	if a.asKnown != 0 {
		return a.loadThen(ctx, st, q)
	}
	return st.Blocks(ctx, q, func(b *store.Block) error {
		if a.rows[b.Day] == nil {
			r := newRow(&a.series, b.Day, b.Length)
			r.fromBlock(b)
			a.rows[b.Day] = r
		}
		return nil
	})
}

// loadThen takes what the store says of a day before what lies in RAM: that may be newer, and is told by when it came.
func (a *account) loadThen(ctx context.Context, st store.Store, q store.BlockQuery) error {
	stored := map[cim.Day]bool{}
	put := func(r *dayRow, left bool) {
		if stored[r.day] = true; left {
			a.rows[r.day] = r
		} else {
			delete(a.rows, r.day)
		}
	}
	if err := st.Blocks(ctx, q, func(b *store.Block) error {
		r := newRow(&a.series, b.Day, b.Length)
		if b.After {
			left, err := r.fromLater(b, a.asKnown)
			put(r, left)
			return err
		}
		r.fromBlock(b)
		r.first, r.last = expectedOf(b)
		put(r, true)
		return nil
	}); err != nil {
		return err
	}
	for day, r := range a.rows {
		if stored[day] || day < q.From || day >= q.To {
			continue
		}
		if was := r.was; was != nil && was.Recorded > a.asKnown { // not in the store yet
			n := newRow(&a.series, day, was.Length)
			left, err := n.fromLater(was, a.asKnown)
			if err != nil {
				return err
			}
			put(n, left)
			continue
		}
		put(r, r.dated() && r.then(a.asKnown))
	}
	return nil
}

// judge adds the verdicts of the days [from, to].
func (a *account) judge(ctx context.Context, st store.Store, from, to cim.Day) error {
	q := store.BlockQuery{Device: a.device, Channel: a.channel, From: from, To: to + 1, AsKnown: a.asKnown}
	return st.Verdicts(ctx, q, func(v *store.Verdict) error {
		a.verdicts[v.Day] = v
		return nil
	})
}

// row is the day's row; an empty one if nothing is known of it, nil if nothing was known of it then.
func (a *account) row(day cim.Day) *dayRow {
	if r := a.rows[day]; r != nil {
		return r
	}
	v := a.verdicts[day]
	switch {
	case v != nil: // whatever the length of its intervals is now
		return newRow(&a.series, day, v.Length)
	case a.asKnown != 0:
		return nil
	}
	return newRow(&a.series, day, a.length)
}

// known puts the day's verdict on top of its values.
func (a *account) known(r *dayRow) (store.Known, error) {
	wh, quality := make([]uint32, r.slots()), make([]cim.Quality, r.slots())
	for i := range wh {
		wh[i], quality[i] = r.cells[i+1].wh, r.quality(i+1)
	}
	version := r.version
	if r.block && r.dirty { // a newer version is about to be committed
		version++
	}
	return store.Merge(wh, quality, version, a.verdicts[r.day])
}

func (m *MDMS) queryReadings(ctx context.Context, q api.ReadingQuery) (api.Page[api.Reading], error) {
	out := api.Page[api.Reading]{Items: []api.Reading{}}
	limit, err := page(q.Paging, maxReadings)
	if err != nil {
		return out, err
	}
	asKnown := uint32(0)
	if !q.AsKnownAt.IsZero() {
		if asKnown, err = m.knownAt(ctx, q.AsKnownAt); err != nil {
			return out, err
		}
	}
	m.mu.RLock()
	imp, exp, from, to, end, err := m.accounts(q, asKnown)
	m.mu.RUnlock()
	if err != nil {
		return out, err
	}
	// As many days at a time as a page may need, so that a long span costs no more than its page.
	days := cim.Day(limit/(1440/int(imp.length)) + 2)
	for from < to {
		first := cim.DayOf(from)
		last := min(first+days-1, cim.DayOf(to-1))
		if err := imp.load(ctx, m.o.Store, first, last); err != nil {
			return out, err
		}
		if err := imp.judge(ctx, m.o.Store, first, last); err != nil {
			return out, err
		}
		if exp != nil {
			if err := exp.load(ctx, m.o.Store, first, last); err != nil {
				return out, err
			}
			if err := exp.judge(ctx, m.o.Store, first, last); err != nil {
				return out, err
			}
		}
		for d := first; d <= last; d++ {
			if out.Items, err = appendDay(out.Items, imp, exp, d, from, min(to, d.Start()+dayLength), end); err != nil {
				return out, err
			}
			if len(out.Items) > limit {
				out.Next = strconv.FormatInt(out.Items[limit].Start.Unix(), 10)
				out.Items = out.Items[:limit]
				return out, nil
			}
			delete(imp.rows, d)
		}
		from = (last + 1).Start()
	}
	return out, nil
}

// accounts copies what a question for readings is about: the accounts, the span, and the end of what is expected.
func (m *MDMS) accounts(q api.ReadingQuery, asKnown uint32) (imp, exp *account, from, to, end uint32, err error) {
	d, err := m.meter(q.ID)
	if err != nil {
		return nil, nil, 0, 0, 0, err
	}
	now := m.o.Clock.Unix()
	end = d.imp.finished(now)
	begin := d.from()
	if begin == 0 {
		begin = end
	}
	if asKnown != 0 {
		if d.Recorded > asKnown {
			return d.imp.snapshot(0, 0), nil, 0, 0, end, nil
		}
		// Nothing of what is found out later may show, not even the end of what is expected.
		end = asKnown
		now = asKnown
	}
	if from, to, err = span(q.From, q.To, begin, end); err != nil {
		return nil, nil, 0, 0, 0, err
	}
	if q.Cursor != "" {
		at, err := strconv.ParseUint(q.Cursor, 10, 32)
		if err != nil {
			return nil, nil, 0, 0, 0, api.BadRequest("cursor", "%.40q is no cursor of this list", q.Cursor)
		}
		from = max(from, uint32(at))
	}
	if !q.From.IsZero() {
		if err := m.checkKept("from", from); err != nil {
			return nil, nil, 0, 0, 0, err
		}
	}
	from = max(from, cim.Day(m.kept.Load()).Start())
	// Nothing can be kept outside of this.
	from, to = max(from, begin-min(begin, pastLimit)), min(to, now+futureLimit)
	if from < to {
		imp = d.imp.snapshot(cim.DayOf(from), cim.DayOf(to-1))
		if d.exp != nil {
			exp = d.exp.snapshot(cim.DayOf(from), cim.DayOf(to-1))
		}
		if asKnown != 0 && d.Exporting > asKnown {
			exp = nil
		}
		for _, a := range []*account{imp, exp} {
			if a != nil {
				a.asKnown = asKnown
				a.rolls = m.rolls(q.ID, to-1, cmp.Or(asKnown, registry.Now))
			}
		}
		return imp, exp, from, to, end, nil
	}
	return d.imp.snapshot(0, 0), nil, 0, 0, end, nil
}

// knownAt is the time as of which the books are asked for, by default the last one of which all is committed. A time right before now is
// waited for.
func (m *MDMS) knownAt(ctx context.Context, t time.Time) (uint32, error) {
	at := t.Unix()
	if !t.IsZero() {
		if err := m.checkVersions("asKnownAt", at); err != nil {
			return 0, err
		}
	}
	for range 500 {
		m.mu.RLock()
		closed, now := m.closed, m.o.Clock.Unix()
		m.mu.RUnlock()
		switch {
		case t.IsZero():
			return closed, nil
		case at >= 1 && at <= int64(closed):
			return uint32(at), nil
		case at < 1 || at > int64(now):
			return 0, notClosed(t, closed)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return 0, notClosed(t, m.closed)
}

func notClosed(t time.Time, closed uint32) error {
	return api.BadRequest("asKnownAt", "%v: the books are closed up to %v; what is later may still change", t.UTC().Format(time.RFC3339), unix(closed).Format(time.RFC3339))
}

// appendDay appends the slots of a day that start in [from, to): those with a value, and the expected ones without.
func appendDay(items []api.Reading, imp, exp *account, day cim.Day, from, to, end uint32) ([]api.Reading, error) {
	r := imp.row(day)
	if r == nil {
		return items, nil
	}
	k, err := imp.known(r)
	if err != nil {
		return items, err
	}
	var e *dayRow
	var ek store.Known
	if exp != nil {
		if e = exp.rows[day]; e == nil && exp.verdicts[day] != nil {
			e = exp.row(day)
		}
		if e != nil && e.length == r.length {
			if ek, err = exp.known(e); err != nil {
				return items, err
			}
		} else {
			e = nil
		}
	}
	regs := r.reckon()
	for i := 1; i < len(r.cells); i++ {
		start := r.start(i)
		if r.joined(i) || start < from || start >= to {
			continue
		}
		expected := imp.from != 0 && start >= imp.from && r.at(i) <= end
		if imp.asKnown != 0 {
			expected = i > max(int(r.first), k.First) && i <= int(r.last) && r.at(i) <= end
		}
		if k.Wh[i-1] == cim.NoValue && !expected && (e == nil || ek.Wh[i-1] == cim.NoValue) {
			continue
		}
		it := r.reading(i)
		it.Import, it.Quality, it.ReadingQuality = wattHours(k.Wh[i-1]), k.Quality[i-1].String(), qualityCode(&k, i-1)
		if k.Wh[i-1] != r.cells[i].wh {
			it.Raw = wattHours(r.cells[i].wh)
		}
		if c := k.Cells[i-1]; c != nil && c.Lost && r.cells[i].wh == cim.NoValue {
			it.Lost = true
		}
		if regs[i].known {
			it.Register = imp.dial(regs[i].value)
		}
		if e != nil {
			it.Export = wattHours(ek.Wh[i-1])
			it.ExportReadingQuality = qualityCode(&ek, i-1)
			if ek.Wh[i-1] != e.cells[i].wh {
				it.ExportRaw = wattHours(e.cells[i].wh)
			}
		}
		items = append(items, it)
	}
	return items, nil
}

// qualityCode is the quality code of a slot (IEC 61968-9 ReadingQualityType).
func qualityCode(k *store.Known, i int) string {
	if c := k.Cells[i]; c != nil {
		return c.Code
	}
	switch k.Quality[i] {
	case cim.Missing:
		return vee.QualityMissing
	case cim.Validated:
		return vee.QualityValidated
	}
	return vee.QualityRaw
}
