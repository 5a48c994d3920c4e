package veebench

import (
	"time"

	"github.com/wattbus/wattbus/internal/dataset"
	"github.com/wattbus/wattbus/internal/mdms/vee"
)

// Alarms counts what the rules find in a set of meters.
type Alarms struct {
	Data   string       `json:"data"`
	Meters int          `json:"meters"`
	Days   int          `json:"days"`
	Rules  []RuleAlarms `json:"rules"`
	Any    RuleAlarms   `json:"any"`  // warnings and above
	Each   float64      `json:"each"` // µs of wall time for a meter's day
}

// RuleAlarms counts the findings of one rule.
type RuleAlarms struct {
	Rule     string  `json:"rule"`
	Findings int     `json:"findings"`
	Days     int     `json:"days"`   // meter-days with one
	Meters   int     `json:"meters"` // with one
	Rate     float64 `json:"rate"`   // percent of the meter-days
}

// Findings validates every local day of the meters, in order, as the MDMS would.
func Findings(r *vee.Rules, name string, meters []dataset.Measured) Alarms {
	out := Alarms{Data: name, Meters: len(meters)}
	counts := make([]RuleAlarms, vee.NumRules)
	start := time.Now()
	for _, m := range meters {
		var h vee.History
		var found [vee.NumRules]bool
		bad := false
		for d := 0; d+dataset.SlotsPerDay <= len(m.Wh); d += dataset.SlotsPerDay {
			p := vee.Period{Start: uint32(m.Start + int64(d)*dataset.Slot), Length: dataset.Slot, Wh: m.Wh[d : d+dataset.SlotsPerDay]}
			v := r.Validate(vee.Master{}, &p, &h)
			h.Add(&p, nil)
			out.Days++
			var today [vee.NumRules]bool
			alarm := false
			for _, f := range v.Findings {
				counts[f.Rule].Findings++
				alarm = alarm || f.Severity >= vee.Warning
				if !today[f.Rule] {
					today[f.Rule] = true
					counts[f.Rule].Days++
				}
				if !found[f.Rule] {
					found[f.Rule] = true
					counts[f.Rule].Meters++
				}
			}
			if alarm {
				out.Any.Days++
				bad = true
			}
		}
		if bad {
			out.Any.Meters++
		}
	}
	out.Each = float64(time.Since(start).Microseconds()) / float64(max(out.Days, 1))
	for i, c := range counts {
		if c.Findings > 0 {
			c.Rule = vee.Rule(i).String()
			c.Rate = 100 * float64(c.Days) / float64(out.Days)
			out.Rules = append(out.Rules, c)
			if r.Severity[i] >= vee.Warning {
				out.Any.Findings += c.Findings
			}
		}
	}
	out.Any.Rule, out.Any.Rate = "any warning", 100*float64(out.Any.Days)/float64(max(out.Days, 1))
	return out
}
