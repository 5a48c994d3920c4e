package backfill

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// bench is a planner in front of meters that are nothing but a number of spans to ask for.
type bench struct {
	t    *testing.T
	p    *Planner
	now  time.Time
	gaps map[uint32]int // spans still missing
	sent []sent
	id   uint64
	fail bool
}

type sent struct {
	id     uint64
	device uint32
	at     time.Time
}

func newBench(t *testing.T, o Options) *bench {
	b := &bench{t: t, now: time.Unix(1e9, 0), gaps: map[uint32]int{}}
	o.Gap = func(d uint32) (Span, bool) { return Span{From: 100, To: 200, Parts: 10}, b.gaps[d] > 0 }
	o.ID = func() uint64 { b.id++; return b.id }
	o.Send = func(d uint32, id uint64, _ Span) error {
		b.sent = append(b.sent, sent{id, d, b.now})
		if b.fail {
			return errors.New("no bus")
		}
		return nil
	}
	b.p = New(o)
	return b
}

// wake makes n devices below a concentrator miss spans.
func (b *bench) wake(path string, first uint32, n, spans int) {
	for i := range uint32(n) {
		b.gaps[first+i] = spans
		b.p.Wake(first+i, path, b.now, false)
	}
}

func (b *bench) tick() time.Time { return b.p.Tick(b.now) }

func (b *bench) pass(d time.Duration) { b.now = b.now.Add(d) }

// answer answers the oldest request in full.
func (b *bench) answer() {
	s := b.sent[0]
	b.sent = b.sent[1:]
	b.gaps[s.device]--
	if !b.p.Part(s.id, 12, b.now) {
		b.t.Fatalf("request %d is not known", s.id)
	}
	b.p.Result(s.id, b.now)
}

func (b *bench) want(waiting, inFlight int) {
	b.t.Helper()
	if s := b.p.Stats(); s.Waiting != waiting || s.InFlight != inFlight {
		b.t.Fatalf("%+v, want %d waiting and %d in flight", s, waiting, inFlight)
	}
}

// A meter that sleeps is asked shortly before it wakes, and has its time from then on; it holds no place meanwhile.
func TestAsleep(t *testing.T) {
	wakes := time.Unix(1e9, 0).Add(5 * time.Minute)
	var b *bench
	b = newBench(t, Options{PerConcentrator: 1, Timeout: 10 * time.Second, Asleep: func(d uint32) time.Duration {
		if d != 1 {
			return 0
		}
		return max(wakes.Sub(b.now), 0)
	}})
	b.wake("C1", 1, 2, 1) // 1 sleeps, 2 does not
	b.tick()
	if len(b.sent) != 1 || b.sent[0].device != 2 {
		t.Fatalf("%+v", b.sent)
	}
	b.answer()
	next := b.tick()
	if !next.Equal(wakes.Add(-lead)) {
		t.Fatalf("next at %s, it wakes at %s", next, wakes)
	}
	b.now = next
	b.tick()
	b.want(0, 1)
	b.now = wakes.Add(9 * time.Second)
	b.tick()
	b.want(0, 1)
	b.now = wakes.Add(11 * time.Second)
	b.tick()
	b.want(1, 0)
}

func TestBudgets(t *testing.T) {
	b := newBench(t, Options{PerConcentrator: 3, Total: 5})
	b.wake("C1", 0, 10, 1)
	b.wake("C2", 100, 10, 1)
	b.tick()
	b.want(15, 5)
	under := map[bool]int{}
	for _, s := range b.sent {
		under[s.device >= 100]++
	}
	if under[false] > 3 || under[true] > 3 {
		t.Fatalf("not spread over concentrators: %v", under)
	}
	for i := range 20 {
		b.answer()
		b.tick()
		b.want(max(0, 14-i), min(5, 19-i))
	}
	if next := b.tick(); !next.IsZero() {
		t.Fatalf("wants to be called at %v with nothing to do", next)
	}
}

func TestOneRequestAMeterAtATime(t *testing.T) {
	b := newBench(t, Options{})
	b.wake("C1", 7, 1, 3)
	b.p.Wake(7, "C1", b.now, false)
	for range 3 {
		b.tick()
		if len(b.sent) != 1 {
			t.Fatalf("%d requests", len(b.sent))
		}
		b.answer()
	}
	b.tick()
	b.want(0, 0)
}

// A meter that connects anew did not get the request that was sent before: it is asked again at once.
func TestNewConnection(t *testing.T) {
	b := newBench(t, Options{PerConcentrator: 1})
	b.wake("C1", 7, 1, 1)
	b.tick()
	b.p.Wake(7, "C1", b.now, true)
	b.tick()
	if len(b.sent) != 2 {
		t.Fatalf("%d requests, want a second one for the new connection", len(b.sent))
	}
	b.p.Result(b.sent[0].id, b.now) // a late answer to the first changes nothing
	b.want(0, 1)
	b.sent = b.sent[1:]
	b.answer()
	b.tick()
	b.want(0, 0)
}

func TestNotBefore(t *testing.T) {
	b := newBench(t, Options{})
	b.gaps[1] = 1
	b.p.Wake(1, "C1", b.now.Add(20*time.Second), false)
	if next := b.tick(); !next.Equal(b.now.Add(20 * time.Second)) {
		t.Fatalf("next %v", next)
	}
	b.want(1, 0)
	b.pass(20 * time.Second)
	b.tick()
	b.want(0, 1)
	b.answer()
	// One that needs nothing any more when its time comes is not asked.
	b.gaps[2] = 1
	b.p.Wake(2, "C1", b.now.Add(time.Second), false)
	b.gaps[2] = 0
	b.pass(time.Second)
	b.tick()
	b.want(0, 0)
}

// A meter that is silent is asked after 10 s + 5 s, 20 + 10, 40 + 20, …, and at most every 15 min and 2 min.
func TestSilentMeter(t *testing.T) {
	b := newBench(t, Options{})
	b.wake("C1", 1, 1, 1)
	var waits []time.Duration
	last := b.now
	for range 12 {
		for len(b.sent) == 0 {
			next := b.tick()
			if len(b.sent) == 0 {
				b.now = next
			}
		}
		waits = append(waits, b.now.Sub(last).Round(time.Second))
		last, b.sent = b.now, nil
	}
	if want := []time.Duration{0, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute}; !slices.Equal(waits[:5], want) {
		t.Fatalf("%v", waits)
	}
	if waits[11] != 17*time.Minute {
		t.Fatalf("%v", waits)
	}
	// It registers: no waiting any more.
	b.tick()
	b.p.Wake(1, "C2", b.now, true)
	b.tick()
	if len(b.sent) != 1 {
		t.Fatal("not asked at its new place")
	}
	b.answer()
	b.tick()
	b.want(0, 0)
}

// A meter that was silent answers requests that were given up: it is asked for the rest without a pause, also where these answers left
// nothing for the one under way to bring.
func TestLateAnswers(t *testing.T) {
	b := newBench(t, Options{})
	b.wake("C1", 1, 1, 3)
	for len(b.sent) < 4 {
		if next := b.tick(); len(b.sent) < 4 {
			b.now = next
		}
	}
	b.p.Late(1, b.now) // to the first of them
	b.gaps[1]--
	b.p.Result(b.sent[3].id, b.now)
	b.tick()
	if len(b.sent) != 5 {
		t.Fatal("not asked at once after an answer that brought nothing new")
	}
	for b.p.Stats().InFlight > 0 {
		if next := b.tick(); b.p.Stats().InFlight > 0 {
			b.now = next
		}
	}
	if len(b.sent) != 5 {
		t.Fatal("no back-off")
	}
	b.p.Late(1, b.now)
	b.tick()
	if len(b.sent) != 6 {
		t.Fatal("still in its back-off")
	}
	b.p.Late(2, b.now) // which misses nothing
	b.want(0, 1)
}

func TestPartsKeepARequestAlive(t *testing.T) {
	b := newBench(t, Options{})
	b.wake("C1", 1, 1, 2)
	b.tick()
	for range 10 {
		b.pass(9 * time.Second)
		b.p.Part(b.sent[0].id, 12, b.now)
		b.tick()
	}
	b.want(0, 1)
	// Its end got lost. What it brought counts: the rest is asked for without a pause.
	b.sent = nil
	b.pass(10 * time.Second)
	b.tick()
	if len(b.sent) != 1 || b.p.Stats().Timeouts != 1 {
		t.Fatalf("%+v", b.p.Stats())
	}
}

func TestEmptyResultsBackOff(t *testing.T) {
	b := newBench(t, Options{})
	b.wake("C1", 1, 1, 1)
	n := 0
	for end := b.now.Add(time.Hour); b.now.Before(end); {
		next := b.tick()
		for _, s := range b.sent {
			n++
			b.p.Result(s.id, b.now)
		}
		if len(b.sent) == 0 {
			b.now = next
		}
		b.sent = nil
	}
	if n > 14 {
		t.Fatalf("asked %d times in an hour for what does not come", n)
	}
}

func TestForget(t *testing.T) {
	b := newBench(t, Options{PerConcentrator: 1})
	b.wake("C1", 1, 3, 1)
	b.tick()
	b.want(2, 1)
	b.p.Forget(b.sent[0].device)
	b.p.Forget(3)
	b.tick()
	b.want(0, 1)
	if b.p.Part(b.sent[0].id, 1, b.now) {
		t.Fatal("a forgotten request is known")
	}
	b.p.Result(b.sent[0].id, b.now)
	b.want(0, 1)
}

func TestRate(t *testing.T) {
	b := newBench(t, Options{PartsPerSecond: 20, PerConcentrator: 100})
	b.wake("C1", 0, 100, 1)
	start := b.now
	answered := 0
	for answered < 100 {
		next := b.tick()
		for len(b.sent) > 0 {
			b.answer()
			answered++
		}
		switch {
		case answered == 100:
		case next.After(b.now):
			b.now = next
		default:
			b.pass(time.Millisecond)
		}
	}
	// 100 answers of 10 parts at 20 parts/s take 50 s, but for the first second's worth and the last overdraft.
	if d := b.now.Sub(start); d < 47*time.Second || d > 51*time.Second {
		t.Fatalf("took %v", d)
	}
}

// TestAnythingGoes is a random schedule: whatever happens, every gap is closed and the budgets are kept.
func TestAnythingGoes(t *testing.T) {
	for seed := range 30 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(uint64(seed), 1))
			b := newBench(t, Options{PerConcentrator: 2, Total: 7, PartsPerSecond: float64(rnd.IntN(2) * 50)})
			paths := []string{"", "C1", "C1/C7", "C2", "C3", "C4"}
			for d := range uint32(60) {
				b.gaps[d] = rnd.IntN(5)
				b.p.Wake(d, paths[rnd.IntN(len(paths))], b.now.Add(time.Duration(rnd.IntN(5000))*time.Millisecond), false)
			}
			for step := 0; ; step++ {
				next := b.tick()
				s := b.p.Stats()
				if s.InFlight > 7 {
					t.Fatalf("%+v", s)
				}
				for _, c := range b.p.concentrators {
					if c.inFlight > 2 || c.inFlight < 0 || c.meters < 0 {
						t.Fatalf("%+v", c)
					}
				}
				if s.Waiting+s.InFlight == 0 {
					break
				}
				if step > 50_000 {
					t.Fatalf("not done: %+v", s)
				}
				switch n := rnd.IntN(10); {
				case len(b.sent) > 0 && n < 6:
					b.answer2()
				case len(b.sent) > 0 && n < 7:
					b.sent = b.sent[1:] // lost
				case n < 8:
					d := uint32(rnd.IntN(60))
					b.p.Wake(d, paths[rnd.IntN(len(paths))], b.now, rnd.IntN(2) == 0)
				default:
					if next.After(b.now) {
						b.now = next
					}
				}
			}
			for d, n := range b.gaps {
				if n > 0 {
					t.Fatalf("device %d still misses %d", d, n)
				}
			}
		})
	}
}

// answer2 answers a request that may have been given up by now.
func (b *bench) answer2() {
	s := b.sent[0]
	b.sent = b.sent[1:]
	b.gaps[s.device] = max(0, b.gaps[s.device]-1)
	b.p.Part(s.id, 12, b.now)
	b.p.Result(s.id, b.now)
}

func BenchmarkPlanner(b *testing.B) {
	now := time.Unix(1e9, 0)
	var ids []uint64
	p := New(Options{Gap: func(uint32) (Span, bool) { return Span{0, 1, 1}, true }, ID: func() uint64 { return uint64(len(ids)) + 1 },
		Send: func(_ uint32, id uint64, _ Span) error { ids = append(ids, id); return nil }})
	for d := range uint32(100_000) {
		p.Wake(d, fmt.Sprint("C", d%1000), now, false)
	}
	p.Tick(now)
	b.ReportAllocs()
	at := 0
	for b.Loop() {
		p.Part(ids[at], 1, now)
		p.Result(ids[at], now)
		at++
		p.Tick(now)
	}
}
