package vee

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
)

const monday = 1_767_571_200 // 2026-01-05T00:00Z

// day makes a plausible day of half hours: 100 to 500 Wh, never the same twice in a row.
func day() []int64 {
	wh := make([]int64, 48)
	for i := range wh {
		wh[i] = 100 + int64(i*37%401)
	}
	return wh
}

func set(wh []int64, values ...int64) []int64 {
	for i := 0; i < len(values); i += 2 {
		wh[values[i]] = values[i+1]
	}
	return wh
}

func same(v int64) []int64 { return slices.Repeat([]int64{v}, 48) }

func sum(wh []int64) (s int64) {
	for _, v := range wh {
		s += v
	}
	return s
}

func flagged(i int, f Flag) []Flag {
	fs := make([]Flag, 48)
	fs[i] = f
	return fs
}

// Each line is a day in which one rule finds something, and what it says.
func TestRules(t *testing.T) {
	total := uint64(sum(day()))
	usual := &History{Days: 14, Usual: float64(total)}
	for _, tc := range []struct {
		name string
		m    Master
		p    Period
		h    *History
		rule Rule
		at   [2]int
		text string
	}{
		{name: "repeated", p: Period{Again: []Again{{5, 100 + 5*37}}}, rule: Duplicate, at: [2]int{5, 6}, text: "again with the same value of 285 Wh"},
		{name: "repeated otherwise", p: Period{Again: []Again{{5, 7}}}, rule: Duplicate, at: [2]int{5, 6}, text: "285 Wh, and 7 Wh before; the newest counts"},
		{name: "clock ahead", p: Period{HasOffset: true, Offset: 200}, rule: Clock, at: [2]int{0, 48}, text: "200 s off, more than 150 s"},
		{name: "clock behind", p: Period{HasOffset: true, Offset: -151}, rule: Clock, at: [2]int{0, 48}, text: "-151 s off"},
		{name: "clock flag", p: Period{Flags: flagged(3, FlagClock)}, rule: Clock, at: [2]int{3, 4}, text: "not synchronised"},
		{name: "start", p: Period{Start: monday + 60}, rule: Alignment, at: [2]int{0, 48}, text: "beginning 60 s after"},
		{name: "length", m: Master{Interval: time.Hour}, rule: Alignment, at: [2]int{0, 48}, text: "of 1800 s beginning 0 s after a multiple of its length: intervals of 3600 s"},
		{name: "lost", p: Period{Wh: set(day(), 5, None), Lost: append(make([]bool, 5), append([]bool{true}, make([]bool, 42)...)...)}, rule: Lost, at: [2]int{5, 6}, text: "1 of 48 expected intervals are lost"},
		{name: "gap", p: Period{Wh: set(day(), 4, None, 5, None)}, rule: Gap, at: [2]int{4, 6}, text: "2 of 48 expected"},
		{name: "partial", p: Period{Flags: flagged(3, FlagPartial)}, rule: Partial, at: [2]int{3, 4}, text: "only a part"},
		{name: "long", p: Period{Flags: flagged(47, FlagLong)}, rule: Partial, at: [2]int{47, 48}, text: "longer than"},
		{name: "unit", p: Period{UnitPower: 3}, rule: Unit, at: [2]int{0, 48}, text: "10^3 Wh, the master data say 10^0"},
		{name: "factor", m: Master{Factor: 20}, p: Period{Factor: 40}, rule: Unit, at: [2]int{0, 48}, text: "factor 40, the master data say 20"},
		{name: "sum", p: Period{Registers: []RegisterAt{{0, 1000}, {48, 1000 + total + total/100}}}, rule: Sum, at: [2]int{0, 48}, text: "apart, allowed are"},
		{name: "sum of several spans", p: Period{Registers: []RegisterAt{{0, 1000}, {1, 1100}, {2, 1247}, {4, 1247 + 385 + 9}, {5, 1247 + 385 + 9 + 248 - 5}}}, rule: Sum, at: [2]int{1, 5},
			text: "In 3 spans between registers the intervals do not add up to what the registers differ by: 770 Wh and 784 Wh in all, -14 Wh apart, up to 10 Wh in one span; allowed are 2."},
		{name: "sum to a removal", p: Period{Went: true, Registers: []RegisterAt{{0, 1000}, {1, 1100}, {47, 1110 + total - uint64(day()[47])}}}, rule: Sum, at: [2]int{1, 47}, text: "by the register that the registry has of the installation or removal: -110 Wh apart"},
		{name: "sum from an installation", p: Period{Came: true, Registers: []RegisterAt{{2, 0}, {48, total}}}, rule: Sum, at: [2]int{2, 48}, text: "by the register that the registry has"},
		{name: "fallen, and never over", p: Period{Registers: []RegisterAt{{0, 500_000}, {48, 1000}}}, m: Master{Dials: NeverOver}, rule: Increase, at: [2]int{0, 48}, text: "fell from 500000 to 1000 Wh, and the meter is not known to roll over"},
		{name: "fallen", p: Period{Registers: []RegisterAt{{0, 500_000}, {48, 1000}}}, m: Master{Dials: 7}, rule: Increase, at: [2]int{0, 48}, text: "fell from 500000 to 1000 Wh; a roll-over with 4 dials of kWh would mean 9501000 Wh, plausible are at most"},
		{name: "jumped", p: Period{Registers: []RegisterAt{{0, 0}, {48, 90_000_000}}}, rule: Increase, at: [2]int{0, 48}, text: "rose from 0 to 90000000"},
		{name: "rolled over", p: Period{Registers: []RegisterAt{{0, 999_000}, {48, total - 1000}}}, m: Master{Dials: 6}, rule: Rollover, at: [2]int{0, 48}, text: "(3 dials of kWh)"},
		{name: "spike", p: Period{Wh: set(day(), 9, 12000, 12, 1300, 13, 1200)}, rule: Spike, at: [2]int{9, 10}, text: "highest interval of 12000 Wh is 9 times the third-highest of 1200"},
		{name: "high", h: &History{Days: 14, Usual: float64(total) / 4}, rule: HighLow, at: [2]int{0, 48}, text: "4 times the"},
		{name: "low", h: &History{Days: 14, Usual: float64(total) * 5}, rule: HighLow, at: [2]int{0, 48}, text: "0.20 times the"},
		{name: "limit", m: Master{Fuse: 16, Phases: 1}, p: Period{Wh: set(day(), 7, 2100)}, rule: Limit, at: [2]int{7, 8}, text: "2100 Wh in one interval; fuse and voltage let at most 2024"},
		{name: "zero", p: Period{Wh: same(0)}, h: &History{Zeros: 30}, rule: Zero, at: [2]int{0, 48}, text: "Zero for 39 h on end"},
		{name: "stuck", p: Period{Wh: append(same(350)[:30], day()[30:]...)}, rule: Stuck, at: [2]int{0, 30}, text: "same 350 Wh 30 times"},
		{name: "stuck over midnight", p: Period{Wh: set(day(), 0, 350, 1, 350)}, h: &History{Same: 11, Last: 350}, rule: Stuck, at: [2]int{0, 2}, text: "same 350 Wh 13 times"},
		{name: "negative", p: Period{Wh: set(day(), 2, -5)}, rule: Negative, at: [2]int{2, 3}, text: "-5 Wh on a channel"},
		{name: "inactive", m: Master{Inactive: true}, rule: Inactive, at: [2]int{0, 48}, text: "although the usage point is inactive; allowed are 500"},
		{name: "reactive", p: Period{Reactive: same(800)}, rule: Reactive, at: [2]int{0, 48}, text: "38400 varh beside"},
		{name: "export without", p: Period{Channel: cim.Export, Wh: set(same(0), 24, 900)}, rule: Export, at: [2]int{0, 48}, text: "900 Wh fed in, and the usage point has no generator"},
		{name: "export at night", m: Master{Generator: true}, p: Period{Channel: cim.Export, Wh: set(same(0), 2, 900, 24, 70)}, rule: Export, at: [2]int{2, 3}, text: "900 Wh fed in at night"},
		{name: "export at the usage point's night", m: Master{Generator: true, Zone: time.FixedZone("", 9*3600)}, p: Period{Channel: cim.Export, Wh: set(same(0), 2, 900, 26, 70)}, rule: Export, at: [2]int{26, 27}, text: "70 Wh fed in at night"},
		{name: "tamper", p: Period{Flags: flagged(1, FlagTamper)}, rule: Status, at: [2]int{1, 2}, text: "tampering"},
		{name: "reverse", p: Period{Flags: flagged(1, FlagReverse)}, rule: Status, at: [2]int{1, 2}, text: "backwards"},
		{name: "memory", p: Period{Flags: flagged(1, FlagMemory)}, rule: Status, at: [2]int{1, 2}, text: "memory"},
		{name: "clock set", p: Period{Flags: flagged(1, FlagClockSet)}, rule: Status, at: [2]int{1, 2}, text: "was set"},
		{name: "estimated by the meter", p: Period{Flags: flagged(1, FlagEstimate)}, rule: Status, at: [2]int{1, 2}, text: "estimated by itself"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := Default()
			if tc.p.Start == 0 {
				tc.p.Start = monday
			}
			if tc.p.Wh == nil {
				tc.p.Wh = day()
			}
			if tc.h == nil {
				tc.h = usual
			}
			if sum(tc.p.Wh) == 0 || tc.rule == Stuck && tc.h == usual {
				tc.h = &History{Zeros: tc.h.Zeros}
			}
			tc.p.Length = 1800
			v := r.Validate(tc.m, &tc.p, tc.h)
			if len(v.Findings) != 1 {
				for _, f := range v.Findings {
					t.Log(f.Rule, f.Text())
				}
				t.Fatalf("%d findings, want one of %v", len(v.Findings), tc.rule)
			}
			f := v.Findings[0]
			if f.Rule != tc.rule || f.First != tc.at[0] || f.Last != tc.at[1] || f.From != tc.p.At(f.First) || f.Severity != r.Severity[tc.rule] {
				t.Errorf("%v [%d, %d), %v; want %v %v", f.Rule, f.First, f.Last, f.Severity, tc.rule, tc.at)
			}
			if text := f.Text(); !strings.Contains(text, tc.text) || strings.Contains(text, "{") {
				t.Errorf("says %q, want it to hold %q", text, tc.text)
			}
			if strings.Count(f.Code(), ".") != 2 {
				t.Errorf("code %q", f.Code())
			}
			if bad := f.Severity >= Suspect && f.Rule != Gap && f.Rule != Lost; v.OK(f.First) == bad {
				t.Errorf("value validated: %v", v.OK(f.First))
			}
			r.Severity[tc.rule] = Off
			if v := r.Validate(tc.m, &tc.p, tc.h); len(v.Findings) != 0 {
				t.Errorf("the rule is off, and found %v", v.Findings)
			}
		})
	}
}

// What looks odd and is not.
func TestNothingFound(t *testing.T) {
	total := uint64(sum(day()))
	for name, tc := range map[string]struct {
		m Master
		p Period
		h *History
	}{
		"plain":                     {p: Period{Registers: []RegisterAt{{0, 5}, {48, 5 + total}}}, h: &History{Days: 9, Usual: float64(total)}},
		"registers within a step":   {p: Period{Registers: []RegisterAt{{0, 5}, {48, 6 + total}}}},
		"no history":                {},
		"little history":            {h: &History{Days: 3, Usual: 1e6}},
		"both days tiny":            {p: Period{Wh: same(1)}, h: &History{Days: 9, Usual: 900}},
		"zero, breaker open":        {m: Master{Off: true}, p: Period{Wh: same(0)}, h: &History{Zeros: 500, Days: 9, Usual: 9e3}},
		"zero for a day":            {p: Period{Wh: same(0)}},
		"zero long ago":             {p: Period{Wh: day()}, h: &History{Zeros: 500}},
		"standby":                   {p: Period{Wh: same(10)}, h: &History{Same: 99, Last: 10}},
		"sum with a gap":            {p: Period{Wh: set(day(), 3, 0), Registers: []RegisterAt{{0, 0}, {48, total - 211}}}},
		"unexpected gap":            {p: Period{Wh: set(day(), 0, None), Expected: append([]bool{false}, slices.Repeat([]bool{true}, 47)...)}},
		"export by day":             {m: Master{Generator: true}, p: Period{Channel: cim.Export, Wh: set(same(0), 24, 900)}},
		"export of an unknown home": {m: Master{NoMaster: true}, p: Period{Channel: cim.Export, Wh: set(same(0), 24, 900)}},
		"reactive":                  {p: Period{Reactive: same(10)}},
		"factor":                    {m: Master{Factor: 20}, p: Period{Factor: 20, Registers: []RegisterAt{{0, 0}, {48, total / 20}}}},
		"a 30-digit index":          {p: Period{Again: []Again{{-1, 4}, {48, 4}}, Registers: []RegisterAt{{0, 1}, {49, 2}}}},
	} {
		tc.p.Start, tc.p.Length = monday, 1800
		if tc.p.Wh == nil {
			tc.p.Wh = day()
		}
		if v := Default().Validate(tc.m, &tc.p, tc.h); len(v.Findings) > 0 {
			t.Errorf("%s: %v: %s", name, v.Findings[0].Rule, v.Findings[0].Text())
		}
	}
}

func TestHistory(t *testing.T) {
	var h History
	p := Period{Start: monday, Length: 1800, Wh: set(day(), 46, 0, 47, 0)}
	h.Add(&p, nil)
	if h.Days != 1 || h.Usual != float64(sum(p.Wh)) || h.Zeros != 2 || h.Same != 0 {
		t.Errorf("%+v", h)
	}
	p.Wh = same(7)
	h.Add(&p, nil)
	if h.Days != 2 || h.Same != 48 || h.Last != 7 || h.Zeros != 0 {
		t.Errorf("%+v", h)
	}
	usual := h.Usual
	p.Wh = set(same(None), 0, 9)
	if h.Add(&p, nil); h.Usual != usual || h.Same != 0 {
		t.Errorf("a day that is mostly absent: %+v", h)
	}
	for range 100 {
		p.Wh = same(100)
		h.Add(&p, nil)
	}
	if h.Days != historyDays || h.Usual < 4700 || h.Usual > 4900 {
		t.Errorf("%+v", h)
	}
}

func TestNoAllocation(t *testing.T) {
	r, p, h := Default(), Period{Start: monday, Length: 1800, Wh: day()}, History{Days: 9, Usual: 10_000}
	p.Registers = []RegisterAt{{0, 0}, {48, uint64(sum(p.Wh))}}
	if n := testing.AllocsPerRun(10, func() { r.Validate(Master{}, &p, &h); h.Add(&p, nil) }); n > 0 {
		t.Errorf("%v allocations for a clean day", n)
	}
}

func BenchmarkCleanDay(b *testing.B) {
	r, p, h := Default(), Period{Start: monday, Length: 1800, Wh: day()}, History{Days: 9, Usual: 10_000}
	p.Registers = []RegisterAt{{0, 0}, {48, uint64(sum(p.Wh))}}
	for b.Loop() {
		r.Validate(Master{}, &p, &h)
		h.Add(&p, nil)
	}
}
