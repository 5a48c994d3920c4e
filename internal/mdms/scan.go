package mdms

import (
	"cmp"
	"context"
	"errors"
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

// scan calls f with what every chosen meter measured in the slice, also where that is nothing of what is expected: those whose day is in
// RAM, then those whose day is sealed, out of the store. It does so on as many goroutines as walkers says, of which f is told. m.mu is held
// for reading when f is called, and let go in between. The caller does not hold it.
func (m *MDMS) scan(ctx context.Context, x *slice, f func(w int, n uint32, p part)) error {
	now := m.o.Clock.Unix()
	var verdicts map[uint32]*store.Verdict
	if !x.raw && x.day < cim.DayOf(now) {
		var err error
		if verdicts, err = m.telling(ctx, x); err != nil {
			return err
		}
	}
	m.mu.RLock()
	m.choose(x)
	m.mu.RUnlock()
	sealed, err := m.scanRows(x, now, verdicts, f)
	if err != nil || sealed == nil {
		return err
	}
	all, done, err := m.readSlots(ctx, x, sealed, verdicts)
	if err == nil && !done {
		all, done, err = m.readLacking(ctx, x, sealed)
	}
	if err == nil && !done {
		all, err = m.readSealed(ctx, x, sealed, verdicts)
	}
	m.spanLists.Put(&sealed)
	if err != nil {
		return err
	}
	defer m.partLists.Put(&all)
	return m.inParts(len(all), func(w, from, to int) error {
		for i := range all[from:to] {
			if p := &all[from+i]; p.blockPart != (blockPart{}) {
				f(w, p.device, p.part())
			}
		}
		return nil
	})
}

// inParts calls f with the parts of a list, on as many goroutines as walkers says. m.mu is held for reading over each part.
func (m *MDMS) inParts(number int, f func(w, from, to int) error) error {
	goroutines := walkers(number)
	step := (number + goroutines - 1) / goroutines
	step = (step + sheetDevices - 1) / sheetDevices * sheetDevices
	errs := make([]error, goroutines)
	var wg sync.WaitGroup
	for w := range goroutines {
		wg.Go(func() {
			end := min((w+1)*step, number)
			for from := w * step; from < end && errs[w] == nil; from += walkPart {
				m.mu.RLock()
				errs[w] = f(w, from, min(from+walkPart, end))
				m.mu.RUnlock()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// looker looks at the meters whose day is in RAM, for one goroutine.
type looker struct {
	m        *MDMS
	x        *slice
	now      uint32
	verdicts map[uint32]*store.Verdict
	f        func(n uint32, p part)
	seal     func(n uint32, k sealedSpan)
	sum      sheetSum
	buf      [atOnce]glance
	few      []glance // devices that a sheet does not show
}

// scanRows is scan for the meters whose day is in RAM. It returns those whose day is sealed, by ordinal, nil for none.
func (m *MDMS) scanRows(x *slice, now uint32, verdicts map[uint32]*store.Verdict, f func(w int, n uint32, p part)) (sealed []sealedSpan, err error) {
	m.mu.RLock()
	devices := len(m.devices)
	m.mu.RUnlock()
	var once sync.Once
	seal := func(n uint32, k sealedSpan) {
		once.Do(func() {
			if kept, ok := m.spanLists.Get().(*[]sealedSpan); ok && cap(*kept) >= devices {
				sealed = (*kept)[:devices]
				clear(sealed)
			} else {
				sealed = make([]sealedSpan, devices)
			}
		})
		sealed[n] = k
	}
	lookers := make([]looker, walkers(devices))
	for w := range lookers {
		k := &lookers[w]
		*k = looker{m: m, x: x, now: now, verdicts: verdicts, seal: seal, f: func(n uint32, p part) { f(w, n, p) }}
		k.few = k.buf[:0]
	}
	err = m.inParts(devices, func(w, from, to int) error { return lookers[w].look(from, to) })
	return sealed, err
}

// glance is a device that is about to be looked at.
type glance struct {
	n     uint32
	r     *dayRow // of the day; nil: none in RAM
	ahead uint32
}

// atOnce is how many devices are looked at side by side.
const atOnce = 64

// look looks at the devices from one ordinal to another.
func (k *looker) look(from, to int) error {
	sh := k.m.ledger.sheet(k.x.channel, k.x.day)
	for from < to {
		end := min((from/sheetDevices+1)*sheetDevices, to)
		p := sh.page(from)
		if p != nil {
			p.sum(k.x, k.now, &k.sum)
		}
		for ; from < end; from++ {
			if !k.x.chooses(&k.m.columns[from]) {
				continue
			}
			if n := from % sheetDevices; p != nil && k.sum.look[n/64]&(1<<(n%64)) == 0 && k.verdicts[uint32(from)] == nil {
				if values, missing := k.sum.values[n], k.sum.missing[n]; values|missing != 0 {
					k.f(uint32(from), part{wh: int64(k.sum.wh[n]), values: int64(values), missing: int64(missing)})
				}
				continue
			}
			if k.few = append(k.few, glance{n: uint32(from)}); len(k.few) == atOnce {
				if err := k.rows(); err != nil {
					return err
				}
			}
		}
	}
	return k.rows()
}

// rows looks at the few devices themselves. What a device measured lies behind two pointers, each to somewhere else in memory. One device
// after the other, the processor would wait for both; so each step is made for many, and what they wait for comes at the same time.
func (k *looker) rows() error {
	m, x, few := k.m, k.x, k.few
	for i := range few {
		few[i].r = m.newestRow(few[i].n, x.channel)
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
		if err := k.row(&few[i]); err != nil {
			return err
		}
	}
	k.few = k.buf[:0]
	return nil
}

// row looks at one device.
func (k *looker) row(g *glance) (err error) {
	x := k.x
	var p part
	v := k.verdicts[g.n]
	switch {
	case g.r == nil:
		s := k.m.devices[g.n].has(x.channel)
		switch {
		case s == nil || s.from == 0 || x.hi <= s.from:
		case s.sealed(x.day):
			k.seal(g.n, sealedSpan{s, s.from, s.finished(k.now)})
		default:
			p, err = x.ofNone(s, k.now, v)
		}
	case v == nil:
		p = x.ofOpen(g.r, k.now)
	default:
		p, err = x.of(g.r, g.r.s.finished(k.now), v)
	}
	if err == nil && p != (part{}) {
		k.f(g.n, p)
	}
	return err
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
	if x.whole() {
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
				q.Within = x.within()
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
