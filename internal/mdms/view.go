package mdms

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/mdms/outage"
	"github.com/wattbus/wattbus/internal/record"
)

func unix(s uint32) time.Time { return time.Unix(int64(s), 0).UTC() }

func maybe(s uint32) *time.Time {
	if s == 0 {
		return nil
	}
	t := unix(s)
	return &t
}

func fact[S interface {
	~uint8
	fmt.Stringer
}](f cim.Fact[S]) api.Fact {
	return api.Fact{State: f.State.String(), Since: unix(f.Since)}
}

func register(r cim.Registers) api.Register {
	return api.Register{Import: r.Import, Export: r.Export, Time: unix(r.Time), Power: r.Power, Voltage: float64(r.Voltage) / 10}
}

// wattHours is a value of the API, nil for none.
func wattHours(wh uint32) *int64 {
	if wh == cim.NoValue {
		return nil
	}
	v := int64(wh)
	return &v
}

func names(bits uint16, of ...string) []string {
	out := []string{}
	for i, name := range of {
		if bits&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}

func flagNames(f uint16) []string {
	return names(f, "clock-unsynchronised", "battery", "breaker-open", "tamper", "estimated")
}

// view is the API form of a device.
func (m *MDMS) view(d *device) api.Meter {
	v := api.Meter{ID: d.ID, Kind: d.Kind, Path: d.EndDevice.Path, State: outage.State(&d.EndDevice), Link: fact(d.Link), Power: fact(d.Power),
		Breaker: fact(d.Breaker), FirstSeen: maybe(d.FirstSeen), LastSeen: maybe(d.LastSeen), Flags: flagNames(d.Flags),
		Capabilities: names(d.Capabilities, "breaker", "battery", "sleeping", "export"), Interval: int(d.Interval), Registration: d.Sequence,
		Oldest: maybe(d.Oldest), WakesAt: maybe(d.Wakes(m.o.Clock.Unix())), Missing: m.missingOf(d, m.o.Clock.Unix()), Groups: m.commands.GroupsOf(d.ID)}
	if v.Missing > 0 {
		d.each(func(s *series) { v.Lost += int(s.gone(0, s.finished(m.o.Clock.Unix()))) })
	}
	first := uint32(0)
	if d.Registers.Time != 0 {
		first = 1 // some time before now
	}
	now := m.o.Clock.Unix()
	g := m.registry.GridOf(d.ID, now)
	v.UsagePoint, v.Substation, v.Feeder, v.Transformer = g.UsagePoint, g.Substation, g.Feeder, g.Transformer
	v.Life = m.registry.Life(d.ID, now, first, d.Breaker.State == cim.BreakerOpen)
	if d.Registers.Time != 0 {
		r := register(d.Registers)
		v.Register = &r
	}
	if d.Firmware != 0 {
		v.Firmware = fmt.Sprintf("%d.%d.%d", d.Firmware>>24, d.Firmware>>16&0xff, d.Firmware&0xffff)
	}
	if d.Breaker.State == cim.BreakerUnknown && d.Sequence != 0 && d.Capabilities&uint16(record.CapBreaker) == 0 {
		v.Breaker.State = cim.BreakerNone.String()
	}
	v.Verdict = m.outages.Verdict(&d.EndDevice, false)
	return v
}

// missingOf counts a device's missing intervals, over its channels.
func (m *MDMS) missingOf(d *device, now uint32) (n int) {
	d.each(func(s *series) { n += s.missing(s.finished(now)) })
	return n
}

// reading is the API form of the interval of cell i, without an export value.
func (r *dayRow) reading(i int) api.Reading {
	out := api.Reading{Start: unix(r.start(i)), End: unix(r.at(i)), Import: wattHours(r.cells[i].wh), Quality: r.quality(i).String()}
	if reg, ok := r.register(i); ok {
		out.Register = &reg
	}
	return out
}

// lack remembers how much is missing. Counting walks over all devices, so it is not done again before fifty times what it took has
// passed: with a thousand meters that is no time, with a million a few seconds. Who asks while another counts has the count before, unless
// that is old: the walk takes long where no processor is free, and every page asks for the totals first.
type lack struct {
	mu        sync.Mutex
	meters    int
	intervals int64
	due, old  time.Time
	counting  chan struct{} // closed when the count that is under way is done; nil: none is
}

// known returns the count. If it will not do, the caller makes a new one and calls done with it.
func (l *lack) known() (meters int, intervals int64, done func(meters int, intervals int64)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		now, counting := time.Now(), l.counting
		switch {
		case now.Before(l.due), counting != nil && now.Before(l.old):
			return l.meters, l.intervals, nil
		case counting != nil:
			l.mu.Unlock()
			<-counting
			l.mu.Lock()
			continue
		}
		l.counting = make(chan struct{})
		return l.meters, l.intervals, func(meters int, intervals int64) {
			l.mu.Lock()
			defer l.mu.Unlock()
			took := time.Since(now)
			l.meters, l.intervals, l.due, l.old = meters, intervals, now.Add(51*took), now.Add(102*took)
			close(l.counting)
			l.counting = nil
		}
	}
}

// missing counts the meters that miss intervals, and those intervals. The caller does not hold m.mu.
func (m *MDMS) missing() (meters int, intervals int64) {
	meters, intervals, done := m.lack.known()
	if done == nil {
		return meters, intervals
	}
	defer func() { done(meters, intervals) }() // those before, if the walk fails
	now := m.o.Clock.Unix()
	type found struct {
		meters    int
		intervals int64
		_         [48]byte // another's is in another line of the cache
	}
	var of [maxWalkers]found
	m.walk(func(w int, part []*device) {
		for _, d := range part {
			if n := m.missingOf(d, now); n > 0 {
				of[w].meters++
				of[w].intervals += int64(n)
			}
		}
	})
	meters, intervals = 0, 0
	for i := range of {
		meters += of[i].meters
		intervals += of[i].intervals
	}
	return meters, intervals
}

// counts are those over everything. The caller does not hold m.mu.
func (m *MDMS) counts() api.Counts {
	_, missing := m.missing()
	m.mu.RLock()
	defer m.mu.RUnlock()
	return counts(m.ledger.total.received, m.ledger.total.recovered, missing)
}

func counts(received, recovered, missing int64) api.Counts {
	c := api.Counts{Expected: received + recovered + missing, Received: received, Recovered: recovered, Missing: missing, Percent: 100}
	if missing > 0 {
		// Rounded down, so that 100 says what it says.
		c.Percent = min(100*float64(received+recovered)/float64(c.Expected), math.Nextafter(100, 0))
	}
	return c
}

// rate measures how many intervals are stored per second, over the last seconds.
type rate struct {
	slots [5]rateSlot
	last  int64
}

type rateSlot struct {
	second int64
	n      int64
}

func (r *rate) add(now time.Time, t tally) {
	n := t.received + t.recovered
	s := now.Unix()
	slot := &r.slots[s%int64(len(r.slots))]
	if slot.second != s {
		*slot = rateSlot{second: s}
	}
	slot.n += max(n-r.last, 0)
	r.last = n
}

// perSecond is the mean over the whole seconds that are kept.
func (r *rate) perSecond(now time.Time) float64 {
	s, sum := now.Unix(), int64(0)
	for _, slot := range r.slots {
		if slot.second < s && slot.second > s-int64(len(r.slots)) {
			sum += slot.n
		}
	}
	return float64(sum) / float64(len(r.slots)-1)
}
