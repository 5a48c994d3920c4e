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

// scan calls f with what every chosen meter measured in the slice, also where that is nothing of what is expected: first those whose
// day is in RAM, then those whose day is sealed, out of the store. m.mu is held when it is called and when f is, and let go in between. list is the order of the
// first ones, nil for that of the devices.
func (m *MDMS) scan(ctx context.Context, x *slice, list []*device, f func(d *device, p part) bool) error {
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
	if list == nil {
		list = m.devices
	}
	sealed, more, err := m.scanRows(x, list, now, verdicts, f)
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
		if p := &all[i]; p.blockPart != (blockPart{}) && !f(m.devices[p.device], p.part()) {
			return nil
		}
	}
	return nil
}

// scanned is a meter whose day is in RAM, with what it measured.
type scanned struct {
	d *device
	blockPart
}

// scanRows is scan for the meters whose day is in RAM; more is false where f wants no more. It returns those whose day is sealed, by
// ordinal, nil for none. m.mu is held, and let go meanwhile as walk does.
func (m *MDMS) scanRows(x *slice, list []*device, now uint32, verdicts map[uint32]*store.Verdict, f func(*device, part) bool) (sealed []sealedSpan, more bool, err error) {
	devices, parts := len(m.devices), walkers(len(list))
	found, errs := make([]*[]scanned, parts), make([]error, parts)
	for i := range found {
		var ok bool
		if found[i], ok = m.scanned.Get().(*[]scanned); !ok {
			found[i] = new([]scanned)
		}
		*found[i] = (*found[i])[:0]
	}
	defer func() {
		for _, list := range found {
			m.scanned.Put(list)
		}
	}()
	var once sync.Once
	seal := func(d *device, k sealedSpan) {
		once.Do(func() { sealed = make([]sealedSpan, devices) })
		sealed[d.Ordinal] = k
	}
	step := (len(list) + parts - 1) / parts
	m.mu.RUnlock()
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() {
			for part := range slices.Chunk(list[min(i*step, len(list)):min((i+1)*step, len(list))], walkPart) {
				m.mu.RLock()
				*found[i], errs[i] = x.rows(*found[i], part, now, verdicts, seal)
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
			if r := &(*found[i])[k]; !f(r.d, r.part()) {
				return nil, false, nil
			}
		}
	}
	return sealed, true, nil
}

// glance is a device that is about to be looked at.
type glance struct {
	d     *device
	s     *series
	r     *dayRow // of the day; nil: none in RAM
	ahead uint32
}

// atOnce is how many devices are looked at side by side.
const atOnce = 64

// rows looks at some devices: it appends what they measured, where their day is in RAM, and calls seal for those whose day is sealed. What
// a device measured lies behind four pointers, each to somewhere else in memory. One device after the other, the processor would
// wait for all of them; so each step is made for many, and what they wait for comes at the same time.
func (x *slice) rows(found []scanned, list []*device, now uint32, verdicts map[uint32]*store.Verdict, seal func(*device, sealedSpan)) (_ []scanned, err error) {
	var buf [atOnce]glance
	for some := range slices.Chunk(list, atOnce) {
		few := buf[:0]
		for _, d := range some {
			s := &d.imp
			if x.channel == cim.Export {
				s = d.exp
			}
			if s != nil && (len(s.rows) > 0 || s.from != 0 && s.from < x.hi) && x.chooses(d) {
				few = append(few, glance{d: d, s: s})
			}
		}
		for i := range few {
			if g := &few[i]; len(g.s.rows) > 0 {
				g.r = g.s.rows[len(g.s.rows)-1]
			}
		}
		for i := range few {
			if g := &few[i]; g.r != nil && g.r.day != x.day {
				g.r = g.s.find(x.day)
			}
		}
		for i := range few {
			if g := &few[i]; g.r != nil {
				_, last := x.cells(g.r)
				g.ahead = g.r.cells[last].wh + uint32(g.r.marks[last])
			}
		}
		for i := range few {
			if found, err = x.row(found, &few[i], now, verdicts, seal); err != nil {
				return found, err
			}
		}
	}
	return found, nil
}

// row looks at one device.
func (x *slice) row(found []scanned, g *glance, now uint32, verdicts map[uint32]*store.Verdict, seal func(*device, sealedSpan)) (_ []scanned, err error) {
	var p part
	s := g.s
	switch {
	case g.r != nil:
		p, err = x.of(g.r, s.finished(now), verdicts[s.device])
	case s.from == 0 || x.hi <= s.from:
	case s.sealed(x.day):
		seal(g.d, sealedSpan{s, s.from, s.finished(now)})
	default:
		p, err = x.ofNone(s, now, verdicts[s.device])
	}
	if err == nil && p != (part{}) {
		found = append(found, scanned{g.d, p.pack()})
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
func (m *MDMS) readLacking(ctx context.Context, x *slice, of []sealedSpan) (out []sealedPart, done bool, err error) {
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
			out = append(out, sealedPart{n, p.pack()})
			return err
		}); err != nil {
			return nil, false, err
		}
	}
	return out, true, nil
}

type sealedPart struct {
	device uint32
	blockPart
}

// readSealed reads the day's blocks, in as many parts at once as there are processors.
func (m *MDMS) readSealed(ctx context.Context, x *slice, of []sealedSpan, verdicts map[uint32]*store.Verdict) ([]sealedPart, error) {
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
	lists, filled, errs := make([][]sealedPart, parts), make([][]sealedPart, parts), make([]error, parts)
	step := (len(of) + parts - 1) / parts
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() {
			from, to := i*step, min((i+1)*step, len(of))
			if from >= to {
				return
			}
			lists[i] = make([]sealedPart, 0, to-from)
			q := store.DayQuery{Day: x.day, Channel: x.channel, From: uint64(from), To: uint64(to)}
			if sums == nil {
				q.Within = store.Within{From: x.lo - x.day.Start(), To: x.hi - x.day.Start()}
			}
			errs[i] = m.o.Store.DayBlocks(ctx, q, func(b *store.Block) error {
				k := &of[b.Device]
				var all blockPart
				if sums != nil {
					all = packPart(store.PartOf(b))
					filled[i] = append(filled[i], sealedPart{b.Device, all})
				}
				if k.s == nil {
					return nil
				}
				v := verdicts[b.Device]
				if sums != nil && v == nil && k.begin <= x.lo && k.end >= x.hi {
					lists[i] = append(lists[i], sealedPart{b.Device, all})
					k.s = nil
					return nil
				}
				p, err := x.ofBlock(b, k.begin, k.end, v)
				lists[i] = append(lists[i], sealedPart{b.Device, p.pack()})
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
func estimatedDays(x *slice, of []sealedSpan, verdicts map[uint32]*store.Verdict, out []sealedPart) ([]sealedPart, error) {
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
		out = append(out, sealedPart{device, p.pack()})
	}
	if len(out) > n {
		slices.SortFunc(out, func(a, b sealedPart) int { return cmp.Compare(a.device, b.device) })
	}
	return out, nil
}
