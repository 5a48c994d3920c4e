package mdms

import (
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// slice is a span inside of one UTC day, of one channel of some meters.
type slice struct {
	day     cim.Day
	lo, hi  uint32
	channel cim.Channel
	path    string
	place   place  // of which 0 is any
	below   []bool // the paths that are meant, by number; nil: any
	at      []bool // the places that are, by number; nil: any
	raw     bool   // as the meters told it, without verdicts
	lacking bool   // only who lacks something is of interest
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
	x := slice{path: q.Path, raw: q.Raw}
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
	field, text := "at", q.At.UTC().Format(time.RFC3339)
	if q.Day != "" {
		field, text = "day", q.Day
	}
	if err := m.checkKept(field, x.lo); err != nil {
		return x, err
	}
	if x.lo >= now { // where nothing is expected yet, nothing is missing: that would look as if all were there
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
	return x, m.placeOf(q, &x)
}

// whole reports whether it is all of the day.
func (x *slice) whole() bool { return x.lo == x.day.Start() && x.hi == x.lo+dayLength }

// within is the slice as a part of its day.
func (x *slice) within() store.Within {
	return store.Within{From: x.lo - x.day.Start(), To: x.hi - x.day.Start()}
}

// choose finds out which paths and places are meant. m.mu is held.
func (m *MDMS) choose(x *slice) {
	x.below, x.at = nil, nil
	if x.path != "" {
		x.below = m.below(x.path)
	}
	if x.place == (place{}) {
		return
	}
	x.at = make([]bool, len(m.spots.all))
	for n, p := range m.spots.all {
		x.at[n] = x.place.takes(p)
	}
}

// chooses reports whether a device is meant. A path or place that is newer than the question is not.
func (x *slice) chooses(c *column) bool {
	return c.measures && (x.at == nil || int(c.spot) < len(x.at) && x.at[c.spot]) && (x.below == nil || int(c.path) < len(x.below) && x.below[c.path])
}

// takes reports whether what hangs at d is meant by p, of which 0 is any.
func (p place) takes(d place) bool {
	return (p.substation == 0 || p.substation == d.substation) && (p.feeder == 0 || p.feeder == d.feeder) && (p.transformer == 0 || p.transformer == d.transformer)
}

// part is what one meter measured in a slice. estimated and edited are of the values.
type part struct{ wh, values, missing, estimated, edited int64 }

func (p *part) add(wh uint32, q cim.Quality) {
	p.wh += int64(wh)
	p.values++
	switch q {
	case cim.Estimated:
		p.estimated++
	case cim.Edited:
		p.edited++
	}
}

// cells are the cells of a row that lie in the slice: those behind the first, up to the last.
func (x *slice) cells(r *dayRow) (first, last int) {
	step, start := r.step(), r.day.Start()
	return int((x.lo - start) / step), int((x.hi - start) / step)
}

// of adds up a row's part of the slice, of which intervals up to end are expected, with a verdict on top or nil. An interval that is
// longer than the slice counts where it ends.
func (x *slice) of(r *dayRow, end uint32, v *store.Verdict) (p part, err error) {
	var k store.Known
	if v != nil {
		a := account{verdicts: map[cim.Day]*store.Verdict{r.day: v}}
		if k, err = a.known(r); err != nil {
			return p, err
		}
	}
	first, last := x.cells(r)
	for i := first + 1; i <= last; i++ {
		wh, q := r.cells[i].wh, r.quality(i)
		if v != nil {
			wh, q = k.Wh[i-1], k.Quality[i-1]
		}
		switch {
		case wh != cim.NoValue:
			p.add(wh, q)
		case r.expected(i) && r.at(i) <= end:
			p.missing++
		}
	}
	return p, nil
}

// ofOpen is of without a verdict. What meters tell is neither estimated nor edited; of a cell that has a value nothing else is looked at.
func (x *slice) ofOpen(r *dayRow, now uint32) (p part) {
	first, last := x.cells(r)
	for i := first + 1; i <= last; i++ {
		if wh := r.cells[i].wh; wh != cim.NoValue {
			p.wh += int64(wh)
			p.values++
		} else if r.at(i) <= now && r.expected(i) && r.at(i) <= r.s.finished(now) {
			p.missing++
		}
	}
	return p
}

// ofBlock is of for a block of a meter of which intervals from begin to end are expected.
func (x *slice) ofBlock(b *store.Block, begin, end uint32, v *store.Verdict) (p part, err error) {
	wh, quality := b.Wh, b.Quality
	if v != nil {
		k, err := store.Merge(b.Wh, b.Quality, b.Version, v)
		if err != nil {
			return p, err
		}
		wh, quality = k.Wh, k.Quality
	}
	return x.add(b, wh, quality, begin, end), nil
}

// add adds up a block's values, or those that count in their place.
func (x *slice) add(b *store.Block, wh []uint32, quality []cim.Quality, begin, end uint32) (p part) {
	step, start := uint32(b.Length)*60, b.Day.Start()
	for i := int((x.lo - start) / step); i < int((x.hi-start)/step); i++ {
		switch {
		case wh[i] != cim.NoValue:
			p.add(wh[i], quality[i])
		case b.Quality[i] != cim.Joined && start+uint32(i)*step >= begin && start+uint32(i+1)*step <= end:
			p.missing++
		}
	}
	return p
}

// wanted counts the expected intervals of a slice of whose day nothing is there.
func (x *slice) wanted(s *series, now uint32) int64 {
	lo, hi := max(x.lo, s.from), min(x.hi, s.finished(now))
	if lo >= hi {
		return 0
	}
	return int64(hi/s.step() - (lo+s.step()-1)/s.step())
}

// ofNone is of for a day of which nothing came, but perhaps a verdict.
func (x *slice) ofNone(s *series, now uint32, v *store.Verdict) (part, error) {
	if v == nil {
		return part{missing: x.wanted(s, now)}, nil
	}
	return x.of(newRow(s, x.day, v.Length), s.finished(now), v)
}
