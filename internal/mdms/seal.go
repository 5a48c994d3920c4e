package mdms

import (
	"slices"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

const (
	chunkRows    = 1 << 16 // at most, of what we write
	compactFrom  = 32      // chunks of a day that is over, from which on they are rewritten as one
	compactRows  = 20_000  // open rows that a rewritten day may have
	compactAfter = 3600    // seconds after the day's end
)

// collect puts everything that changed since the last commit into c: days that have a block already as blocks, and some of those that
// are over and whole; the rest as rows of chunks. Rows that need not stay in RAM are returned; they are to be freed once c is committed.
func (l *ledger) collect(now uint32, c *store.Commit) (free []*dayRow) {
	left := l.waiting.turn(now)
	due := l.waiting.take(left)
	left -= len(due)
	for _, r := range due {
		r.dirty = false
		if l.seal(r, now, c) {
			free = append(free, r)
		}
	}
	dirty := l.dirty
	l.dirty = nil
	slices.SortFunc(dirty, byDay)
	var chunk *store.Chunk
	for _, r := range dirty {
		if !r.dirty { // sealed just now
			continue
		}
		r.dirty = false
		direct := !r.block && left > 0 && r.end() <= now && r.whole() && r.s.reaches(r.day)
		if direct {
			left--
		}
		if direct || r.block {
			if l.seal(r, now, c) {
				free = append(free, r)
			}
			continue
		}
		if r.whole() {
			l.waiting.add(r, now)
		}
		if chunk == nil || chunk.Day != r.day || len(chunk.Rows) >= chunkRows {
			c.Chunks = append(c.Chunks, store.Chunk{Day: r.day, Recorded: now})
			chunk = &c.Chunks[len(c.Chunks)-1]
		}
		before := len(chunk.Rows)
		chunk.Rows = r.appendRows(chunk.Rows, markDirty)
		if len(chunk.Rows) > before && !r.chunked {
			r.chunked = true
			l.day(r.day).open++
		}
	}
	l.takeDrafts(c)
	c.Chunks = slices.DeleteFunc(c.Chunks, func(ch store.Chunk) bool { return len(ch.Rows) == 0 })
	for i := range c.Chunks {
		l.day(c.Chunks[i].Day).chunks++
	}
	for _, r := range l.loaded {
		if r.s.sealed(r.day) { // else more is expected of that day now, and it stays
			free = append(free, r)
		}
	}
	l.loaded = nil
	l.totals(now, c)
	return free
}

// seal appends the row's block, and reports whether the row may go.
func (l *ledger) seal(r *dayRow, now uint32, c *store.Commit) bool {
	b := r.toBlock(now)
	if r.version > 0 || r.lost || b.HasReg || len(b.Anchors) > 0 || slices.ContainsFunc(b.Wh, func(wh uint32) bool { return wh != cim.NoValue }) {
		c.Blocks = append(c.Blocks, b)
		r.version = b.Version
		r.s.setLost(r.day, b.Missing)
	}
	for i := range r.marks {
		r.marks[i] &^= markDirty
	}
	r.block = true
	t := l.day(r.day)
	if r.chunked {
		r.chunked = false
		t.open--
		t.drop = true
	}
	if !r.whole() && !r.s.sealed(r.day) {
		return false
	}
	if i := r.day - r.s.base(); r.day >= r.s.base() && i < 64 {
		r.s.whole |= 1 << i
	}
	return true
}

// reaches reports whether the series can remember that the day is sealed.
func (s *series) reaches(day cim.Day) bool { return day < s.base()+64 }

// setLost corrects what is missing for good after a given up day got values after all.
func (s *series) setLost(day cim.Day, missing uint16) {
	i := slices.IndexFunc(s.lost, func(d lostDay) bool { return d.day == day })
	switch {
	case i < 0:
	case missing == 0:
		s.lost = slices.Delete(s.lost, i, i+1)
	default:
		s.lost[i].missing = missing
	}
}

// appendRows appends the cells that carry the mark (all that know something, for mark 0) as rows of a chunk.
func (r *dayRow) appendRows(rows []store.Row, carry mark) []store.Row {
	for i := range r.cells {
		if r.marks[i]&carry != carry || carry == 0 && r.cells[i].wh == cim.NoValue && r.marks[i]&markRegister == 0 && !r.joined(i) {
			continue
		}
		r.marks[i] &^= markDirty
		row := store.Row{Device: r.s.device, Channel: r.s.channel, Length: r.length, Quality: r.quality(i), Start: r.at(i - 1), Wh: r.cells[i].wh}
		row.Register, row.HasReg = r.register(i)
		value, told := r.seenAt(i), r.toldSeen(i)
		if carry == 0 || r.regridded {
			rows = appendDated(rows, row, value, told)
		} else { // what of it was known before is in an earlier chunk
			rows = append(rows, row)
		}
	}
	r.regridded = false
	return rows
}

// appendDated appends what was written before, or came one after the other: the value and the register with their times.
func appendDated(rows []store.Row, row store.Row, value, told uint32) []store.Row {
	if row.Wh != cim.NoValue && row.HasReg && told != value {
		first := row
		if told < value {
			first.Wh, first.Quality, first.Recorded, row.Recorded = cim.NoValue, cim.Missing, told, value
		} else {
			first.HasReg, first.Register, first.Recorded, row.Recorded = false, 0, value, told
		}
		return append(rows, first, row)
	}
	row.Recorded = value
	return append(rows, row)
}

// totals appends the totals of the days that changed, and drops chunks of which every row is sealed.
func (l *ledger) totals(now uint32, c *store.Commit) {
	for d, t := range l.days {
		if t.touched {
			t.touched = false
			c.Totals = append(c.Totals, store.DayTotal{Day: d, Received: t.received, Recovered: t.recovered, Arrivals: l.arrivals(t)})
		}
		if t.drop && t.open == 0 && t.chunks > 0 && d.Start()+dayLength <= now {
			c.DropDays = append(c.DropDays, d)
			t.chunks = 0
		}
		t.drop = false
	}
}

// free lets go of rows that a committed block holds.
func (l *ledger) free(rows []*dayRow) {
	for _, r := range rows {
		if i := slices.Index(r.s.rows, r); i >= 0 && !r.dirty {
			l.hide(r)
			r.s.rows = slices.Delete(r.s.rows, i, i+1)
			if len(r.s.rows) == 0 {
				r.s.rows = nil
			}
			l.noteNewest(r.s)
		}
	}
}

// giveUp seals what is older than any meter keeps, as it is: what is missing there is missing for good.
func (l *ledger) giveUp(s *series, today cim.Day) {
	limit := today - giveUpDays
	if s.from == 0 || s.base() >= limit {
		return
	}
	for d := s.base(); d < limit; d++ {
		if s.whole&(1<<(d-s.base())) != 0 {
			continue
		}
		r := s.find(d)
		if r == nil {
			r = newRow(s, d, s.length)
			l.insert(s, r)
		}
		if n := r.missing(); n > 0 {
			r.lost = true
			s.lost = append(s.lost, lostDay{day: d, missing: uint16(n)})
		}
		r.block = true
		l.touch(r)
	}
	s.whole >>= limit - s.base()
	s.complete = limit.Start()
	s.advance()
}

// compact appends the rewriting of one day's many small chunks to c, if there is such a day.
func (l *ledger) compact(now uint32, each func(func(*series)), c *store.Commit) {
	for d, t := range l.days {
		if t.chunks < compactFrom || t.open > compactRows || uint64(d.Start())+dayLength+compactAfter > uint64(now) {
			continue
		}
		chunk := store.Chunk{Day: d, Recorded: now}
		each(func(s *series) {
			if r := s.find(d); r != nil && r.chunked {
				chunk.Rows = r.appendRows(chunk.Rows, 0)
			}
		})
		c.DropDays = append(c.DropDays, d)
		t.chunks = 0
		if len(chunk.Rows) > 0 {
			c.Chunks = append(c.Chunks, chunk)
			t.chunks = 1
		}
		return
	}
}
