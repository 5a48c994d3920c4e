package mdms

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/billing"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/registry"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

const (
	maxExport      = 2000      // usage points of a page
	maxExportBytes = 1 << 20   // packed; a page ends behind the usage point with which it is reached
	maxExportDays  = 3*366 + 2 // that one question may span
)

// exportPoint is a usage point that goes into an export, with the meters that were there.
type exportPoint struct {
	cursor string
	out    api.ExportPoint
	meters []exportMeter
}

// exportMeter is a meter at a usage point, with copies of its accounts.
type exportMeter struct {
	id         string
	from, to   int64
	factor     uint32
	modulus    uint64
	ends       [2][]billing.Register // per channel: read when it was put in and taken out
	imp, exp   *account              // nil: the centre knows no such device, or channel
	impB, expB *account              // the same, for what was known before
}

// queryExport answers with the values of the usage points behind the cursor.
func (m *MDMS) queryExport(ctx context.Context, q api.ExportQuery) (api.ExportPage, error) {
	out := api.ExportPage{Points: []api.ExportPoint{}, Now: unix(m.o.Clock.Unix())}
	limit, from, to, err := m.checkExport(&q)
	if err != nil {
		return out, err
	}
	if err := m.checkKept("from", from); err != nil {
		return out, err
	}
	known, err := m.knownAt(ctx, q.Known)
	if err != nil {
		return out, err
	}
	out.Known = unix(known)
	var before uint32
	if !q.Before.IsZero() {
		before = uint32(q.Before.Unix())
		if err := m.checkVersions("before", q.Before.Unix()); err != nil {
			return out, err
		}
	}
	paths, err := m.lockPaths(ctx, q.Path != "", known) // for writing: the index may have to be sorted
	if err != nil {
		return out, err
	}
	if q.Cursor == "" {
		err = m.checkNamed(q.Meters)
	}
	if err != nil {
		m.mu.Unlock()
		return out, err
	}
	sel := &exportSelection{q: &q, want: map[string]bool{}, paths: paths, from: from, to: to, known: known, before: before}
	points, next, total := m.exportPoints(sel, limit)
	if q.Cursor == "" && len(points) == 0 {
		err = m.checkFilters(sel)
	}
	m.mu.Unlock()
	if err != nil {
		return out, err
	}
	out.Total = total
	size := 0
	for i := range points {
		p := &points[i]
		if err := m.exportValues(ctx, p, from, to, known, before); err != nil {
			return out, err
		}
		for _, c := range p.out.Channels {
			for _, x := range c.Meters {
				size += len(x.Data) + len(x.Before)
			}
		}
		out.Points = append(out.Points, p.out)
		if size >= maxExportBytes && i+1 < len(points) {
			out.Next = p.cursor
			return out, nil
		}
	}
	out.Next = next
	return out, nil
}

func (m *MDMS) checkExport(q *api.ExportQuery) (limit int, from, to uint32, err error) {
	if limit, err = page(q.Paging, maxExport); err != nil {
		return 0, 0, 0, err
	}
	if q.From.IsZero() || q.To.IsZero() {
		return 0, 0, 0, api.BadRequest("from", "a span needs both from and to")
	}
	if from, to, err = span(q.From, q.To, 0, 0); err != nil {
		return 0, 0, 0, err
	}
	if to-from > maxExportDays*dayLength {
		return 0, 0, 0, api.BadRequest("to", "more than three years behind from; ask for less at a time")
	}
	if topic.CheckPath(q.Path) != nil {
		return 0, 0, 0, api.BadRequest("path", "%.40q, want ids of concentrators, outermost first, joined by /", q.Path)
	}
	for _, t := range []struct {
		field string
		at    time.Time
	}{{"asKnownAt", q.Known}, {"before", q.Before}} {
		if s := t.at.Unix(); !t.at.IsZero() && (s <= 0 || s > math.MaxUint32) {
			return 0, 0, 0, api.BadRequest(t.field, "%s is out of range, want 1970 to 2106", t.at.Format(time.RFC3339))
		}
	}
	if q.Cursor != "" && !strings.HasPrefix(q.Cursor, meterCursor) && !strings.HasPrefix(q.Cursor, pointCursor) {
		return 0, 0, 0, api.BadRequest("cursor", "%.40q is no cursor of this list", q.Cursor)
	}
	return limit, from, to, nil
}

// checkFilters tells a filter that nothing can match, such as a mistyped one, from one that chose nothing. m.mu is held.
func (m *MDMS) checkFilters(sel *exportSelection) error {
	q := sel.q
	if q.Feeder != "" || q.Tariff != "" {
		feeders, tariffs := map[string]bool{}, map[string]bool{}
		m.registry.List(registry.Query{At: sel.to - 1, Known: sel.known}, func(u cim.UsagePoint) bool {
			feeders[u.Feeder], tariffs[u.Tariff] = true, true
			return true
		})
		for _, f := range []struct {
			field, name, detail string
			names               map[string]bool
		}{{"feeder", q.Feeder, "no usage point hangs at feeder %.80q", feeders}, {"tariff", q.Tariff, "no usage point has the tariff %.80q", tariffs}} {
			if delete(f.names, ""); f.name != "" && !f.names[f.name] {
				return unknownName(f.field, fmt.Sprintf(f.detail, f.name), f.name, slices.Collect(maps.Keys(f.names)))
			}
		}
	}
	if q.Path == "" || slices.ContainsFunc(m.devices, sel.below) {
		return nil
	}
	return unknownPlace("path", q.Path, m.paths())
}

// checkNamed refuses names that the centre knows neither as a usage point nor as a meter: a bill must not lack one for a typing
// error. m.mu is held.
func (m *MDMS) checkNamed(ids []string) error {
	for _, id := range ids {
		_, ok := m.byID[id]
		if !ok {
			ok, _ = m.registry.Known(id, 0)
		}
		if !ok && len(m.registry.Versions(id, registry.Now)) == 0 {
			return api.BadRequest("meter", "%.80q is no usage point and no meter that is known", id)
		}
	}
	return nil
}

// copy takes what lies in RAM of the meter, as far as it was known of then.
func (x *exportMeter) copy(d *device, sel *exportSelection) {
	first, last := cim.DayOf(sel.from), cim.DayOf(max(sel.to, 1)-1)
	take := func(s *series, since uint32) (now, before *account) {
		if s == nil || d.Recorded > sel.known || since > sel.known {
			return nil, nil
		}
		now = s.snapshot(first, last)
		if sel.before != 0 && max(d.Recorded, since) <= sel.before {
			before = s.snapshot(first, last)
		}
		return now, before
	}
	x.imp, x.impB = take(&d.imp, 0)
	x.exp, x.expB = take(d.exp, d.Exporting)
}

// exportValues reads and packs what the meters of a usage point measured.
func (m *MDMS) exportValues(ctx context.Context, p *exportPoint, from, to, known, before uint32) error {
	for _, ch := range []cim.Channel{cim.Import, cim.Export} {
		out := api.ExportChannel{Channel: ch.String()}
		for i := range p.meters {
			x := &p.meters[i]
			acc, accB := x.imp, x.impB
			if ch == cim.Export {
				acc, accB = x.exp, x.expB
			}
			// Of a meter that was installed and never told anything all is missing, which a bill has to say. Whether it measures
			// export nobody knows.
			if acc == nil && len(x.ends[ch]) == 0 && ch != cim.Import {
				continue
			}
			met := api.ExportMetered{Meter: x.id, From: x.from, To: x.to, Factor: x.factor, Modulus: x.modulus}
			var err error
			if met.Data, err = m.packed(ctx, x, ch, acc, from, to, known); err != nil {
				return err
			}
			if accB != nil {
				if met.Before, err = m.packed(ctx, x, ch, accB, from, to, before); err != nil {
					return err
				}
			}
			out.Meters = append(out.Meters, met)
		}
		if len(out.Meters) > 0 {
			p.out.Channels = append(p.out.Channels, out)
		}
	}
	return nil
}

// packed reads the values of [from, to) that overlap the meter's time, as known at a time.
func (m *MDMS) packed(ctx context.Context, x *exportMeter, ch cim.Channel, acc *account, from, to, known uint32) ([]byte, error) {
	var iv []billing.Interval
	var regs []billing.Register
	if acc != nil {
		var err error
		if iv, regs, err = m.values(ctx, acc, from, to, known); err != nil {
			return nil, err
		}
	}
	iv = slices.DeleteFunc(iv, func(v billing.Interval) bool { return v.End <= x.from || v.Start >= x.to })
	regs = slices.DeleteFunc(regs, func(r billing.Register) bool { return r.At < x.from || r.At > x.to })
	for i := range regs {
		if x.modulus != 0 { // see account.dial
			regs[i].Wh %= x.modulus
		}
	}
	for _, r := range x.ends[ch] { // what was read at the exchange stands for what follows from intervals
		i, there := slices.BinarySearchFunc(regs, r.At, func(a billing.Register, at int64) int { return int(a.At - at) })
		if there {
			regs[i] = r
		} else {
			regs = slices.Insert(regs, i, r)
		}
	}
	return billing.Pack(nil, iv, regs), nil
}

// values are the intervals of the days of [from, to) with a value, and the registers: those at the beginning of days, and those
// that do not follow from what is before them.
func (m *MDMS) values(ctx context.Context, acc *account, from, to, known uint32) (iv []billing.Interval, regs []billing.Register, err error) {
	first, last := cim.DayOf(from), cim.DayOf(max(to, 1)-1)
	acc.asKnown = known
	if err := acc.load(ctx, m.o.Store, first, last); err != nil {
		return nil, nil, err
	}
	verdicts, err := m.verdicts(ctx, acc, first, last, known)
	if err != nil {
		return nil, nil, err
	}
	for d := first; d <= last; d++ {
		r := acc.rows[d]
		v := verdicts[d]
		if r == nil && v == nil {
			continue
		}
		if r == nil {
			r = newRow(&acc.series, d, v.Length)
		}
		told := r.reckon() // before the verdict: registers come from the meter
		if v != nil {
			if err := r.judge(v); err != nil {
				return nil, nil, err
			}
		}
		for i := range r.cells {
			at := int64(r.at(i))
			if told[i].known && (i == 0 || !r.joined(i) && !r.follows(told, i)) {
				// The end of one day is the beginning of the next.
				if n := len(regs); n > 0 && regs[n-1].At == at {
					regs[n-1].Wh = told[i].value
				} else {
					regs = append(regs, billing.Register{At: at, Wh: told[i].value, Quality: cim.Raw})
				}
			}
			if i > 0 && !r.joined(i) && r.cells[i].wh != cim.NoValue {
				iv = append(iv, billing.Interval{Start: int64(r.start(i)), End: at, Wh: int64(r.cells[i].wh), Quality: r.quality(i)})
			}
		}
		delete(acc.rows, d)
	}
	return iv, regs, nil
}

// verdicts are those of the days [from, to], as known at a time.
func (m *MDMS) verdicts(ctx context.Context, acc *account, from, to cim.Day, known uint32) (map[cim.Day]*store.Verdict, error) {
	var out map[cim.Day]*store.Verdict
	q := store.BlockQuery{Device: acc.device, Channel: acc.channel, From: from, To: to + 1, AsKnown: known}
	err := m.o.Store.Verdicts(ctx, q, func(v *store.Verdict) error {
		if out == nil {
			out = map[cim.Day]*store.Verdict{}
		}
		c := *v
		c.Doc = slices.Clone(v.Doc)
		out[v.Day] = &c
		return nil
	})
	return out, err
}

// judge puts a verdict's values in the place of the row's.
func (r *dayRow) judge(v *store.Verdict) error {
	n := r.slots()
	wh, quality := make([]uint32, n), make([]cim.Quality, n)
	for i := range n {
		wh[i], quality[i] = r.cells[i+1].wh, r.quality(i+1)
	}
	version := r.version
	if r.block && r.dirty { // a newer version is about to be committed
		version++
	}
	k, err := store.Merge(wh, quality, version, v)
	if err != nil {
		return err
	}
	for i := range n {
		r.cells[i+1].wh = k.Wh[i]
		r.marks[i+1] = r.marks[i+1]&^markQuality | mark(k.Quality[i])&markQuality
	}
	return nil
}
