package mdms

import "github.com/wattbus/wattbus/internal/cim"

// A meter's intervals become shorter or longer at some moment of a day. What ended before keeps its length, what begins later
// has the new one, and the interval between goes on to the first time at which both end:
//
//	30 to 15 minutes at 10:20    |--- 9:30 ---|--- 10:00 ---|- 10:30 -|- 10:45 -|
//	15 to 30 minutes at 10:20    |- 9:45 -|- 10:00 -|- 10:15 -|--- 10:30 ---|
//	30 to 20 minutes at 10:20    |--- 9:30 ---|------ 10:00 ------|------ 11:00 ------|
//
// Where neither length divides the other, the rest of the day has intervals of their least common multiple.

// setLength gives the series intervals of another length from a time on.
func (l *ledger) setLength(s *series, length uint16, at uint32) {
	old := s.length
	if old == length {
		return
	}
	s.length = length
	for _, r := range s.rows {
		if r.block || r.end() <= at {
			continue
		}
		if r.length%length != 0 { // intervals are joined
			l.draft(r)
		}
		l.recount(r, -1)
		r.regrid(old, length, max(at, r.day.Start()), l.now)
		l.recount(r, 1)
		l.touch(r)
	}
	l.showAll(s)
	s.advance()
}

// regrid changes the length of the intervals from the time at on.
func (r *dayRow) regrid(old, length uint16, at, now uint32) {
	common := uint32(lcm(old, length)) * 60
	since := at - r.day.Start()
	from := since / (uint32(old) * 60) * uint32(old) * 60 // the interval in progress began here
	cut := (since + common - 1) / common * common
	if step := uint32(length) * 60; length < old && from%step == 0 && since < from+step {
		cut = from // nothing of the finer intervals has passed
	}
	if r.length%length == 0 {
		r.refine(length, cut)
		return
	}
	if length%r.length != 0 && common/60%uint32(r.length) != 0 {
		return // it had been changed before, to something else again
	}
	if from < cut {
		r.join(from, cut, now)
	}
	for ; cut < dayLength; cut += common {
		r.join(cut, cut+common, now)
	}
	r.setFirst()
}

// refine gives the row shorter slots. Intervals stay as they are up to cut, seconds of the day, and where they have a value.
func (r *dayRow) refine(length uint16, cut uint32) {
	k := int(r.length / length)
	old, marks, arrivals, step := r.cells, r.marks, r.arrivals, r.step()
	seen, told := make([]uint32, len(old)), make([]uint32, len(old))
	for i := range old {
		seen[i], told[i] = r.seenAt(i), r.toldSeen(i)
	}
	r.near, r.far, r.told, r.regridded = nil, nil, nil, true
	n := 1440/int(length) + 1
	r.length, r.cells, r.marks, r.arrivals = length, make([]cell, n), make([]mark, n), nil
	for i := range r.cells {
		r.cells[i].wh = cim.NoValue
	}
	for i, c := range old {
		r.cells[i*k], r.marks[i*k] = c, marks[i]|markDirty
		if seen[i] != 0 {
			r.setSeen(i*k, seen[i])
			r.setTold(i*k, told[i])
		}
		if arrivals != nil {
			r.setArrived(i*k, arrivals[i])
		}
		if i == 0 || uint32(i-1)*step >= cut && c.wh == cim.NoValue && cim.Quality(marks[i]&markQuality) != cim.Joined {
			continue
		}
		for j := (i-1)*k + 1; j < i*k; j++ {
			r.marks[j] = mark(cim.Joined) | markDirty
		}
	}
	r.setFirst()
}

// join makes one interval of those in [from, to), seconds of the day. It does nothing where one of them reaches beyond.
func (r *dayRow) join(from, to, now uint32) {
	if from%r.step() != 0 || to%r.step() != 0 || from >= to || to > dayLength {
		return
	}
	lo, hi := int(from/r.step()), int(to/r.step())
	if r.joined(hi) || lo > 0 && r.joined(lo) || hi == lo+1 {
		return
	}
	sum, q, known := uint64(0), cim.Raw, true
	for i := lo + 1; i <= hi; i++ {
		switch {
		case r.joined(i):
		case r.cells[i].wh == cim.NoValue:
			known = false
		default:
			sum += uint64(r.cells[i].wh)
			q = max(q, r.quality(i))
		}
	}
	r.joinArrivals(lo, hi, known)
	for i := lo + 1; i < hi; i++ {
		if r.dated() {
			r.setSeen(i, 0)
			r.setTold(i, 0)
		}
		r.cells[i] = cell{wh: cim.NoValue}
		r.marks[i] = mark(cim.Joined) | markDirty
	}
	if told := r.toldSeen(hi); r.dated() {
		r.setSeen(hi, told) // of the register alone
		r.setTold(hi, told)
	}
	r.cells[hi].wh = cim.NoValue
	r.marks[hi] = r.marks[hi]&markRegister | markDirty
	wh := uint32(sum)
	if !known || sum >= uint64(cim.NoValue) {
		if wh, known = r.difference(hi); !known {
			return
		}
	}
	r.sawValue(hi, now)
	r.cells[hi].wh = wh
	r.marks[hi] |= mark(q)
}

// fit joins the intervals that a slot [from, to) of a load profile covers, if one of them has no value: the profile cannot
// tell them apart. A slot without a value, v, refuses those.
func (l *ledger) fit(r *dayRow, from, to, v uint32) {
	lo, ok := r.boundary(from)
	hi, ok2 := r.boundary(to)
	if !ok || !ok2 || r.next(lo) >= hi {
		return
	}
	for i := lo + 1; i <= hi; i++ {
		switch {
		case r.joined(i) || r.cells[i].wh != cim.NoValue:
		case v == cim.NoValue:
			r.refuse(i)
		default:
			l.draft(r)
			l.recount(r, -1)
			r.join(from-r.day.Start(), to-r.day.Start(), l.now)
			r.setFirst()
			l.show(r)
			l.recount(r, 1)
			l.touch(r)
			r.s.advance()
			return
		}
	}
}

// pieces puts the slots of a load profile together that make one interval of a day.
type pieces struct {
	from, to uint32
	sum      uint64
	lacks    bool // one of them has no value
}

// add adds the slot [start, end). Once the slots of an interval are all there it returns its cell and its value, cim.NoValue
// if one of them has none.
func (p *pieces) add(r *dayRow, start, end, v uint32) (i int, wh uint32, all bool) {
	i = r.next(int((start - r.day.Start()) / r.step()))
	if i >= len(r.cells) {
		return 0, 0, false
	}
	from, to := r.start(i), r.at(i)
	if start == from {
		*p = pieces{from: from, to: from}
	}
	if p.from != from || p.to != start || end > to {
		*p = pieces{}
		return 0, 0, false
	}
	p.to = end
	if v == cim.NoValue {
		p.lacks = true
	} else {
		p.sum += uint64(v)
	}
	switch {
	case end < to:
		return 0, 0, false
	case p.lacks:
		return i, cim.NoValue, true
	}
	return i, uint32(p.sum), p.sum < uint64(cim.NoValue)
}

func lcm(a, b uint16) uint16 { return a / gcd(a, b) * b }

func gcd(a, b uint16) uint16 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
