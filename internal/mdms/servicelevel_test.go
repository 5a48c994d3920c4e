package mdms

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// kept reads a day's arrivals out of the store.
func (b *book) kept(day cim.Day) (out []store.Arrivals) {
	b.t.Helper()
	if err := b.st.DayTotals(b.t.Context(), func(t store.DayTotal) error {
		if t.Day == day {
			out = t.Arrivals
		}
		return nil
	}); err != nil {
		b.t.Fatal(err)
	}
	return out
}

// TestFirstArrivalsAreCounted has readings and load profiles come in any order, again and late, over restarts, and compares the
// counts in the store with when each interval was there first.
func TestFirstArrivalsAreCounted(t *testing.T) {
	t.Parallel()
	const slots = 4 * 48
	for seed := range uint64(4) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		b := newBook(t, 1, 30, t0)
		b.due = append(DefaultDeadlines(), must[Deadline](t)(ParseDeadline("05:00@America/New_York")))
		b.l.setDeadlines(b.due)
		s := b.series[0]
		must[struct{}](t)(struct{}{}, b.l.expect(s, t0))
		tr := newTruth(rnd, t0, 1800, slots)
		first := make([]uint32, slots)
		enter := func(f func()) {
			b.l.at = b.now
			f()
			for i, wh := range b.values(b.series[0], t0, t0+slots*1800) {
				if wh != cim.NoValue && first[i] == 0 {
					first[i] = b.now
				}
			}
			b.commit()
			if rnd.IntN(25) == 0 {
				b.restart((*series).kept)
			}
		}
		reading := func(i int) {
			enter(func() { must[bool](t)(b.l.reading(b.series[0], t0+uint32(i)*1800, tr.reg[i], b.now)) })
		}
		profile := func(i, n int) {
			enter(func() { must[int](t)(b.l.profile(b.series[0], tr.part(i, n, cim.Import), b.now)) })
		}
		for i := range slots + 1 {
			b.now = t0 + uint32(i)*1800 + rnd.Uint32N(1800)
			if rnd.IntN(3) > 0 {
				reading(i)
			}
			if rnd.IntN(6) == 0 {
				reading(rnd.IntN(i + 1))
			}
			if rnd.IntN(12) == 0 {
				from := rnd.IntN(i + 1)
				profile(from, min(8, slots-from, i-from))
			}
		}
		for i := 0; i < slots; i += 8 {
			b.now += rnd.Uint32N(3 * 3600)
			profile(i, 8)
			profile(i, 8)
		}
		if slices.Contains(first, 0) {
			t.Fatalf("seed %d: not all came", seed)
		}
		for day := cim.DayOf(t0); day <= cim.DayOf(t0+slots*1800-1); day++ {
			var want []store.Arrivals
			for _, d := range b.due {
				n := store.Arrivals{Deadline: d.String()}
				x := due{Deadline: d}
				for i, at := range first {
					if end := t0 + uint32(i+1)*1800; cim.DayOf(end-1) != day {
					} else if int64(at) <= x.by(end) {
						n.InTime++
					} else {
						n.Late++
					}
				}
				want = append(want, n)
			}
			if got := b.kept(day); !slices.Equal(got, want) {
				t.Fatalf("seed %d, %v: %+v, want %+v", seed, day, got, want)
			}
		}
	}
}

// TestArrivalsFollowWhatIsExpected: intervals outside of the span that the registry expects count for no deadline, and those that
// become one count once, as late as the last of them.
func TestArrivalsFollowWhatIsExpected(t *testing.T) {
	t.Parallel()
	b := newBook(t, 1, 30, t0)
	b.due = DefaultDeadlines()[:1]
	b.l.setDeadlines(b.due)
	s := b.series[0]
	tr := newTruth(rand.New(rand.NewPCG(1, 1)), t0, 1800, 20)
	must[struct{}](t)(struct{}{}, b.l.expect(s, t0+2*1800)) // both slots of the first day lie before
	for i := 2; i <= 20; i++ {
		b.now = t0 + uint32(i)*1800 + 5
		if i > 11 {
			b.now += 3600 // late from here on
		}
		b.l.at = b.now
		must[bool](t)(b.l.reading(s, t0+uint32(i)*1800, tr.reg[i], b.now))
		b.commit()
	}
	day := cim.DayOf(t0 + 2*1800)
	check := func(what string, in, late int64) {
		t.Helper()
		b.commit()
		if got := b.kept(day); !slices.Equal(got, []store.Arrivals{{Deadline: "30m", InTime: in, Late: late}}) {
			t.Fatalf("%s: %+v, want %d and %d", what, got, in, late)
		}
	}
	check("all", 9, 9)
	b.l.bound(s, t0+4*1800, 0)
	check("those of the first hours are not expected", 7, 9)
	b.restart((*series).kept)
	s = b.series[0]
	s.begin = t0 + 4*1800
	b.l.bound(s, s.begin, t0+18*1800)
	check("nor, after a restart, those of the last hours", 7, 7)
	b.l.bound(s, s.begin, 0)
	check("or they are", 7, 9)
	b.l.setLength(s, 60, t0+9*1800)
	check("longer from the eleventh on, which is joined with the late one after it", 6, 5)
}

// TestServiceLevel asks a centre of which one meter tells all of its past at once, and another nothing, then that too, on both
// backends.
func TestServiceLevel(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		serviceLevel(t, nil)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		_, open := onPostgres(t)
		serviceLevel(t, open)
	})
}

func serviceLevel(t *testing.T, open func(context.Context) (store.Store, error)) {
	const slots = 200 // to 2018-11-02T03:00Z, two minutes ago
	c := newCentreOn(t, clock.New(at(slots), 1), open)
	c.opts.Backfill.Off = true
	c.halt()
	c.run()
	w := newWorld(c, 2, t0, slots, false)
	send := func(id string, n int) {
		for i := range n + 1 {
			c.send(w.meters[id].path, topic.Meter, id, "reading", w.reading(w.meters[id], i))
		}
		c.flush()
	}
	w.register(w.meters[w.ids[0]])
	w.register(w.meters[w.ids[1]])
	send(w.ids[0], slots)
	send(w.ids[1], 0)
	level := func() api.ServiceLevel {
		return ask[api.Span, api.ServiceLevel](c, api.QueryServiceLevel, api.Span{})
	}
	there := func(n int64) func() bool {
		return func() bool { x, ok := c.totals(); return ok && x.Completeness.Received == n }
	}
	check := func(what string, want []api.DeadlineCounts) {
		t.Helper()
		got := level()
		for i := range want {
			finishDeadline(&want[i])
		}
		if !slices.Equal(got.Deadlines, want) {
			t.Fatalf("%s: %+v, want %+v", what, got.Deadlines, want)
		}
		var days int64
		for _, d := range got.Days {
			days += d.Deadlines[0].Expected + d.Deadlines[0].Pending
		}
		if len(got.Days) != 6 || days != 2*slots || got.Days[0].Day != "2018-10-28" {
			t.Fatalf("%s: %+v", what, got)
		}
	}
	c.until("entered", 120*time.Second, there(slots))
	half := []api.DeadlineCounts{{Deadline: "30m", InTime: 1, Late: 199, Missing: 199, Pending: 1}, {Deadline: "06:00@UTC", InTime: 54, Late: 146, Missing: 146, Pending: 54},
		{Deadline: "1d", InTime: 48, Late: 152, Missing: 152, Pending: 48}, {Deadline: "3d", InTime: 144, Late: 56, Missing: 56, Pending: 144}}
	check("one meter", half)
	send(w.ids[0], slots)
	c.halt()
	c.opts.Deadlines = append(DefaultDeadlines(), Deadline{After: 2 * time.Hour})
	c.run()
	c.until("up", 120*time.Second, there(slots))
	half = append(half, api.DeadlineCounts{Deadline: "2h", Missing: 196, Pending: 4, Unknown: 200})
	check("after a restart, with a new deadline", half)
	age := ask[api.CompleteByQuery, api.CompleteBy](c, api.QueryCompleteBy, api.CompleteByQuery{By: "age"})
	for i, want := range []int64{1, 11, 36, 96, 56, 0} { // of the one that told nothing
		if age.Items[i].Missing != want || age.Items[i].Meters != int(min(want, 1)) {
			t.Errorf("missing by age: %+v", age.Items)
		}
	}
	send(w.ids[1], slots)
	c.until("all entered", 120*time.Second, there(2*slots))
	check("both", []api.DeadlineCounts{{Deadline: "30m", InTime: 2, Late: 398}, {Deadline: "06:00@UTC", InTime: 108, Late: 292},
		{Deadline: "1d", InTime: 96, Late: 304}, {Deadline: "3d", InTime: 288, Late: 112}, {Deadline: "2h", InTime: 4, Late: 196, Unknown: 200}})
	if _, err := c.mdms.queryServiceLevel(t.Context(), api.Span{From: at(9), To: at(2)}); err == nil {
		t.Error("a span that ends before it begins is answered")
	}
}
