package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// state is what the stream of batches holds.
func state(t *testing.T, b *Bus) jetstream.StreamState {
	t.Helper()
	s, err := b.js.Stream(t.Context(), StreamUp)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State
}

// TestDoneIsRemovedManyAtATime has more batches done than may stay, then waits for the rest to go while nothing comes; the numbers of the
// batches go on, also over a restart.
func TestDoneIsRemovedManyAtATime(t *testing.T) {
	dir := t.TempDir()
	b := open(t, func(o *Options) { o.Dir = dir })
	ids := make([]string, removeMessages+50)
	for i := range ids {
		ids[i] = fmt.Sprint(i)
	}
	publish(t, b, ids...)
	if got := consume(t, b, len(ids), nil); !slices.Equal(got, ids) {
		t.Fatalf("got %d, %v …", len(got), got[:min(len(got), 3)])
	}
	if s := state(t, b); s.Msgs != 0 || s.LastSeq != uint64(len(ids)) {
		t.Fatalf("%+v", s)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, func(o *Options) { o.Dir = dir })
	publish(t, b, "next")
	if s := state(t, b); s.Msgs != 1 || s.LastSeq != uint64(len(ids))+1 {
		t.Fatalf("opened again: %+v", s)
	}
	if got := consume(t, b, 1, nil); !slices.Equal(got, []string{"next"}) {
		t.Fatalf("got %v", got)
	}
}

// TestWhatIsNotDoneStays has the handler fail at the third batch: the two before it may go, the others may not.
func TestWhatIsNotDoneStays(t *testing.T) {
	b := open(t, nil)
	publish(t, b, "1", "2")
	if got := consume(t, b, 2, nil); !slices.Equal(got, []string{"1", "2"}) {
		t.Fatalf("got %v", got)
	}
	publish(t, b, "3", "4")
	ctx, cancel := context.WithTimeout(t.Context(), 2*removeEvery)
	defer cancel()
	err := b.ConsumeBatches(ctx, DurableMDMS, func(context.Context, []Batch) error { return errors.New("store is busy") })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if s := state(t, b); s.Msgs != 2 || s.FirstSeq != 3 {
		t.Fatalf("%+v", s)
	}
}

// TestOthersMayReadTheStream has a durable that is not ours: what ours is done with stays for it, from the moment on at which it is there.
func TestOthersMayReadTheStream(t *testing.T) {
	b := open(t, nil)
	publish(t, b, "1")
	other := func() jetstream.Consumer {
		c, err := b.js.CreateOrUpdateConsumer(t.Context(), StreamUp, jetstream.ConsumerConfig{Durable: "other", AckPolicy: jetstream.AckExplicitPolicy})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var seen []uint64
	err := b.ConsumeBatches(ctx, DurableMDMS, func(_ context.Context, bs []Batch) error {
		for i := range bs {
			if n := bs[i].Sequence; n > uint64(len(seen)) {
				seen = append(seen, n)
			}
		}
		switch len(seen) {
		case 1:
			other()
			publish(t, b, "2", "3")
		case 3:
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || len(seen) != 3 {
		t.Fatalf("%v, %v", seen, err)
	}
	if s := state(t, b); s.Msgs != 3 {
		t.Fatalf("%+v", s)
	}
	batch, err := other().Fetch(3, jetstream.FetchMaxWait(30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for m := range batch.Messages() {
		if err := m.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
