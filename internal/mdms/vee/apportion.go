package vee

import (
	"cmp"
	"math/bits"
	"slices"
)

// apportion splits total into whole parts by weights, by the largest remainders; where these are equal the earlier part gets
// the unit. The parts add up to total exactly. Weights are not negative and not all 0; their sum fits 63 bits.
func apportion(total int64, weights []int64) []int64 {
	var sum uint64
	for _, w := range weights {
		sum += uint64(w)
	}
	type part struct {
		i    int
		rest uint64
	}
	out := make([]int64, len(weights))
	parts := make([]part, len(weights))
	left := total
	for i, w := range weights {
		// total*w/sum < total, so that the quotient fits
		hi, lo := bits.Mul64(uint64(total), uint64(w))
		q, rest := bits.Div64(hi, lo, sum)
		out[i], parts[i] = int64(q), part{i, rest}
		left -= int64(q)
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Or(cmp.Compare(b.rest, a.rest), cmp.Compare(a.i, b.i)) })
	for _, p := range parts[:left] {
		out[p.i]++
	}
	return out
}

// take makes estimates of the shapes.
func (r *Rules) take(s *Stretch, cells []shape, runs []run, from, to int) ([]Estimate, []Finding) {
	values := make([]int64, len(cells))
	inRun := make([]*run, len(cells))
	for i := max(from, 0); i < min(to, len(cells)); i++ {
		values[i] = (cells[i].weight + 500) / 1000
	}
	for k := range runs {
		u := &runs[k]
		var at []int
		var weights []int64
		for i := u.a; i < u.b; i++ {
			if s.Wh[i] == None && cells[i].method != Outage {
				at, weights = append(at, i), append(weights, cells[i].weight)
			}
		}
		for n, v := range apportion(u.total, weights) {
			values[at[n]], inRun[at[n]] = v, u
		}
	}
	var out []Estimate
	var findings []Finding
	add := func(rule Rule, what uint8, i, j int, numbers ...Number) {
		if sev := r.Severity[rule]; sev != Off {
			findings = append(findings, Finding{Rule: rule, Severity: sev, First: i, Last: j, From: s.at(i), To: s.at(j), Numbers: numbers, what: what})
		}
	}
	unfilled, prolonged, capped := 0, -1, -1
	firstUnfilled := -1
	days := s.daysInARow()
	perDay := int(86400 / s.Length)
	for i := max(from, 0); i < min(to, len(cells)); i++ {
		c := &cells[i]
		if s.Wh[i] != None || s.IsShort(i) {
			continue
		}
		day := days[i/perDay]
		switch {
		case c.method == NoMethod:
			if unfilled++; firstUnfilled < 0 {
				firstUnfilled = i
			}
			continue
		case c.method == Outage:
		case !s.Lift && float64(day) > r.Cap:
			if capped != i/perDay {
				capped = i / perDay
				add(Prolonged, 1, i, min(to, len(cells)), Number{"day", float64(day)}, Number{"cap", r.Cap})
			}
			continue
		case float64(day) > r.ProlongedAfter && prolonged != i/perDay:
			prolonged = i / perDay
			add(Prolonged, 0, i, min(to, len(cells)), Number{"day", float64(day)})
		}
		e := Estimate{Index: i, Wh: values[i], Method: c.method, Numbers: append([]Number(nil), c.n[:c.count]...)}
		if u := inRun[i]; u != nil {
			e.Scaled = true
			e.Numbers = append(e.Numbers, Number{"total", float64(u.total)})
		}
		out = append(out, e)
	}
	if unfilled > 0 {
		add(Unfilled, 0, firstUnfilled, min(to, len(cells)), Number{"missing", float64(unfilled)})
	}
	return out, findings
}

// daysInARow counts, for each UTC day of the stretch, the days with gaps on end up to it.
func (s *Stretch) daysInARow() []int {
	per := int(86400 / s.Length)
	days := make([]int, (len(s.Wh)+per-1)/per)
	for d := range days {
		for i, wh := range s.Wh[d*per : min((d+1)*per, len(s.Wh))] {
			if wh == None && !s.IsShort(d*per+i) {
				if days[d] = 1; d > 0 {
					days[d] += days[d-1]
				}
				break
			}
		}
	}
	return days
}
