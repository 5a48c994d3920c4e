package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/billing"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/tariff"
)

// Source answers for values: the MDMS, over the bus or in this process.
type Source func(context.Context, api.ExportQuery) (api.ExportPage, error)

// Question says what is to be exported. The same question gives the same documents, as far as Known and Since lie in the past.
type Question struct {
	Format   Format
	What     What
	Period   Period
	Known    time.Time // as known then; needed
	Since    time.Time // of Changes: what was known then is what others are compared with
	Zone     *tariff.Zone
	Meters   []string
	Path     string
	Feeder   string
	Tariff   string
	Default  string      // the calendar of usage points without a tariff
	Calendar CalendarSet // for Determinants
}

// CalendarSet holds calendars by name.
type CalendarSet map[string]*tariff.Calendar

// LoadCalendars reads calendar files. Two of one name are an error.
func LoadCalendars(files ...string) (CalendarSet, error) {
	set := CalendarSet{}
	var errs []error
	for _, f := range files {
		c, err := tariff.Load(f)
		switch {
		case err != nil:
			errs = append(errs, err)
		case set[c.Name] != nil:
			errs = append(errs, fmt.Errorf("calendars %s and %s have the same name, %q: rename one", set[c.Name].File, f, c.Name))
		default:
			set[c.Name] = c
		}
	}
	return set, errors.Join(errs...)
}

// Names are the calendars' names.
func (s CalendarSet) Names() string {
	var names []string
	for n := range s {
		names = append(names, n)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// Period is a span of local days, each usage point's own, or of instants.
type Period struct {
	Days             bool
	FirstDay, EndDay tariff.Date // [FirstDay, EndDay)
	From, To         int64       // [From, To), seconds since the epoch
}

// ParsePeriod reads two dates or two RFC 3339 times. Its errors name from or to.
func ParsePeriod(from, to string) (Period, error) {
	read := func(field, s string) (d tariff.Date, at int64, day bool, err error) {
		if d, err := tariff.ParseDate(s); err == nil {
			if y, _, _ := d.Civil(); y < 1971 || y > 2105 {
				return 0, 0, false, api.BadRequest(field, "%s is out of range, want 1971 to 2105", s)
			}
			return d, 0, true, nil
		}
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return 0, 0, false, api.BadRequest(field, "%.40q, want a date such as 2026-03-01 or a time such as 2026-03-01T00:00:00+01:00", s)
		}
		if t.Year() < 1971 || t.Year() > 2105 {
			return 0, 0, false, api.BadRequest(field, "%s is out of range, want 1971 to 2105", s)
		}
		return 0, t.Unix(), false, nil
	}
	var p Period
	var err error
	var day bool
	if p.FirstDay, p.From, p.Days, err = read("from", from); err != nil {
		return p, err
	}
	if p.EndDay, p.To, day, err = read("to", to); err != nil {
		return p, err
	}
	switch {
	case day != p.Days:
		return p, api.BadRequest("to", "%s and %s: want two dates or two times", from, to)
	case p.Days && p.FirstDay >= p.EndDay || !p.Days && p.From >= p.To:
		return p, api.BadRequest("to", "%s is not behind %s: the period is empty; \"to\" is the end, not included", to, from)
	}
	return p, nil
}

// of is the period of a usage point.
func (p Period) of(z *tariff.Zone) (from, to int64) {
	if p.Days {
		return z.Start(p.FirstDay), z.Start(p.EndDay)
	}
	return p.From, p.To
}

// Check reports what is wrong with the question, as an *api.Problem that names the field.
func (q *Question) Check() error {
	if err := Check(q.Format, q.What); err != nil {
		field := "format"
		if !slices.Contains(Whats(), q.What) {
			field = "what"
		}
		return api.BadRequest(field, "%v", err)
	}
	switch {
	case q.What == Determinants && !q.Period.Days:
		return api.BadRequest("from", "determinants are of local days: give dates, not times")
	case q.What == Registers && !q.Period.Days:
		return api.BadRequest("from", "registers are those at local midnights: give dates, not times")
	case q.What == Determinants && len(q.Calendar) == 0:
		return api.BadRequest("what", "determinants need a tariff calendar, and there is none: start the centre, or wattbus export --data, with --calendar FILE")
	case q.Default != "" && q.Calendar[q.Default] == nil && q.What == Determinants:
		return api.BadRequest("calendar", "there is no calendar %.40q, only %s", q.Default, q.Calendar.Names())
	case q.What == Changes && q.Since.IsZero():
		return api.BadRequest("since", "changes need a time since when, or the name of a run")
	case q.What == Changes && !q.Since.Before(q.Known):
		return api.BadRequest("since", "%s is not before %s, for which changes are asked", q.Since.Format(time.RFC3339), q.Known.Format(time.RFC3339))
	case q.Known.IsZero():
		return api.BadRequest("asKnownAt", "is missing")
	}
	return nil
}

// Head is the head of the question's documents.
func (q *Question) Head() Head {
	h := Head{Format: q.Format, What: q.What, Known: q.Known.Unix()}
	h.From, h.To = q.Period.of(q.zone())
	return h
}

func (q *Question) zone() *tariff.Zone {
	if q.Zone == nil {
		return tariff.UTC()
	}
	return q.Zone
}

// query is what a source is asked. Local days lie within 15 hours of those of UTC.
func (q *Question) query(cursor string, limit int) api.ExportQuery {
	from, to := q.Period.From, q.Period.To
	if q.Period.Days {
		from, to = int64(q.Period.FirstDay)*86400-15*3600, int64(q.Period.EndDay)*86400+15*3600
	}
	out := api.ExportQuery{Paging: api.Paging{Cursor: cursor, Limit: limit}, From: time.Unix(from, 0).UTC(), To: time.Unix(to, 0).UTC(),
		Meters: q.Meters, Path: q.Path, Feeder: q.Feeder, Tariff: q.Tariff, Known: q.Known}
	if q.What == Changes {
		out.Before = q.Since
	}
	return out
}

// Skipped is a usage point that could not be exported.
type Skipped struct {
	Point  string `json:"point"`
	Reason string `json:"reason"`
}

// Result tells of a part of an export.
type Result struct {
	Points  int
	Rows    int64
	Next    string // cursor of the following part; empty: this is the last
	Skipped []Skipped
	Unnamed int // more that were skipped
}

// Left is how many usage points could not be exported.
func (r *Result) Left() int { return len(r.Skipped) + r.Unnamed }

// page is how many usage points a source is asked for at once at most.
const page = 500

// Each calls f with up to limit usage points behind the cursor, 0: all, with what the question wants to know of them. The point
// is f's until it returns.
func (q *Question) Each(ctx context.Context, src Source, cursor string, limit int, f func(*Point) error) (Result, error) {
	var res Result
	a := assembler{q: q, billers: map[billerKey]*billing.Biller{}}
	for {
		n := page
		if limit > 0 {
			n = min(n, limit-res.Points-len(res.Skipped))
		}
		got, err := src(ctx, q.query(cursor, n))
		if err != nil {
			return res, err
		}
		for i := range got.Points {
			p, err := a.point(&got.Points[i])
			var skip skipError
			switch {
			case errors.As(err, &skip):
				res.Skipped = append(res.Skipped, Skipped{got.Points[i].ID, skip.reason})
				continue
			case err != nil:
				return res, err
			}
			if err := f(p); err != nil {
				return res, err
			}
			res.Points++
		}
		cursor, res.Next = got.Next, got.Next
		if got.Next == "" || limit > 0 && res.Points+len(res.Skipped) >= limit {
			return res, nil
		}
	}
}

// Count asks how many usage points the question is about, if count is set, and for the centre's time. It looks at one usage point, so that what is
// wrong with the question or the cursor is told before a document begins. With latest, q.Known becomes the last second of which all is
// committed; a later time is refused.
func (q *Question) Count(ctx context.Context, src Source, cursor string, count, latest bool) (total int, err error) {
	ask := q.query(cursor, 1)
	ask.CountIt = count
	if latest {
		ask.Known = time.Time{}
	}
	got, err := src(ctx, ask)
	switch {
	case err != nil:
		return 0, err
	case latest:
		q.Known = got.Known
	case q.Known.After(got.Now):
		return 0, api.BadRequest("asKnownAt", "%s lies in the future of the centre, whose time is %s", q.Known.Format(time.RFC3339), got.Now.Format(time.RFC3339))
	}
	return got.Total, q.Check()
}

// Document writes up to limit usage points behind the cursor as one document.
func (q *Question) Document(ctx context.Context, src Source, cursor string, limit int, w io.Writer) (Result, error) {
	doc, err := New(q.Head(), w)
	if err != nil {
		return Result{}, err
	}
	res, err := q.Each(ctx, src, cursor, limit, doc.Point)
	if err != nil {
		return res, err
	}
	err = doc.Close()
	res.Rows = doc.Rows()
	return res, err
}

// skipError is why one usage point cannot be exported; the others can.
type skipError struct{ reason string }

func (e skipError) Error() string { return e.reason }

type billerKey struct{ calendar, zone string }

// assembler makes points of what a source answers. It keeps billers, which are alike for most usage points.
type assembler struct {
	q       *Question
	billers map[billerKey]*billing.Biller
	zones   map[string]*tariff.Zone
}

func (a *assembler) zone(name string) (*tariff.Zone, error) {
	if name == "" {
		return a.q.zone(), nil
	}
	if z := a.zones[name]; z != nil {
		return z, nil
	}
	z, err := tariff.LoadZone(name)
	if err != nil {
		return nil, skipError{"time zone " + err.Error()}
	}
	if a.zones == nil {
		a.zones = map[string]*tariff.Zone{}
	}
	a.zones[name] = z
	return z, nil
}

// biller finds the calendar of a usage point.
func (a *assembler) biller(tariffName string, z *tariff.Zone, ownZone bool) (*billing.Biller, error) {
	name := tariffName
	if name == "" {
		name = a.q.Default
	}
	if name == "" && len(a.q.Calendar) == 1 {
		name = a.q.Calendar.Names()
	}
	c := a.q.Calendar[name]
	switch {
	case name == "":
		return nil, skipError{"it has no tariff, and no calendar is named for those without (there are " + a.q.Calendar.Names() + ")"}
	case c == nil:
		return nil, skipError{fmt.Sprintf("there is no calendar of its tariff %q, only %s: give the centre one with that name (--calendars), or the usage point another tariff", name, a.q.Calendar.Names())}
	}
	if !ownZone && a.q.Zone == nil {
		z = c.Zone
	}
	key := billerKey{name, z.Name()}
	if b := a.billers[key]; b != nil {
		return b, nil
	}
	b, err := billing.NewBiller(c, z, a.q.Period.FirstDay, a.q.Period.EndDay)
	if err != nil {
		return nil, skipError{err.Error()}
	}
	a.billers[key] = b
	return b, nil
}

func (a *assembler) point(in *api.ExportPoint) (*Point, error) {
	z, err := a.zone(in.TimeZone)
	if err != nil {
		return nil, err
	}
	p := &Point{ID: in.ID, Customer: in.Customer, Zone: z}
	var biller *billing.Biller
	if a.q.What == Determinants {
		if biller, err = a.biller(in.Tariff, z, in.TimeZone != ""); err != nil {
			return nil, err
		}
		p.From, p.To = biller.Span()
	} else {
		p.From, p.To = a.q.Period.of(z)
	}
	for _, c := range in.Channels {
		out := Channel{Channel: cim.Import}
		if c.Channel == cim.Export.String() {
			out.Channel = cim.Export
		}
		for _, m := range c.Meters {
			met := billing.Metered{Meter: m.Meter, From: m.From, To: m.To, Factor: m.Factor, Modulus: m.Modulus}
			if m.To == 0 {
				met.To = math.MaxInt64
			}
			if met.Intervals, met.Registers, err = billing.Unpack(m.Data, nil, nil); err != nil {
				return nil, fmt.Errorf("usage point %s, meter %s: %w", in.ID, m.Meter, err)
			}
			if a.q.What == Changes {
				before, _, err := billing.Unpack(m.Before, nil, nil)
				if err != nil {
					return nil, fmt.Errorf("usage point %s, meter %s, before: %w", in.ID, m.Meter, err)
				}
				out.Changes = compare(out.Changes, &met, before, p.From, p.To)
			}
			out.Supply.Meters = append(out.Supply.Meters, met)
		}
		switch a.q.What {
		case Determinants:
			out.Bill, err = biller.Bill(&out.Supply)
		case Registers:
			out.Balances, err = billing.Balances(&out.Supply, billing.Midnights(z, a.q.Period.FirstDay, a.q.Period.EndDay))
		}
		if errors.Is(err, billing.ErrInput) {
			return nil, skipError{err.Error()}
		}
		if err != nil {
			return nil, fmt.Errorf("usage point %s: %w", in.ID, err)
		}
		p.Channels = append(p.Channels, out)
	}
	return p, nil
}

// compare appends the intervals of [from, to) of which something else is known now than before.
func compare(out []Change, m *billing.Metered, before []billing.Interval, from, to int64) []Change {
	add := func(old, now *billing.Interval) {
		c := Change{Meter: m.Meter, Factor: m.Factor}
		if old != nil {
			c.Start, c.End, c.Old, c.OldQuality = old.Start, old.End, old.Wh, old.Quality
		}
		if now != nil {
			c.Start, c.End, c.New, c.NewQuality = now.Start, now.End, now.Wh, now.Quality
		}
		if c.Start >= from && c.Start < to {
			out = append(out, c)
		}
	}
	i, j := 0, 0
	for i < len(before) || j < len(m.Intervals) {
		switch {
		case j == len(m.Intervals) || i < len(before) && before[i].Start < m.Intervals[j].Start:
			add(&before[i], nil)
			i++
		case i == len(before) || m.Intervals[j].Start < before[i].Start:
			add(nil, &m.Intervals[j])
			j++
		default:
			// Raw and recovered are one to the world.
			o, n := &before[i], &m.Intervals[j]
			switch {
			case o.End != n.End:
				add(o, nil)
				add(nil, n)
			case o.Wh != n.Wh || o.Quality.String() != n.Quality.String():
				add(o, n)
			}
			i++
			j++
		}
	}
	return out
}
