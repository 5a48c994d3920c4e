package mdms

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/bus"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/store/sqlite"
	"github.com/wattbus/wattbus/internal/topic"
)

// The sums of an open and of a sealed day are those of the meters' own values, whoever asks by what.
func TestSums(t *testing.T) {
	t.Parallel()
	const slots = 5 * 48
	c := newCentre(t, clock.New(at(slots), 1))
	w := newWorld(c, 6, t0, slots, false)
	c.answers()
	file := "usage_point,feeder,transformer,meter,installed\n"
	for i, id := range w.ids {
		file += fmt.Sprintf("UP%d,F%d,T%d,%s,%s\n", i, i%2, i, id, stamped(0))
	}
	if _, err := c.importFile("a", file, true); err != nil {
		t.Fatal(err)
	}
	for _, id := range w.ids[:5] { // the last one is never heard
		w.register(w.meters[id])
	}
	c.flush()
	c.until("all collected", 120*time.Second, func() bool {
		tot, ok := c.totals()
		return ok && tot.Completeness.Expected == 6*slots && tot.Completeness.Missing == slots // all of the one
	})
	w.stop()
	silent := ask[api.SumQuery, api.Page[api.MissingMeter]](c, api.QueryMissing, api.SumQuery{Day: cim.DayOf(t0 + 86400).String()})
	if len(silent.Items) != 1 || silent.Items[0].ID != w.ids[5] || silent.Items[0].Missing != 48 || silent.Items[0].State != api.StateNeverSeen || silent.Items[0].Feeder != "F1" {
		t.Fatalf("a meter that is installed and was never heard: %+v", silent)
	}
	for _, slot := range []int{slots - 1, slots - 40, slots - 60, 3} {
		c.checkSlot(w.ids[:5], unix(t0+uint32(slot)*1800))
	}
	// An interval ends that nobody tells: all are missing.
	c.halt()
	c.opts.Backfill.Off = true
	c.opts.Clock = clock.New(at(slots+1), 1)
	c.run()
	c.answers()
	for field, q := range map[string]api.SumQuery{"at": {At: unix(t0 + 2*slots*1800)}, "day": {Day: cim.DayOf(t0 + 2*slots*1800).String()}} {
		_, err := bus.Request[api.SumQuery, api.Page[api.MissingMeter]](t.Context(), c.bus, api.QueryMissing, q)
		var p *api.Problem
		if !errors.As(err, &p) || p.Field != field || !strings.Contains(p.Detail, "future") {
			t.Errorf("%s that is not yet: %v", field, err)
		}
	}
	m := ask[api.SumQuery, api.Page[api.MissingMeter]](c, api.QueryMissing, api.SumQuery{Paging: api.Paging{Limit: 4}})
	m2 := ask[api.SumQuery, api.Page[api.MissingMeter]](c, api.QueryMissing, api.SumQuery{Paging: api.Paging{Limit: 4, Cursor: m.Next}})
	if len(m.Items) != 4 || len(m2.Items) != 2 || m.Items[0].ID != w.ids[0] || m.Items[0].Missing != 1 {
		t.Fatalf("%+v, %+v", m, m2)
	}
	by := ask[api.CompleteByQuery, api.CompleteBy](c, api.QueryCompleteBy, api.CompleteByQuery{By: "feeder"})
	if len(by.Items) != 2 || by.Items[0] != (api.KeyCounts{Key: "F0", Meters: 3, Expected: 3 * (slots + 1), There: 3 * slots, Missing: 3, Percent: by.Items[0].Percent}) {
		t.Fatalf("%+v", by)
	}
	c.pagesOfKeys(by)
	age := ask[api.CompleteByQuery, api.CompleteBy](c, api.QueryCompleteBy, api.CompleteByQuery{By: "age"})
	if age.Items[0].Missing != 6 || age.Items[0].Meters != 6 || age.Items[1].Missing != 11 || age.Items[1].Meters != 1 {
		t.Fatalf("%+v", age)
	}
	hours := ask[api.CompleteHoursQuery, api.CompleteHours](c, api.QueryCompleteHours, api.CompleteHoursQuery{By: "feeder", Minutes: 30, Paging: api.Paging{Limit: 1}})
	if f := hours.Items; len(f) != 1 || hours.Next != "=F0" || f[0].Meters != 3 || len(f[0].Expected) != 24 || f[0].Missing[22] != 3 || f[0].Missing[21] != 0 || f[0].Expected[23] != 0 || f[0].Expected[0] != 3 {
		t.Fatalf("%+v", hours)
	}
	worst := ask[api.CompleteHoursQuery, api.CompleteHours](c, api.QueryCompleteHours, api.CompleteHoursQuery{By: "feeder", Order: api.OrderWorst, Span: api.Span{From: unix(t0)}, Minutes: 1440})
	if f := worst.Items; len(f) != 2 || f[0].Key != "F1" || f[0].Missing[0] <= f[1].Missing[0] {
		t.Fatalf("%+v", worst)
	}
	named := ask[api.CompleteHoursQuery, api.CompleteHours](c, api.QueryCompleteHours, api.CompleteHoursQuery{By: "concentrator", Keys: []string{"", "C1", "none"}})
	if k := named.Items; len(k) < 1 || k[0].Key != "" || k[0].Meters != 6 {
		t.Fatalf("%+v", named)
	}
	hours = ask[api.CompleteHoursQuery, api.CompleteHours](c, api.QueryCompleteHours, api.CompleteHoursQuery{By: "concentrator", Minutes: 1440, Span: api.Span{From: unix(t0)}})
	var expected, missing int64
	for _, k := range hours.Items {
		for i := range k.Expected {
			expected, missing = expected+k.Expected[i], missing+k.Missing[i]
		}
	}
	if expected != 6*(slots+1) || missing != 5+slots+1 {
		t.Fatalf("%d expected and %d missing of %+v", expected, missing, hours)
	}
	for _, q := range []api.CompleteHoursQuery{{By: "age"}, {By: "feeder", Minutes: 7}, {By: "feeder", Minutes: 1, Span: api.Span{From: unix(t0)}},
		{By: "feeder", Order: "best"}, {By: "feeder", Keys: []string{"F0"}, Paging: api.Paging{Cursor: "=F0"}}, {By: "feeder", Keys: make([]string, 201)}} {
		var p *api.Problem
		if _, err := bus.Request[api.CompleteHoursQuery, api.CompleteHours](t.Context(), c.bus, api.QueryCompleteHours, q); !errors.As(err, &p) || p.Status != 400 || p.Field == "" {
			t.Errorf("%+v: %v", q, err)
		}
	}
	// Who is retired afterwards was there, and its values stay.
	day := api.SumQuery{Day: cim.DayOf(t0 + 86400).String()}
	before := ask[api.SumQuery, api.Sums](c, api.QuerySums, day)
	ask[api.MeterRetirement, api.Retired](c, api.QueryMeterRetire, api.MeterRetirement{ID: w.ids[4]})
	if after := ask[api.SumQuery, api.Sums](c, api.QuerySums, day); before.Total.Meters != 6 || before.Total.Missing != 48 || after.Total != before.Total {
		t.Fatalf("the sum of a day was %+v, and is %+v once a meter is retired", before.Total, after.Total)
	}
}

// pagesOfKeys asks for what is known by key in pages of one, also where a key is empty, and ages in their order.
func (c *centre) pagesOfKeys(want api.CompleteBy) {
	c.t.Helper()
	for _, by := range []string{"feeder", "substation", "age"} {
		q := api.CompleteByQuery{By: by}
		all := ask[api.CompleteByQuery, api.CompleteBy](c, api.QueryCompleteBy, q)
		if by == "feeder" && !reflect.DeepEqual(all.Items, want.Items) || by == "substation" && (len(all.Items) != 1 || all.Items[0].Key != "") || all.Next != "" {
			c.t.Fatalf("by %s: %+v", by, all)
		}
		var got []api.KeyCounts
		for q.Limit = 1; len(got) <= len(all.Items); {
			p := ask[api.CompleteByQuery, api.CompleteBy](c, api.QueryCompleteBy, q)
			got = append(got, p.Items...)
			if q.Cursor = p.Next; q.Cursor == "" {
				break
			}
		}
		if !reflect.DeepEqual(got, all.Items) {
			c.t.Fatalf("by %s, one by one: %+v, want %+v", by, got, all.Items)
		}
	}
	for field, q := range map[string]api.CompleteByQuery{"cursor": {By: "feeder", Paging: api.Paging{Cursor: "F0"}}, "limit": {By: "feeder", Paging: api.Paging{Limit: -1}}} {
		_, err := bus.Request[api.CompleteByQuery, api.CompleteBy](c.t.Context(), c.bus, api.QueryCompleteBy, q)
		var p *api.Problem
		if !errors.As(err, &p) || p.Field != field {
			c.t.Errorf("%s: %v", field, err)
		}
	}
}

// checkSlot compares what is said of all meters with what each of them says.
func (c *centre) checkSlot(ids []string, start time.Time) {
	t := c.t
	t.Helper()
	var want, even, most int64
	top := ""
	for i, id := range ids {
		r := ask[api.ReadingQuery, api.Page[api.Reading]](c, api.QueryReadings, api.ReadingQuery{ID: id, From: start, To: start.Add(30 * time.Minute)})
		wh := *r.Items[0].Import
		if want += wh; i%2 == 0 {
			even += wh
		}
		if wh > most || wh == most && (top == "" || id < top) {
			most, top = wh, id
		}
	}
	s := ask[api.SumQuery, api.Sums](c, api.QuerySums, api.SumQuery{At: start.Add(time.Minute), By: "feeder"})
	if s.Total.Wh != want || s.Total.Meters != 6 || s.Total.Missing != 1 || s.Total.Values != 5 || len(s.Items) != 2 || s.Items[0].Key != "F0" || s.Items[0].Wh != even {
		t.Fatalf("%v: %+v, want %d and %d", start, s, want, even)
	}
	for feeder, wh := range map[string]int64{"F0": even, "F1": want - even} {
		if f := ask[api.SumQuery, api.Sums](c, api.QuerySums, api.SumQuery{At: start, Feeder: feeder}); f.Total.Wh != wh {
			t.Fatalf("%v, only %s: %+v, want %d", start, feeder, f, wh)
		}
	}
	for field, q := range map[string]api.SumQuery{"feeder": {Feeder: "f9"}, "transformer": {Transformer: "T33"}, "path": {Path: "nowhere"}, "substation": {Substation: "F0"}} {
		_, err := bus.Request[api.SumQuery, api.Sums](t.Context(), c.bus, api.QuerySums, q)
		var p *api.Problem
		if !errors.As(err, &p) || p.Status != 404 || p.Field != field || field == "feeder" && !strings.Contains(p.Detail, "did you mean F0, F1?") {
			t.Fatalf("%s that nobody has: %v", field, err)
		}
	}
	p1 := ask[api.SumQuery, api.Sums](c, api.QuerySums, api.SumQuery{At: start, By: "transformer", Paging: api.Paging{Limit: 3}})
	p2 := ask[api.SumQuery, api.Sums](c, api.QuerySums, api.SumQuery{At: start, By: "transformer", Paging: api.Paging{Limit: 3, Cursor: p1.Next}})
	if len(p1.Items) != 3 || len(p2.Items) != 3 || p2.Next != "" || p2.Items[0].Key != "T3" {
		t.Fatalf("pages: %+v, %+v", p1, p2)
	}
	tops := ask[api.SumQuery, api.Page[api.TopMeter]](c, api.QueryTop, api.SumQuery{At: start, Paging: api.Paging{Limit: 2}})
	if len(tops.Items) != 2 || tops.Items[0].ID != top || tops.Items[0].Wh != most || tops.Next != "2" || tops.Items[0].Feeder == "" {
		t.Fatalf("top %+v, want %s with %d", tops, top, most)
	}
}

func TestByAge(t *testing.T) {
	const now = 20 * dayLength
	s := &series{length: 30, from: now - 10*dayLength, complete: now - 10*dayLength, oldest: now - 9*dayLength}
	got := map[int]int64{}
	s.byAge(0, now, now, func(i int, n int64) { got[i] += n })
	want := map[int]int64{0: 1, 1: 11, 2: 36, 3: 96, 4: 6 * 48, 5: 48}
	for i := range 6 {
		if got[i] != want[i] {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

// cpuTime is what the process used up to now; on a busy machine it says more than the wall clock.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSlot asks meters about a slot of the open day.
func BenchmarkSlot(b *testing.B) {
	b.Run("200000x48", func(b *testing.B) { openSlot(b, 200_000, 48) })
	b.Run("1000000x96", func(b *testing.B) { openSlot(b, 1_000_000, 96) })
}

func openSlot(b *testing.B, n, slots int) {
	length := uint16(1440 / slots)
	now := t0/dayLength*dayLength + 20*3600
	m := bare(b, clock.New(time.Unix(int64(now)+60, 0), 1))
	day := cim.DayOf(now)
	m.ledger.today = day
	for i := range n {
		d := m.add(cim.EndDevice{Ordinal: uint32(i), Kind: topic.Meter, ID: fmt.Sprintf("M%07d", i), Path: fmt.Sprintf("C%d/C%d", i/20000, i/500), Interval: length, Expected: day.Start()})
		d.place.feeder = m.grid.number(fmt.Sprintf("F%d", i/2000))
		m.noteColumn(d)
	}
	// Rows are made as readings come, so they do not lie in memory as the devices do.
	for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(n) {
		d := m.devices[i]
		r := newRow(&d.imp, day, length)
		for k := 1; k <= 40*slots/48; k++ {
			if i%50 != 0 || k*48/slots != 39 {
				r.cells[k].wh = uint32(i%700 + k)
				r.marks[k] = mark(cim.Raw)
			}
		}
		m.ledger.insert(&d.imp, r)
	}
	at := unix(day.Start() + 38*1800)
	m.ids.all()
	runtime.GC()
	ctx, minutes := context.Background(), int(length)
	for _, c := range []struct {
		name string
		f    func() error
	}{
		{"sum", func() error { _, err := m.querySums(ctx, api.SumQuery{At: at, Minutes: minutes}); return err }},
		{"sum-by-feeder", func() error {
			_, err := m.querySums(ctx, api.SumQuery{At: at, Minutes: minutes, By: "feeder"})
			return err
		}},
		{"sum-by-path", func() error {
			_, err := m.querySums(ctx, api.SumQuery{At: at, Minutes: minutes, By: "path"})
			return err
		}},
		{"missing", func() error {
			got, err := m.queryMissing(ctx, api.SumQuery{At: at, Minutes: minutes, Paging: api.Paging{Limit: 1000}})
			if err == nil && len(got.Items) != 1000 {
				err = fmt.Errorf("%d items", len(got.Items))
			}
			return err
		}},
		{"top", func() error { _, err := m.queryTop(ctx, api.SumQuery{At: at, Minutes: minutes}); return err }},
		{"day-sum", func() error { _, err := m.querySums(ctx, api.SumQuery{Day: day.String(), By: "feeder"}); return err }},
		{"complete-by-feeder", func() error { _, err := m.queryCompleteBy(ctx, api.CompleteByQuery{By: "feeder"}); return err }},
	} {
		b.Run(c.name, func(b *testing.B) {
			begin := cpuTime(b)
			for range b.N {
				m.added = kept[addedKey, *addedUp]{} // answers that are kept are not what is measured
				if err := c.f(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpuTime(b)-begin).Microseconds())/1000/float64(b.N), "cpu-ms/op")
		})
	}
}

// BenchmarkSealedDay asks meters about a day of 96 quarter hours that lies in the store.
func BenchmarkSealedDay(b *testing.B) {
	for _, n := range []int{200_000, 1_000_000} {
		b.Run(fmt.Sprintf("%d/sqlite", n), func(b *testing.B) {
			sealedDay(b, n, func(ctx context.Context) (store.Store, error) {
				return sqlite.Open(ctx, sqlite.Options{Path: b.TempDir() + "/wattbus.db"})
			})
		})
		b.Run(fmt.Sprintf("%d/postgres", n), func(b *testing.B) {
			_, open := onPostgres(b)
			sealedDay(b, n, open)
		})
	}
}

func sealedDay(b *testing.B, n int, open func(context.Context) (store.Store, error)) {
	const slots = 96
	day := cim.DayOf(t0)
	m := bare(b, clock.New(time.Unix(int64((day+2).Start()), 0), 1))
	st, err := open(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = st.Close() }() // of a bench
	m.o.Store = st
	c := &store.Commit{}
	for i := range n {
		d := m.add(cim.EndDevice{Ordinal: uint32(i), Kind: topic.Meter, ID: fmt.Sprintf("M%07d", i), Path: fmt.Sprintf("C%d/C%d", i/20000, i/500), Interval: 15,
			Expected: day.Start(), Complete: (day + 1).Start()})
		d.place.feeder = m.grid.number(fmt.Sprintf("F%d", i/2000))
		m.noteColumn(d)
		k := store.Block{Device: d.Ordinal, Day: day, Length: 15, Version: 1, Recorded: (day + 1).Start(), Wh: make([]uint32, slots), Quality: make([]cim.Quality, slots)}
		for s := range k.Wh {
			k.Wh[s], k.Quality[s] = uint32(i*31+s*17)%900, cim.Raw
		}
		if i%1000 == 7 {
			k.Wh[9], k.Quality[9], k.Missing = cim.NoValue, cim.Missing, 1
		}
		if c.Blocks = append(c.Blocks, k); len(c.Blocks) == 10_000 {
			if _, err := st.Commit(b.Context(), c); err != nil {
				b.Fatal(err)
			}
			c.Blocks = c.Blocks[:0]
		}
	}
	m.ids.all()
	for name, f := range map[string]func() error{
		"sum-of-a-day": func() error {
			_, err := m.querySums(b.Context(), api.SumQuery{Day: day.String(), By: "feeder"})
			return err
		},
		"sum-of-a-day-forgotten": func() error {
			m.sums.forget()
			_, err := m.querySums(b.Context(), api.SumQuery{Day: day.String(), By: "feeder"})
			return err
		},
		"sum-of-a-slot": func() error {
			_, err := m.querySums(b.Context(), api.SumQuery{At: unix(day.Start() + 40*900), Minutes: 15, By: "feeder"})
			return err
		},
		"missing-in-a-slot": func() error {
			_, err := m.queryMissing(b.Context(), api.SumQuery{At: unix(day.Start() + 9*900), Minutes: 15, Paging: api.Paging{Limit: 1000}})
			return err
		},
		"missing": func() error {
			got, err := m.queryMissing(b.Context(), api.SumQuery{Day: day.String(), Paging: api.Paging{Limit: 1000}})
			if err == nil && len(got.Items) != n/1000 {
				err = fmt.Errorf("%d items", len(got.Items))
			}
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			begin := cpuTime(b)
			for range b.N {
				m.added = kept[addedKey, *addedUp]{}
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpuTime(b)-begin).Microseconds())/1000/float64(b.N), "cpu-ms/op")
		})
	}
}
