package outage

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/store"
)

// Reckoning adds up the reliability indices of IEEE 1366-2012 of one period, by feeder and by day.
//
// Each interruption belongs to the day, and the period, in which it began, with all of its minutes (IEEE 1366-2012, 3.5). One of up to
// five minutes is momentary, a longer one sustained (clause 2). Planned interruptions are told apart and are in none of the indices; those
// of customers who were disconnected before, and those that turned out to be none, are left out.
type Reckoning struct {
	p          Period
	base       int // number of the first day that is looked at
	begin, end int // days of the period, within days
	days       []reckonedDay
	parts      map[feederDay]*api.Indices
	served     map[string]int // customer days of the period, by feeder
	spells     map[uint32][]spell
}

// Period is what is reckoned. Days are those of Zone.
type Period struct {
	Now              uint32 // business time, up to which interruptions that go on are counted
	From, To         uint32
	BaseFrom, BaseTo uint32 // whose days tell what a major event day is
	Zone             *time.Location
}

// reckonedDay is a day of all customers together.
type reckonedDay struct {
	customers int // first what is more than the day before
	sustained int
	minutes   float64
}

type feederDay struct {
	feeder string
	day    int
}

// spell is an interruption of one customer, for the events that momentary ones make up.
type spell struct {
	start uint32
	long  bool
	at    feederDay
}

// NewReckoning begins a reckoning.
func NewReckoning(p Period) *Reckoning {
	r := &Reckoning{p: p, parts: map[feederDay]*api.Indices{}, served: map[string]int{}, spells: map[uint32][]spell{}}
	last := func(to uint32) int { return r.number(to-min(to, 1)) + 1 }
	r.base = r.number(p.From)
	end := last(p.To)
	if p.BaseFrom < p.BaseTo {
		r.base = min(r.base, r.number(p.BaseFrom))
		end = max(end, last(p.BaseTo))
	}
	r.begin, r.end = r.number(p.From)-r.base, last(p.To)-r.base
	r.days = make([]reckonedDay, max(end-r.base, 0)+1) // one more than there are: behind the end
	return r
}

// number counts the days of the zone.
func (r *Reckoning) number(at uint32) int {
	y, m, d := time.Unix(int64(at), 0).In(r.p.Zone).Date()
	return int(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

func (r *Reckoning) date(day int) string {
	return time.Unix(int64(r.base+day)*86400, 0).UTC().Format(time.DateOnly)
}

// within is the day of an instant, cut off at the days that are looked at.
func (r *Reckoning) within(at uint32) int {
	return min(max(r.number(at)-r.base, 0), len(r.days)-1)
}

// Serve adds a customer, served from one instant until another, 0: on and on.
func (r *Reckoning) Serve(feeder string, since, until uint32) {
	if until != 0 && until <= since {
		return
	}
	from, to := r.within(since), len(r.days)-1
	if until != 0 {
		to = min(r.within(until-1)+1, to)
	}
	if r.number(since)-r.base >= len(r.days)-1 || until != 0 && r.number(until-1) < r.base {
		return
	}
	r.days[from].customers++
	r.days[to].customers--
	if lo, hi := max(from, r.begin), min(to, r.end); lo < hi {
		r.served[feeder] += hi - lo
	}
}

// Class is momentary or sustained; "" while the interruption goes on and is neither.
func Class(k store.Interruption, now uint32) string {
	end := k.End
	if end == 0 {
		if end = now; end <= k.Start+momentary {
			return ""
		}
	}
	if end > k.Start+momentary {
		return api.OutageSustained
	}
	return api.OutageMomentary
}

func (r *Reckoning) part(at feederDay) *api.Indices {
	x := r.parts[at]
	if x == nil {
		x = &api.Indices{}
		r.parts[at] = x
	}
	return x
}

// Add adds an interruption, of the period or of the days before that tell what a major event day is.
func (r *Reckoning) Add(feeder string, k store.Interruption) {
	class := Class(k, r.p.Now)
	if k.Flags&(store.InterruptionRetracted|store.InterruptionOpened) != 0 || class == "" {
		return
	}
	end := k.End
	if end == 0 {
		end = max(r.p.Now, k.Start)
	}
	minutes := float64(end-min(k.Start, end)) / 60
	planned, long := k.Flags&store.InterruptionPlanned != 0, class == api.OutageSustained
	day := r.number(k.Start) - r.base
	if day < 0 || day >= len(r.days)-1 {
		return
	}
	if !planned && long {
		r.days[day].sustained++
		r.days[day].minutes += minutes
	}
	if k.Start < r.p.From || k.Start >= r.p.To {
		return
	}
	at := feederDay{feeder, day}
	x := r.part(at)
	switch {
	case planned:
		x.Planned++
		x.PlannedMins += minutes
		return
	case !long:
		x.Momentary++
	default:
		x.Sustained++
		x.Minutes += minutes
		if k.End == 0 {
			x.Open++
		}
	}
	r.spells[k.Device] = append(r.spells[k.Device], spell{k.Start, long, at})
}

// eventsOf adds up the momentary interruption events: what of one customer begins within five minutes of the first is one event, and none
// if the supply stayed away at last (IEEE 1366-2012, clause 2 and 3.4.2).
func (r *Reckoning) eventsOf() {
	for _, list := range r.spells {
		slices.SortFunc(list, func(a, b spell) int { return cmp.Compare(a.start, b.start) })
		for i := 0; i < len(list); {
			first, lasts := list[i], false
			for ; i < len(list) && list[i].start <= first.start+momentary; i++ {
				if lasts = list[i].long; lasts {
					i++
					break
				}
			}
			if !lasts {
				r.part(first.at).MomentaryEvents++
			}
		}
	}
	clear(r.spells)
}

// saidi is that of one day.
func (d *reckonedDay) saidi() float64 {
	if d.customers == 0 {
		return 0
	}
	return d.minutes / float64(d.customers)
}

// threshold works out from which daily SAIDI on a day is a major event day: exp(α + 2.5 β), with α the mean and β the standard deviation of
// the logarithms of the daily SAIDI of the days that had any (IEEE 1366-2012, 3.5).
func (r *Reckoning) threshold() api.MajorEventDays {
	m := api.MajorEventDays{From: utc(r.p.BaseFrom), To: utc(r.p.BaseTo)}
	if r.p.BaseFrom >= r.p.BaseTo {
		return m
	}
	var logs []float64
	for d := r.within(r.p.BaseFrom); d <= r.within(r.p.BaseTo-1); d++ {
		if s := r.days[d].saidi(); s > 0 {
			logs = append(logs, math.Log(s))
			m.Alpha += math.Log(s)
		}
	}
	if m.Days = len(logs); m.Days < 2 { // one has no deviation
		m.Alpha = 0
		return m
	}
	n := float64(m.Days)
	m.Alpha /= n
	for _, l := range logs {
		m.Beta += (l - m.Alpha) * (l - m.Alpha)
	}
	m.Beta = math.Sqrt(m.Beta / (n - 1))
	m.Threshold = math.Exp(m.Alpha + 2.5*m.Beta)
	return m
}

// add adds up what is counted.
func add(to, x *api.Indices) {
	to.Sustained += x.Sustained
	to.Momentary += x.Momentary
	to.MomentaryEvents += x.MomentaryEvents
	to.Minutes += x.Minutes
	to.Planned += x.Planned
	to.PlannedMins += x.PlannedMins
	to.Open += x.Open
}

// ratios works out the indices for so many customers: SAIFI (3.2.1), SAIDI (3.2.2), CAIDI (3.2.3), MAIFI (3.4.1) and MAIFI_E (3.4.2).
func ratios(x *api.Indices, customers float64) {
	x.Customers = int(math.Round(customers))
	if customers > 0 {
		x.SAIFI, x.SAIDI = float64(x.Sustained)/customers, x.Minutes/customers
		x.MAIFI, x.MAIFIE = float64(x.Momentary)/customers, float64(x.MomentaryEvents)/customers
	}
	if x.Sustained > 0 {
		x.CAIDI = x.Minutes / float64(x.Sustained)
	}
}

// Indices are those of all feeders together and of each by its name; without major event days, if that is asked for. It is called once.
func (r *Reckoning) Indices(withoutMajor bool) api.IndicesAnswer {
	out := api.IndicesAnswer{From: utc(r.p.From), To: utc(r.p.To), Zone: r.p.Zone.String(), All: api.Indices{Feeder: "all"}, Feeders: []api.Indices{}, Days: []api.IndexDay{}}
	r.eventsOf()
	for d := range r.days[1:] {
		r.days[d+1].customers += r.days[d].customers
	}
	out.Major = r.threshold()
	out.Major.Excluded = withoutMajor && out.Major.Threshold > 0
	major, served := map[int]bool{}, 0 // served: days on which there were customers
	for d := r.begin; d < r.end; d++ {
		x := &r.days[d]
		if x.customers > 0 {
			served++
		}
		if x.sustained == 0 {
			continue
		}
		s := x.saidi()
		if out.Major.Threshold > 0 && s > out.Major.Threshold {
			major[d] = true
			out.Major.Found++
		}
		out.Days = append(out.Days, api.IndexDay{Date: r.date(d), Customers: x.customers, Sustained: x.sustained, Minutes: x.minutes, SAIDI: s, Major: major[d]})
	}
	sums := map[string]*api.Indices{}
	for feeder := range r.served {
		sums[feeder] = &api.Indices{Feeder: feeder}
	}
	for at, x := range r.parts {
		if out.Major.Excluded && major[at.day] {
			continue
		}
		if sums[at.feeder] == nil {
			sums[at.feeder] = &api.Indices{Feeder: at.feeder}
		}
		add(sums[at.feeder], x)
		add(&out.All, x)
	}
	all := 0
	for feeder, x := range sums {
		all += r.served[feeder]
		ratios(x, float64(r.served[feeder])/float64(max(served, 1)))
		out.Feeders = append(out.Feeders, *x)
	}
	ratios(&out.All, float64(all)/float64(max(served, 1)))
	slices.SortFunc(out.Feeders, func(a, b api.Indices) int { return strings.Compare(a.Feeder, b.Feeder) })
	return out
}
