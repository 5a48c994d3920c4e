package vee

import "time"

// figures are what one pass over a period's values finds.
type figures struct {
	sum int64
	n   int // values that are there
	at  int // of the highest
	top [3]int64
}

// scan looks at the values one by one: below zero, above what is possible, and the same on end.
func (j *judge) scan(h *History) figures {
	p := j.p
	f := figures{at: -1, top: [3]int64{-1, -1, -1}}
	limit := int64(j.r.LimitMargin * j.m.Most(float64(p.Length)))
	zeros, same, last := 0, 0, int64(0)
	if h != nil {
		zeros, same, last = h.Zeros, h.Same, h.Last
	}
	run := 0 // first interval of the run, of those in this period
	for i, wh := range p.Wh {
		if wh == None {
			j.ran(run, i, zeros, same, last)
			zeros, same, run = 0, 0, i+1
			continue
		}
		f.sum += wh
		f.n++
		switch {
		case wh < 0:
			j.add(Negative, 0, i, i+1, Number{"wh", float64(wh)})
		case wh > limit:
			j.add(Limit, 0, i, i+1, Number{"wh", float64(wh)}, Number{"limit", float64(limit)})
		case wh > f.top[0]:
			f.top[2], f.top[1], f.top[0], f.at = f.top[1], f.top[0], wh, i
		case wh > f.top[1]:
			f.top[2], f.top[1] = f.top[1], wh
		case wh > f.top[2]:
			f.top[2] = wh
		}
		switch {
		case wh == 0 && zeros > 0:
			zeros++
		case wh != 0 && same > 0 && wh == last:
			same++
		default:
			j.ran(run, i, zeros, same, last)
			zeros, same, run = 0, 0, i
			if last = wh; wh == 0 {
				zeros = 1
			} else {
				same = 1
			}
		}
	}
	j.ran(run, len(p.Wh), zeros, same, last)
	return f
}

// ran looks at a run of equal values that ended before interval i.
func (j *judge) ran(first, i, zeros, same int, last int64) {
	if first >= i {
		return // all of it lies before this period, which told it
	}
	length := float64(j.p.Length)
	if hours := float64(zeros) * length / 3600; zeros > 0 && hours >= j.r.ZeroFor.Hours() && !j.m.Off && j.p.Channel == 0 {
		j.add(Zero, 0, first, i, Number{"hours", hours})
	}
	if same > 0 && float64(same) >= j.r.StuckTimes && float64(last)*3600/length >= j.r.StuckFloor {
		j.add(Stuck, 0, first, i, Number{"wh", float64(last)}, Number{"times", float64(same)}, Number{"allowed", j.r.StuckTimes})
	}
}

func (j *judge) spike(f figures) {
	third := float64(f.top[2])
	if f.at < 0 || third <= 0 || third*3600/float64(j.p.Length) < j.r.SpikeFloor {
		return
	}
	if ratio := (float64(f.top[0]) - third) / third; ratio > j.r.SpikeRatio {
		j.add(Spike, 0, f.at, f.at+1, Number{"highest", float64(f.top[0])}, Number{"third", third}, Number{"ratio", ratio}, Number{"allowed", j.r.SpikeRatio})
	}
}

// highLow compares a whole day's use with the usual one. A day of which a part is absent is scaled up, if most of it is there.
func (j *judge) highLow(f figures, h *History) {
	p := j.p
	if h == nil || float64(h.Days) < j.r.HighLowDays || f.n == 0 || 10*f.n < 9*len(p.Wh) || j.m.Off || p.Channel != 0 {
		return
	}
	use := float64(f.sum) / float64(f.n) * 86400 / float64(p.Length)
	if max(use, h.Usual) < j.r.HighLowFloor {
		return
	}
	ratio := use / max(h.Usual, 1)
	if ratio > j.r.High || ratio < j.r.Low {
		j.add(HighLow, 0, 0, len(p.Wh), Number{"use", use}, Number{"usual", h.Usual}, Number{"ratio", ratio},
			Number{"days", float64(h.Days)}, Number{"low", j.r.Low}, Number{"high", j.r.High})
	}
}

// use looks for energy where none should flow.
func (j *judge) use(f figures) {
	if !j.m.Inactive {
		return
	}
	if per := j.r.InactiveWh * float64(len(j.p.Wh)) * float64(j.p.Length) / 86400; float64(f.sum) > per {
		j.add(Inactive, 0, 0, len(j.p.Wh), Number{"use", float64(f.sum)}, Number{"allowed", j.r.InactiveWh})
	}
}

func (j *judge) reactive() {
	if j.p.Reactive == nil {
		return
	}
	var varh, wh int64
	for i, v := range j.p.Reactive {
		if i < len(j.p.Wh) && v != None && j.p.Wh[i] != None {
			varh += v
			wh += j.p.Wh[i]
		}
	}
	if float64(varh) >= j.r.ReactiveFloor && float64(varh) > j.r.ReactiveRatio*float64(wh) {
		j.add(Reactive, 0, 0, len(j.p.Wh), Number{"varh", float64(varh)}, Number{"wh", float64(wh)}, Number{"ratio", j.r.ReactiveRatio})
	}
}

// export looks at what is fed in: nothing without a generator, nothing at night.
func (j *judge) export() {
	p := j.p
	if p.Channel != 1 {
		return
	}
	var sum int64
	for _, wh := range p.Wh {
		if wh != None && float64(wh) > j.r.ExportWh {
			sum += wh
		}
	}
	switch {
	case sum == 0:
	case !j.m.Generator && !j.m.NoMaster:
		j.add(Export, 0, 0, len(p.Wh), Number{"wh", float64(sum)})
	default:
		j.nightly()
	}
}

func (j *judge) nightly() {
	p := j.p
	first, sum := -1, int64(0)
	for i := range len(p.Wh) + 1 {
		if i < len(p.Wh) && p.Wh[i] != None && float64(p.Wh[i]) > j.r.ExportWh && j.r.night(j.m.Zone, p.At(i)) {
			if first < 0 {
				first = i
			}
			sum += p.Wh[i]
			continue
		}
		if first >= 0 {
			j.add(Export, 1, first, i, Number{"wh", float64(sum)})
			first, sum = -1, 0
		}
	}
}

func (r *Rules) night(zone *time.Location, t uint32) bool {
	l := time.Unix(int64(t), 0).In(zone)
	hour := float64(l.Hour()) + float64(l.Minute())/60
	if r.NightFrom > r.NightTo {
		return hour >= r.NightFrom || hour < r.NightTo
	}
	return hour >= r.NightFrom && hour < r.NightTo
}
