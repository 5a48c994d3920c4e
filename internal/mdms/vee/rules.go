package vee

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Rules is a rule set: a severity for every rule, and what the rules compare with. Make one with Default or Load; it is
// immutable then and safe for concurrent use.
type Rules struct {
	Severity [NumRules]Severity

	Zone     string   // IANA name of the local time of days, weekdays and nights, where the master data have none
	Holidays []string // local dates that count as Sundays

	ClockTolerance float64 // s
	SumPercent     float64 // of the use, that intervals and registers may be apart
	SumSteps       float64 // register steps that they may be apart
	SpikeRatio     float64 // (highest − third-highest) / third-highest
	SpikeFloor     float64 // W, mean power of the third-highest below which the check is skipped
	High, Low      float64 // a day's use by what is usual
	HighLowFloor   float64 // Wh a day, below which both are too little to tell
	HighLowDays    float64 // of history that are needed
	LimitMargin    float64
	Fuse           float64 // A, where the master data have none
	Volts          float64
	Phases         float64
	Factor         float64 // CT/VT
	Step           float64 // Wh
	Dials          float64
	RolloverFuse   float64       // times what the fuse lets through
	ZeroFor        time.Duration // zero on end
	StuckTimes     float64       // the same value on end
	StuckFloor     float64       // W, mean power from which on it counts
	InactiveWh     float64       // a day
	ReactiveRatio  float64       // varh by Wh
	ReactiveFloor  float64       // Wh a day from which on it counts
	ExportWh       float64       // an interval, that a meter's own error may show
	NightFrom      float64       // local hour
	NightTo        float64

	EstimateAfter   time.Duration // the end of a day, when what is missing is estimated
	EstimateSuspect bool          // suspect values are estimated, too
	LinearUpTo      time.Duration
	Samples         float64 // same weekdays that are averaged, at most
	MinSamples      float64 // at least
	Weeks           float64 // back to which they are looked for
	ProlongedAfter  float64 // days in a row
	Cap             float64 // days in a row that are estimated without a person
	Weekday         []float64
	Weekend         []float64

	loc      *time.Location
	holidays map[string]bool
	id       string
}

// Default returns the rule set of docs/vee.md.
func Default() *Rules {
	r := &Rules{
		Zone: "UTC", ClockTolerance: 150, SumPercent: 0.5, SumSteps: 2, SpikeRatio: 1.8, SpikeFloor: 2000, High: 2.5, Low: 0.3,
		HighLowFloor: 1000, HighLowDays: 7, LimitMargin: 1.1, Fuse: 63, Volts: 230, Phases: 3, Factor: 1, Step: 1, Dials: 9,
		RolloverFuse: 2, ZeroFor: 36 * time.Hour, StuckTimes: 12, StuckFloor: 200, InactiveWh: 500, ReactiveRatio: 2, ReactiveFloor: 1000,
		ExportWh: 10, NightFrom: 22, NightTo: 4, EstimateAfter: 72 * time.Hour, LinearUpTo: 2 * time.Hour, Samples: 3, MinSamples: 1,
		Weeks: 8, ProlongedAfter: 3, Cap: 7,
		Weekday: []float64{2.6, 2.3, 2.1, 2.0, 2.1, 2.5, 3.6, 4.6, 4.4, 4.0, 3.9, 4.3, 5.0, 4.4, 3.9, 3.8, 4.2, 5.2, 6.3, 6.5, 6.0, 5.4, 4.5, 3.4},
		Weekend: []float64{2.8, 2.4, 2.2, 2.1, 2.1, 2.3, 2.7, 3.4, 4.4, 5.1, 5.4, 5.7, 6.1, 5.3, 4.6, 4.3, 4.5, 5.2, 6.0, 6.1, 5.6, 5.0, 4.3, 3.4},
	}
	for rule, s := range map[Rule]Severity{Duplicate: Info, Clock: Warning, Alignment: Failed, Gap: Info, Lost: Warning, Partial: Info, Unit: Failed, Sum: Suspect,
		Increase: Suspect, Rollover: Info, Spike: Warning, HighLow: Warning, Limit: Failed, Zero: Warning, Stuck: Warning, Negative: Failed,
		Inactive: Warning, Reactive: Warning, Export: Warning, Status: Warning, Prolonged: Warning, Unfilled: Warning, Superseded: Info} {
		r.Severity[rule] = s
	}
	if wrong := r.seal(); wrong != nil {
		panic(wrong[0].text) // the defaults are ours
	}
	return r
}

// ID names the rule set: the start of the hash of what it says. Two rule sets that say the same have the same one.
func (r *Rules) ID() string { return r.id }

// Location is the local time of the rule set.
func (r *Rules) Location() *time.Location { return r.loc }

// mistake is what is wrong with a field as a whole, or beside others.
type mistake struct{ field, text string }

// seal makes what follows from the fields, or tells what is wrong with them.
func (r *Rules) seal() (wrong []mistake) {
	fail := func(field, format string, args ...any) {
		wrong = append(wrong, mistake{field, fmt.Sprintf(format, args...)})
	}
	loc, err := time.LoadLocation(r.Zone)
	if err != nil || r.Zone == "Local" || r.Zone == "" {
		fail("zone", "zone is %.60q, want the IANA name of a time zone, such as Europe/Zurich or UTC", r.Zone)
	}
	r.loc = loc
	r.holidays = map[string]bool{}
	for _, h := range r.Holidays {
		if _, err := time.Parse(time.DateOnly, h); err != nil {
			fail("holidays", "holidays: %.60q is no date, want one such as 2026-12-25", h)
		}
		r.holidays[h] = true
	}
	for _, c := range []struct {
		name string
		p    []float64
	}{{"profile.weekday", r.Weekday}, {"profile.weekend", r.Weekend}} {
		sum := 0.0
		for _, v := range c.p {
			sum += v
		}
		if len(c.p) != 24 || !(sum > 0) {
			fail(c.name, "%s has %d weights with the sum %v, want one for each of the 24 hours of a local day, not all 0", c.name, len(c.p), sum)
		}
	}
	if r.Low >= r.High {
		fail("highlow.low", "highlow.low is %v, want less than highlow.high, which is %v", r.Low, r.High)
	}
	if r.MinSamples > r.Samples {
		fail("estimation.minSamples", "estimation.minSamples is %v, want at most estimation.samples, which is %v", r.MinSamples, r.Samples)
	}
	if r.ProlongedAfter > r.Cap {
		fail("estimation.prolongedAfter", "estimation.prolongedAfter is %v, want at most estimation.cap, which is %v", r.ProlongedAfter, r.Cap)
	}
	if len(wrong) > 0 {
		return wrong
	}
	sum := sha256.Sum256([]byte(r.String()))
	r.id = hex.EncodeToString(sum[:6])
	return nil
}

// String is the whole rule set as the YAML that Load reads.
func (r *Rules) String() string {
	var b strings.Builder
	section := ""
	for _, f := range fields(r) {
		name := f.name
		if s, key, ok := strings.Cut(f.name, "."); ok {
			if s != section {
				b.WriteString(s + ":\n")
			}
			section, name = s, "  "+key
		} else {
			section = ""
		}
		b.WriteString(name + ": " + f.text() + "\n")
	}
	return b.String()
}

// field is one value of a rule set's file.
type field struct {
	name     string // section.key, or key
	at       any    // *float64, *time.Duration, *bool, *string, *[]string, *[]float64 or *Severity
	min, max float64
	doc      string
}

func (f field) text() string {
	switch v := f.at.(type) {
	case *float64:
		return strconv.FormatFloat(*v, 'g', -1, 64)
	case *time.Duration:
		return v.String()
	case *bool:
		return strconv.FormatBool(*v)
	case *string:
		return *v
	case *[]string:
		return "[" + strings.Join(*v, ", ") + "]"
	case *Severity:
		return v.String()
	case *[]float64:
		var parts []string
		for _, x := range *v {
			parts = append(parts, strconv.FormatFloat(x, 'g', -1, 64))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return ""
}

// fields lists what a file may say, in the order in which String writes it.
func fields(r *Rules) []field {
	fs := []field{
		{"zone", &r.Zone, 0, 0, "local time of days, weekdays and nights, where the registry has none"},
		{"holidays", &r.Holidays, 0, 0, "local dates that count as Sundays"},
	}
	params := map[Rule][]field{
		Clock: {{"tolerance", &r.ClockTolerance, 0, 86400, "seconds the clock may be off"}},
		Sum: {{"percent", &r.SumPercent, 0, 100, "of the use, that intervals and registers may be apart"},
			{"steps", &r.SumSteps, 0, 1000, "register steps that they may be apart"}},
		Rollover: {{"fuse", &r.RolloverFuse, 0.1, 100, "times what the fuse lets through that a register may grow by"}},
		Spike: {{"ratio", &r.SpikeRatio, 0.1, 1000, "(highest - third-highest) / third-highest that is allowed"},
			{"floor", &r.SpikeFloor, 0, 1e9, "W of the third-highest below which the check is skipped"}},
		HighLow: {{"high", &r.High, 1, 1000, "times the usual day"}, {"low", &r.Low, 0, 1, "times the usual day"},
			{"floor", &r.HighLowFloor, 0, 1e9, "Wh a day below which both days are too small to tell"},
			{"days", &r.HighLowDays, 1, historyDays, "of history that are needed"}},
		Limit: {{"margin", &r.LimitMargin, 0.5, 100, "times what fuse and voltage let through"}},
		Zero:  {{"for", &r.ZeroFor, 3600, 366 * 86400, "zero on end that is reported"}},
		Stuck: {{"times", &r.StuckTimes, 2, 100_000, "the same value on end"},
			{"floor", &r.StuckFloor, 0, 1e9, "W from which on equal values count"}},
		Inactive: {{"threshold", &r.InactiveWh, 0, 1e9, "Wh a day"}},
		Reactive: {{"ratio", &r.ReactiveRatio, 0, 1000, "varh by Wh"}, {"floor", &r.ReactiveFloor, 0, 1e9, "varh a day from which on it counts"}},
		Export: {{"threshold", &r.ExportWh, 0, 1e9, "Wh an interval that do not count"},
			{"nightFrom", &r.NightFrom, 0, 24, "local hour"}, {"nightTo", &r.NightTo, 0, 24, "local hour"}},
	}
	for rule := range NumRules {
		fs = append(fs, field{rule.String() + ".severity", &r.Severity[rule], 0, 0, "off, info, warning, suspect or failed"})
		for _, p := range params[rule] {
			p.name = rule.String() + "." + p.name
			fs = append(fs, p)
		}
	}
	return append(fs,
		field{"master.fuse", &r.Fuse, 0.1, 1e5, "A, where the master data have none"},
		field{"master.volts", &r.Volts, 1, 1e6, "V, phase to neutral"},
		field{"master.phases", &r.Phases, 1, 3, ""},
		field{"master.factor", &r.Factor, 1e-3, 1e6, "CT/VT factor"},
		field{"master.step", &r.Step, 1e-3, 1e6, "Wh, a register's smallest step"},
		field{"master.dials", &r.Dials, 3, NeverOver, "digits of a register in Wh, three more than its dials of kWh; 18: it does not roll over"},
		field{"estimation.after", &r.EstimateAfter, 0, 60 * 86400, "the end of a day: then what is missing is estimated"},
		field{"estimation.suspect", &r.EstimateSuspect, 0, 0, "suspect values are estimated, too"},
		field{"estimation.linear", &r.LinearUpTo, 0, 86400, "a gap up to which a straight line is drawn"},
		field{"estimation.samples", &r.Samples, 1, 8, "same weekdays that are averaged, at most"},
		field{"estimation.minSamples", &r.MinSamples, 1, 8, "at least"},
		field{"estimation.weeks", &r.Weeks, 1, 52, "back to which they are looked for"},
		field{"estimation.prolongedAfter", &r.ProlongedAfter, 1, 366, "days in a row"},
		field{"estimation.cap", &r.Cap, 1, 366, "days in a row that are estimated without a person"},
		field{"profile.weekday", &r.Weekday, 0, 1e6, "24 weights of the hours of a local weekday"},
		field{"profile.weekend", &r.Weekend, 0, 1e6, "24 weights of the hours of Saturday, Sunday and holidays"},
	)
}

// Defaults fills what the master data leave open.
func (r *Rules) Defaults(m Master) Master {
	if m.Fuse == 0 {
		m.Fuse = r.Fuse
	}
	if m.Volts == 0 {
		m.Volts = r.Volts
	}
	if m.Phases == 0 {
		m.Phases = int(r.Phases)
	}
	if m.Factor == 0 {
		m.Factor = r.Factor
	}
	if m.Step == 0 {
		m.Step = r.Step
	}
	if m.Dials == 0 {
		m.Dials = int(r.Dials)
	}
	if m.Zone == nil {
		m.Zone = r.loc
	}
	return m
}

// Most is what fuse and voltage let through in so many seconds, Wh.
func (m *Master) Most(seconds float64) float64 {
	return m.Fuse * m.Volts * float64(m.Phases) * m.Factor * seconds / 3600
}

// sunday reports whether a local day counts as a Sunday.
func (r *Rules) sunday(t time.Time) bool {
	return t.Weekday() == time.Sunday || len(r.holidays) > 0 && r.holidays[t.Format(time.DateOnly)]
}

// Holiday reports whether a local date is one of the rule set's holidays.
func (r *Rules) Holiday(date string) bool { return slices.Contains(r.Holidays, date) }
