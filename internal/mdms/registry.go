package mdms

import (
	"slices"
	"sort"
	"strings"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/registry"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// device is a device with its account. The EndDevice stays where it is: the engines keep pointers to it.
type device struct {
	// Questions about all meters look at this alone, mostly.
	imp      series
	exp      *series // of a device with an export register
	place    place   // in the grid
	measures bool    // it is no concentrator

	cim.EndDevice
	dirty  bool // in MDMS.dirty: goes into the next commit
	stale  bool // in MDMS.stale: goes into some commit soon
	link   cim.Link
	path   string // as of the last look at link
	hung   string // path of the last move that was recorded
	parent string // interned path of the messages

	span registry.Span // in which it is expected to measure, as the registry says

	retired bool // it never comes back: a tombstone
	placing bool // in MDMS.placing
	read    bool // the registry told registers of it that people read

	doubted *record.Reading // the last one, if its register jumped
	told    [2]told         // by channel: the last register of a measurement
}

func (d *device) meters() bool { return d.measures }

// registered reports whether the device ever sent a location. One that did not speaks a format of its own, which knows no load
// profile to be asked for.
func (d *device) registered() bool {
	return d.Sequence != 0 || d.Firmware != 0 || d.Oldest != 0 || d.Capabilities != 0
}

func (d *device) exports() bool { return d.Capabilities&uint16(record.CapExport) != 0 }

// series returns the account of a channel, made if there is none.
func (d *device) series(ch cim.Channel) *series {
	if ch != cim.Export {
		return &d.imp
	}
	if d.exp == nil {
		d.exp = &series{device: d.Ordinal, channel: cim.Export, length: d.imp.length, begin: d.imp.begin, until: d.imp.until, guessed: d.imp.guessed, dials: d.imp.dials}
	}
	return d.exp
}

// has is the account of a channel, nil if there is none.
func (d *device) has(ch cim.Channel) *series {
	if ch != cim.Export {
		return &d.imp
	}
	return d.exp
}

// each calls f with every account that the device has.
func (d *device) each(f func(*series)) {
	f(&d.imp)
	if d.exp != nil {
		f(d.exp)
	}
}

// complete is the watermark that the store keeps.
func (d *device) complete() uint32 {
	c := d.imp.kept()
	if d.exp == nil {
		return c
	}
	if e := d.exp.kept(); d.imp.from == 0 || e < c { // some meters measure what is fed in alone
		c = e
	}
	return c
}

// from is the start of the first interval that is expected of the device, 0 if none is.
func (d *device) from() uint32 {
	if d.imp.from == 0 && d.exp != nil {
		return d.exp.from
	}
	return d.imp.from
}

// within counts the expected intervals of a span, and those of them that are missing, over all accounts.
func (d *device) within(from, to, now uint32) (expected, missing int64) {
	d.each(func(s *series) {
		n, lacks := s.within(from, to, now)
		expected, missing = expected+n, missing+lacks
	})
	return expected, missing
}

// countsIn reports whether a device counts as a meter in a span: one that is retired, where something was expected of it.
func (d *device) countsIn(from, to, now uint32) bool {
	if !d.meters() || d.from() == 0 {
		return false
	}
	if !d.retired {
		return true
	}
	expected, _ := d.within(from, to, now)
	return expected > 0
}

// length is the length of the meter's intervals, minutes.
func (d *device) length() uint16 {
	if d.Interval == 0 || d.Interval > 1440 || 1440%d.Interval != 0 {
		return defaultStep
	}
	return d.Interval
}

// setLength tells the accounts that the meter's intervals may have another length since the time at, by the meter's clock.
func (m *MDMS) setLength(d *device, at, now uint32) {
	if d.imp.length == d.length() {
		return
	}
	at = max(min(at, now), now-min(now, dayLength))
	d.each(func(s *series) { m.ledger.setLength(s, d.length(), at) })
	m.markDirty(d)
}

func (m *MDMS) add(e cim.EndDevice) *device {
	d := &device{EndDevice: e, link: e.Link.State, path: e.Path, measures: e.Kind != topic.Concentrator}
	d.imp = series{device: e.Ordinal, length: d.length(), guessed: !d.registered()}
	if d.hung = e.Path; d.exports() || d.Exporting != 0 {
		d.series(cim.Export)
	}
	d.each(func(s *series) {
		if s.from, s.oldest = e.Expected, e.Oldest; s.channel == cim.Export && e.Feeding != 0 {
			s.from = e.Feeding
		}
		if s.from != 0 || e.Feeding == 0 {
			s.complete = max(e.Complete, s.from)
		}
	})
	m.devices = append(m.devices, d)
	m.columns = append(m.columns, column{})
	m.byID[d.ID] = d
	m.outages.Add(&d.EndDevice)
	if d.meters() {
		m.ids.add(d)
	}
	m.takePlace(d)
	return d
}

// device returns the device that a message is of, made if it is new; nil if the id belongs to another kind of device.
func (m *MDMS) device(kind, id string) *device {
	if d := m.byID[id]; d != nil {
		if d.Kind != kind {
			m.met.ignored.WithLabelValues("kind").Inc()
			return nil
		}
		return d
	}
	d := m.add(cim.EndDevice{Ordinal: uint32(len(m.devices)), Kind: strings.Clone(kind), ID: strings.Clone(id), Recorded: m.now})
	m.markDirty(d)
	return d
}

// export returns the account of what the device feeds in, made if there is none.
func (m *MDMS) export(d *device) *series {
	if d.exp == nil {
		d.Exporting = m.now
		m.markDirty(d)
	}
	return d.series(cim.Export)
}

// noteMove keeps where a meter hangs since when.
func (m *MDMS) noteMove(d *device) {
	if d.hung == d.EndDevice.Path || !d.meters() {
		return
	}
	d.hung = d.EndDevice.Path
	m.moves++
	m.pending.Moves = append(m.pending.Moves, store.Move{Device: d.Ordinal, Recorded: m.now, Path: d.hung})
	m.markDirty(d)
}

func (m *MDMS) markDirty(d *device) {
	if !d.dirty {
		d.dirty = true
		m.dirty = append(m.dirty, d)
	}
}

func (m *MDMS) markStale(d *device) {
	if !d.stale {
		d.stale = true
		m.stale = append(m.stale, d)
	}
}

// find is what the engines look devices up with.
func (m *MDMS) find(kind, id string) (*cim.EndDevice, bool) {
	if d := m.byID[id]; d != nil && d.Kind == kind && !d.retired {
		return &d.EndDevice, true
	}
	return nil, false
}

// index lists devices by id. New ones wait in a tail until somebody looks.
type index struct {
	sorted []*device // replaced, never changed, so that who got it may go on reading
	order  []uint32  // ordinals of sorted
	tail   []*device
	text   *idText // nil until somebody searches
}

// longestTail is how many new devices wait at most: who asks first after a million came would wait for a second and more.
const longestTail = 50_000

func (x *index) add(d *device) {
	if x.tail = append(x.tail, d); len(x.tail) >= longestTail {
		x.all()
	}
}

func byID(a, b *device) int { return strings.Compare(a.ID, b.ID) }

// all returns the devices by id.
func (x *index) all() []*device {
	if len(x.tail) == 0 {
		return x.sorted
	}
	slices.SortFunc(x.tail, byID)
	merged := make([]*device, 0, len(x.sorted)+len(x.tail))
	old := x.sorted
	for _, d := range x.tail {
		n := sort.Search(len(old), func(i int) bool { return old[i].ID > d.ID })
		merged = append(append(merged, old[:n]...), d)
		old = old[n:]
	}
	x.sorted, x.tail = append(merged, old...), nil
	x.order = make([]uint32, len(x.sorted))
	for i, d := range x.sorted {
		x.order[i] = d.Ordinal
	}
	return x.sorted
}

// behind returns the ordinals of the devices behind a cursor, by id.
func (x *index) behind(cursor string) []uint32 {
	n := len(x.after(cursor)) // which may sort them
	return x.order[len(x.order)-n:]
}

// after returns the devices behind a cursor, which is an id.
func (x *index) after(cursor string) []*device {
	all := x.all()
	if cursor == "" {
		return all
	}
	return all[sort.Search(len(all), func(i int) bool { return all[i].ID > cursor }):]
}
