package bus

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// helperEnv makes the test binary a process of its own for the tests that kill or limit one.
const helperEnv = "WATTBUS_BUS_HELPER"

func TestMain(m *testing.M) {
	switch os.Getenv(helperEnv) {
	case "publish":
		helperPublish()
	case "limit":
		helperLimit()
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, change func(*Options)) *Bus {
	t.Helper()
	o := Options{Dir: t.TempDir()}
	if change != nil {
		change(&o)
	}
	b, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func publish(t testing.TB, b *Bus, ids ...string) {
	t.Helper()
	var pending []*Pending
	for _, id := range ids {
		p, err := b.PublishBatch(t.Context(), batchOf(t, id))
		if err != nil {
			t.Fatal(err)
		}
		pending = append(pending, p)
	}
	for _, p := range pending {
		wait(t, p)
	}
}

func wait(t testing.TB, p *Pending) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		t.Fatalf("wait: %v", err)
	}
}

func batchOf(t testing.TB, ids ...string) []byte {
	t.Helper()
	var e Encoder
	for i, id := range ids {
		if err := e.Append(&Entry{Received: int64(1000 + i), Path: "C1/C7", Kind: "meter", ID: id, Event: "reading",
			Payload: make([]byte, 32)}); err != nil {
			t.Fatal(err)
		}
	}
	return e.Take(nil)
}

// consumer collects ids of batches in the order of delivery.
func consume(t testing.TB, b *Bus, want int, handler func([]Batch) error) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var got []string
	var wg sync.WaitGroup
	defer wg.Wait()
	var once sync.Once
	err := b.ConsumeBatches(ctx, DurableMDMS, func(_ context.Context, bs []Batch) error {
		if handler != nil {
			if err := handler(bs); err != nil {
				return err
			}
		}
		for i := range bs {
			for e := range bs[i].All() {
				got = append(got, e.ID)
			}
		}
		if len(got) >= want {
			once.Do(func() {
				wg.Go(func() {
					empty(b) // the acknowledgements have arrived
					cancel()
				})
			})
		}
		return nil
	})
	if err != context.Canceled {
		t.Fatalf("consumed %d of %d: %v", len(got), want, err)
	}
	return got
}

// empty waits until nothing is left in the stream, for 30 s at most.
func empty(b *Bus) bool {
	for range 3000 {
		s, err := b.js.Stream(context.Background(), StreamUp)
		if err == nil && s.CachedInfo().State.Msgs == 0 {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}
