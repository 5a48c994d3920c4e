package vee

import "time"

// Verdict is what Validate says of a period.
type Verdict struct {
	Findings []Finding
	Worst    Severity   // of the findings that concern values
	By       []Severity // per interval, the worst that was found of it; nil where nothing was found
}

// OK reports whether the interval's value is validated.
func (v *Verdict) OK(i int) bool { return v.By == nil || v.By[i] < Suspect }

// judge collects the findings about a period.
type judge struct {
	r   *Rules
	m   Master
	p   *Period
	out Verdict
}

// Validate judges a period. Its time is linear in the number of intervals; it allocates nothing where nothing is found.
func (r *Rules) Validate(m Master, p *Period, h *History) Verdict {
	j := judge{r: r, m: r.Defaults(m), p: p}
	j.form()
	j.gaps()
	j.flags()
	j.registers()
	s := j.scan(h)
	j.spike(s)
	j.highLow(s, h)
	j.use(s)
	j.reactive()
	j.export()
	return j.out
}

// add adds a finding about the intervals [first, last), which are doubted if it is bad.
func (j *judge) add(rule Rule, what uint8, first, last int, numbers ...Number) {
	if j.tell(rule, what, first, last, numbers...) && rule != Gap && rule != Lost {
		j.doubt(rule, first, last)
	}
}

// tell adds a finding, and reports whether the rule is looked at.
func (j *judge) tell(rule Rule, what uint8, first, last int, numbers ...Number) bool {
	s := j.r.Severity[rule]
	if s == Off {
		return false
	}
	j.out.Findings = append(j.out.Findings, Finding{Rule: rule, Severity: s, First: first, Last: last, From: j.p.At(first), To: j.p.At(last),
		Numbers: append([]Number(nil), numbers...), what: what})
	return true
}

// doubt notes that a rule found the values of [first, last) as bad as it is severe.
func (j *judge) doubt(rule Rule, first, last int) {
	s := j.r.Severity[rule]
	j.out.Worst = max(j.out.Worst, s)
	if s < Suspect {
		return
	}
	if j.out.By == nil {
		j.out.By = make([]Severity, len(j.p.Wh))
	}
	for i := max(first, 0); i < min(last, len(j.p.Wh)); i++ {
		j.out.By[i] = max(j.out.By[i], s)
	}
}

// form looks at what the data say of themselves: alignment, unit, factor, clock, repetition.
func (j *judge) form() {
	p, n := j.p, len(j.p.Wh)
	want := p.Length
	if j.m.Interval > 0 {
		want = uint32(j.m.Interval / time.Second)
	}
	if p.Length == 0 || p.Start%p.Length != 0 || p.Length != want {
		off := 0.0
		if p.Length > 0 {
			off = float64(p.Start % p.Length)
		}
		j.add(Alignment, 0, 0, n, Number{"seconds", float64(p.Length)}, Number{"off", off}, Number{"want", float64(want)})
	}
	if p.UnitPower != j.m.UnitPower {
		j.add(Unit, 0, 0, n, Number{"unit", float64(p.UnitPower)}, Number{"want", float64(j.m.UnitPower)})
	}
	if p.Factor != 0 && p.Factor != j.m.Factor {
		j.add(Unit, 1, 0, n, Number{"factor", p.Factor}, Number{"want", j.m.Factor})
	}
	if off := float64(p.Offset); p.HasOffset && (off > j.r.ClockTolerance || -off > j.r.ClockTolerance) {
		j.add(Clock, 0, 0, n, Number{"offset", off}, Number{"tolerance", j.r.ClockTolerance})
	}
	for _, a := range p.Again {
		if a.Index < 0 || a.Index >= n {
			continue
		}
		what := uint8(0)
		if a.Wh != p.Wh[a.Index] {
			what = 1
		}
		j.add(Duplicate, what, a.Index, a.Index+1, Number{"wh", float64(p.Wh[a.Index])}, Number{"other", float64(a.Wh)})
	}
}

// gaps reports every run of expected intervals without a value, those that may still come apart from those that are lost.
func (j *judge) gaps() {
	p := j.p
	rule := func(i int) Rule {
		switch {
		case i >= len(p.Wh) || p.Wh[i] != None || !p.expected(i):
			return NumRules
		case p.Lost != nil && p.Lost[i]:
			return Lost
		}
		return Gap
	}
	first, of := 0, NumRules
	for i := range len(p.Wh) + 1 {
		r := rule(i)
		if r == of {
			continue
		}
		if of != NumRules {
			j.add(of, 0, first, i, Number{"missing", float64(i - first)}, Number{"expected", float64(len(p.Wh))})
		}
		first, of = i, r
	}
}

// statusFlags are the flags that have findings of their own, with the sentence of each.
var statusFlags = [...]struct {
	flag Flag
	rule Rule
	what uint8
}{{FlagPartial, Partial, 0}, {FlagLong, Partial, 1}, {FlagClock, Clock, 1}, {FlagTamper, Status, 0}, {FlagReverse, Status, 1},
	{FlagMemory, Status, 2}, {FlagClockSet, Status, 3}, {FlagEstimate, Status, 4}}

// flags reports what the meter said of its intervals, a finding for each run.
func (j *judge) flags() {
	p := j.p
	all := Flag(0)
	for _, f := range p.Flags {
		all |= f
	}
	if all == 0 {
		return
	}
	for _, s := range statusFlags {
		if all&s.flag == 0 {
			continue
		}
		first := -1
		for i := range len(p.Flags) + 1 {
			if i < len(p.Flags) && p.Flags[i]&s.flag != 0 {
				if first < 0 {
					first = i
				}
				continue
			}
			if first >= 0 {
				j.add(s.rule, s.what, first, i)
				first = -1
			}
		}
	}
}

// registers compares registers with each other and with the intervals between them.
func (j *judge) registers() {
	p := j.p
	var apart disagreement
	for k := 1; k < len(p.Registers); k++ {
		a, b := p.Registers[k-1], p.Registers[k]
		if a.At < 0 || b.At <= a.At || b.At > len(p.Wh) {
			continue
		}
		seconds := float64(b.At-a.At) * float64(p.Length)
		most := j.r.RolloverFuse * j.m.Most(seconds) / j.m.Factor
		delta, rolled := Difference(a.Wh, b.Wh, j.m.Dials)
		if float64(delta) > most {
			numbers := []Number{{"before", float64(a.Wh)}, {"after", float64(b.Wh)}, {"most", most}, {"delta", float64(delta)}, {"dials", float64(j.m.Dials - whDigits)}}
			switch {
			case b.Wh >= a.Wh:
				j.add(Increase, 1, a.At, b.At, numbers[:4]...)
			case j.m.Dials < NeverOver:
				j.add(Increase, 0, a.At, b.At, numbers...)
			default:
				j.add(Increase, 2, a.At, b.At, numbers[:3]...)
			}
			continue
		}
		if rolled {
			j.add(Rollover, 0, a.At, b.At, Number{"before", float64(a.Wh)}, Number{"after", float64(b.Wh)},
				Number{"dials", float64(j.m.Dials - whDigits)}, Number{"delta", float64(delta)})
		}
		sum, whole := int64(0), true
		for _, wh := range p.Wh[a.At:b.At] {
			if whole = wh != None; !whole {
				break
			}
			sum += wh
		}
		if !whole {
			continue
		}
		register := float64(delta) * j.m.Factor
		allowed := max(j.r.SumSteps*j.m.Factor*j.m.Step, j.r.SumPercent/100*register)
		if off := float64(sum) - register; off > allowed || -off > allowed {
			if k == 1 && p.Came || k == len(p.Registers)-1 && p.Went {
				j.add(Sum, 2, a.At, b.At, Number{"sum", float64(sum)}, Number{"register", register}, Number{"off", off}, Number{"allowed", allowed})
				continue
			}
			apart.add(a.At, b.At, float64(sum), register, off, allowed)
			if j.r.Severity[Sum] != Off {
				j.doubt(Sum, a.At, b.At)
			}
		}
	}
	j.apart(&apart)
}

// disagreement is where the intervals of a period do not add up to the registers at both ends.
type disagreement struct {
	first, last, spans  int
	sum, register, off  float64 // of all spans
	furthest, allowedIn float64 // of the one that is furthest off
}

func (d *disagreement) add(first, last int, sum, register, off, allowed float64) {
	if d.spans == 0 {
		d.first = first
	}
	d.spans++
	d.last, d.sum, d.register, d.off = last, d.sum+sum, d.register+register, d.off+off
	if abs := max(off, -off); abs > d.furthest {
		d.furthest, d.allowedIn = abs, allowed
	}
}

// apart tells all of it in one finding: values that came late for a whole day of registers disagree with each of these.
func (j *judge) apart(d *disagreement) {
	switch d.spans {
	case 0:
	case 1:
		j.tell(Sum, 0, d.first, d.last, Number{"sum", d.sum}, Number{"register", d.register}, Number{"off", d.off}, Number{"allowed", d.allowedIn})
	default:
		j.tell(Sum, 1, d.first, d.last, Number{"spans", float64(d.spans)}, Number{"sum", d.sum}, Number{"register", d.register}, Number{"off", d.off},
			Number{"furthest", d.furthest}, Number{"allowed", d.allowedIn})
	}
}

// Difference is how far a register of so many dials went from a to b, and whether it rolled over on the way.
func Difference(a, b uint64, dials int) (delta uint64, rolled bool) {
	if b >= a {
		return b - a, false
	}
	if dials < 1 || dials > 18 {
		dials = 18
	}
	mod := uint64(1)
	for range dials {
		mod *= 10
	}
	return (b%mod + mod - a%mod) % mod, true
}

// Late is the finding about a value of p that came after another one was used in its place: an estimate, which it supersedes,
// or an edit, which stays.
func (r *Rules) Late(p *Period, i int, old int64, edited bool) (Finding, bool) {
	what := uint8(0)
	if edited {
		what = 1
	}
	return Finding{Rule: Superseded, Severity: r.Severity[Superseded], First: i, Last: i + 1, From: p.At(i), To: p.At(i + 1),
		Numbers: []Number{{"wh", float64(p.Wh[i])}, {"old", float64(old)}}, what: what}, r.Severity[Superseded] != Off
}
