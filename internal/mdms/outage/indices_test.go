package outage

import (
	"math"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/store"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9 {
		t.Errorf("%s %v, want %v", what, got, want)
	}
}

func TestIndices(t *testing.T) {
	r := NewReckoning(Period{Now: 100_000, From: 0, To: 100_000, Zone: time.UTC}) // 1 January 1970 and a part of the 2nd
	for range 10 {
		r.Serve("F1", 0, 0)
	}
	for range 5 {
		r.Serve("F2", 0, 0)
	}
	for i, k := range []store.Interruption{
		{Start: 1000, End: 1000 + 3600}, {Start: 1000, End: 1000 + 1800}, // 90 customer minutes
		{Start: 5000, End: 5000 + 300},                                             // momentary, just
		{Start: 5000, End: 5000 + 301},                                             // sustained, just
		{Start: 1000, End: 90_000, Flags: store.InterruptionPlanned},               // apart
		{Start: 1000, End: 90_000, Flags: store.InterruptionRetracted},             // none
		{Start: 1000, End: 90_000, Flags: store.InterruptionOpened},                // nobody was interrupted
		{Start: 100_000 - 600, Flags: store.InterruptionInferred}, {Start: 99_990}, // go on: 10 min, and not yet either
	} {
		k.Device = uint32(i)
		r.Add("F1", k)
	}
	x := r.Indices(false)
	all, f := x.All, x.Feeders[0]
	if len(x.Feeders) != 2 || f.Feeder != "F1" || f.Sustained != 4 || f.Momentary != 1 || f.Open != 1 || f.Planned != 1 || all.Customers != 15 {
		t.Fatalf("%+v", x.Feeders)
	}
	minutes := 90 + 301.0/60 + 10
	near(t, "SAIDI", f.SAIDI, minutes/10)
	near(t, "SAIFI", f.SAIFI, 0.4)
	near(t, "CAIDI", f.CAIDI, minutes/4)
	near(t, "MAIFI", f.MAIFI, 0.1)
	near(t, "SAIDI of all", all.SAIDI, minutes/15)
	near(t, "none", x.Feeders[1].SAIDI+x.Feeders[1].CAIDI, 0)
	if x.Major.Threshold != 0 || len(x.Days) != 2 || x.Days[0].Date != "1970-01-01" || x.Days[0].Sustained != 3 {
		t.Errorf("%+v, %+v", x.Major, x.Days)
	}
}

// TestMomentaryEvents: what comes within five minutes of the first interruption is one event, and none if the supply stays away at last.
func TestMomentaryEvents(t *testing.T) {
	r := NewReckoning(Period{Now: 86_400, From: 0, To: 86_400, Zone: time.UTC})
	for range 10 {
		r.Serve("F1", 0, 0)
	}
	for _, k := range []store.Interruption{
		{Device: 1, Start: 1000, End: 1002}, {Device: 1, Start: 1015, End: 1020}, {Device: 1, Start: 1300, End: 1310}, // a recloser, three times: one
		{Device: 1, Start: 1301 + 300, End: 1700},                                // another
		{Device: 2, Start: 1015, End: 9000}, {Device: 2, Start: 1000, End: 1002}, // came the other way round: no event
		{Device: 3, Start: 1000, End: 1002, Flags: store.InterruptionPlanned},           // apart
		{Device: 4, Start: 1000, End: 1002}, {Device: 4, Start: 1000 + 301, End: 9_000}, // two things
	} {
		r.Add("F1", k)
	}
	x := r.Indices(false).All
	if x.Momentary != 6 || x.MomentaryEvents != 3 || x.Sustained != 2 {
		t.Errorf("%+v", x)
	}
	near(t, "MAIFI", x.MAIFI, 0.6)
	near(t, "MAIFI_E", x.MAIFIE, 0.3)
}

// TestMajorEventDays reckons by hand: daily SAIDI of 1, 2 and 4 minutes have logarithms of 0, 1 and 2 times ln 2, so α = β = ln 2 and T_MED =
// exp(3.5 ln 2) = 2^3.5 = 11.31 minutes.
func TestMajorEventDays(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Zurich")
	if err != nil {
		t.Fatal(err)
	}
	day := func(n, hour int) uint32 { return uint32(time.Date(2018, 12, n, hour, 0, 0, 0, zone).Unix()) }
	reckon := func(base bool) *Reckoning {
		p := Period{Now: day(31, 0), From: day(20, 0), To: day(24, 0), Zone: zone}
		if base {
			p.BaseFrom, p.BaseTo = day(1, 0), day(20, 0)
		}
		r := NewReckoning(p)
		for range 5 {
			r.Serve("F1", day(1, 0), 0)
			r.Serve("F2", day(1, 0), 0)
		}
		device := uint32(0)
		add := func(feeder string, n, hour, minutes int) {
			device++
			r.Add(feeder, store.Interruption{Device: device, Start: day(n, hour), End: day(n, hour) + uint32(60*minutes)})
		}
		add("F1", 3, 12, 10) // 10 customer minutes of 10 customers
		add("F1", 5, 12, 20)
		add("F2", 7, 0, 40) // a minute earlier it would be another day, and in UTC it is
		r.Add("F1", store.Interruption{Start: day(8, 0), End: day(9, 0), Flags: store.InterruptionPlanned})
		add("F1", 21, 12, 113) // 11.3 minutes, just not
		add("F1", 22, 23, 57)  // with the next 11.4, although most of it was on the day after
		add("F2", 22, 23, 57)
		return r
	}
	x := reckon(true).Indices(false)
	m := x.Major
	near(t, "α", m.Alpha, math.Ln2)
	near(t, "β", m.Beta, math.Ln2)
	near(t, "T_MED", m.Threshold, math.Pow(2, 3.5))
	if m.Days != 3 || m.Found != 1 || m.Excluded || len(x.Days) != 2 || x.Days[0].Major || x.Days[1] != (api.IndexDay{Date: "2018-12-22", Customers: 10, Sustained: 2, Minutes: 114, SAIDI: 11.4, Major: true}) {
		t.Errorf("%+v, %+v", m, x.Days)
	}
	near(t, "SAIDI", x.All.SAIDI, 22.7)
	y := reckon(true).Indices(true)
	near(t, "SAIDI without it", y.All.SAIDI, 11.3)
	near(t, "SAIFI without it", y.All.SAIFI, 0.1)
	if !y.Major.Excluded || y.Major.Found != 1 || len(y.Feeders) != 2 || y.Feeders[1].Sustained != 0 {
		t.Errorf("%+v", y)
	}
	if z := reckon(false).Indices(true); z.Major.Threshold != 0 || z.Major.Excluded || z.All.Sustained != 3 {
		t.Errorf("without a baseline: %+v", z)
	}
}

// TestCustomersByDate: who is served on some of the days counts for these.
func TestCustomersByDate(t *testing.T) {
	const d = 86_400
	r := NewReckoning(Period{Now: 10 * d, From: 2 * d, To: 6 * d, Zone: time.UTC}) // four days
	r.Serve("F1", d, 0)
	r.Serve("F1", 4*d+5, 0)   // two of them
	r.Serve("F1", 0, 3*d)     // one
	r.Serve("F1", 0, 2*d)     // none: it ended when the period begins
	r.Serve("F1", 6*d, 0)     // none
	r.Serve("F1", 3*d, 3*d)   // never
	r.Serve("F2", 2*d, 3*d+1) // two, for it was there a second of the second
	r.Add("F1", store.Interruption{Start: 4 * d, End: 4*d + 600})
	x := r.Indices(false)
	near(t, "SAIFI of F1", x.Feeders[0].SAIFI, 1/(7.0/4))
	near(t, "SAIFI", x.All.SAIFI, 1/(9.0/4))
	if x.Feeders[0].Customers != 2 || len(x.Days) != 1 || x.Days[0].Customers != 2 || x.Days[0].SAIDI != 5 {
		t.Errorf("%+v", x)
	}
}
