package outagebench

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/outage"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
)

// world lets time pass over a network: second after second it does what is due and has the engine judge.
type world struct {
	*network
	o       Options
	rng     *rand.Rand
	e       *outage.Engine
	at      uint32
	end     uint32
	due     map[uint32][]func()
	slots   [interval][]int // meters by the second of the interval in which they report
	ids     uint64
	devices []*cim.EndDevice
	byOrd   map[uint32]int // meters by ordinal
	loss    float64        // of last gasps, now

	cuts    map[uint64]store.Interruption
	cases   map[uint64]store.Outage
	first   map[uint64]uint32 // when a case was first told
	planned []plan
	event   int // that happens now
	last    int
	pings   int
	events  int
	stats   Report
}

// Now implements outage.Clock.
func (w *world) Now() time.Time { return time.Unix(int64(w.at), 0).UTC() }

// Deadline implements outage.Clock.
func (w *world) Deadline(d time.Duration) time.Time {
	return w.Now().Add(time.Duration(float64(d) * w.o.Speed))
}

func newWorld(o Options) *world {
	rng := rand.New(rand.NewPCG(o.Seed, 0x6f757461))
	w := &world{network: build(o.Meters, o.Batteries, rng), o: o, rng: rng, at: begin, due: map[uint32][]func(){}, byOrd: map[uint32]int{},
		cuts: map[uint64]store.Interruption{}, cases: map[uint64]store.Outage{}, first: map[uint64]uint32{}, loss: o.GaspLoss}
	w.end = begin + uint32(o.Duration/time.Second)
	w.e = outage.New(outage.Options{Clock: w, Logger: o.Logger, Wall: w.wall, NewID: func() uint64 { w.ids++; return w.ids },
		Device: w.device})
	w.devices = w.know(w.e)
	for i := range w.meters {
		w.byOrd[w.meters[i].dev.Ordinal] = i
		s := rng.IntN(600)
		w.slots[s] = append(w.slots[s], i)
	}
	return w
}

func (w *world) after(s int, do func()) {
	w.due[w.at+uint32(max(s, 0))] = append(w.due[w.at+uint32(max(s, 0))], do)
}

// between draws a delay of lo to hi seconds.
func (w *world) between(lo, hi int) int { return lo + w.rng.IntN(hi-lo+1) }

func (w *world) device(kind, id string) (*cim.EndDevice, bool) {
	i := slices.IndexFunc(w.devices, func(d *cim.EndDevice) bool { return d.Kind == kind && d.ID == id })
	if i < 0 {
		return nil, false
	}
	return w.devices[i], true
}

// wall is the wall clock.
func (w *world) wall() time.Time {
	return time.Unix(begin, 0).Add(time.Duration(float64(w.at-begin) / w.o.Speed * float64(time.Second)))
}

// wire draws a delay of lo to hi seconds of the wall clock.
func (w *world) wire(lo, hi int) int { return int(float64(w.between(lo, hi)) * w.o.Speed) }

func (w *world) run() error {
	for from := w.at; w.at < w.end; w.at++ {
		if w.o.Progress != nil {
			if err := w.o.Progress(int64(w.at-from), int64(w.end-from)); err != nil {
				return err
			}
		}
		for list := w.due[w.at]; len(list) > 0; list = w.due[w.at] {
			w.due[w.at] = nil
			for _, do := range list {
				do()
			}
		}
		delete(w.due, w.at)
		for _, i := range w.slots[w.at%interval] {
			w.report(i)
		}
		for range 2 {
			if next := w.e.Tick(w.Now()); next.IsZero() || next.After(w.Now()) {
				break
			}
		}
		w.collect()
		for _, dev := range w.e.Pings() {
			w.pings++
			w.ping(w.byOrd[dev.Ordinal])
		}
	}
	return nil
}

// collect takes what the engine says.
func (w *world) collect() {
	ch := w.e.Changed()
	w.events += len(ch.Events)
	for _, c := range ch.Interruptions {
		if _, known := w.cuts[c.ID]; !known && c.Flags&store.InterruptionPlanned == 0 {
			w.found(c)
		}
		w.cuts[c.ID] = c
	}
	for _, o := range ch.Outages {
		if _, known := w.first[o.ID]; !known {
			w.first[o.ID] = w.at
		}
		w.cases[o.ID] = o
	}
}

// found notes when the engine first said what is true.
func (w *world) found(c store.Interruption) {
	m := &w.meters[w.byOrd[c.Device]]
	for i := range m.cuts {
		if k := &m.cuts[i]; k.found == 0 && k.overlaps(c) {
			k.found = w.at
		}
	}
}

// slack is by how many seconds an interruption may lie beside the truth.
const slack = 120

func (k *truth) overlaps(c store.Interruption) bool {
	end := c.End
	if end == 0 {
		end = ^uint32(0) - slack
	}
	last := k.end
	if last == 0 {
		last = ^uint32(0) - slack
	}
	return c.Start <= last+slack && k.start <= end+slack
}

func (w *world) path(m *meter) string { return w.concs[m.conc].id }

// reaches reports whether what a meter sends now gets to the centre.
func (w *world) reaches(m *meter) bool { return w.concs[m.conc].alive && !w.concs[m.conc].mute }

// fact notes that the centre has news of a meter's lack of supply.
func (w *world) fact(m *meter) {
	if n := len(m.cuts); n > 0 && m.cuts[n-1].end == 0 && m.cuts[n-1].told == 0 {
		m.cuts[n-1].told = w.at
	}
}

func (w *world) report(i int) {
	m := &w.meters[i]
	if !m.on || !m.linked || m.open || !w.reaches(m) {
		return
	}
	made := w.at - w.at%interval
	w.e.OnMessage(m.dev, w.path(m), record.TypeReading, record.Header{Time: made}, w.at)
}

func (w *world) ping(i int) {
	m := &w.meters[i]
	w.after(w.wire(1, 15), func() {
		if m.on && m.linked && w.reaches(m) {
			w.e.OnResult(m.dev, w.path(m), record.Result{Header: record.Header{Time: w.at, Flags: m.flags()}, Opcode: record.OpPing, Breaker: record.BreakerClosed}, false, w.at)
		}
	})
}

// drop ends a meter's connection without a farewell; its concentrator publishes the will, if it lives then.
func (w *world) drop(i int) {
	m := &w.meters[i]
	if !m.linked {
		return
	}
	m.linked = false
	m.life++
	life, seq, conc := m.life, m.seq, m.conc
	w.after(w.wire(keepAlive/2, keepAlive*3/2), func() {
		if c := &w.concs[conc]; c.alive && m.life == life {
			w.fact(m)
			w.e.OnLost(m.dev, c.id, record.Lost{Header: record.Header{Time: w.at}, Sequence: seq}, w.at)
		}
	})
}

// join connects a meter, as soon as it has power, a reason to and a concentrator that is there.
func (w *world) join(i int) {
	m := &w.meters[i]
	if !m.on || m.away || m.linked {
		return
	}
	if !w.reaches(m) {
		return // its concentrator calls it when it is back
	}
	m.linked = true
	m.life++
	m.seq++
	w.e.OnLocation(m.dev, w.path(m), m.location(w.at), w.at)
	if n := len(m.cuts); n > 0 && m.powered == 1 && w.rng.IntN(10) > 0 {
		k := &m.cuts[n-1]
		w.e.OnPower(m.dev, w.path(m), record.Power{Header: record.Header{Time: k.end, Flags: m.flags()}, Kind: record.PowerRestored, Sequence: uint16(m.seq), OnBattery: k.end - k.start}, w.at)
	}
	m.powered = 0
}

// darken takes a meter's supply for one more reason, lighten gives it back for one.
func (w *world) darken(i int, planned bool) {
	m := &w.meters[i]
	if m.dark++; m.dark > 1 {
		return
	}
	m.on = false
	m.cuts = append(m.cuts, truth{start: w.at, planned: planned, event: w.event})
	if m.linked && m.battery && w.rng.Float64() >= w.loss {
		made, path, conc := w.at, w.path(m), m.conc
		w.after(w.wire(0, 4), func() {
			if c := &w.concs[conc]; c.alive && !c.mute && path == c.id {
				if k := &m.cuts[len(m.cuts)-1]; k.start == made && k.told == 0 {
					k.told = w.at
				}
				w.e.OnPower(m.dev, path, record.Power{Header: record.Header{Time: made, Flags: m.flags() | record.FlagBattery}, Kind: record.PowerLost, Sequence: uint16(m.seq)}, w.at)
			}
		})
	}
	w.drop(i)
}

func (w *world) lighten(i int) {
	m := &w.meters[i]
	if m.dark--; m.dark > 0 {
		return
	}
	m.on = true
	m.cuts[len(m.cuts)-1].end = w.at
	m.powered = 1
	w.after(w.wire(5, 90), func() { w.join(i) })
}

// kill takes a concentrator for one more reason; revive gives it back for one.
func (w *world) kill(c int) {
	x := &w.concs[c]
	if x.dead++; x.dead > 1 {
		return
	}
	x.alive = false
	for _, i := range w.at3(c) {
		if m := &w.meters[i]; m.conc == c && m.linked {
			m.linked = false
			m.life++
		}
	}
	w.after(w.wire(keepAlive/2, keepAlive*3/2), func() {
		if !x.alive {
			w.e.OnConcentrator(x.dev, "", x.id, "lost", w.at)
		}
	})
}

// at3 lists the meters that may hang on a concentrator: those that prefer it and those of its neighbours.
func (w *world) at3(c int) []int {
	var out []int
	for k := max(0, c-1); k <= min(c+1, len(w.concs)-1); k++ {
		out = append(out, w.concs[k].on...)
	}
	return out
}

func (w *world) revive(c int) {
	x := &w.concs[c]
	if x.dead--; x.dead > 0 {
		return
	}
	w.after(w.wire(20, 60), func() {
		if x.dead > 0 {
			return
		}
		x.alive = true
		w.e.OnConcentrator(x.dev, "", x.id, "online", w.at)
		for _, i := range w.at3(c) {
			if w.meters[i].conc == c {
				w.after(w.wire(1, 60), func() { w.join(i) })
			}
		}
	})
}

// supply takes or gives back the supply of a transformer: of all phases or one, and of the concentrators on it.
func (w *world) supply(tr, phase int, off, planned bool) {
	for _, i := range w.transformers[tr].meters {
		if phase >= 0 && w.meters[i].phase != phase {
			continue
		}
		if off {
			w.darken(i, planned)
		} else {
			w.lighten(i)
		}
	}
	for c := range w.concs {
		x := &w.concs[c]
		if x.tr != tr || phase > 0 {
			continue
		}
		switch {
		case off && !x.backs:
			w.kill(c)
		case !off && !x.backs:
			w.revive(c)
		case off && w.rng.IntN(2) == 0: // half of those with a battery say so
			w.e.OnPower(x.dev, "", record.Power{Header: record.Header{Time: w.at, Flags: record.FlagBattery}, Kind: record.PowerLost, Sequence: 1}, w.at)
		case !off && x.dev.Power.State == cim.PowerLost:
			w.e.OnPower(x.dev, "", record.Power{Header: record.Header{Time: w.at}, Kind: record.PowerRestored, Sequence: 2}, w.at)
		}
	}
}

// cutOff plans that transformers lose their supply at a time, for a while.
func (w *world) cutOff(trs []int, phase, at, lasts int, planned bool) {
	if w.o.Log != nil {
		w.o.Log("truth: %d transformers from %s (%s, %s), phase %d, %+d to %+d, planned %v", len(trs), w.transformers[trs[0]].name, w.transformers[trs[0]].lateral,
			w.transformers[trs[0]].feeder, phase, at, at+lasts, planned)
	}
	w.last++
	event := w.last
	w.after(at, func() {
		w.event = event
		for _, tr := range trs {
			w.supply(tr, phase, true, planned)
		}
		w.event = 0
	})
	w.after(at+lasts, func() {
		for _, tr := range trs {
			w.supply(tr, phase, false, planned)
		}
	})
}
