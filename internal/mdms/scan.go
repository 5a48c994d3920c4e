package mdms

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/store"
)

// sealedSpan is in which time intervals of a device are expected whose day lies in the store.
type sealedSpan struct {
	s          *series
	begin, end uint32
}

// scan calls f with what every chosen meter measured in the slice, by ordinal, also where that is nothing of what is expected: first those
// whose day is in RAM, then those whose day is sealed, out of the store. m.mu is held when it is called and when f is, and let go in
// between. order is the order of the first ones, nil for that of the ordinals.
func (m *MDMS) scan(ctx context.Context, x *slice, order []uint32, f func(n uint32, p part) bool) error {
	now := m.o.Clock.Unix()
	var verdicts map[uint32]*store.Verdict
	if !x.raw && x.day < cim.DayOf(now) {
		m.mu.RUnlock()
		var err error
		verdicts, err = m.telling(ctx, x)
		m.mu.RLock()
		if err != nil {
			return err
		}
	}
	m.choose(x)
	sealed, more, err := m.scanRows(x, order, now, verdicts, f)
	if err != nil || !more {
		return err
	}
	if sealed == nil {
		return nil
	}
	m.mu.RUnlock()
	all, done, err := m.readLacking(ctx, x, sealed)
	if err == nil && !done {
		all, err = m.readSealed(ctx, x, sealed, verdicts)
	}
	m.mu.RLock()
	if err != nil {
		return err
	}
	for i := range all {
		if p := &all[i]; p.blockPart != (blockPart{}) && !f(p.device, p.part()) {
			return nil
		}
	}
	return nil
}

// scanRows is scan for the meters whose day is in RAM; more is false where f wants no more. It returns those whose day is sealed, by
// ordinal, nil for none. m.mu is held, and let go meanwhile as walk does.
func (m *MDMS) scanRows(x *slice, order []uint32, now uint32, verdicts map[uint32]*store.Verdict, f func(uint32, part) bool) (sealed []sealedSpan, more bool, err error) {
	devices := len(m.devices)
	number := devices
	if order != nil {
		number = len(order)
	}
	parts := walkers(number)
	found, errs := make([]*[]devicePart, parts), make([]error, parts)
	for i := range found {
		var ok bool
		if found[i], ok = m.scanned.Get().(*[]devicePart); !ok {
			found[i] = new([]devicePart)
		}
		*found[i] = (*found[i])[:0]
	}
	defer func() {
		for _, list := range found {
			m.scanned.Put(list)
		}
	}()
	var once sync.Once
	seal := func(n uint32, k sealedSpan) {
		once.Do(func() { sealed = make([]sealedSpan, devices) })
		sealed[n] = k
	}
	step := (number + parts - 1) / parts
	m.mu.RUnlock()
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() {
			end := min((i+1)*step, number)
			for from := i * step; from < end; from += walkPart {
				m.mu.RLock()
				*found[i], errs[i] = m.rows(x, *found[i], order, from, min(from+walkPart, end), now, verdicts, seal)
				m.mu.RUnlock()
				if errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	m.mu.RLock()
	for i := range parts {
		if errs[i] != nil {
			return nil, false, errs[i]
		}
	}
	for i := range parts {
		for k := range *found[i] {
			if p := &(*found[i])[k]; !f(p.device, p.part()) {
				return nil, false, nil
			}
		}
	}
	return sealed, true, nil
}

// glance is a device that is about to be looked at.
type glance struct {
	n     uint32
	r     *dayRow // of the day; nil: none in RAM
	ahead uint32
}

// atOnce is how many devices are looked at side by side.
const atOnce = 64

// rows looks at the devices from one place to another of order: it appends what they measured, where their day is in RAM, and calls seal
// for those whose day is sealed. What a device measured lies behind two pointers, each to somewhere else in memory. One device after
// the other, the processor would wait for both; so each step is made for many, and what they wait for comes at the same time.
func (m *MDMS) rows(x *slice, found []devicePart, order []uint32, from, to int, now uint32, verdicts map[uint32]*store.Verdict, seal func(uint32, sealedSpan)) (_ []devicePart, err error) {
	var buf [atOnce]glance
	for from < to {
		few := buf[:0]
		for ; from < to && len(few) < atOnce; from++ {
			n := uint32(from)
			if order != nil {
				n = order[from]
			}
			if x.chooses(&m.columns[n]) {
				few = append(few, glance{n: n, r: m.newestRow(n, x.channel)})
			}
		}
		for i := range few {
			if g := &few[i]; g.r != nil && g.r.day != x.day {
				g.r = g.r.s.find(x.day)
			}
		}
		for i := range few {
			if g := &few[i]; g.r != nil {
				_, last := x.cells(g.r)
				g.ahead = g.r.cells[last].wh
			}
		}
		for i := range few {
			if found, err = m.row(x, found, &few[i], now, verdicts, seal); err != nil {
				return found, err
			}
		}
	}
	return found, nil
}

// row looks at one device.
func (m *MDMS) row(x *slice, found []devicePart, g *glance, now uint32, verdicts map[uint32]*store.Verdict, seal func(uint32, sealedSpan)) (_ []devicePart, err error) {
	var p part
	v := verdicts[g.n]
	switch {
	case g.r == nil:
		s := m.devices[g.n].has(x.channel)
		switch {
		case s == nil || s.from == 0 || x.hi <= s.from:
		case s.sealed(x.day):
			seal(g.n, sealedSpan{s, s.from, s.finished(now)})
		default:
			p, err = x.ofNone(s, now, v)
		}
	case v == nil:
		p = x.ofOpen(g.r, now)
	default:
		p, err = x.of(g.r, g.r.s.finished(now), v)
	}
	if err == nil && p != (part{}) {
		found = append(found, devicePart{g.n, p.pack()})
	}
	return found, err
}

// telling are the verdicts of the slice's day that say more than that all is validated, by device.
func (m *MDMS) telling(ctx context.Context, x *slice) (map[uint32]*store.Verdict, error) {
	out := map[uint32]*store.Verdict{}
	err := m.o.Store.TellingVerdicts(ctx, x.day, x.channel, func(v *store.Verdict) error {
		out[v.Device] = v
		return nil
	})
	return out, err
}

// fewLacking is up to how many blocks with gaps are read one by one, found by their index.
const fewLacking = 4000

// readLacking reads the blocks that lack something, if only these are of interest and they are few; done says so.
func (m *MDMS) readLacking(ctx context.Context, x *slice, of []sealedSpan) (out []devicePart, done bool, err error) {
	if !x.lacking {
		return nil, false, nil
	}
	var devices []uint32
	if err := m.o.Store.BlockInfos(ctx, store.InfoQuery{From: x.day, To: x.day + 1, Incomplete: true}, func(b store.BlockInfo) error {
		if b.Channel == x.channel && int(b.Device) < len(of) && of[b.Device].s != nil {
			devices = append(devices, b.Device)
		}
		return nil
	}); err != nil || len(devices) > fewLacking {
		return nil, false, err
	}
	for _, n := range devices {
		q := store.BlockQuery{Device: n, Channel: x.channel, From: x.day, To: x.day + 1}
		if err := m.o.Store.Blocks(ctx, q, func(b *store.Block) error {
			p, err := x.ofBlock(b, of[n].begin, of[n].end, nil)
			out = append(out, devicePart{n, p.pack()})
			return err
		}); err != nil {
			return nil, false, err
		}
	}
	return out, true, nil
}

// devicePart is what one device measured in a slice.
type devicePart struct {
	device uint32
	blockPart
}

// readSealed reads the day's blocks, in as many parts at once as there are processors.
func (m *MDMS) readSealed(ctx context.Context, x *slice, of []sealedSpan, verdicts map[uint32]*store.Verdict) ([]devicePart, error) {
	var sums *daySum
	if x.lo == x.day.Start() && x.hi == x.lo+dayLength {
		if err := m.sums.recall(ctx, m.o.Store, sumKey{x.day, x.channel}, len(of)); err != nil {
			return nil, err
		}
		out, d, done, err := m.readDay(ctx, x, of, verdicts)
		if done || err != nil {
			if err == nil {
				out, err = estimatedDays(x, of, verdicts, out)
			}
			return out, err
		}
		sums = d
	}
	parts := min(max(runtime.GOMAXPROCS(0), 1), maxWalkers, len(of))
	lists, filled, errs := make([][]devicePart, parts), make([][]devicePart, parts), make([]error, parts)
	step := (len(of) + parts - 1) / parts
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() {
			from, to := i*step, min((i+1)*step, len(of))
			if from >= to {
				return
			}
			lists[i] = make([]devicePart, 0, to-from)
			q := store.DayQuery{Day: x.day, Channel: x.channel, From: uint64(from), To: uint64(to)}
			if sums == nil {
				q.Within = store.Within{From: x.lo - x.day.Start(), To: x.hi - x.day.Start()}
			}
			errs[i] = m.o.Store.DayBlocks(ctx, q, func(b *store.Block) error {
				k := &of[b.Device]
				var all blockPart
				if sums != nil {
					all = packPart(store.PartOf(b))
					filled[i] = append(filled[i], devicePart{b.Device, all})
				}
				if k.s == nil {
					return nil
				}
				v := verdicts[b.Device]
				if sums != nil && v == nil && k.begin <= x.lo && k.end >= x.hi {
					lists[i] = append(lists[i], devicePart{b.Device, all})
					k.s = nil
					return nil
				}
				p, err := x.ofBlock(b, k.begin, k.end, v)
				lists[i] = append(lists[i], devicePart{b.Device, p.pack()})
				k.s = nil
				return err
			})
		})
	}
	wg.Wait()
	out := lists[0]
	for i := range parts {
		if errs[i] != nil {
			return nil, errs[i]
		}
		if i > 0 {
			out = append(out, lists[i]...)
		}
	}
	if sums != nil {
		m.sums.fill(sums, len(of), filled)
	}
	return estimatedDays(x, of, verdicts, out)
}

// estimatedDays adds those to out whose day has no block: of it there may be estimates.
func estimatedDays(x *slice, of []sealedSpan, verdicts map[uint32]*store.Verdict, out []devicePart) ([]devicePart, error) {
	n := len(out)
	for device, v := range verdicts {
		if int(device) >= len(of) || of[device].s == nil {
			continue
		}
		k := &of[device]
		p, err := x.ofBlock(emptyBlock(dayKey{x.day, device, x.channel}, v.Length), k.begin, k.end, v)
		if err != nil {
			return nil, err
		}
		out = append(out, devicePart{device, p.pack()})
	}
	if len(out) > n {
		slices.SortFunc(out, func(a, b devicePart) int { return cmp.Compare(a.device, b.device) })
	}
	return out, nil
}
