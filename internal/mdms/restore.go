package mdms

import (
	"cmp"
	"context"
	"fmt"
	"math"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// restore brings the ledger to where the last commit left it. find gives the series of a device's channel, whose from,
// complete and oldest are set; it is nil for one that is not there. seen is called with every row of a chunk.
func (l *ledger) restore(ctx context.Context, st store.Store, now uint32, all []*series, find func(uint32, cim.Channel) *series, seen func(*store.Row)) error {
	err := st.DayTotals(ctx, func(t store.DayTotal) error {
		*l.day(t.Day) = tally{received: t.Received, recovered: t.Recovered}
		l.restoreArrivals(l.day(t.Day), t.Arrivals)
		l.total.received += t.Received
		l.total.recovered += t.Recovered
		return nil
	})
	if err != nil {
		return fmt.Errorf("restore totals: %w", err)
	}
	const end = cim.Day(math.MaxUint32)
	base := end
	for _, s := range all {
		if s.complete != 0 { // nothing is expected of concentrators
			base = min(base, s.base())
		}
	}
	old := cim.Day(0)
	if today := cim.DayOf(now); today > giveUpDays {
		old = today - giveUpDays
	}
	err = st.BlockInfos(ctx, store.InfoQuery{From: base, To: end}, func(b store.BlockInfo) error {
		s := find(b.Device, b.Channel)
		if s == nil || b.Day < s.base() || !s.reaches(b.Day) {
			return nil
		}
		if b.Missing == 0 || b.Day < old {
			s.whole |= 1 << (b.Day - s.base())
			return nil
		}
		k, err := l.load(b.Device, b.Channel, b.Day)
		if err != nil || k == nil {
			return err
		}
		r := newRow(s, b.Day, k.Length)
		r.fromBlock(k)
		l.insert(s, r)
		return nil
	})
	if err != nil {
		return fmt.Errorf("restore blocks: %w", err)
	}
	err = st.BlockInfos(ctx, store.InfoQuery{To: old, Incomplete: true}, func(b store.BlockInfo) error {
		if s := find(b.Device, b.Channel); s != nil {
			s.lost = append(s.lost, lostDay{day: b.Day, missing: b.Missing})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("restore what is missing for good: %w", err)
	}
	err = st.Chunks(ctx, 0, end, func(c *store.Chunk) error {
		l.day(c.Day).chunks++
		for i := range c.Rows {
			if s := find(c.Rows[i].Device, c.Rows[i].Channel); s != nil {
				l.apply(s, c.Day, &c.Rows[i], c.Recorded)
			}
			seen(&c.Rows[i])
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("restore chunks: %w", err)
	}
	l.today = cim.DayOf(now) // not before: sheets show rows that are filled
	for _, s := range all {
		for _, r := range s.rows {
			r.setFirst()
			switch {
			case !r.whole():
			case r.block: // no more was expected of it since, and it is written as one that lacks nothing
				l.touch(r)
			default:
				l.waiting.add(r, now)
			}
		}
		l.showAll(s)
		s.advance()
	}
	for _, t := range l.days {
		t.drop = t.open == 0
	}
	return nil
}

// apply enters a row of a chunk as it was when it was written.
func (l *ledger) apply(s *series, day cim.Day, row *store.Row, recorded uint32) {
	r := s.find(day)
	if r == nil {
		if s.sealed(day) {
			return
		}
		r = newRow(s, day, row.Length)
		l.insert(s, r)
	}
	if r.block {
		return
	}
	if row.Length != r.length {
		// The meter's intervals changed: all that was known was written again.
		n := newRow(s, day, row.Length)
		n.chunked, n.page = r.chunked, r.page
		*r = *n
	}
	i, ok := r.boundary(row.Start + uint32(row.Length)*60)
	if !ok {
		return
	}
	if !r.chunked {
		r.chunked = true
		l.day(day).open++
	}
	if r.cells[i].wh == cim.NoValue && row.Wh != cim.NoValue {
		r.setArrived(i, l.arrival(r.at(i), cmp.Or(row.Recorded, recorded))) // or somewhat before that
	}
	at := cmp.Or(row.Recorded, recorded)
	if row.Wh != cim.NoValue && row.Wh != r.cells[i].wh {
		r.sawValue(i, at)
	}
	r.cells[i].wh = row.Wh
	r.marks[i] = r.marks[i]&markRegister | mark(row.Quality)&markQuality
	switch {
	case row.HasReg:
		if had, known := r.register(i); (!known || had != row.Register) && r.setRegister(i, row.Register) {
			r.sawRegister(i, at)
		}
	case r.joined(i):
		r.marks[i] &^= markRegister
		r.setTold(i, 0)
	}
}

// restoreRegister takes registers that are newer than the device's row, which may lag.
func (m *MDMS) restoreRegister(r *store.Row) {
	if int(r.Device) >= len(m.devices) || !r.HasReg {
		return
	}
	reg := &m.devices[r.Device].Registers
	at := r.Start + uint32(r.Length)*60
	if r.Channel == cim.Import && at > reg.Time {
		reg.Time, reg.Import = at, r.Register
	}
	if r.Channel == cim.Export && at >= reg.Time {
		reg.Export = r.Register
	}
}
