package mdms

import (
	"fmt"
	"math"
	"slices"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
)

const (
	dayLength   = 86400
	keepDays    = 45              // that every meter keeps (docs/contract.md, section 2)
	giveUpDays  = keepDays + 1    // before today: what is still missing then is missing for good
	futureLimit = dayLength       // seconds that a meter's clock may be ahead
	pastLimit   = 400 * dayLength // seconds that a value may be old
	defaultStep = 30              // minutes, of a meter that has not said its own
)

// series is what the ledger knows of one channel of a device.
//
//	from              complete                       now
//	  |--- stored -----|--?--[whole]--?--[row]--?--[row]|
//
// Before complete every interval is stored or given up. Behind it, days are whole (sealed in a block: one bit each), have a
// row in RAM, or have nothing at all.
type series struct {
	rows     []*dayRow
	from     uint32 // start of the first interval that is expected; 0: none yet
	until    uint32 // nothing from here on is expected; 0: it goes on
	complete uint32
	device   uint32
	whole    uint64 // bit i: day DayOf(complete)+i is sealed
	length   uint16 // minutes of its intervals now
	channel  cim.Channel
	oldest   uint32    // start of the oldest interval that the device still has
	begin    uint32    // nothing before this is expected, as the registry says; 0: it says nothing
	lost     []lostDay // given up, by day
	closed   cim.Day   // whole days without a value are judged up to here
	guessed  bool      // the length is: the meter has not registered
	dials    uint8     // digits of kWh of its registers, 0: not known
}

// lostDay counts what is missing for good.
type lostDay struct {
	day     cim.Day
	missing uint16
}

func (s *series) step() uint32  { return uint32(s.length) * 60 }
func (s *series) base() cim.Day { return cim.DayOf(s.complete) }

func (s *series) sealed(day cim.Day) bool {
	if day < s.base() {
		return true
	}
	i := day - s.base()
	return i < 64 && s.whole&(1<<i) != 0
}

// find returns the day's row if it is in RAM.
func (s *series) find(day cim.Day) *dayRow {
	for i := len(s.rows) - 1; i >= 0; i-- {
		if r := s.rows[i]; r.day <= day {
			if r.day == day {
				return r
			}
			return nil
		}
	}
	return nil
}

func (s *series) insert(r *dayRow) {
	i := len(s.rows)
	for i > 0 && s.rows[i-1].day > r.day {
		i--
	}
	s.rows = slices.Insert(s.rows, i, r)
}

// tally counts one day's intervals that are there, over all series.
type tally struct {
	received, recovered int64
	arrived             [maxDeadlines]byDeadline
	unused              []store.Arrivals // by deadlines that are no longer used
	open                int              // rows of which some lies in chunks
	chunks              int              // of the day in the store
	touched             bool             // since the last commit
	drop                bool             // a row of it was sealed since
}

// ledger is the account of intervals. It does no I/O but through load, which may be asked for a sealed day.
type ledger struct {
	deadlines  []due
	load       func(device uint32, ch cim.Channel, day cim.Day) (*store.Block, error)
	days       map[cim.Day]*tally
	dirty      []*dayRow
	loaded     []*dayRow // taken out of the store for comparison; they go with the next commit
	waiting    waiting   // days that are to be sealed
	total      tally
	newest     [2][]*dayRow // by channel and device: its newest day in RAM, see columns.go
	sheets     [2][]*sheet  // by channel
	today      cim.Day      // see newDay
	now        uint32       // business time of the turn under way, at which what it enters is recorded
	drafts     []*dayRow    // since the last commit
	committing []*dayRow    // whose drafts are in the commit under way
	at         uint32       // when the message under way arrived at the centre, business time
	late       int64        // readings and values outside the window, not kept
	differ     int64        // values that superseded another
}

// insert takes a day into RAM.
func (l *ledger) insert(s *series, r *dayRow) {
	s.insert(r)
	l.noteNewest(s)
	l.show(r)
}

// noteNewest notes which day of a series is its newest in RAM, after a change.
func (l *ledger) noteNewest(s *series) {
	var r *dayRow
	if n := len(s.rows); n > 0 {
		r = s.rows[n-1]
	}
	of := &l.newest[s.channel]
	if n := len(*of); int(s.device) >= n {
		*of = append(*of, make([]*dayRow, int(s.device)+1-n)...)
	}
	(*of)[s.device] = r
}

func newLedger(load func(uint32, cim.Channel, cim.Day) (*store.Block, error)) *ledger {
	return &ledger{load: load, days: map[cim.Day]*tally{}, waiting: waiting{look: math.MaxUint32, atOnce: sealAtOnce, most: sealMost}}
}

func (l *ledger) day(d cim.Day) *tally {
	t := l.days[d]
	if t == nil {
		t = &tally{}
		l.days[d] = t
	}
	return t
}

// expect says from when on the device's intervals are expected. It only ever reaches further back.
func (l *ledger) expect(s *series, from uint32) error {
	from = max(from, s.begin)
	from = (from + s.step() - 1) / s.step() * s.step()
	if s.from == 0 {
		s.from, s.complete = from, from
		return nil
	}
	if from >= s.from {
		return nil
	}
	old, oldBase := s.from, s.base()
	s.from = from
	s.closed = min(s.closed, cim.DayOf(from)) // days without a value may lie before those that were judged
	// Days that were sealed from the old beginning on stay sealed; from the new one to that day there may be blocks
	// that hold less than is expected now.
	shift := uint(oldBase - cim.DayOf(from))
	if shift < 64 {
		s.whole <<= shift
	} else {
		s.whole = 0
	}
	for d := cim.DayOf(old) + 1; d < oldBase; d++ {
		if r := s.find(d); r != nil && !r.block {
			continue // it waits to be sealed
		}
		if i := d - cim.DayOf(from); i < 64 {
			s.whole |= 1 << i
		}
	}
	s.complete = from
	for d := cim.DayOf(from); d <= cim.DayOf(old); d++ {
		if i := d - cim.DayOf(from); i < 64 {
			s.whole &^= 1 << i
		}
		r := s.find(d)
		if r == nil {
			b, err := l.load(s.device, s.channel, d)
			if err != nil {
				return err
			}
			if b == nil {
				continue
			}
			r = newRow(s, d, b.Length)
			r.fromBlock(b)
			l.insert(s, r)
		}
		l.draft(r)
		r.setBeginning(old)
		l.recount(r, -1)
		l.settle(r)
		r.setFirst()
		l.recount(r, 1)
		l.touch(r)
	}
	for _, r := range s.rows {
		r.setFirst()
	}
	l.showAll(s)
	s.advance()
	return l.midnight(s, old)
}

// midnight takes the register at the former beginning of a series, if that is one of a day, for the end of the day before, too.
func (l *ledger) midnight(s *series, at uint32) error {
	if at%dayLength != 0 {
		return nil
	}
	day := cim.DayOf(at)
	r := s.find(day)
	if r == nil && !s.sealed(day) {
		return nil
	}
	r, err := l.row(s, day, s.length)
	if err != nil {
		return err
	}
	register, known := r.register(0)
	if !known {
		return nil
	}
	if r, err = l.row(s, day-1, s.length); err == nil {
		l.boundary(r, r.slots(), register, cim.Raw, false)
	}
	return err
}

// setBeginning makes the row count from another beginning than its series has.
func (r *dayRow) setBeginning(from uint32) {
	keep := r.s.from
	r.s.from = from
	r.setFirst()
	r.s.from = keep
}

func (l *ledger) recount(r *dayRow, by int64) {
	t := l.day(r.day)
	t.touched = true
	for i := int(r.first) + 1; i <= int(r.last); i++ {
		if r.cells[i].wh != cim.NoValue {
			l.count(t, r.quality(i), by)
			l.arrive(t, r.arrived(i), by)
		}
	}
}

func (l *ledger) count(t *tally, q cim.Quality, by int64) {
	if q == cim.Recovered {
		t.recovered += by
		l.total.recovered += by
	} else {
		t.received += by
		l.total.received += by
	}
}

// advance moves complete over everything that is there or given up, on the day of a removal up to that: the day is behind it only
// when its block is made.
func (s *series) advance() {
	day := s.base()
	for {
		if s.whole&1 != 0 {
			day++
			s.complete, s.whole = day.Start(), s.whole>>1
			continue
		}
		r := s.find(day)
		if r == nil {
			return
		}
		off := s.complete - day.Start()
		i := int(off / r.step())
		back := r.joined(i)
		if back { // what was two intervals became one
			i = r.begin(i)
		}
		for n := r.next(i); i < r.slots() && (n <= int(r.first) || r.cells[n].wh != cim.NoValue); n = r.next(i) {
			i = n
		}
		if at := r.at(i); at > s.complete || back {
			s.complete = max(at, s.from)
		}
		if i < r.slots() {
			return
		}
		day++
		s.whole >>= 1
	}
}

// kept is complete as the store keeps it: what lies before its day is taken to be in blocks when the books are opened again, so it is
// never behind a day that is whole but not sealed, see waiting.
func (s *series) kept() uint32 {
	for _, r := range s.rows {
		if r.day >= s.base() {
			break
		}
		if !r.block {
			return max(r.day.Start(), s.from)
		}
	}
	return s.complete
}

// row returns the row of a day, out of the store if it is sealed.
func (l *ledger) row(s *series, day cim.Day, length uint16) (*dayRow, error) {
	if r := s.find(day); r != nil {
		return r, nil
	}
	if !s.sealed(day) {
		r := newRow(s, day, length)
		l.insert(s, r)
		return r, nil
	}
	b, err := l.load(s.device, s.channel, day)
	if err != nil {
		return nil, fmt.Errorf("block of device %d on %v: %w", s.device, day, err)
	}
	if b != nil {
		length = b.Length
	}
	r := newRow(s, day, length)
	r.block = true
	if b != nil {
		r.fromBlock(b)
		if r.want == 0 { // it lies before what is expected so far
			l.settle(r)
		}
	}
	l.insert(s, r)
	l.loaded = append(l.loaded, r)
	return r, nil
}

func (l *ledger) touch(r *dayRow) {
	if !r.dirty {
		r.dirty = true
		l.dirty = append(l.dirty, r)
	}
}

// reading enters the register of one channel at time t, of which now is the centre's time. It reports whether t ends an
// interval, and its value if it is known now.
func (l *ledger) reading(s *series, t uint32, register uint64, now uint32) (aligned bool, err error) {
	if t%s.step() != 0 || t == 0 {
		return false, nil
	}
	if s.from == 0 {
		// It never told how far back it goes, or not yet: what follows is expected.
		if err := l.expect(s, t); err != nil {
			return true, err
		}
	}
	if !window(t, now) {
		l.late++
		return true, nil
	}
	if t != s.from || t%dayLength != 0 { // else it only starts the first day
		r, err := l.row(s, cim.DayOf(t-1), s.length)
		if err != nil {
			return true, err
		}
		if i, ok := r.cellEnding(t); ok { // else it lies in a longer interval
			if err := l.told(r, i, register, cim.Raw, true); err != nil {
				return true, err
			}
		}
	}
	if t%dayLength == 0 {
		r, err := l.row(s, cim.DayOf(t), s.length)
		if err != nil {
			return true, err
		}
		l.boundary(r, 0, register, cim.Raw, true)
	}
	return true, nil
}

func window(t, now uint32) bool {
	return uint64(t) <= uint64(now)+futureLimit && uint64(t)+pastLimit >= uint64(now)
}

// told enters a register that the meter told at a boundary, as boundary does, and puts right what was reckoned over a roll-over before.
func (l *ledger) told(r *dayRow, i int, register uint64, q cim.Quality, wins bool) error {
	had, known := r.register(i)
	l.boundary(r, i, register, q, wins)
	if !known || !rolled(had, register) {
		return nil
	}
	return l.unroll(r, i, had)
}

// boundary enters a register at a boundary, and the values that it makes known. A reading that differs from an earlier one
// wins (newest); a profile's register does not contradict a reading, but one that was reckoned over a roll-over.
func (l *ledger) boundary(r *dayRow, i int, register uint64, q cim.Quality, wins bool) {
	differs := false
	if had, known := r.register(i); known {
		if had == register || !wins && !rolled(had, register) {
			return
		}
		differs = true
		l.draft(r)
	}
	if !r.setRegister(i, register) {
		return
	}
	r.sawRegister(i, l.now)
	r.marks[i] |= markDirty
	l.touch(r)
	if wh, ok := r.difference(i); ok {
		l.value(r, i, wh, q, differs)
	}
	if n := r.next(i); n < len(r.cells) {
		if wh, ok := r.difference(n); ok {
			l.value(r, n, wh, q, differs)
		}
	}
}

// value enters the value of the slot of cell i.
func (l *ledger) value(r *dayRow, i int, wh uint32, q cim.Quality, wins bool) {
	old := r.cells[i].wh
	if old == wh || old != cim.NoValue && !wins {
		return
	}
	if old == cim.NoValue {
		r.setArrived(i, l.arrival(r.at(i), l.at))
	} else {
		l.draft(r)
	}
	if r.expected(i) {
		t := l.day(r.day)
		t.touched = true
		if old == cim.NoValue {
			r.have++
			l.arrive(t, r.arrived(i), 1)
		} else {
			l.count(t, r.quality(i), -1)
		}
		l.count(t, q, 1)
	}
	if old != cim.NoValue {
		l.differ++
	}
	r.sawValue(i, l.now)
	r.cells[i].wh = wh
	r.marks[i] = r.marks[i]&markRegister | markDirty | mark(q)
	r.showCell(i)
	l.touch(r)
	if r.start(i) <= r.s.complete {
		r.s.advance()
	}
}

// profile enters one part of a load profile and returns how many slots got a value.
func (l *ledger) profile(s *series, p *record.Profile, now uint32) (filled int, err error) {
	before := l.total.received + l.total.recovered
	if s.from == 0 {
		if err := l.expect(s, p.Time); err != nil {
			return 0, err
		}
	}
	step := uint32(p.Slot) * 60
	register, known := p.Register, p.Values[0] != record.NoValue && p.Register != record.NoRegister
	if known {
		if err := l.partStart(s, p, now); err != nil {
			return 0, err
		}
	}
	piece, rolls := pieces{}, dialModulus(s.dials)
	for k, v := range p.Values[:p.Count] {
		start := p.Time + uint32(k)*step
		if !window(start+step, now) || start+step < step {
			l.late++
			continue
		}
		r, err := l.row(s, cim.DayOf(start), p.Slot)
		if err != nil {
			return 0, err
		}
		l.fit(r, start, start+step, v)
		if i, wh, all := piece.add(r, start, start+step, v); all {
			if wh != cim.NoValue {
				l.value(r, i, wh, cim.Recovered, true)
			} else if r.cells[i].wh == cim.NoValue {
				r.refuse(i)
			}
		}
		i, ok := r.cellEnding(start + step)
		if v == record.NoValue {
			known = false
			continue
		}
		if register += uint64(v); p.Register < rolls && register >= rolls { // else the registry is wrong
			register -= rolls
		}
		if !ok || !known {
			continue
		}
		if register, err = l.reckoned(r, i, register); err != nil {
			return 0, err
		}
		if i == r.slots() {
			if r = s.find(r.day + 1); r == nil && !s.sealed(cim.DayOf(start+step)) {
				r, err = l.row(s, cim.DayOf(start+step), p.Slot)
			}
			if err != nil {
				return 0, err
			}
			if r != nil {
				l.boundary(r, 0, register, cim.Recovered, false)
			}
		}
	}
	return int(l.total.received + l.total.recovered - before), nil
}

// partStart enters the register at the start of a part: the end of the slot before it, and of the day before at midnight.
func (l *ledger) partStart(s *series, p *record.Profile, now uint32) error {
	if !window(p.Time, now) {
		return nil
	}
	r, err := l.row(s, cim.DayOf(p.Time), p.Slot)
	if err != nil {
		return err
	}
	if i, ok := r.cellEnding(p.Time); ok {
		if err := l.told(r, i, p.Register, cim.Recovered, false); err != nil {
			return err
		}
	}
	if p.Time != r.day.Start() {
		return nil
	}
	// Only if that day is in RAM: a sealed one needs no register.
	if r = s.find(r.day - 1); r != nil {
		l.boundary(r, r.slots(), p.Register, cim.Recovered, false)
	}
	return nil
}
