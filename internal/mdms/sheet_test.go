package mdms

import (
	"context"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/clock"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/topic"
)

// checkSheets compares what the sheets show with the rows.
func (l *ledger) checkSheets(t testing.TB, each func(func(*series))) {
	t.Helper()
	shown := 0
	each(func(s *series) {
		for _, r := range s.rows {
			n := int(s.device)
			p := l.sheet(s.channel, r.day).page(n)
			if r.page == nil {
				if p != nil && p.shown[n%sheetDevices/64]&(1<<(n%64)) != 0 {
					t.Fatalf("device %d on %v is shown and does not know it", s.device, r.day)
				}
				continue
			}
			shown++
			if p != r.page || p.shown[n%sheetDevices/64]&(1<<(n%64)) == 0 || r.length != s.length || r.length%p.length != 0 {
				t.Fatalf("device %d on %v is on the page %p of %d minutes, want %p; %d minutes, of its series %d", s.device, r.day, r.page, r.page.length, p, r.length, s.length)
			}
			for j := range 1440 / int(p.length) {
				times, want := int(r.length/p.length), uint16(codeNone)
				if (j+1)%times == 0 {
					want = r.code((j + 1) / times)
				}
				if got := p.codes[j*sheetDevices+n%sheetDevices]; got != want {
					t.Fatalf("device %d on %v: %#x is shown at boundary %d of %d, want %#x", s.device, r.day, got, j+1, 1440/p.length, want)
				}
			}
		}
	})
	counted := 0
	for ch := range l.sheets {
		for _, sh := range l.sheets[ch] {
			rows := 0
			for _, p := range sh.pages {
				if p == nil {
					continue
				}
				n := 0
				for _, w := range p.shown {
					n += bits.OnesCount64(w)
				}
				if rows += n; n != p.rows {
					t.Fatalf("%v: a page of %d rows counts %d", sh.day, n, p.rows)
				}
			}
			if counted += rows; rows != sh.rows || sh.day > l.today || sh.day+1 < l.today {
				t.Fatalf("the sheet of %v has %d rows and counts %d; today is %v", sh.day, rows, sh.rows, l.today)
			}
		}
	}
	if counted != shown {
		t.Fatalf("%d rows are shown, %d know it", counted, shown)
	}
}

// TestSheets: whatever comes, in any order, of meters that come, move, change the lengths of their intervals and are taken down, what is told
// from sheets is what the rows tell.
func TestSheets(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { sheetsRound(t, rand.New(rand.NewPCG(seed, 31))) })
	}
}

func sheetsRound(t *testing.T, rnd *rand.Rand) {
	const devices = 3*sheetDevices + 20
	day := cim.DayOf(t0)
	now := day.Start() + 12*3600
	clk := clock.New(time.Unix(int64(now), 0), 1e6)
	clk.Pause()
	m := bare(t, clk)
	lengths := []uint16{5, 15, 30, 60}
	turn := func(f func()) {
		w := &work{call: f, done: make(chan error, 1)}
		if _, err := m.turn(t.Context(), []*work{w}); err != nil {
			t.Fatal(err)
		}
	}
	add := func() {
		i := len(m.devices)
		e := cim.EndDevice{Ordinal: uint32(i), Kind: topic.Meter, ID: fmt.Sprintf("M%04d", (i*7919)%10000), Path: fmt.Sprintf("C%d/C%d", i%3, i%11), Interval: lengths[rnd.IntN(2)+1]}
		if rnd.IntN(30) == 0 {
			e.Interval = lengths[rnd.IntN(len(lengths))]
		}
		if rnd.IntN(10) > 0 {
			e.Expected = day.Start() - rnd.Uint32N(2)*rnd.Uint32N(86400)/3600*3600
			e.Complete = max(e.Expected, day.Start())
		}
		d := m.add(e)
		if rnd.IntN(3) == 0 {
			d.series(cim.Export).from = e.Expected
			d.exp.complete = e.Complete
		}
	}
	some := func() *series {
		d := m.devices[rnd.IntN(len(m.devices))]
		if d.exp != nil && rnd.IntN(2) == 0 {
			return d.exp
		}
		return &d.imp
	}
	register := func(s *series, at uint32) uint64 { // most values are small
		n := uint64(s.device%7)*300 + 100
		if s.device%50 == 3 {
			n = 90_000
		}
		return uint64(at) / 60 * n / 15
	}
	happen := func(now uint32) {
		s := some()
		d := m.devices[s.device]
		switch rnd.IntN(12) {
		case 0:
			d.place = place{feeder: m.grid.number(fmt.Sprintf("F%d", rnd.IntN(9))), transformer: m.grid.number(fmt.Sprintf("T%d", rnd.IntN(40)))}
			m.noteColumn(d)
		case 1:
			d.EndDevice.Path = fmt.Sprintf("C%d/C%d", rnd.IntN(3), rnd.IntN(11))
			m.noteColumn(d)
		case 2:
			if rnd.IntN(4) == 0 {
				until := now - rnd.Uint32N(40)*3600
				m.ledger.bound(s, s.begin, until*uint32(rnd.IntN(2)))
			}
		case 3:
			if rnd.IntN(4) == 0 {
				d.Interval = lengths[rnd.IntN(len(lengths))]
				d.each(func(s *series) {
					if rnd.IntN(3) == 0 {
						m.ledger.assume(s, d.Interval)
					} else {
						m.ledger.setLength(s, d.Interval, now-rnd.Uint32N(7200))
					}
				})
			}
		case 4:
			must[struct{}](t)(struct{}{}, m.ledger.expect(s, now-rnd.Uint32N(36)*3600))
		case 5:
			if s.from != 0 && rnd.IntN(8) == 0 {
				m.ledger.begin(s, s.from+rnd.Uint32N(10)*3600)
			}
		case 6:
			p := &record.Profile{Slot: lengths[rnd.IntN(len(lengths))], Count: 1 + uint8(rnd.IntN(12))}
			p.Time = (now - rnd.Uint32N(24*3600)) / (uint32(p.Slot) * 60) * uint32(p.Slot) * 60
			p.Register = register(s, p.Time)
			for i := range p.Count {
				at := p.Time + uint32(i)*uint32(p.Slot)*60
				if p.Values[i] = uint32(register(s, at+uint32(p.Slot)*60) - register(s, at)); rnd.IntN(20) == 0 {
					p.Values[i] = record.NoValue
				}
			}
			must[int](t)(m.ledger.profile(s, p, now))
		default:
			for at := (now - rnd.Uint32N(12*3600)) / s.step() * s.step(); at <= now && rnd.IntN(12) > 0; at += s.step() {
				reg := register(s, at)
				if rnd.IntN(40) == 0 {
					reg += rnd.Uint64N(50) // it is corrected later, or not
				}
				must[bool](t)(m.ledger.reading(s, at, reg, now))
			}
		}
	}
	for range devices {
		add()
	}
	version := map[dayKey]uint32{}
	for round := range 30 {
		now += rnd.Uint32N(7200)
		advance(clk, now)
		now = clk.Unix()
		turn(func() {
			if rnd.IntN(10) == 0 {
				add()
			}
			for range rnd.IntN(300) {
				happen(now)
			}
			if rnd.IntN(6) == 0 { // every meter tells its last day, and yesterday is sealed
				for _, d := range m.devices {
					d.each(func(s *series) {
						for at := (now - 30*3600) / s.step() * s.step(); at <= now && rnd.IntN(400) > 0; at += s.step() {
							must[bool](t)(m.ledger.reading(s, at, register(s, at), now))
						}
					})
				}
			}
		})
		if k := (dayKey{cim.DayOf(now) - 1, rnd.Uint32N(devices), cim.Import}); rnd.IntN(2) == 0 {
			version[k]++
			v := store.Verdict{Device: k.device, Channel: k.channel, Day: k.day, Length: m.devices[k.device].imp.length, Version: version[k], Recorded: now, Quality: cim.Estimated, Rules: "r",
				Doc: []byte(`{"cells":[{"slot":3,"quality":4,"wh":77},{"slot":9,"quality":5,"wh":78}]}`)}
			if err := m.tryCommit(t.Context(), &store.Commit{Verdicts: []store.Verdict{v}}); err != nil {
				t.Fatal(err)
			}
		}
		m.ledger.checkSheets(t, m.eachSeries)
		for range 4 {
			m.sameWithoutSheets(t, rnd, round)
		}
	}
}

// sameWithoutSheets asks something with and without sheets.
func (m *MDMS) sameWithoutSheets(t *testing.T, rnd *rand.Rand, round int) {
	t.Helper()
	if rnd.IntN(2) == 0 { // an interval ends right now
		clk := m.o.Clock
		m.o.Clock = clock.New(time.Unix(int64(clk.Unix()/300*300), 0), 1)
		m.o.Clock.Pause()
		defer func() { m.o.Clock = clk }()
	}
	now := m.o.Clock.Unix()
	q := api.SumQuery{By: []string{"", "path", "feeder", "transformer"}[rnd.IntN(4)], Raw: rnd.IntN(2) == 0, Channel: []string{"import", "export"}[rnd.IntN(2)]}
	if rnd.IntN(4) == 0 {
		q.Day = (cim.DayOf(now) - cim.Day(rnd.IntN(3))).String()
	} else {
		q.Minutes = []int{1, 5, 15, 30, 60, 360}[rnd.IntN(6)]
		q.At = unix(now - rnd.Uint32N(40*3600)*uint32(rnd.IntN(3)))
	}
	if rnd.IntN(4) == 0 {
		q.Path = "C1"
	}
	if rnd.IntN(4) == 0 {
		q.Feeder = m.grid.all[m.devices[5].place.feeder]
	}
	answers := func() (out [3]any) {
		m.added = kept[addedKey, *addedUp]{}
		var errs [3]error
		out[0], errs[0] = m.querySums(t.Context(), q)
		out[1], errs[1] = m.queryMissing(t.Context(), q)
		out[2], errs[2] = m.queryTop(t.Context(), q)
		for i, err := range errs {
			if err != nil {
				out[i] = err.Error()
			}
		}
		return out
	}
	got, sheets := answers(), m.ledger.sheets
	m.ledger.sheets = [2][]*sheet{}
	want := answers()
	m.ledger.sheets = sheets
	for i := range got {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("round %d, %+v, at %v:\n got %+v\nwant %+v", round, q, unix(now), got[i], want[i])
		}
	}
}

// cutStore ends the MDMS once it was given some of the chunks.
type cutStore struct {
	store.Store
	cancel func()
}

func (s *cutStore) Chunks(ctx context.Context, from, to cim.Day, f func(*store.Chunk) error) error {
	return s.Store.Chunks(ctx, from, to, func(c *store.Chunk) error {
		if err := f(c); err != nil {
			return err
		}
		s.cancel()
		return context.Canceled
	})
}

// TestSheetsOfHalfARestart: an MDMS that is stopped while it takes over the past has no sheets that show something else than its rows.
func TestSheetsOfHalfARestart(t *testing.T) {
	t.Parallel()
	const slots = 17
	c := newCentre(t, clock.New(at(slots), 1))
	w := newWorld(c, 2, t0, slots, true)
	for _, id := range w.ids {
		m := w.meters[id]
		w.register(m)
		for s := range slots + 1 {
			c.send(m.path, topic.Meter, id, "reading", w.reading(m, s))
		}
	}
	c.flush()
	c.until("all entered", 120*time.Second, func() bool { tot, ok := c.totals(); return ok && tot.Completeness.Received > 2*slots })
	w.stop()
	c.halt()
	c.run(func(s store.Store, cancel func()) store.Store { return &cutStore{s, cancel} })
	err := <-c.ended
	if len(c.mdms.ledger.newest[cim.Import]) == 0 {
		t.Error("no row was taken over by then")
	}
	c.ended <- err // for halt at the end, which compares them
}

// TestSheetsGo: sheets of former days do not stay, and one of a day that is over goes when few of its rows are left.
func TestSheetsGo(t *testing.T) {
	l := newLedger(nil)
	l.today = 100
	var all []*series
	for i := range uint32(1000) {
		s := &series{device: i, length: 30, from: 1, complete: cim.Day(98).Start()}
		all = append(all, s)
		for day := cim.Day(98); day <= 101; day++ {
			l.insert(s, newRow(s, day, 30))
		}
	}
	each := func(f func(*series)) {
		for _, s := range all {
			f(s)
		}
	}
	days := func() (out []cim.Day) {
		for _, sh := range l.sheets[0] {
			out = append(out, sh.day)
		}
		return out
	}
	if got := days(); !reflect.DeepEqual(got, []cim.Day{99, 100}) {
		t.Fatalf("sheets of %v", got)
	}
	l.newDay(101)
	l.checkSheets(t, each)
	if got := days(); !reflect.DeepEqual(got, []cim.Day{100, 101}) {
		t.Fatalf("sheets of %v a day later", got)
	}
	for _, s := range all[:874] {
		l.free([]*dayRow{s.find(100)})
	}
	l.checkSheets(t, each)
	if sh := l.sheet(0, 100); sh == nil || sh.pages[0] != nil || sh.pages[3] == nil {
		t.Fatalf("with 126 rows of 1,000: %+v", sh)
	}
	l.free([]*dayRow{all[874].find(100), all[875].find(100)})
	l.checkSheets(t, each)
	if got := days(); !reflect.DeepEqual(got, []cim.Day{101}) {
		t.Fatalf("sheets of %v, with 124 rows of 1,000", got)
	}
}
