package bus

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

func TestRedeliveryKeepsTheOrder(t *testing.T) {
	// mdms <─1,2,3── stream; mdms fails; 4 is published; mdms <─1,2,3,4── stream
	b := open(t, nil)
	publish(t, b, "1", "2", "3")
	failures := 0
	got := consume(t, b, 4, func([]Batch) error {
		if failures++; failures <= 2 {
			if failures == 1 {
				publish(t, b, "4")
			}
			return errors.New("store is busy")
		}
		return nil
	})
	if !slices.Equal(got, []string{"1", "2", "3", "4"}) {
		t.Fatalf("got %v", got)
	}
}

func TestConsumerThatDiedIsNotOvertaken(t *testing.T) {
	// A consumer fetches 1,2,3 and ends without acknowledging. Its successor gets them before 4, at once.
	b := open(t, nil)
	publish(t, b, "1", "2", "3")
	ctx, cancel := context.WithCancel(t.Context())
	err := b.ConsumeBatches(ctx, DurableMDMS, func(ctx context.Context, _ []Batch) error {
		cancel()
		return errors.New("killed")
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	publish(t, b, "4")
	if got := consume(t, b, 4, nil); !slices.Equal(got, []string{"1", "2", "3", "4"}) { // which does not wait as long as the server does
		t.Fatalf("got %v", got)
	}
}

func TestBatchesBehind(t *testing.T) {
	b := open(t, nil)
	publish(t, b, "1", "2", "3")
	var behind []uint64
	consume(t, b, 3, func(list []Batch) error {
		for _, x := range list {
			behind = append(behind, x.Behind)
		}
		return nil
	})
	if !slices.Equal(behind, []uint64{2, 1, 0}) {
		t.Fatalf("behind them were %v", behind)
	}
}

func TestGarbageBecomesDeadLetter(t *testing.T) {
	b := open(t, nil)
	publish(t, b, "1")
	if _, err := b.js.Publish(t.Context(), "wb.up.stranger", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	publish(t, b, "2")
	if got := consume(t, b, 2, nil); !slices.Equal(got, []string{"1", "2"}) {
		t.Fatalf("got %v", got)
	}
	ds, err := b.DeadLetters(t.Context(), 10, 0)
	if err != nil || len(ds) != 1 || ds[0].Reason != "batch" || ds[0].Topic != "wb.up.stranger" || string(ds[0].Payload) != "hello" {
		t.Fatalf("%+v, %v", ds, err)
	}
}

func TestConsumeEndsWithTheBus(t *testing.T) {
	b := open(t, nil)
	ended := make(chan error, 1)
	go func() {
		ended <- b.ConsumeBatches(context.Background(), DurableMDMS, func(context.Context, []Batch) error { return nil })
	}()
	time.Sleep(50 * time.Millisecond)
	b.Close()
	select {
	case err := <-ended:
		if !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("still consuming")
	}
}

func TestDeadLetters(t *testing.T) {
	b := open(t, nil)
	var letters []DeadLetter
	for i := range 5 {
		letters = append(letters, DeadLetter{Topic: "up/\xff", Reason: "length", Client: "M1", Received: time.Unix(int64(i), 0).UTC(), Payload: make([]byte, 100_000)})
	}
	if err := b.PublishDead(t.Context(), letters...); err != nil {
		t.Fatal(err)
	}
	ds, err := b.DeadLetters(t.Context(), 2, 0)
	if err != nil || len(ds) != 2 || ds[0].Sequence != 5 || ds[1].Sequence != 4 {
		t.Fatalf("%v, %v", len(ds), err)
	}
	if ds[0].Size != 100_000 || len(ds[0].Payload) != deadPayload || ds[0].Received.Unix() != 4 {
		t.Fatalf("size %d, payload %d", ds[0].Size, len(ds[0].Payload))
	}
	ds, err = b.DeadLetters(t.Context(), 10, 4)
	if err != nil || len(ds) != 3 || ds[0].Sequence != 3 {
		t.Fatalf("%v, %v", len(ds), err)
	}
	if ds, err = b.DeadLetters(t.Context(), 10, 1); err != nil || len(ds) != 0 {
		t.Fatalf("%v, %v", len(ds), err)
	}
}
