package mdms

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// stretch is an interval as a query shows it.
type stretch struct {
	start, end uint32
	wh         uint32
	reg        reckoned
}

// stretches reads all intervals that start in [from, to) from blocks and rows, as a query does.
func (b *book) stretches(s *series, from, to uint32) (out []stretch) {
	b.t.Helper()
	days := map[cim.Day]*dayRow{}
	if err := b.st.Blocks(context.Background(), store.BlockQuery{Device: s.device, Channel: s.channel, From: cim.DayOf(from), To: cim.DayOf(to-1) + 1}, func(k *store.Block) error {
		r := newRow(s, k.Day, k.Length)
		r.fromBlock(k)
		days[k.Day] = r
		return nil
	}); err != nil {
		b.t.Fatal(err)
	}
	for _, r := range s.rows {
		days[r.day] = r
	}
	for d := cim.DayOf(from); d.Start() < to; d++ {
		r := days[d]
		if r == nil {
			r = newRow(s, d, s.length)
		}
		regs := r.reckon()
		for i := 1; i < len(r.cells); i++ {
			if at := r.start(i); !r.joined(i) && at >= from && at < to {
				out = append(out, stretch{at, r.at(i), r.cells[i].wh, regs[i]})
			}
		}
	}
	return out
}

// agent is a meter that knows its register at every minute and changes its intervals.
type agent struct {
	start uint32
	reg   []uint64
}

func newAgent(rnd *rand.Rand, start uint32, minutes int) *agent {
	a := &agent{start: start, reg: []uint64{5e6}}
	for range minutes {
		a.reg = append(a.reg, a.reg[len(a.reg)-1]+rnd.Uint64N(30))
	}
	return a
}

func (a *agent) at(t uint32) uint64 { return a.reg[(t-a.start)/60] }

// part is a part of a load profile in the meter's slots; it begins at the first that begins at or behind from.
func (a *agent) part(from, to uint32, length uint16, ch cim.Channel) *record.Profile {
	step := uint32(length) * 60
	from = (from + step - 1) / step * step
	p := &record.Profile{Header: record.Header{Time: from}, Register: a.at(from), Slot: length, Channel: record.Channel(ch), Part: 1, Parts: 1}
	for at := from; at < to && p.Count < record.ProfileValues; at += step {
		p.Values[p.Count] = uint32(a.at(at+step) - a.at(at))
		p.Count++
	}
	return p
}

// shape is when intervals end from 9:30 to 11:30.
func shape(list []stretch) string {
	var out []string
	for _, x := range list {
		if end := x.end % dayLength; end <= 9*3600+1800 || end > 11*3600+1800 {
			continue
		}
		out = append(out, fmt.Sprintf("%d:%02d", x.end%dayLength/3600, x.end%3600/60))
	}
	return strings.Join(out, " ")
}

func TestLengthChangesInTheMiddleOfADay(t *testing.T) {
	t.Parallel()
	midnight := cim.DayOf(t0).Start()
	const m10 = 10 * 3600
	for _, tc := range []struct {
		old, length uint16
		at          uint32 // seconds of the day
		want        string // what ends from 9:30 to 11:30
	}{
		{30, 15, m10, "10:00 10:15 10:30 10:45 11:00 11:15 11:30"},
		{30, 15, m10 + 5*60, "10:00 10:15 10:30 10:45 11:00 11:15 11:30"},
		{30, 15, m10 + 20*60, "10:00 10:30 10:45 11:00 11:15 11:30"},
		{60, 30, m10 + 59*60, "10:00 11:00 11:30"},
		{30, 5, m10 + 20*60, "10:00 10:30 10:35 10:40 10:45 10:50 10:55 11:00 11:05 11:10 11:15 11:20 11:25 11:30"},
		{15, 30, m10, "9:45 10:00 10:30 11:00 11:30"},
		{15, 30, m10 + 20*60, "9:45 10:00 10:15 10:30 11:00 11:30"},
		{15, 60, m10 + 5*60, "9:45 10:00 11:00"},
		{30, 20, m10 + 20*60, "10:00 11:00"},
		{30, 20, m10, "10:00 11:00"},
	} {
		t.Run(fmt.Sprintf("%d to %d at %d:%02d", tc.old, tc.length, tc.at/3600, tc.at%3600/60), func(t *testing.T) {
			b := newBook(t, 1, tc.old, midnight+86400)
			s := b.series[0]
			from := midnight + 3600
			must[struct{}](t)(struct{}{}, b.l.expect(s, from))
			a := newAgent(rand.New(rand.NewPCG(1, 6)), midnight, 1440)
			change := midnight + tc.at
			for at := from; at <= change; at += uint32(tc.old) * 60 {
				must[bool](t)(b.l.reading(s, at, a.at(at), b.now))
			}
			b.commit()
			b.l.setLength(s, tc.length, change)
			step := uint32(tc.length) * 60
			for at := change/step*step + step; at <= midnight+86400; at += step {
				must[bool](t)(b.l.reading(s, at, a.at(at), b.now))
			}
			b.commit()
			for _, when := range []string{"at once", "after a restart"} {
				// The first of the new intervals may have begun before the change; then the register there is not known.
				for _, x := range b.stretches(s, from, midnight+86400) {
					if x.wh == cim.NoValue {
						if x.start > change || x.end <= change {
							t.Fatalf("%s: no value for %v to %v", when, unix(x.start), unix(x.end))
						}
						must[int](t)(b.l.profile(s, a.part(x.start, x.end, tc.length, 0), b.now))
					}
				}
				if n := s.missing(b.now); n != 0 || s.complete != b.now {
					t.Fatalf("%s: %d missing, complete to %v", when, n, unix(s.complete))
				}
				list := b.stretches(s, from, midnight+86400)
				for i, x := range list {
					if i > 0 && x.start != list[i-1].end || x.wh != uint32(a.at(x.end)-a.at(x.start)) || x.reg != (reckoned{a.at(x.end), true}) {
						t.Fatalf("%s: %+v", when, x)
					}
				}
				if got := shape(list); got != tc.want {
					t.Fatalf("%s: %s, want %s", when, got, tc.want)
				}
				if got := b.l.total.received + b.l.total.recovered; got != int64(len(list)) {
					t.Fatalf("%s: %d counted, want %d", when, got, len(list))
				}
				b.commit()
				b.restart(func(s *series) uint32 { return s.from })
				s = b.series[0]
			}
		})
	}
}

// TestLengthChangesProperty changes the intervals of meters at any time, loses messages, restarts, and fetches what is missing
// in the slots that the meters have then. There is never an interval twice or none, and the sums are what the meters measured.
func TestLengthChangesProperty(t *testing.T) {
	t.Parallel()
	rounds := 40
	if testing.Short() {
		rounds = 4
	}
	for seed := range rounds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { regridRound(t, rand.New(rand.NewPCG(uint64(seed), 8))) })
	}
}

func regridRound(t *testing.T, rnd *rand.Rand) {
	// Each of these divides the next, so that every profile can tell every interval.
	lengths := []uint16{5, 15, 30, 60}
	const days = 4
	start := cim.DayOf(t0).Start() + 3600*rnd.Uint32N(20)
	end := cim.DayOf(start).Start() + days*86400
	length := lengths[rnd.IntN(len(lengths))]
	b := newBook(t, 1, length, start)
	a := newAgent(rnd, start, days*1440)
	for _, s := range b.series {
		must[struct{}](t)(struct{}{}, b.l.expect(s, start))
	}
	lose, changes := rnd.Float64()*0.4, 0
	for now := start; now <= end; now += 60 {
		b.now = now
		if rnd.IntN(700) == 0 && changes < 6 {
			length = lengths[rnd.IntN(len(lengths))]
			changes++
			for _, s := range b.series {
				b.l.setLength(s, length, now)
			}
			continue // as a meter, which begins with the next end of an interval
		}
		if now%(uint32(length)*60) == 0 {
			for _, s := range b.series {
				if rnd.Float64() > lose {
					must[bool](t)(b.l.reading(s, now, a.at(now), now))
				}
			}
		}
		switch rnd.IntN(200) {
		case 0:
			b.commit()
		case 1:
			b.commit()
			b.restart(func(s *series) uint32 { return max(s.from, s.kept()-min(s.kept(), rnd.Uint32N(2)*40000)) })
		case 2:
			for _, s := range b.series {
				from, to, n := s.gap(now/3600*3600, 86400)
				for at := from; n > 0 && at < to; at += 12 * uint32(length) * 60 {
					if rnd.IntN(3) > 0 {
						must[int](t)(b.l.profile(s, a.part(at, to, length, s.channel), now))
					}
				}
			}
		}
	}
	length = lengths[0] // finer than any before
	for k, s := range b.series {
		for asked := 0; ; asked++ {
			from, to, n := s.gap(b.now, 86400)
			if n == 0 {
				break
			}
			if asked > 1000 {
				t.Fatalf("series %d asks for %v to %v for ever", k, unix(from), unix(to))
			}
			for at := from; at < to; at += 12 * uint32(length) * 60 {
				must[int](t)(b.l.profile(s, a.part(at, to, length, s.channel), b.now))
			}
		}
	}
	b.commit()
	for _, when := range []string{"at the end", "after a restart"} {
		var n int64
		for k, s := range b.series {
			if m := s.missing(b.now); m != 0 || s.complete != b.now {
				t.Fatalf("%s: series %d: %d missing, complete to %v of %v", when, k, m, unix(s.complete), unix(b.now))
			}
			at := start
			for _, x := range b.stretches(s, start, end) {
				if x.start != at || x.wh != uint32(a.at(x.end)-a.at(x.start)) {
					t.Fatalf("%s: series %d: %v to %v: %d Wh, want from %v, %d Wh", when, k, unix(x.start), unix(x.end), x.wh, unix(at), a.at(x.end)-a.at(x.start))
				}
				if x.reg.known && x.reg.value != a.at(x.end) {
					t.Fatalf("%s: series %d: register %d at %v", when, k, x.reg.value, unix(x.end))
				}
				at = x.end
				n++
			}
			if at != end {
				t.Fatalf("%s: series %d ends at %v", when, k, unix(at))
			}
		}
		if got := b.l.total.received + b.l.total.recovered; got != n {
			t.Fatalf("%s: %d counted, %d there", when, got, n)
		}
		b.restart(func(s *series) uint32 { return s.from })
	}
}

// TestRegistersOfAPartialDay are those of a day that begins in the middle, and of one with a gap, before and after it is sealed.
func TestRegistersOfAPartialDay(t *testing.T) {
	t.Parallel()
	b := newBook(t, 1, 30, t0+86400)
	s := b.series[0]
	must[struct{}](t)(struct{}{}, b.l.expect(s, t0-8*3600))
	midnight := cim.DayOf(t0).Start()
	a := newAgent(rand.New(rand.NewPCG(1, 9)), midnight, 3*1440)
	for at := t0 - 8*3600; at <= midnight+86400; at += 1800 {
		must[bool](t)(b.l.reading(s, at, a.at(at), b.now))
	}
	// Of the next day: nothing from 3:00 to 5:00.
	for at := midnight + 86400; at <= midnight+2*86400; at += 1800 {
		if h := at % 86400; h <= 3*3600 || h >= 5*3600 {
			must[bool](t)(b.l.reading(s, at, a.at(at), b.now+86400))
		}
	}
	check := func(when string) {
		t.Helper()
		n := 0
		for _, x := range b.stretches(s, t0-8*3600, midnight+2*86400) {
			if x.wh != cim.NoValue && x.reg != (reckoned{a.at(x.end), true}) {
				t.Fatalf("%s: %v to %v: %+v, want %d", when, unix(x.start), unix(x.end), x.reg, a.at(x.end))
			}
			n++
		}
		if n != 18+48 {
			t.Fatalf("%s: %d intervals", when, n)
		}
	}
	check("in RAM")
	b.now += 86400
	b.commit()
	check("the first sealed")
	b.now += 60 * 86400
	b.l.giveUp(s, cim.DayOf(b.now))
	b.commit()
	check("the gap given up")
	b.restart((*series).kept)
	s = b.series[0]
	check("after a restart")
}

// TestCommandInterval shortens a meter's intervals by a command, in the middle of a day: its readings, the events that tell of
// them and the completeness follow at once, and after a restart.
func TestCommandInterval(t *testing.T) {
	t.Parallel()
	const slots = 20
	c := newCentre(t, clock.New(at(slots), 1))
	c.opts.Backfill.Off = true
	c.halt()
	c.run()
	w := newWorld(c, 1, t0+3600, slots-2, false) // from midnight on, so that it is one day
	m := w.meters[w.ids[0]]
	w.register(m)
	for s := range slots - 1 {
		c.send(m.path, topic.Meter, m.id, "reading", w.reading(m, s))
	}
	c.flush()
	c.until("registered", 120*time.Second, func() bool {
		tot, ok := c.totals()
		return ok && tot.Meters == 1 && tot.Completeness.Received == slots-2
	})
	var mu sync.Mutex
	var events []api.ReadingEvent
	stop, err := c.bus.SubscribeEvents("meter.reading.>", func(_ string, data []byte) {
		var ev api.Event
		var r api.ReadingEvent
		if err := json.Unmarshal(data, &ev); err != nil || json.Unmarshal(ev.Data, &r) != nil {
			t.Errorf("%s", data)
		}
		mu.Lock()
		defer mu.Unlock()
		events = append(events, r)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	cmd := ask[api.CommandRequest, api.Command](c, api.QueryCommandCreate, api.CommandRequest{Target: api.Target{Meter: m.id}, Type: api.CommandInterval, Params: api.Params{Minutes: 15}})
	c.until("interval", 120*time.Second, func() bool {
		return ask[api.ByID, api.Command](c, api.QueryCommand, api.ByID{ID: cmd.ID}).State == api.CommandDone
	})
	if !c.bus.EventInterest(topic.Meter, api.EventReading) {
		c.until("interest", 120*time.Second, func() bool { return c.bus.EventInterest(topic.Meter, api.EventReading) })
	}
	reg, last := m.reg[slots-2], t0+slots*1800
	for i := uint32(1); i <= 4; i++ {
		c.send(m.path, topic.Meter, m.id, "reading", record.Reading{Header: record.Header{Time: last + i*900}, Import: reg + uint64(i)*50, Sequence: uint16(100 + i)}.Append(nil))
	}
	c.flush()
	c.until("events", 120*time.Second, func() bool { mu.Lock(); defer mu.Unlock(); return len(events) == 4 })
	for i, ev := range events {
		if v := ev.Interval; v == nil || v.Import == nil || *v.Import != 50 || v.End.Sub(v.Start) != 15*time.Minute || v.End.Unix() != int64(last)+int64(i+1)*900 {
			t.Errorf("event %d: %+v, interval %+v", i, ev, ev.Interval)
		}
	}
	for _, when := range []string{"at once", "after a restart"} {
		p := ask[api.ReadingQuery, api.Page[api.Reading]](c, api.QueryReadings, api.ReadingQuery{ID: m.id, To: unix(last + 3600), Paging: api.Paging{Limit: 1000}})
		if len(p.Items) != slots-2+4 {
			t.Fatalf("%s: %d intervals", when, len(p.Items))
		}
		for i, r := range p.Items {
			length := 30 * time.Minute
			if i >= slots-2 {
				length = 15 * time.Minute
			}
			if r.Import == nil || r.Register == nil || r.End.Sub(r.Start) != length || i > 0 && !r.Start.Equal(p.Items[i-1].End) {
				t.Fatalf("%s: interval %d: %+v", when, i, r)
			}
		}
		if tot, _ := c.totals(); tot.Completeness.Missing != 0 || tot.Completeness.Received != slots-2+4 {
			t.Fatalf("%s: %+v", when, tot.Completeness)
		}
		if v := ask[api.ByID, api.Meter](c, api.QueryMeter, api.ByID{ID: m.id}); v.Interval != 15 {
			t.Fatalf("%s: interval of %d minutes", when, v.Interval)
		}
		c.halt()
		c.run()
		c.until("up again", 120*time.Second, func() bool { _, ok := c.totals(); return ok })
	}
	w.stop()
}
