package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func outOf(t testing.TB, ids ...string) []byte {
	t.Helper()
	var e OutEncoder
	for _, id := range ids {
		e.Append(&OutEvent{Kind: "meter", Name: "reading", ID: id, Path: "C1/C7", UID: "u" + id, Time: 1700000000123, Data: []byte(`{"a":1}`)})
	}
	all := e.Take()
	if len(all) != 1 {
		t.Fatalf("%d messages", len(all))
	}
	return all[0]
}

func TestOutBatch(t *testing.T) {
	var e OutEncoder
	want := []OutEvent{{Kind: "meter", Name: "reading", ID: "M.1", Path: "C1/C7", UID: "u1", Time: 1700000000123, Data: []byte(`{"a":1}`)},
		{Kind: "concentrator", Name: "concentrator", ID: "C7", UID: "u2", Data: []byte(`null`)}}
	for i := range want {
		e.Append(&want[i])
	}
	all := e.Take()
	if len(all) != 1 || e.Take() != nil {
		t.Fatalf("%d messages", len(all))
	}
	b, err := DecodeOut(all[0])
	if err != nil || b.Count != 2 {
		t.Fatal(b.Count, err)
	}
	if got := slices.Collect(b.All()); !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v", got)
	}
	if s := want[0].Source(); s != "/C1/C7/meter/M.1" {
		t.Error(s)
	}
	if s := want[1].Source(); s != "/concentrator/C7" {
		t.Error(s)
	}
	for n := range all[0] {
		if _, err := DecodeOut(all[0][:n]); !errors.Is(err, ErrOut) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

// TestOutBatchBounds: messages hold so many events and so many bytes, and one large event has its own.
func TestOutBatchBounds(t *testing.T) {
	var e OutEncoder
	for range OutEvents + 1 {
		e.Append(&OutEvent{Kind: "meter", Data: []byte("1")})
	}
	if n := len(e.Take()); n != 2 {
		t.Errorf("%d events in %d messages", OutEvents+1, n)
	}
	e.Append(&OutEvent{Data: bytes.Repeat([]byte("1"), 3*OutBytes)})
	e.Append(&OutEvent{Data: []byte("1")})
	all := e.Take()
	if len(all) != 2 {
		t.Fatalf("%d messages", len(all))
	}
	if b, err := DecodeOut(all[0]); err != nil || b.Count != 1 {
		t.Fatal(b.Count, err)
	}
}

func FuzzDecodeOut(f *testing.F) {
	f.Add(outOf(f, "M1", "M2"))
	f.Add([]byte{1, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := DecodeOut(data)
		if err != nil {
			return
		}
		n := 0
		for range b.All() {
			n++
		}
		if n != b.Count {
			t.Fatalf("%d of %d", n, b.Count)
		}
	})
}

// takeOut consumes until n events came, failing as fail says.
func takeOut(t *testing.T, b *Bus, name string, n int) (ids []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := b.ConsumeOut(ctx, name, func(_ context.Context, all []OutBatch) error {
		for i := range all {
			for e := range all[i].All() {
				ids = append(ids, e.ID)
			}
		}
		if len(ids) >= n {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v of %d: %v", ids, n, err)
	}
	return ids
}

func TestTargets(t *testing.T) {
	b := open(t, nil)
	ctx := t.Context()
	publishOut := func(id uint64, ids ...string) {
		t.Helper()
		if err := b.PublishOut(ctx, id, outOf(t, ids...)); err != nil {
			t.Fatal(err)
		}
	}
	stop, err := b.WatchTargets(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if w := b.Wanted(); w != nil {
		t.Fatalf("without targets %v is wanted", w)
	}
	publishOut(1, "before")
	if err := b.EnsureTarget(ctx, "a", []string{"reading", "state"}); err != nil {
		t.Fatal(err)
	}
	if err := b.EnsureTarget(ctx, "b", []string{"outage"}); err != nil {
		t.Fatal(err)
	}
	if w := b.Wanted(); !reflect.DeepEqual(w, Wanted{"reading": true, "state": true, "outage": true}) {
		t.Fatalf("wanted %v", w)
	}
	publishOut(2, "1", "2")
	publishOut(2, "1", "2") // the same again
	mark := time.Now()
	publishOut(3, "3")
	if got := takeOut(t, b, "a", 3); !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Fatalf("got %v", got)
	}
	// It goes on from where it stood, also when it is declared again, with other events.
	if err := b.EnsureTarget(ctx, "a", []string{"reading"}); err != nil {
		t.Fatal(err)
	}
	if w := b.Wanted(); w["state"] {
		t.Fatalf("wanted %v", w)
	}
	publishOut(4, "4")
	eventually(t, "one is pending", func() bool {
		p, err := b.TargetPosition(ctx, "a")
		return err == nil && p.Pending == 1 && p.Done > 0
	})
	if got := takeOut(t, b, "a", 1); !slices.Equal(got, []string{"4"}) {
		t.Fatalf("got %v", got)
	}
	if err := b.ReplayTarget(ctx, "a", []string{"reading"}, mark); err != nil {
		t.Fatal(err)
	}
	if got := takeOut(t, b, "a", 2); !slices.Equal(got, []string{"3", "4"}) {
		t.Fatalf("from a time: %v", got)
	}
	for _, name := range []string{"a", "b", "a"} {
		if err := b.ForgetTarget(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := b.Targets(ctx); err != nil || len(all) != 0 || b.Wanted() != nil {
		t.Fatalf("%v, %v", all, err)
	}
}

// TestTargetThatFails gets the same again, in order, and garbage does not hold it up.
func TestTargetThatFails(t *testing.T) {
	b := open(t, nil)
	ctx := t.Context()
	if err := b.EnsureTarget(ctx, "a", []string{"reading"}); err != nil {
		t.Fatal(err)
	}
	var want []string
	for n := range 10 {
		id := fmt.Sprint(n)
		want = append(want, id)
		if n == 5 {
			if _, err := b.js.Publish(ctx, OutSubject, []byte("garbage")); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.PublishOut(ctx, uint64(n+1), outOf(t, id)); err != nil {
			t.Fatal(err)
		}
	}
	confirmed := 0
	for range 2 {
		_, err := b.ConsumeOut(ctx, "a", func(_ context.Context, all []OutBatch) error {
			if confirmed == 0 {
				confirmed = len(all)
				return nil
			}
			return errors.New("away")
		})
		if err == nil || !strings.Contains(err.Error(), "away") {
			t.Fatal(err)
		}
	}
	if got := takeOut(t, b, "a", 10-confirmed); !slices.Equal(got, want[confirmed:]) {
		t.Fatalf("got %v after %d", got, confirmed)
	}
	if ds, err := b.DeadLetters(ctx, 10, 0); err != nil || len(ds) != 1 {
		t.Fatalf("%+v, %v", ds, err)
	}
}
