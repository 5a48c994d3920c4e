package meter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wattbus/wattbus/internal/record"
)

// bench is hardware in a test's hand.
type bench struct {
	mu       sync.Mutex
	sample   Sample
	fail     error
	hang     bool // until ctx ends
	reads    int
	position record.Breaker
	unarmed  bool // it cannot be armed
	moves    []record.Breaker
	known    map[int64]uint64
	asked    int
}

// set changes it under the eyes of the agent.
func (b *bench) set(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

func (b *bench) hardware() *Hardware {
	hang := func(ctx context.Context) error { // with mu
		b.mu.Unlock()
		defer b.mu.Lock()
		<-ctx.Done()
		return ctx.Err()
	}
	return &Hardware{
		Read: func(ctx context.Context) (Sample, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.reads++
			if b.hang {
				return Sample{}, hang(ctx)
			}
			b.sample.Import += 7
			return b.sample, b.fail
		},
		Switch: func(ctx context.Context, to record.Breaker) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.moves = append(b.moves, to)
			switch {
			case b.hang:
				return hang(ctx)
			case b.unarmed && to == record.BreakerReady:
				return fmt.Errorf("on and off only: %w", ErrUnsupported)
			}
			b.position = to
			return nil
		},
		Position: func(context.Context) (p record.Breaker, _ error) {
			b.set(func() { p = b.position })
			return p, nil
		},
		Register: func(_ context.Context, _ record.Channel, at time.Time) (wh uint64, ok bool, _ error) {
			b.set(func() {
				b.asked++
				wh, ok = b.known[at.Unix()]
			})
			return wh, ok, nil
		},
		Oldest: func(context.Context) (time.Time, error) { return time.Unix(t0-7200, 0), nil },
	}
}

func withBench(b *bench) func(*Options) {
	return func(o *Options) {
		o.Source, o.History, o.Hardware, o.Capabilities = nil, 0, b.hardware(), record.CapBreaker
	}
}

func (l *fakeLink) results(t *testing.T) (out []record.Result) {
	t.Helper()
	for _, s := range l.of("result") {
		r, err := record.DecodeResult(s.m.Payload)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// Of what the agent has not measured itself the hardware's own profile is asked, and once only.
func TestHardwareKnowsTheProfile(t *testing.T) {
	b := &bench{position: record.BreakerClosed, known: map[int64]uint64{t0 - 3600: 100, t0 - 1800: 130, t0: 170}}
	inBubble(t, withBench(b), func(t *testing.T, _ *Agent, l *fakeLink) {
		loc, err := record.DecodeLocation(l.of("location")[0].m.Payload)
		if err != nil || loc.Oldest != t0-7200 {
			t.Errorf("%+v, %v", loc, err)
		}
		for id := range uint64(2) {
			l.deliver("cmd", record.Command{ID: 1 + id, Opcode: record.OpProfile, A: t0 - 7200, B: t0}.Append(nil))
			synctest.Wait()
		}
		if b.asked != 5+2 { // what it does not hold it is asked for again
			t.Errorf("asked %d times", b.asked)
		}
		for i, s := range l.of("profile") {
			p, err := record.DecodeProfile(s.m.Payload)
			if err != nil || p.Count != 4 || p.Values[1] != record.NoValue || p.Values[2] != 30 || p.Values[3] != 40 {
				t.Errorf("%d: %+v, %v", i, p, err)
			}
		}
		for _, r := range l.results(t) {
			if r.Outcome != record.Done || r.Detail != 2 {
				t.Errorf("%+v", r)
			}
		}
	})
}

// Hardware that fails is asked again for half a minute; then the interval has no reading.
func TestHardwareFails(t *testing.T) {
	b := &bench{position: record.BreakerClosed}
	inBubble(t, withBench(b), func(t *testing.T, a *Agent, l *fakeLink) {
		b.set(func() { b.fail = errors.New("broken") })
		time.Sleep(1700*time.Second + 12*time.Second) // t0+1800 was 12 s ago
		synctest.Wait()
		if b.reads != 3 {
			t.Errorf("%d reads in 12 s", b.reads)
		}
		b.set(func() { b.fail = nil })
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if got := l.of("reading"); len(got) != 1 {
			t.Fatalf("%d readings", len(got))
		} else if r, err := record.DecodeReading(got[0].m.Payload); err != nil || r.Time != t0+1800 {
			t.Errorf("%+v, %v", r, err)
		}
		b.set(func() { b.fail = errors.New("broken") })
		time.Sleep(31 * time.Minute)
		b.set(func() { b.fail = nil })
		time.Sleep(29 * time.Minute)
		synctest.Wait()
		if got := l.of("reading"); len(got) != 2 {
			t.Errorf("%d readings", len(got))
		} else if r, err := record.DecodeReading(got[1].m.Payload); err != nil || r.Time != t0+5400 {
			t.Errorf("%+v, %v", r, err)
		}
		if n := a.Stats().Hardware; n < 8 || n > 12 {
			t.Errorf("%d failures counted", n)
		}
	})
}

// The last gasp does not wait for hardware that hangs.
func TestGaspDoesNotWait(t *testing.T) {
	b := &bench{position: record.BreakerClosed}
	inBubble(t, withBench(b), func(t *testing.T, a *Agent, l *fakeLink) {
		b.set(func() { b.hang = true })
		l.deliver("cmd", record.Command{ID: 1, Opcode: record.OpDisconnect, Expiry: t0 + 3600}.Append(nil))
		synctest.Wait()
		began := time.Now()
		a.PowerLost()
		synctest.Wait()
		if got := l.of("power"); len(got) != 1 || got[0].at.Sub(began) > time.Second {
			t.Fatalf("last gasps: %+v", got)
		}
		b.set(func() { b.hang, b.position = false, record.BreakerOpen }) // it had moved all the same
		a.PowerRestored()
		synctest.Wait()
		if len(b.moves) != 1 {
			t.Errorf("moved %v", b.moves)
		}
		if s := a.Status(); s.Breaker != record.BreakerOpen {
			t.Errorf("%+v", s)
		}
	})
}

// A meter that dies while its breaker moves does not move it again: what the breaker shows decides what the command came to.
func TestSwitchIsNotRepeatedAfterADeath(t *testing.T) {
	for _, moved := range []bool{true, false} {
		store := &Memory{}
		c := config{id: "M1", caps: record.CapBreaker, interval: 30, hardware: (&bench{}).hardware()}
		c.hardware.Samples = &Samples{}
		m := newCore(c, State{}, false, t0)
		m.resume(record.BreakerClosed)
		cmd := record.Command{ID: 9, Opcode: record.OpDisconnect, Expiry: t0 + 600}.Append(nil)
		fx, err := m.receive(t0, "cmd", cmd)
		if err != nil || fx.task == nil || fx.answer != nil || fx.task.to != record.BreakerOpen {
			t.Fatalf("%+v, %v", fx, err)
		}
		if err := store.Save("M1", m.save()); err != nil { // and here it dies
			t.Fatal(err)
		}
		st, kept, err := store.Load("M1")
		if err != nil || !kept {
			t.Fatal(err)
		}
		m = newCore(c, st, kept, t0+10)
		want, at := record.Failed, record.BreakerClosed
		if moved {
			want, at = record.Done, record.BreakerOpen
		}
		m.resume(at)
		fx, err = m.receive(t0+20, "cmd", cmd)
		if err != nil || fx.task != nil || !fx.again || fx.answer.Outcome != want {
			t.Errorf("moved %v: %+v, %+v, %v", moved, fx, fx.answer, err)
		}
	}
}

// A breaker that cannot be armed says so, and that is no failure of the hardware; where nothing is to be armed it is asked for nothing.
func TestCannotBeArmed(t *testing.T) {
	b := &bench{position: record.BreakerOpen, unarmed: true}
	inBubble(t, withBench(b), func(t *testing.T, a *Agent, l *fakeLink) {
		for i, c := range []struct {
			at   record.Breaker
			want record.Outcome
		}{{record.BreakerOpen, record.NotSupported}, {record.BreakerClosed, record.Done}} {
			b.set(func() { b.position = c.at })
			a.LookAtBreaker()
			synctest.Wait()
			l.deliver("cmd", record.Command{ID: uint64(1 + i), Opcode: record.OpReconnect, A: 1, Expiry: t0 + 3600}.Append(nil))
			synctest.Wait()
			if rs := l.results(t); len(rs) != i+1 || rs[i].Outcome != c.want || rs[i].Detail != 0 || rs[i].Breaker != c.at {
				t.Errorf("%s: %+v", c.at, rs)
			}
		}
		if n := a.Stats().Hardware; n != 0 || len(b.moves) != 1 {
			t.Errorf("%d failures of the hardware, moved %v", n, b.moves)
		}
	})
}

// A person closes the armed breaker: the centre hears of it.
func TestBreakerMovedByHand(t *testing.T) {
	b := &bench{position: record.BreakerReady}
	inBubble(t, withBench(b), func(t *testing.T, a *Agent, l *fakeLink) {
		b.set(func() { b.position = record.BreakerClosed })
		a.LookAtBreaker()
		synctest.Wait()
		if got := l.of("event"); len(got) != 1 {
			t.Fatalf("%d events", len(got))
		} else if e, err := record.DecodeEvent(got[0].m.Payload); err != nil || e.Code != record.EventClosedAtMeter || a.Status().Breaker != record.BreakerClosed {
			t.Errorf("%+v, %v", e, err)
		}
		b.set(func() { b.position = record.BreakerOpen }) // without a command: the next reading would find it too
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if s := a.Status(); s.Breaker != record.BreakerOpen {
			t.Errorf("%+v", s)
		}
	})
}

// The profile outlives the process, a torn end is cut off, damage before it is refused, and a clock that is set back cuts it.
func TestSamples(t *testing.T) {
	dir := t.TempDir()
	open := func() *Samples {
		t.Helper()
		s, err := OpenSamples(dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	if _, err := OpenSamples(dir); err == nil {
		t.Error("opened twice")
	}
	want := Sample{Import: 5, Export: 6, Power: -7, Voltage: 8, Flags: record.FlagTamper}
	for i := range uint32(4) {
		if err := s.put(t0+1800*(3-i), want); err != nil { // the newest first
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, SamplesName)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(file)
	if err != nil || len(whole) != 5*sampleSize {
		t.Fatal(len(whole), err)
	}
	for cut := 1; cut < sampleSize; cut += 5 {
		if err := os.WriteFile(file, whole[:len(whole)-cut], 0o644); err != nil {
			t.Fatal(err)
		}
		s = open()
		if _, ok := s.at(t0); ok || len(s.list) != 3 {
			t.Errorf("%d bytes cut off: %d samples", cut, len(s.list))
		}
		if v, ok := s.at(t0 + 1800); !ok || v != want {
			t.Errorf("%+v", v)
		}
		_ = s.Close()
	}
	for _, bad := range []int{3, sampleSize + 9} { // the header, and a record that is not the last
		b := append([]byte(nil), whole...)
		b[bad] ^= 1
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenSamples(dir); err == nil {
			t.Errorf("octet %d damaged: taken", bad)
		}
	}
	if err := os.WriteFile(file, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	s = open()
	if err := s.cut(t0 + 1800); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if s = open(); len(s.list) != 2 {
		t.Errorf("%d samples behind the cut", len(s.list))
	}
	// It is bounded, in memory and on the disk.
	for range 600 {
		if err := s.put(t0+3600, want); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.list) != 3 || s.size > samplesSlack {
		t.Errorf("%d samples, %d octets", len(s.list), s.size)
	}
	var long Samples
	for i := range uint32(6000) {
		if err := long.put(t0+900*i, want); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(long.list); n != 46*96+1 {
		t.Errorf("%d samples", n)
	}
	_ = s.Close()
	if err := s.put(t0, want); err == nil {
		t.Error("kept by a closed file")
	}
}
