package mdms

import (
	"cmp"
	"slices"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/registry"
	"github.com/wattbus/wattbus/internal/mdms/vee"
)

// The registers that people read when a meter came and when it went close the gaps at both ends of its life, as those that it told close the
// gaps between. Within an interval they stand at its outer boundary: the meter saw a part of it alone, and that part takes its share of
// what lies between the registers, which bills derive.
//
//	installed                                                      removed
//	   |  |-------|-------| … readings … |-------|-------|-------|--|
//	first                           last one told              final

// addRegistry adds them to the registers of a stretch, of which the day begins at slot day.
func (m *MDMS) addRegistry(x *dayCase, s *vee.Stretch, day int) {
	places := m.registry.Places(x.f.id, registry.Now)
	ahead := (x.k.day + stretchAhead + 1).Start()
	for i, p := range places {
		outer := i == 0
		switch {
		case p.Start < s.Start || p.Start >= ahead:
		case outer && (x.f.from < p.Start || x.f.from-p.Start >= s.Length): // the meter does not tell all of its time
		case !outer && p.Start-places[i-1].End < s.Length: // from one place to the other at once: its registers go on
		default:
			m.addRegister(x, s, day, p.Start, pick(p.First, x.k.channel), false, outer)
		}
		outer = i == len(places)-1
		switch {
		case p.End <= s.Start || p.End > ahead: // 0: it is there
		case outer && p.End != x.f.until: // it was retired before
		case !outer && places[i+1].Start-p.End < s.Length:
		default:
			m.addRegister(x, s, day, p.End, pick(p.Last, x.k.channel), true, outer)
		}
	}
}

// checkRegistry adds them to the registers that a day is checked against, if it is the one on which the meter came or went. Those beyond are
// none of its time there.
func (m *MDMS) checkRegistry(x *dayCase) {
	begin, end := x.p.Start, x.p.Start+dayLength
	came, went := x.f.from >= begin && x.f.from < end, x.f.until > begin && x.f.until <= end
	if !came && !went {
		return
	}
	places := m.registry.Places(x.f.id, registry.Now)
	if len(places) == 0 {
		return
	}
	regs := x.p.Registers
	if len(regs) == 0 && x.b.HasReg {
		regs = append(regs, vee.RegisterAt{Wh: x.b.Register})
	}
	if first := places[0]; came && first.Start >= begin {
		if wh := pick(first.First, x.k.channel); wh != nil && x.f.from-first.Start < x.p.Length {
			at := int((first.Start - begin) / x.p.Length)
			if i := slices.IndexFunc(regs, func(r vee.RegisterAt) bool { return r.At == at }); i >= 0 && x.p.Wh[at] != vee.None {
				regs[i] = vee.RegisterAt{At: at + 1, Wh: regs[i].Wh + uint64(x.p.Wh[at])} // what it told then itself follows on
			}
			regs = slices.DeleteFunc(regs, func(r vee.RegisterAt) bool { return r.At <= at })
			regs, x.p.Came = slices.Insert(regs, 0, vee.RegisterAt{At: at, Wh: *wh}), true
		}
	}
	if last := places[len(places)-1]; went && last.End == x.f.until {
		if wh := pick(last.Last, x.k.channel); wh != nil {
			at := int((last.End - begin + x.p.Length - 1) / x.p.Length)
			regs = slices.DeleteFunc(regs, func(r vee.RegisterAt) bool { return r.At >= at })
			regs, x.p.Went = append(regs, vee.RegisterAt{At: at, Wh: *wh}), true
		}
	}
	x.p.Registers = regs
}

// pick is the register of a channel, nil if it was not read.
func pick(p cim.RegisterPair, ch cim.Channel) *uint64 {
	switch {
	case ch == cim.Export && p.HasExport:
		return &p.Export
	case ch == cim.Import && p.HasImport:
		return &p.Import
	}
	return nil
}

// addRegister adds one that was read at t: at the boundary behind it if the meter went, else at the one before. outer says that the meter
// was never there beyond.
func (m *MDMS) addRegister(x *dayCase, s *vee.Stretch, day int, t uint32, wh *uint64, went, outer bool) {
	if wh == nil {
		return
	}
	in, off := int((t-s.Start)/s.Length), (t-s.Start)%s.Length
	at := in
	if went && off != 0 {
		at++
	}
	if at > len(s.Wh) {
		if !m.nothingOpen(x.k, cim.DayOf(t-1)) {
			return // what came of the days between is not in the store yet: once it is, this day is judged again
		}
		for len(s.Wh) < at {
			s.Wh = append(s.Wh, vee.None)
		}
	}
	i, told := slices.BinarySearchFunc(s.Registers, at, func(r vee.RegisterAt, at int) int { return cmp.Compare(r.At, at) })
	if told { // by the meter itself
		return
	}
	s.Registers = slices.Insert(s.Registers, i, vee.RegisterAt{At: at, Wh: *wh})
	if !outer || off == 0 || in >= len(s.Wh) || s.Wh[in] != vee.None || in >= day && in < day+len(x.fill) && x.fill[in-day] {
		return
	}
	if !went {
		off = s.Length - off
	}
	s.Short = append(s.Short, vee.Short{At: in, Seconds: off})
}

// nothingOpen reports whether of the days behind one, up to the last, nothing lies in RAM alone.
func (m *MDMS) nothingOpen(k dayKey, last cim.Day) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := m.seriesOf(k)
	return s != nil && !slices.ContainsFunc(s.rows, func(r *dayRow) bool { return r.day > k.day && r.day <= last && !r.block })
}

// judgeEnds queues the days with gaps at the ends of a meter's life, of which the registry may tell other registers now. m.mu is held.
func (m *MDMS) judgeEnds(d *device) {
	if m.o.VEE.Off {
		return
	}
	d.each(func(s *series) {
		if s.from == 0 {
			return
		}
		first, last := cim.DayOf(s.from), cim.DayOf(m.o.Clock.Unix())
		if s.until > s.from {
			last = min(last, cim.DayOf(s.until-1))
			for day := last; day >= first && day+stretchAhead >= last && m.judgeOpen(d, s, day); day-- {
			}
		}
		for day := first; day <= last && day <= first+stretchAhead && m.judgeOpen(d, s, day); day++ {
		}
	})
}

// judgeOpen queues a day that is to be judged at all, and reports whether it has gaps.
func (m *MDMS) judgeOpen(d *device, s *series, day cim.Day) bool {
	sealed := s.sealed(day)
	if r := s.find(day); sealed || m.overdue(day) || r != nil && r.block {
		m.judge.add(dayKey{day, d.Ordinal, s.channel}, nil, nil, true)
	}
	return !sealed
}
