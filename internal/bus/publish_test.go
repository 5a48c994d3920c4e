package bus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func numbered(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, strconv.Itoa(i))
	}
	return out
}

func TestPublishAndConsumeInOrder(t *testing.T) {
	b := open(t, nil)
	want := numbered(0, 200)
	publish(t, b, want...)
	var last uint64
	got := consume(t, b, len(want), func(bs []Batch) error {
		for i := range bs {
			if bs[i].Sequence != last+1 || !strings.HasPrefix(bs[i].Stream, "WB_UP@") {
				return fmt.Errorf("sequence %d after %d in %s", bs[i].Sequence, last, bs[i].Stream)
			}
			last = bs[i].Sequence
		}
		return nil
	})
	if !slices.Equal(got, want) {
		t.Fatalf("got %v", got)
	}
	// What is done is gone from the stream, and sequences go on.
	if !empty(b) {
		t.Fatal("batches are left")
	}
}

func TestOneThatFailsIsNotOvertaken(t *testing.T) {
	// The stream takes two large batches. The third is refused; small ones behind it would fit, and must not.
	b := open(t, func(o *Options) { o.MaxBytes = MaxMessage })
	large := func(id string) []byte {
		var e Encoder
		if err := e.Append(&Entry{Kind: "meter", ID: id, Event: "reading", Payload: make([]byte, 3<<20)}); err != nil {
			t.Fatal(err)
		}
		return e.Take(nil)
	}
	var pending []*Pending
	put := func(data []byte) {
		p, err := b.PublishBatch(t.Context(), data)
		if err != nil {
			t.Error(err)
			return
		}
		pending = append(pending, p)
	}
	put(large("1"))
	put(large("2"))
	wait(t, pending[1])
	// They may have to wait for their place, too: while nothing can be committed, none is given.
	var putting sync.WaitGroup
	three := large("3")
	putting.Go(func() {
		put(three)
		put(batchOf(t, "4"))
		put(batchOf(t, "5"))
	})
	eventually(t, "stalled", func() bool { return b.Stalled() != nil })
	time.Sleep(300 * time.Millisecond)
	if _, last, err := b.Position(t.Context()); err != nil || last != 2 {
		t.Fatalf("the stream stands at %d, %v", last, err)
	}
	if got := consume(t, b, 5, nil); !slices.Equal(got, []string{"1", "2", "3", "4", "5"}) {
		t.Fatalf("got %v", got)
	}
	putting.Wait()
	for _, p := range pending {
		wait(t, p)
	}
	// Flowing again.
	publish(t, b, "6", "7")
	if b.Stalled() != nil {
		t.Fatalf("stalled: %v", b.Stalled())
	}
}

func TestFullDiskIsWaitedFor(t *testing.T) {
	b := open(t, func(o *Options) { o.MinFree = 1 << 60 })
	p, err := b.PublishBatch(t.Context(), batchOf(t, "1"))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a full disk is told of", func() bool { return errors.Is(b.Stalled(), errDiskFull) })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context()); !errors.Is(err, ErrClosed) {
		t.Fatalf("wait: %v", err)
	}
	if _, err := b.PublishBatch(t.Context(), batchOf(t, "1")); !errors.Is(err, ErrClosed) {
		t.Fatalf("publish: %v", err)
	}
}

func TestTwoWriters(t *testing.T) {
	a := open(t, func(o *Options) { o.Listen = "127.0.0.1:0" })
	b, err := Open(t.Context(), Options{URL: "nats://" + a.Address()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	errs := make(chan error, 2)
	for i, bus := range []*Bus{a, b} {
		go func() {
			var pending []*Pending
			for n := range 100 {
				p, err := bus.PublishBatch(t.Context(), batchOf(t, fmt.Sprintf("%c%d", 'a'+i, n)))
				if err != nil {
					errs <- err
					return
				}
				pending = append(pending, p)
			}
			for _, p := range pending {
				if err := p.Wait(t.Context()); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	next := map[byte]int{}
	for _, id := range consume(t, a, 200, nil) {
		if n, _ := strconv.Atoi(id[1:]); n != next[id[0]] {
			t.Fatalf("%s when %c%d was due", id, id[0], next[id[0]])
		}
		next[id[0]]++
	}
}

func TestServerRestartLosesNothing(t *testing.T) {
	b := open(t, func(o *Options) { o.Timeout = time.Second })
	stop := make(chan struct{})
	restarted := make(chan error, 1)
	go func() {
		defer close(stop)
		for range 3 {
			time.Sleep(100 * time.Millisecond)
			if err := b.srv.restart(); err != nil {
				restarted <- err
				return
			}
		}
		restarted <- nil
	}()
	var want []string
	var pending []*Pending
	for n := 0; ; n++ {
		select {
		case <-stop:
		default:
			id := strconv.Itoa(n)
			p, err := b.PublishBatch(t.Context(), batchOf(t, id))
			if err != nil {
				t.Fatal(err)
			}
			want, pending = append(want, id), append(pending, p)
			continue
		}
		break
	}
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	for _, p := range pending {
		wait(t, p)
	}
	if got := consume(t, b, len(want), nil); !slices.Equal(got, want) {
		t.Fatalf("%d batches came as %d, or in another order", len(want), len(got))
	}
}

func TestConfirmedSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	published := 0
	var sequence uint64
	for round := range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), helperEnv+"=publish", "WATTBUS_BUS_DIR="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		confirmed := map[string]bool{}
		for sc := bufio.NewScanner(out); sc.Scan(); {
			n, seq, ok := strings.Cut(sc.Text(), " ")
			if !ok {
				break // cut off by the kill
			}
			at, err := strconv.ParseUint(seq, 10, 64)
			if err != nil {
				break
			}
			if at <= sequence {
				t.Fatalf("sequence %d was given again", at)
			}
			sequence = at
			if confirmed[n] = true; len(confirmed) == 20 {
				time.AfterFunc(time.Duration(50+100*round)*time.Millisecond, func() { _ = cmd.Process.Kill() })
			}
		}
		_ = cmd.Wait()
		published += len(confirmed)

		b, err := Open(t.Context(), Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		next := 0
		for _, id := range consume(t, b, len(confirmed), nil) {
			if id != strconv.Itoa(next) {
				t.Fatalf("round %d: %s came when %d was due", round, id, next)
			}
			next++
			delete(confirmed, id)
		}
		if len(confirmed) > 0 {
			t.Fatalf("round %d: %d confirmed batches are lost", round, len(confirmed))
		}
		if _, last, err := b.Position(t.Context()); err != nil || last < sequence {
			t.Fatalf("round %d: stream stands at %d after %d: %v", round, last, sequence, err)
		} else {
			sequence = last
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d batches confirmed", published)
}

func TestMismatchStopsAndDeletesNothing(t *testing.T) {
	dir := t.TempDir()
	b, err := Open(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, b, "1")
	s, err := b.js.Stream(t.Context(), StreamUp)
	if err != nil {
		t.Fatal(err)
	}
	c := s.CachedInfo().Config
	c.Subjects = append(c.Subjects, "other")
	if _, err := b.js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	b.Close()
	_, err = Open(t.Context(), Options{Dir: dir})
	if !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), "WB_UP: subjects is [wb.up.> other], want [wb.up.>]") {
		t.Fatalf("open: %v", err)
	}
	// Set right again, everything is there.
	e, err := startEmbedded(&Options{Dir: dir, Logger: b.log})
	if err != nil {
		t.Fatal(err)
	}
	e.stop()
}

func TestSizeIsTheOperatorsToChange(t *testing.T) {
	dir := t.TempDir()
	size := func(o Options) int64 {
		t.Helper()
		o.Dir = dir
		b, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		s, err := b.js.Stream(t.Context(), StreamUp)
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().Config.MaxBytes
	}
	if n := size(Options{MaxBytes: 20 << 20}); n != 20<<20 {
		t.Fatal(n)
	}
	if n := size(Options{}); n != 20<<20 {
		t.Fatal("not kept:", n)
	}
	if n := size(Options{MaxBytes: 10 << 20}); n != 10<<20 {
		t.Fatal(n)
	}
}

func TestDirectoryIsLocked(t *testing.T) {
	b := open(t, nil)
	if _, err := Open(t.Context(), Options{Dir: b.o.Dir}); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Fatalf("open: %v", err)
	}
}

func TestOptions(t *testing.T) {
	for want, o := range map[string]Options{
		"not both":               {},
		"not loopback":           {Dir: "x", Listen: "0.0.0.0:4222"},
		"want host:port":         {Dir: "x", Listen: "4222"},
		"want 0 to 65535":        {Dir: "x", Listen: "127.0.0.1:99999"},
		"is 5, want 0 or at":     {Dir: "x", MaxBytes: 5},
		"InFlight is 65":         {Dir: "x", InFlight: 65},
		"with the URL":           {URL: "nats://x", Listen: "127.0.0.1:4222"},
		"Replicas is 3, want 0":  {Dir: "x", Replicas: 3},
		"connect to nats://127.": {URL: "nats://127.0.0.1:1"},
	} {
		if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func BenchmarkPublishSynced(b *testing.B) {
	for _, n := range []int{1, 100, 1000, 5000} {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			bus := open(b, func(o *Options) { o.MaxBytes = 64 << 30 })
			data := encode(b, manyEntries(n))
			b.SetBytes(int64(len(data)))
			var last *Pending
			for b.Loop() {
				p, err := bus.PublishBatch(context.Background(), data)
				if err != nil {
					b.Fatal(err)
				}
				last = p
			}
			wait(b, last)
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "entries/s")
			if err := bus.js.DeleteStream(context.Background(), StreamUp); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkPublishAndConsume is what a running centre does: every batch is removed again once it is done.
func BenchmarkPublishAndConsume(b *testing.B) {
	for _, n := range []int{1, 100, 5000} {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			bus := open(b, func(o *Options) { o.MaxBytes = 64 << 30 })
			data := encode(b, manyEntries(n))
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() {
				ended <- bus.ConsumeBatches(ctx, DurableMDMS, func(context.Context, []Batch) error { return nil })
			}()
			var last *Pending
			for b.Loop() {
				p, err := bus.PublishBatch(context.Background(), data)
				if err != nil {
					b.Fatal(err)
				}
				last = p
			}
			wait(b, last)
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "entries/s")
			empty(bus)
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "removed/s")
			cancel()
			<-ended
		})
	}
}
