package outage

import (
	"cmp"
	"slices"
	"strings"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/store"
)

// Reckoning adds up the reliability indices of IEEE 1366-2012 of one period, by feeder.
//
// Each interruption belongs to the period in which it began, with all of its minutes: a sustained one that goes on over
// midnight counts on its first day (IEEE 1366-2012, 3.5). One of up to five minutes is momentary, a longer one sustained
// (clause 2). Planned interruptions are told apart and are in none of the indices; those of customers who were disconnected
// before, and those that turned out to be none, are left out.
type Reckoning struct {
	now      uint32
	byFeeder map[string]*api.Indices
}

// NewReckoning begins a reckoning at the business time now, up to which interruptions that go on are counted.
func NewReckoning(now uint32) *Reckoning {
	return &Reckoning{now: now, byFeeder: map[string]*api.Indices{}}
}

func (r *Reckoning) feeder(name string) *api.Indices {
	x := r.byFeeder[name]
	if x == nil {
		x = &api.Indices{Feeder: name}
		r.byFeeder[name] = x
	}
	return x
}

// Serve adds a customer.
func (r *Reckoning) Serve(feeder string) { r.feeder(feeder).Customers++ }

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

// Add adds an interruption.
func (r *Reckoning) Add(feeder string, k store.Interruption) {
	if k.Flags&(store.InterruptionRetracted|store.InterruptionOpened) != 0 {
		return
	}
	x := r.feeder(feeder)
	end := k.End
	if end == 0 {
		end = max(r.now, k.Start)
	}
	minutes := float64(end-min(k.Start, end)) / 60
	switch class := Class(k, r.now); {
	case class == "":
	case k.Flags&store.InterruptionPlanned != 0:
		x.Planned++
		x.PlannedMins += minutes
	case class == api.OutageMomentary:
		x.Momentary++
	default:
		x.Sustained++
		x.Minutes += minutes
		if k.End == 0 {
			x.Open++
		}
	}
}

// ratios works out the indices: SAIFI (3.2.1), SAIDI (3.2.2), CAIDI (3.2.3) and MAIFI (3.4.1).
func ratios(x *api.Indices) {
	if n := float64(x.Customers); n > 0 {
		x.SAIFI, x.SAIDI, x.MAIFI = float64(x.Sustained)/n, x.Minutes/n, float64(x.Momentary)/n
	}
	if x.Sustained > 0 {
		x.CAIDI = x.Minutes / float64(x.Sustained)
	}
}

// Indices are those of all feeders together, and of each by its name.
func (r *Reckoning) Indices() (all api.Indices, feeders []api.Indices) {
	all.Feeder = "all"
	feeders = []api.Indices{}
	for _, x := range r.byFeeder {
		all.Customers += x.Customers
		all.Sustained += x.Sustained
		all.Momentary += x.Momentary
		all.Minutes += x.Minutes
		all.Planned += x.Planned
		all.PlannedMins += x.PlannedMins
		all.Open += x.Open
		y := *x
		ratios(&y)
		feeders = append(feeders, y)
	}
	ratios(&all)
	slices.SortFunc(feeders, func(a, b api.Indices) int { return cmp.Or(strings.Compare(a.Feeder, b.Feeder)) })
	return all, feeders
}
