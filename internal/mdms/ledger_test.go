package mdms

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/wattbus/wattbus/internal/cim"
	"github.com/wattbus/wattbus/internal/record"
	"github.com/wattbus/wattbus/internal/store"
	"github.com/wattbus/wattbus/internal/store/sqlite"
)

// book is a ledger of a few devices on a real store.
type book struct {
	t      testing.TB
	dir    string
	st     store.Store
	l      *ledger
	series []*series // two a device: import, export
	due    []Deadline
	now    uint32
	pieces int // days that a commit seals at least; 0: what is usual
}

const t0 = uint32(1_540_767_600) // 2018-10-28T23:00Z

func newBook(t testing.TB, devices int, length uint16, now uint32) *book {
	b := &book{t: t, dir: t.TempDir(), now: now}
	b.open()
	for i := range devices {
		for _, ch := range []cim.Channel{cim.Import, cim.Export} {
			b.series = append(b.series, &series{device: uint32(i), channel: ch, length: length})
		}
	}
	t.Cleanup(func() { b.st.Close() })
	return b
}

func (b *book) open() {
	st, err := sqlite.Open(context.Background(), sqlite.Options{Path: filepath.Join(b.dir, "x.db")})
	if err != nil {
		b.t.Fatal(err)
	}
	b.st = st
	b.l = newLedger(func(dev uint32, ch cim.Channel, day cim.Day) (*store.Block, error) {
		var out *store.Block
		err := st.Blocks(context.Background(), store.BlockQuery{Device: dev, Channel: ch, From: day, To: day + 1}, func(k *store.Block) error {
			c := *k
			c.Wh, c.Quality = slices.Clone(k.Wh), slices.Clone(k.Quality)
			out = &c
			return nil
		})
		return out, err
	})
	b.l.setDeadlines(b.due)
	if b.pieces > 0 {
		b.l.waiting.atOnce, b.l.waiting.most = b.pieces, 3*b.pieces
	}
}

// settle commits until no day waits to be sealed.
func (b *book) settle() {
	b.t.Helper()
	for b.commit(); len(b.l.waiting.over) > 0; b.commit() {
	}
}

func (b *book) commit() *store.Commit {
	b.t.Helper()
	b.sheets()
	c := &store.Commit{}
	free := b.l.collect(b.now, c)
	if _, err := b.st.Commit(context.Background(), c); err != nil {
		b.t.Fatal(err)
	}
	b.l.free(free)
	b.sheets()
	return c
}

// sheets checks them and those of the day that it is now.
func (b *book) sheets() {
	b.t.Helper()
	each := func(f func(*series)) {
		for _, s := range b.series {
			f(s)
		}
	}
	b.l.checkSheets(b.t, each)
	b.l.newDay(cim.DayOf(b.now))
	b.l.checkSheets(b.t, each)
}

// restart throws the ledger away and builds it again; lag lets the kept watermarks be older than they could be.
func (b *book) restart(lag func(*series) uint32) {
	b.t.Helper()
	if err := b.st.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.open()
	var fresh []*series
	for _, s := range b.series {
		fresh = append(fresh, &series{device: s.device, channel: s.channel, length: s.length, from: s.from, complete: lag(s), oldest: s.oldest})
	}
	b.series = fresh
	if err := b.l.restore(context.Background(), b.st, b.now, fresh, b.find, func(*store.Row) {}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *book) find(dev uint32, ch cim.Channel) *series { return b.series[2*dev+uint32(ch)] }

// values reads everything in [from, to) from blocks and rows, as a query does.
func (b *book) values(s *series, from, to uint32) (wh []uint32) {
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
	for at := from; at < to; at += s.step() {
		v := cim.NoValue
		if r := days[cim.DayOf(at)]; r != nil {
			if i, ok := r.cellEnding(at + s.step()); ok {
				v = r.cells[i].wh
			}
		}
		wh = append(wh, v)
	}
	return wh
}

// truth is what a meter measured.
type truth struct {
	start, step uint32
	reg         []uint64 // at the boundaries
}

func newTruth(rnd *rand.Rand, start, step uint32, n int) truth {
	tr := truth{start: start, step: step, reg: []uint64{1e6 + rnd.Uint64N(1e7)}}
	for range n {
		tr.reg = append(tr.reg, tr.reg[len(tr.reg)-1]+rnd.Uint64N(300)*10)
	}
	return tr
}

func (tr truth) wh(i int) uint32 { return uint32(tr.reg[i+1] - tr.reg[i]) }

func (tr truth) part(i, n int, ch cim.Channel) *record.Profile {
	p := &record.Profile{Header: record.Header{Time: tr.start + uint32(i)*tr.step}, Register: tr.reg[i], Slot: uint16(tr.step / 60), Channel: record.Channel(ch), Part: 1, Parts: 1}
	for ; n > 0 && i+int(p.Count) < len(tr.reg)-1; n-- {
		p.Values[p.Count] = tr.wh(i + int(p.Count))
		p.Count++
	}
	return p
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestReadingsInOrder(t *testing.T) {
	t.Parallel()
	b := newBook(t, 1, 30, t0)
	s := b.series[0]
	if err := b.l.expect(s, t0); err != nil {
		t.Fatal(err)
	}
	tr := newTruth(rand.New(rand.NewPCG(1, 1)), t0, 1800, 100)
	for i, reg := range tr.reg {
		b.now = t0 + uint32(i)*1800 + 5
		must[bool](t)(b.l.reading(s, t0+uint32(i)*1800, reg, b.now))
		b.commit()
		if n := s.missing(s.finished(b.now)); n != 0 {
			t.Fatalf("reading %d: %d missing", i, n)
		}
	}
	if len(s.rows) != 1 || b.l.total.received != 100 || b.l.total.recovered != 0 {
		t.Fatalf("%d rows in RAM, %+v", len(s.rows), b.l.total)
	}
	for i, wh := range b.values(s, t0, t0+100*1800) {
		if wh != tr.wh(i) {
			t.Fatalf("slot %d: %d, want %d", i, wh, tr.wh(i))
		}
	}
	if z, err := b.st.Size(t.Context()); err != nil || z.BlockIntervals != 144 {
		t.Fatalf("%+v, %v", z, err)
	}
}

func TestGapIsFoundAndFilled(t *testing.T) {
	t.Parallel()
	b := newBook(t, 1, 30, t0+200*1800)
	s := b.series[0]
	must[struct{}](t)(struct{}{}, b.l.expect(s, t0))
	tr := newTruth(rand.New(rand.NewPCG(1, 2)), t0, 1800, 200)
	lost := map[int]bool{7: true, 8: true, 90: true, 199: true}
	for i, reg := range tr.reg {
		if !lost[i] {
			must[bool](t)(b.l.reading(s, t0+uint32(i)*1800, reg, b.now))
		}
	}
	b.commit()
	// Losing boundary i loses the slots on both sides of it.
	if n := s.missing(b.now); n != 3+2+2 {
		t.Fatalf("%d missing", n)
	}
	for _, want := range [][3]uint32{{6, 9, 3}, {89, 91, 2}, {198, 200, 2}} {
		from, to, n := s.gap(b.now, 7*86400)
		if from != t0+want[0]*1800 || to != t0+want[1]*1800 || n != int(want[2]) {
			t.Fatalf("gap [%d, %d) of %d, want %v", (from-t0)/1800, (to-t0)/1800, n, want)
		}
		if got := must[int](t)(b.l.profile(s, tr.part(int(want[0]), int(want[1]-want[0]), cim.Import), b.now)); got != int(want[2]) {
			t.Fatalf("%d filled, want %d", got, want[2])
		}
	}
	b.commit()
	if n := s.missing(b.now); n != 0 || b.l.total.recovered != 7 || b.l.total.received != 193 {
		t.Fatalf("%d missing, %+v", n, b.l.total)
	}
}

func TestNoValueIsAskedAFewTimes(t *testing.T) {
	t.Parallel()
	b := newBook(t, 1, 30, t0+12*1800)
	s := b.series[0]
	must[struct{}](t)(struct{}{}, b.l.expect(s, t0))
	p := newTruth(rand.New(rand.NewPCG(1, 3)), t0, 1800, 12).part(0, 12, cim.Import)
	p.Values[3], p.Values[4] = record.NoValue, record.NoValue
	for i := range maxRefused {
		if _, _, n := s.gap(b.now, 86400); n == 0 {
			t.Fatalf("not asked again after %d answers", i)
		}
		must[int](t)(b.l.profile(s, p, b.now))
	}
	if _, _, n := s.gap(b.now, 86400); n != 0 || s.missing(b.now) != 2 {
		t.Fatalf("still asking for %d; %d missing", n, s.missing(b.now))
	}
}

func TestDifferingValueMakesANewVersion(t *testing.T) {
	t.Parallel()
	b := newBook(t, 1, 30, t0+100*1800)
	s := b.series[0]
	must[struct{}](t)(struct{}{}, b.l.expect(s, t0+3600))
	tr := newTruth(rand.New(rand.NewPCG(1, 4)), t0+3600, 1800, 98)
	for i, reg := range tr.reg {
		must[bool](t)(b.l.reading(s, tr.start+uint32(i)*1800, reg, b.now))
	}
	b.commit()
	// The same again changes nothing, in readings and in profiles.
	for i, reg := range tr.reg {
		must[bool](t)(b.l.reading(s, tr.start+uint32(i)*1800, reg, b.now))
	}
	for i := 0; i < 98; i += 12 {
		must[int](t)(b.l.profile(s, tr.part(i, 12, cim.Import), b.now))
	}
	if c := b.commit(); len(c.Blocks)+len(c.Chunks)+len(c.Totals) != 0 {
		t.Fatalf("a repetition wrote %+v", c)
	}
	p := tr.part(5, 1, cim.Import)
	p.Values[0]++
	must[int](t)(b.l.profile(s, p, b.now))
	c := b.commit()
	if len(c.Blocks) != 1 || c.Blocks[0].Version != 2 || c.Blocks[0].Wh[5] != tr.wh(5)+1 || c.Blocks[0].Wh[6] != tr.wh(6) {
		t.Fatalf("%+v", c.Blocks)
	}
	if b.l.total.received != 97 || b.l.total.recovered != 1 || b.l.differ != 1 {
		t.Fatalf("%+v, %d differ", b.l.total, b.l.differ)
	}
}

func TestGivenUpDays(t *testing.T) {
	t.Parallel()
	b := newBook(t, 1, 30, t0+2*86400)
	s := b.series[0]
	must[struct{}](t)(struct{}{}, b.l.expect(s, t0))
	tr := newTruth(rand.New(rand.NewPCG(1, 5)), t0, 1800, 96)
	must[int](t)(b.l.profile(s, tr.part(4, 12, cim.Import), b.now))
	b.commit()
	b.now = t0 + 60*86400
	for range 2 {
		b.l.giveUp(s, cim.DayOf(b.now))
		b.commit()
		if got, want := s.base(), cim.DayOf(b.now)-giveUpDays; got != want {
			t.Fatalf("complete to %v, want %v", got, want)
		}
		if got, want := s.missing(b.now), 60*48-12; got != want {
			t.Fatalf("%d missing, want %d", got, want)
		}
		b.restart((*series).kept)
		s = b.series[0]
	}
	// What comes after all still counts.
	must[int](t)(b.l.profile(s, tr.part(0, 4, cim.Import), b.now))
	b.commit()
	if got, want := s.missing(b.now), 60*48-16; got != want {
		t.Fatalf("%d missing, want %d", got, want)
	}
}

// TestLedgerProperty gives what meters sent in any order, some of it twice and some of it never, with commits and restarts
// anywhere between, and then fetches what is missing. The result is always what the meters measured.
func TestLedgerProperty(t *testing.T) {
	t.Parallel()
	rounds := 40
	if testing.Short() {
		rounds = 4
	}
	for seed := range rounds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { ledgerRound(t, rand.New(rand.NewPCG(uint64(seed), 7))) })
	}
}

func ledgerRound(t *testing.T, rnd *rand.Rand) {
	length := []uint16{5, 15, 30, 30, 60}[rnd.IntN(5)]
	step := uint32(length) * 60
	n := int(86400/step)*(1+rnd.IntN(6)) + rnd.IntN(40)
	start := (t0 - rnd.Uint32N(86400)) / step * step
	b := newBook(t, 3, length, start+uint32(n)*step)
	if b.pieces = rnd.IntN(4); b.pieces > 0 { // so days wait over many commits and restarts
		b.l.waiting.atOnce, b.l.waiting.most = b.pieces, 3*b.pieces
	}
	var truths []truth
	var sends []func()
	shuffle := rnd.Float64()
	for k, s := range b.series {
		tr := newTruth(rnd, start, step, n)
		truths = append(truths, tr)
		must[struct{}](t)(struct{}{}, b.l.expect(s, start+rnd.Uint32N(2)*86400))
		lose := rnd.Float64() * 0.7
		for i, reg := range tr.reg {
			for rnd.Float64() > lose {
				sends = append(sends, func() { must[bool](t)(b.l.reading(b.series[k], start+uint32(i)*step, reg, b.now)) })
				lose = max(lose, 0.05)
			}
		}
		for range rnd.IntN(20) {
			i, m := rnd.IntN(n), 1+rnd.IntN(12)
			sends = append(sends, func() { must[int](t)(b.l.profile(b.series[k], tr.part(i, m, s.channel), b.now)) })
		}
	}
	for i := range sends {
		if j := rnd.IntN(len(sends)); rnd.Float64() < shuffle {
			sends[i], sends[j] = sends[j], sends[i]
		}
	}
	lag := func(s *series) uint32 {
		if rnd.IntN(2) == 0 {
			return s.kept()
		}
		return max(s.from, s.kept()-min(s.kept(), rnd.Uint32N(3*86400))/step*step)
	}
	everyCommit, everyRestart := 1+rnd.IntN(400), 1+rnd.IntN(2000)
	everyCommit, everyRestart = max(everyCommit, len(sends)/200), max(everyRestart, len(sends)/50) // the long ones in a few seconds, too
	end := b.now
	b.now -= rnd.Uint32N(2) * rnd.Uint32N(86400) // the meters' clocks are ahead
	for i, send := range sends {
		send()
		switch {
		case i%everyRestart == 0:
			b.commit()
			b.restart(lag)
		case i%everyCommit == 0:
			b.commit()
		}
		if rnd.IntN(500) == 0 { // the meter's registration says that it has more
			k := rnd.IntN(len(b.series))
			must[struct{}](t)(struct{}{}, b.l.expect(b.series[k], start))
		}
	}
	b.now = end
	for k, s := range b.series {
		must[struct{}](t)(struct{}{}, b.l.expect(s, start))
		for asked := 0; ; asked++ {
			from, to, missing := s.gap(b.now, 7*86400)
			if missing == 0 {
				break
			}
			if asked > 10_000 {
				t.Fatalf("series %d asks for [%d, %d) for ever", k, from, to)
			}
			for at := from; at < to; at += 12 * step {
				if rnd.IntN(4) > 0 { // else the part gets lost
					must[int](t)(b.l.profile(s, truths[k].part(int((at-start)/step), int(min((to-at)/step, 12)), s.channel), b.now))
				}
			}
			if rnd.IntN(20) == 0 {
				b.commit()
			}
		}
	}
	verify := func(when string) {
		t.Helper()
		var expected int64
		for k, s := range b.series {
			if m := s.missing(b.now); m != 0 || s.complete != b.now {
				t.Fatalf("%s: series %d: %d missing, complete to %d of %d", when, k, m, s.complete-start, b.now-start)
			}
			for i, wh := range b.values(s, start, b.now) {
				if wh != truths[k].wh(i) {
					t.Fatalf("%s: series %d slot %d: %d, want %d", when, k, i, wh, truths[k].wh(i))
				}
			}
			expected += int64(n)
			for _, r := range s.rows {
				if r.whole() && r.end() <= b.now {
					t.Fatalf("%s: series %d: %v is whole and still in RAM", when, k, r.day)
				}
			}
		}
		if got := b.l.total.received + b.l.total.recovered; got != expected {
			t.Fatalf("%s: %d counted, want %d", when, got, expected)
		}
	}
	b.settle()
	verify("at the end")
	for d, tl := range b.l.days {
		if tl.chunks > 0 && d.Start()+86400 <= b.now {
			t.Fatalf("%v is over and has %d chunks, %d open rows", d, tl.chunks, tl.open)
		}
	}
	b.restart(lag)
	verify("after a restart")
	b.restart(func(s *series) uint32 { return s.from })
	verify("after a restart from the beginning")
}
