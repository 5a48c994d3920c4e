package billing

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/tariff"
)

func calendar(t testing.TB) *tariff.Calendar {
	t.Helper()
	c, err := tariff.Load("../../examples/tariff-day-night.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func biller(t testing.TB, zone, from, to string) *Biller {
	t.Helper()
	z, err := tariff.LoadZone(zone)
	if err != nil {
		t.Fatal(err)
	}
	a, err := tariff.ParseDate(from)
	if err != nil {
		t.Fatal(err)
	}
	b, err := tariff.ParseDate(to)
	if err != nil {
		t.Fatal(err)
	}
	out, err := NewBiller(calendar(t), z, a, b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// even is a meter that takes wh in each interval of the period and has its register read at both ends.
func even(b *Biller, minutes, wh int64) Metered {
	from, to := b.Span()
	step := minutes * 60
	m := Metered{Meter: "M1", From: math.MinInt64, To: math.MaxInt64, Factor: 1000}
	for at := from / step * step; at < to; at += step {
		m.Intervals = append(m.Intervals, Interval{at, at + step, wh, cim.Raw})
	}
	n := int64(len(m.Intervals))
	m.Registers = []Register{{m.Intervals[0].Start, 5000, cim.Raw}, {m.Intervals[n-1].End, uint64(5000 + n*wh), cim.Raw}}
	return m
}

func mustBill(t testing.TB, b *Biller, ms ...Metered) *Bill {
	t.Helper()
	out, err := b.Bill(&Supply{ms})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDaysOf23And25Hours(t *testing.T) {
	for _, c := range []struct {
		zone, from, to string
		intervals      int
		low, high      Milli
	}{
		{"Europe/Zurich", "2026-03-29", "2026-03-30", 46, 46_000_000, 0}, // Sundays
		{"Europe/Zurich", "2026-10-25", "2026-10-26", 50, 50_000_000, 0},
		{"Europe/Zurich", "2026-03-30", "2026-03-31", 48, 16_000_000, 26_000_000}, // a Monday in winter, 6 of peak
		{"Australia/Lord_Howe", "2026-10-04", "2026-10-05", 47, 47_000_000, 0},    // half an hour less
		{"Australia/Lord_Howe", "2026-04-05", "2026-04-06", 49, 49_000_000, 0},
		{"Europe/Zurich", "2028-02-29", "2028-03-01", 48, 16_000_000, 26_000_000},
	} {
		b := biller(t, c.zone, c.from, c.to)
		got := mustBill(t, b, even(b, 30, 1000))
		if got.Total.Intervals != c.intervals || got.TOU[0].Sum != c.low || got.TOU[1].Sum != c.high || got.Missing != 0 {
			t.Errorf("%s %s: %d intervals, low %v, high %v, missing %d s; want %d, %v, %v", c.zone, c.from,
				got.Total.Intervals, got.TOU[0].Sum, got.TOU[1].Sum, got.Missing, c.intervals, c.low, c.high)
		}
		if !got.HasAdvance || got.Difference != 0 || got.Advance != got.Total.Sum || got.Contradicted != 0 {
			t.Errorf("%s %s: registers advance by %v, intervals sum up to %v", c.zone, c.from, got.Advance, got.Total.Sum)
		}
	}
}

// An hour that reaches over midnight in a zone of half hours is divided, and no Wh gets lost between two periods.
func TestIntervalsOverABoundaryAreDivided(t *testing.T) {
	b1 := biller(t, "Asia/Kathmandu", "2026-03-02", "2026-03-03")
	b2 := biller(t, "Asia/Kathmandu", "2026-03-03", "2026-03-04")
	all := biller(t, "Asia/Kathmandu", "2026-03-02", "2026-03-04")
	m := even(all, 60, 1001)
	x, y, sum := mustBill(t, b1, m), mustBill(t, b2, m), mustBill(t, all, m)
	if x.Total.Sum+y.Total.Sum != sum.Total.Sum || x.Total.Divided == 0 {
		t.Errorf("%v + %v is not %v, or nothing (%v) was divided", x.Total.Sum, y.Total.Sum, sum.Total.Sum, x.Total.Divided)
	}
	if x.Difference != 0 || !x.HasAdvance || !x.Begin.Divided {
		t.Errorf("difference %v, register %+v at the beginning", x.Difference, x.Begin)
	}
	for _, tou := range []int{0, 1, 2} {
		if x.TOU[tou].Sum+y.TOU[tou].Sum != sum.TOU[tou].Sum {
			t.Errorf("TOU %d: %v + %v is not %v", tou, x.TOU[tou].Sum, y.TOU[tou].Sum, sum.TOU[tou].Sum)
		}
	}
}

// M1 ──register 1000 … 1600─> │ exchange at 10:12 │ ──register 0 … ─> M2
func TestExchangeWithinAnInterval(t *testing.T) {
	b := biller(t, "UTC", "2026-03-02", "2026-03-03") // a Monday
	from, to := b.Span()
	at := from + 10*3600 + 12*60
	old := Metered{Meter: "M1", From: math.MinInt64, To: at, Factor: 1000, Registers: []Register{{from, 1000, cim.Raw}, {at, 21_050, cim.Raw}}}
	for s := from; s+1800 <= at; s += 1800 {
		old.Intervals = append(old.Intervals, Interval{s, s + 1800, 1000, cim.Raw})
	}
	late := Metered{Meter: "M2", From: at, To: math.MaxInt64, Factor: 2500, Registers: []Register{{at, 7, cim.Raw}, {to, 27_107, cim.Raw}}}
	for s := from + 10*3600; s < to; s += 1800 { // its first value is told for the whole slot
		wh := int64(1000)
		if s < at {
			wh = 100
		}
		late.Intervals = append(late.Intervals, Interval{s, s + 1800, wh, cim.Raw})
	}
	got := mustBill(t, b, old, late)
	if want := Milli(20_050*1000 + 27_100*2500); got.Total.Sum != want || got.Advance != want || got.Difference != 0 {
		t.Errorf("sum %v, advance %v, difference %v, want %v", got.Total.Sum, got.Advance, got.Difference, want)
	}
	if got.Total.Derived != 50_000 || got.Missing != 0 || got.Unmetered != 0 || got.Contradicted != 0 {
		t.Errorf("derived %v, missing %d, unmetered %d, contradictions %+v", got.Total.Derived, got.Missing, got.Unmetered, got.Contradictions)
	}
	if got.Begin.Meter != "M1" || got.End.Meter != "M2" || got.End.Wh != 27_107 {
		t.Errorf("registers %+v to %+v", got.Begin, got.End)
	}
}

func TestRollover(t *testing.T) {
	b := biller(t, "Europe/Zurich", "2026-03-01", "2026-04-01")
	m := even(b, 30, 100)
	m.Modulus = 100_000
	m.Registers[0].Wh = 99_950
	m.Registers[1].Wh = uint64(99_950+100*int64(len(m.Intervals))) % 100_000 // twice around
	got := mustBill(t, b, m)
	if got.Difference != 0 || !got.HasAdvance || got.Contradicted != 0 || got.Advance != Milli(len(m.Intervals)*100_000) {
		t.Errorf("advance %v, difference %v, contradictions %+v", got.Advance, got.Difference, got.Contradictions)
	}
	m.Modulus = 0 // no such meter rolls over: the register was set back
	if got = mustBill(t, b, m); got.Contradicted != 1 || !got.Contradictions[0].Fell {
		t.Errorf("contradictions %+v, want a register that fell", got.Contradictions)
	}
}

func TestGapsAreDerivedOrTold(t *testing.T) {
	b := biller(t, "Europe/Zurich", "2026-03-02", "2026-03-03") // low 22-6, high 6-17, peak 17-20, high 20-22
	from, _ := b.Span()
	at := func(h int64) int64 { return from + h*3600 }
	without := func(m Metered, a, b int64) Metered {
		var kept []Interval
		for _, v := range m.Intervals {
			if v.Start < a || v.Start >= b {
				kept = append(kept, v)
			}
		}
		m.Intervals = kept
		return m
	}
	m := even(b, 30, 1000)
	m.Intervals[3].Quality, m.Intervals[4].Quality = cim.Estimated, cim.Edited
	for _, c := range []struct {
		a, b                            int64
		registers                       bool
		derived, unattributed, lowShare Milli
		missing                         int64
	}{
		{at(8), at(10), true, 4_000_000, 0, 0, 0},
		{at(16), at(18), true, 0, 4_000_000, 0, 0},
		{at(16), at(18), false, 0, 0, 0, 7200},
	} {
		g := without(m, c.a, c.b)
		if !c.registers {
			g.Registers = g.Registers[:1]
		}
		got := mustBill(t, b, g)
		if got.Total.Derived != c.derived || got.Unattributed != c.unattributed || got.Missing != c.missing || got.Difference != 0 || got.HasAdvance != c.registers {
			t.Errorf("%+v: derived %v, unattributed %v, missing %d, difference %v, registers %v", c, got.Total.Derived, got.Unattributed, got.Missing, got.Difference, got.HasAdvance)
		}
		if got.TOU[0].Estimated != 1_000_000 || got.TOU[0].Edited != 1_000_000 || got.TOU[0].Estimates != 1 || got.TOU[0].Share() != 62 {
			t.Errorf("low: %+v, share %d", got.TOU[0], got.TOU[0].Share())
		}
	}
}

func TestContradictoryRegisters(t *testing.T) {
	b := biller(t, "Europe/Zurich", "2026-03-02", "2026-03-04")
	m := even(b, 30, 1000)
	mid := m.Intervals[48].Start
	m.Registers = []Register{m.Registers[0], {mid, m.Registers[0].Wh + 48_500, cim.Raw}, {m.Registers[1].At, m.Registers[1].Wh + 500, cim.Raw}}
	got := mustBill(t, b, m)
	if got.Difference != 500_000 || got.Contradicted != 1 || got.Contradictions[0].Registers != 48_500 || got.Contradictions[0].Intervals != 48_000 {
		t.Errorf("difference %v, contradictions %+v", got.Difference, got.Contradictions)
	}
}

func TestPeaks(t *testing.T) {
	b := biller(t, "Europe/Zurich", "2026-03-02", "2026-03-03")
	from, _ := b.Span()
	m := even(b, 30, 100)
	set := func(hour float64, wh int64, q cim.Quality) {
		i := int(hour * 2)
		m.Intervals[i].Wh, m.Intervals[i].Quality = wh, q
	}
	set(9.5, 900, cim.Raw) // 9:30 to 10:30 is the highest hour, of no clock hour
	set(10, 800, cim.Estimated)
	set(16.5, 950, cim.Raw) // high
	set(17, 700, cim.Raw)   // peak: the hour over the boundary is of neither
	m.Factor = 1500
	got := mustBill(t, b, m)
	half, hour := got.Peaks[:4], got.Peaks[4:]
	if p := half[0]; p.Energy != 950*1500 || p.Power != 2*950*1500 || p.Start != from+33*1800 || p.Windows != 48 || p.Estimated {
		t.Errorf("highest half hour: %+v", p)
	}
	if p := half[3]; p.Energy != 700*1500 || p.Windows != 6 {
		t.Errorf("highest half hour of peak: %+v", p)
	}
	if p := hour[0]; p.Energy != 1700*1500 || p.Power != 1700*1500 || p.Start != from+19*1800 || !p.Estimated || p.Windows != 47 {
		t.Errorf("highest hour: %+v", p)
	}
	if p := hour[3]; p.Energy != 800*1500 || p.Windows != 5 {
		t.Errorf("highest hour of peak: %+v", p)
	}
	// A gap breaks windows; an interval longer than the window makes none.
	m.Intervals = append(m.Intervals[:19:19], m.Intervals[20:]...)
	if p := mustBill(t, b, m).Peaks[4]; p.Windows != 45 || p.Energy != 1650*1500 {
		t.Errorf("highest hour beside a gap: %+v", p)
	}
	if p := mustBill(t, b, even(b, 60, 7)).Peaks[0]; p.Known || p.Windows != 0 {
		t.Errorf("half hours of hourly values: %+v", p)
	}
}

func TestPowerIsRounded(t *testing.T) {
	if got := power(1_000_000, 7*60); got != 8_571_429 {
		t.Errorf("1 kWh in 7 minutes is %v W", got)
	}
	for m, want := range map[Milli]string{0: "0", 1: "0.001", -1500: "-1.5", 1_000_000: "1000", 12_340: "12.34"} {
		if m.String() != want {
			t.Errorf("%d is %q, want %q", int64(m), m.String(), want)
		}
	}
}

func TestBalancesAtLocalMidnights(t *testing.T) {
	b := biller(t, "Europe/Zurich", "2026-03-28", "2026-03-31")
	got, err := b.Balances(&Supply{[]Metered{even(b, 30, 10)}})
	if err != nil {
		t.Fatal(err)
	}
	want := []uint64{5000, 5480, 5940, 6420} // the middle day has 23 hours
	for i, w := range want {
		if !got[i].Known || got[i].Wh != w {
			t.Errorf("midnight %d (%v): %+v, want %d", i, time.Unix(got[i].At, 0).UTC(), got[i], w)
		}
	}
	if len(got) != len(want) || got[0].Read != got[0].At || got[1].Read == got[1].At {
		t.Errorf("%d registers: %+v", len(got), got)
	}
	none, err := b.Balances(&Supply{})
	if err != nil || none[0].Known || none[0].Meter != "" {
		t.Errorf("without a meter: %+v, %v", none, err)
	}
}

func TestEmptyPeriodsAndBadInput(t *testing.T) {
	c := calendar(t)
	if _, err := NewBiller(c, nil, 20000, 20000); err == nil {
		t.Error("an empty period made a biller")
	}
	if _, err := NewBiller(c, nil, 0, 10); err == nil {
		t.Error("a period before the calendar made a biller")
	}
	b := biller(t, "Europe/Zurich", "2026-03-01", "2026-03-02")
	got := mustBill(t, b)
	if got.HasAdvance || got.Total.Sum != 0 || got.Unmetered != 86400 || got.Missing != 0 {
		t.Errorf("without a meter: %+v", got)
	}
	from, to := b.Span()
	got = mustBill(t, b, Metered{Meter: "M", From: from, To: to, Factor: 1000})
	if got.HasAdvance || got.Missing != 86400 || got.Total.Seconds != 0 {
		t.Errorf("without values: %+v", got)
	}
	for name, s := range map[string]Supply{
		"overlapping meters":    {[]Metered{{Meter: "A", From: 0, To: 10, Factor: 1000}, {Meter: "B", From: 5, To: 20, Factor: 1000}}},
		"no factor":             {[]Metered{{Meter: "A", From: 0, To: 10}}},
		"no time":               {[]Metered{{Meter: "A", From: 10, To: 10, Factor: 1000}}},
		"overlapping intervals": {[]Metered{{Meter: "A", To: 100, Factor: 1000, Intervals: []Interval{{0, 10, 1, 1}, {5, 15, 1, 1}}}}},
		"negative":              {[]Metered{{Meter: "A", To: 100, Factor: 1000, Intervals: []Interval{{0, 10, -1, 1}}}}},
		"too much":              {[]Metered{{Meter: "A", To: 100, Factor: math.MaxUint32, Intervals: []Interval{{0, 10, math.MaxInt64 / 1000, 1}}}}},
		"registers out of order": {[]Metered{{Meter: "A", To: 100, Factor: 1000,
			Registers: []Register{{10, 1, 1}, {5, 1, 1}}}}},
	} {
		if _, err := b.Bill(&s); !errors.Is(err, ErrInput) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
